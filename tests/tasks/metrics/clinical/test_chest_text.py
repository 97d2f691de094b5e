import pytest

from tasks.metrics.clinical.chest_text import plain, sentences


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("INDICATION: CHF. FINDINGS: Clear. IMPRESSION: Edema.", ["clear", "edema"]),
        ("History: CHF\nClear lungs", ["clear lungs"]),
        ("Reason for exam: CHF. Evaluate for edema. Clear lungs.", ["clear lungs"]),
        ("indication chf findings clear lungs", ["clear lungs"]),
        ("Effusion: none. Edema (+). Mass - no", ["no effusion", "edema present", "no mass"]),
        ("No effusion or\nedema. Mild\nscoliosis.\nMass", ["no effusion or edema", "mild scoliosis", "mass"]),
        ("Mass of 2.5 cm. No. 5 rib", ["mass of 2.5 cm", "no", "5 rib"]),
        ("1) Edema 2) Mass", ["edema", "mass"]),
        ("?mass", ["possible mass"]),
        ("XXXX opacity, ___ lobe", ["opacity,   lobe"]),
        ("INDICATION: CHF", None),
        (" ", None),
    ],
)
def test_sentences(report, expected):
    assert sentences(report) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("mild cm w/o chf", "mild cardiomegaly, without chf"),
        ("tube 3 cm above it", "tube 3 cm above it"),
        ("history of chf, clear lungs", ", clear lungs"),
        ("evaluate for edema", ""),
        ("edema (mild)", "edema , mild,"),
        ("no effusion mild edema", "no effusion, mild edema"),
        ("no effusion the heart is large", "no effusion, the heart is large"),
        ("size of the heart is normal", "size of the heart is normal"),
    ],
)
def test_plain(sentence, expected):
    assert plain(sentence).strip() == expected
