import csv
import hashlib
from time import process_time

import numpy as np
import pytest

from tasks.metrics.clinical.chest_labeller import ChestLabeller
from tasks.metrics.clinical.chest_labels import BLANK, LABELS, NEGATIVE, POSITIVE, UNCERTAIN, as_findings, label_counts
from tasks.metrics.clinical.findings import f1, supported

P, N, U = POSITIVE, NEGATIVE, UNCERTAIN
LABELLER = ChestLabeller()


def read(report: str) -> dict[str, int]:
    return {label: code for label, code in zip(LABELS, LABELLER.codes([report])[0].tolist(), strict=True) if code != BLANK}


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("Small left pleural effusion.", {"Pleural Effusion": P}),
        ("No pleural effusion.", {"Pleural Effusion": N, "No Finding": P}),
        ("No pneumothorax, effusion, or edema.", {"Pneumothorax": N, "Pleural Effusion": N, "Edema": N, "No Finding": P}),
        ("Effusion is not seen. There is edema.", {"Pleural Effusion": N, "Edema": P}),
        ("The effusion has resolved.", {"Pleural Effusion": N, "No Finding": P}),
        ("Pneumonia cannot be excluded.", {"Pneumonia": U}),
        ("No pneumothorax, pneumonia cannot be excluded.", {"Pneumothorax": N, "Pneumonia": U}),
        ("Possible small pneumothorax.", {"Pneumothorax": U}),
        ("Opacity concerning for pneumonia.", {"Lung Opacity": P, "Pneumonia": U}),
        ("Atelectasis or consolidation at the base.", {"Atelectasis": U, "Consolidation": U}),
        ("Atelectasis and consolidation at the base.", {"Atelectasis": P, "Consolidation": P}),
        ("No change in the left effusion.", {"Pleural Effusion": P}),
        ("No focal consolidation, but a large effusion.", {"Consolidation": N, "Pleural Effusion": P}),
        ("9 mm nodule, not seen on prior exams.", {"Lung Lesion": P}),
        ("The heart is enlarged.", {"Cardiomegaly": P}),
        ("The heart is not enlarged.", {"Cardiomegaly": N, "No Finding": P}),
        ("Heart size is normal.", {"Cardiomegaly": N, "No Finding": P}),
        ("Borderline cardiomegaly.", {"Cardiomegaly": U}),
        ("Mild cardiomegaly with normal pulmonary vascularity.", {"Cardiomegaly": P}),
        ("Widened mediastinum.", {"Enlarged Cardiomediastinum": P}),
        ("Right chest tube has been removed.", {"Support Devices": N, "No Finding": P}),
        ("Left PICC with tip in the SVC.", {"Support Devices": P, "No Finding": P}),
        ("Old rib fractures.", {"Fracture": P}),
        ("No evidence of acute fracture.", {"Fracture": N, "No Finding": P}),
        ("Biapical pleural thickening.", {"Pleural Other": P}),
        ("Effusion. No effusion on the right.", {"Pleural Effusion": P}),
        ("No. 5 rib fracture", {"Fracture": P}),
        ("XXXX opacity in the ___ lobe", {"Lung Opacity": P}),
        ("NO PNEUMOTHORAX", {"Pneumothorax": N, "No Finding": P}),
        ("The bones are intact.", {"No Finding": P}),
        ("No pneumothorax, small left pleural effusion.", {"Pneumothorax": N, "Pleural Effusion": P}),
        ("No effusion and the heart is enlarged.", {"Pleural Effusion": N, "Cardiomegaly": P}),
        ("No pneumothorax with stable cardiomegaly.", {"Pneumothorax": N, "Cardiomegaly": P}),
        ("Small effusion, pneumothorax is not seen.", {"Pleural Effusion": P, "Pneumothorax": N}),
        ("No edema, large effusion, or pneumothorax.", {"Edema": N, "Pleural Effusion": N, "Pneumothorax": N, "No Finding": P}),
        ("No edema/effusion, nor fracture.", {"Edema": N, "Pleural Effusion": N, "Fracture": N, "No Finding": P}),
        ("INDICATION: evaluate for pneumonia. IMPRESSION: Clear lungs.", {"No Finding": P}),
        ("indication evaluate for pneumonia impression clear lungs", {"No Finding": P}),
        ("INDICATION: Pneumonia.", {}),
        ("History of pneumonia, now with an effusion.", {"Pleural Effusion": P}),
        ("Effusion: none. Edema: mild. Fracture? No.", {"Pleural Effusion": N, "Edema": P, "Fracture": N}),
        ("The effusion is no longer appreciated.", {"Pleural Effusion": N, "No Finding": P}),
        ("The pneumothorax has nearly resolved.", {"Pneumothorax": P}),
        ("Low suspicion for pneumonia.", {"Pneumonia": N, "No Finding": P}),
        ("Vessel simulates a nodule.", {"Lung Lesion": N, "No Finding": P}),
        (
            "Heart size and pulmonary vascular engorgement appear within limits of normal.",
            {"Cardiomegaly": N, "Edema": N, "No Finding": P},
        ),
        (
            "Mild CM, no CHF, LLL PNA w/o PTX, basal atx",
            {"Cardiomegaly": P, "Edema": N, "Pneumonia": P, "Pneumothorax": N, "Atelectasis": P},
        ),
        ("Nodule of 3 cm at the base", {"Lung Lesion": P}),
        ("No oedema; left haemothorax.", {"Edema": N, "Pleural Effusion": P}),
        (
            "no pneumothorax small left effusion the heart is enlarged",
            {"Pneumothorax": N, "Pleural Effusion": P, "Cardiomegaly": P},
        ),
        ("No pleural effusion or\npneumothorax.\nMild edema", {"Pleural Effusion": N, "Pneumothorax": N, "Edema": P}),
        ("The heart size is not normal.", {"Cardiomegaly": P}),
        ("Heart - enlarged. (Small effusion)", {"Cardiomegaly": P, "Pleural Effusion": P}),
        ("(-) effusion (+) edema", {"Pleural Effusion": N, "Edema": P}),
        ("[x] Cardiomegaly [ ] Effusion", {"Cardiomegaly": P, "Pleural Effusion": N}),
        ("Heart/Mediastinum: Enlarged heart.", {"Cardiomegaly": P}),
        ("More suggestive of atelectasis than of pneumonia.", {"Atelectasis": P, "Pneumonia": N}),
        ("Doubt pneumonia.", {"Pneumonia": N, "No Finding": P}),
        ("If there is concern for pneumonia, a lateral view. No edema.", {"Edema": N, "No Finding": P}),
        ("Follow-up to document resolution of the pneumonia.", {"Pneumonia": P}),
        ("s/p TAVR, small R eff, left upper zone collapse", {"Support Devices": P, "Pleural Effusion": P, "Atelectasis": P}),
        ("Effusion absent. Small pnuemothorax, cardiomegly", {"Pleural Effusion": N, "Pneumothorax": P, "Cardiomegaly": P}),
        ("No worsening of the consolidation", {"Consolidation": P}),
        ("there is no effusion a left picc line is present", {"Pleural Effusion": N, "Support Devices": P, "No Finding": P}),
        ("", {}),
        ("  \n", {}),
    ],
)
def test_sentences(report, expected):
    assert read(report) == expected


@pytest.mark.parametrize(
    ("report", "flipped", "label"),
    [
        ("No pleural effusion.", "Pleural effusion.", "Pleural Effusion"),
        ("The heart is enlarged.", "The heart is not enlarged.", "Cardiomegaly"),
        ("Free of consolidation.", "Full of consolidation.", "Consolidation"),
    ],
)
def test_a_flipped_negation_flips_the_label(report, flipped, label):
    """Metrics of word overlap hardly notice."""
    assert {read(report)[label], read(flipped)[label]} == {P, N}


def test_published_examples_of_chexbert(shared_data):
    with (shared_data / "fixtures" / "chexbert_sample" / "labeled_reports.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    codes = {"": BLANK, "1.0": P, "0.0": N, "-1.0": U}
    expected = [[codes[row[label]] for label in LABELS] for row in rows]
    assert len(rows) == 4
    assert LABELLER.codes([row["Report Impression"] for row in rows]).tolist() == expected


def agreement(references: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """F1 of each label that the references show, and "micro" and "macro" over them: how well two labellers agree."""
    counts = label_counts(references, predictions)
    shown = supported(as_findings(references), LABELS)
    by_label = dict(zip(LABELS, f1(counts.totals()).tolist(), strict=True))
    tp, fp, fn = counts.totals().sum(axis=1)
    return {label: by_label[label] for label in shown} | {
        "micro": float(2 * tp / (2 * tp + fp + fn)),
        "macro": float(np.mean([by_label[label] for label in shown])),
    }


def test_agreement_with_given_labels(shared_data):
    """The held-out half; `medim-bench selftest --labels` has the micro figures."""
    path = shared_data / "text" / "iu_ratchet" / "openi_metadata_dataset_chexpert_labels.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [r for r in csv.DictReader(stream) if int(hashlib.sha256(r["subject_id"].encode()).hexdigest(), 16) % 2]
    codes = {"-": BLANK, "1": P, "0": N, "-1": U}
    given = np.array([[codes[row[label]] for label in LABELS] for row in rows])
    found = agreement(given, LABELLER.codes([row["FINDINGS"] for row in rows]))
    assert len(rows) == 1279
    assert (found["micro"], found["macro"]) == pytest.approx((0.750, 0.756), abs=0.002)
    for label, value in {
        "Atelectasis": 0.98,
        "Lung Opacity": 0.94,
        "Lung Lesion": 0.94,
        "Edema": 0.9,
        "Pleural Effusion": 0.87,
    }.items():
        assert found[label] >= value - 0.005


def test_it_is_a_checker():
    found = LABELLER(["Possible pneumonia.", "No effusion."])
    assert found == [frozenset({"Pneumonia"}), frozenset({"No Finding"})]
    assert LABELLER.labels == LABELS
    assert len(LABELLER.fingerprint) == 16


def test_text_without_end_ends():
    """A generator that repeats itself: seconds would be hours with rules that go back and forth."""
    for text in ("no acute " * 1000, "effusion, " * 300, "history of " * 1000, "a: " * 2000, "borderline " * 1000):
        start = process_time()
        LABELLER.codes([text])
        assert process_time() - start < 2
