import json

import pytest

from tasks.metrics.clinical.pathology_entities import entities, entity_f1, entity_sums, fingerprint


def named(caption: str) -> set[str]:
    return {("no " if entity.denied else "") + entity.term for entity in entities(caption)}


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        (
            "No atypia or mitoses; fibrous stroma with lymphocytes.",
            {"no atypia", "no mitosis", "fibrous tissue", "stroma", "lymphocyte"},
        ),
        ("Necrosis is not seen, stroma is dense.", {"no necrosis", "stroma"}),
        ("Mitosis is absent and necrosis is prominent.", {"no mitosis", "necrosis"}),
        ("Atypia is not visible in glands, nor is mitosis.", {"no atypia", "glandular tissue", "no mitosis"}),
        ("Squamous cell carcinoma of the lung", {"squamous cell carcinoma", "lung"}),
        ("Adenocarcinomas", {"adenocarcinoma"}),
        ("Pulmonary tissue without necrosis suggests benign changes", {"lung", "no necrosis", "benign"}),
        ("Non-neoplastic gland", {"benign", "glandular tissue"}),
        ("MALIGNANT nuclei", {"malignancy"}),
        ("The absence of normal lung tissue", {"no normal", "lung"}),
        ("Loss of normal ducts and without necrosis", {"no normal", "duct", "no necrosis"}),
        ("Normal hepatocytes without steatosis", {"normal", "hepatocyte", "no steatosis"}),
        ("No carcinoma of the lung", {"no carcinoma", "lung"}),
        ("No atypia, marked fibrosis", {"no atypia", "fibrosis"}),
        ("No atypia, fibrosis, or necrosis", {"no atypia", "no fibrosis", "no necrosis"}),
        ("Lacks crypts and shows fibrosis", {"no crypt", "fibrosis"}),
        ("Absent colloid, necrosis and inflammation", {"no colloid", "necrosis", "inflammation"}),
        ("Mitoses are frequent, necrosis is not seen", {"mitosis", "no necrosis"}),
        ("Distorted bronchioles with an infiltrate", {"disorganized architecture", "bronchus", "infiltrate"}),
        ("No evidence of dysplasia in this mucosa", {"no dysplasia", "mucosa"}),
        ("no inflammation the mucosa is oedematous", {"no inflammation", "mucosa", "edema"}),
        ("carcinomatosis-like", set()),
        ("", set()),
    ],
)
def test_entities(caption, expected):
    assert named(caption) == expected


def test_f1_by_hand():
    """Hits 1 and 0, false alarms 1 and 0, misses 1 and 2: 2 / (2 + 1 + 3)."""
    references = ["carcinoma of the liver", "no necrosis in the breast"]
    hypotheses = ["carcinoma of the lung", None]
    assert entity_sums(references, hypotheses).tolist() == [[1, 1, 1], [0, 0, 2]]
    assert entity_f1(references, hypotheses, ["a", "b"]).value() == pytest.approx(2 / 6)


def test_a_flipped_negation_costs_a_hit():
    assert entity_f1(["no atypia"], ["no atypia"], ["a"]).value() == 1
    assert entity_f1(["no atypia"], ["atypia"], ["a"]).value() == 0


def test_references_without_entities():
    assert entity_f1(["nothing of note"], ["carcinoma"], ["a"]) is None


def test_the_list_covers_real_captions(shared_data):
    captions = json.loads((shared_data / "text" / "pathgen" / "PathGen-1.6M_sample.json").read_text(encoding="utf-8"))
    found = [entities(caption["caption"]) for caption in captions]
    assert sum(not each for each in found) <= 10
    assert sum(map(len, found)) / len(found) > 10
    assert not [entity for each in found for entity in each if entity.denied and entity.category == "organ"]
    assert len(fingerprint()) == 16
