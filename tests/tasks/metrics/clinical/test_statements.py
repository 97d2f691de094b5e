import re

import pytest

from tasks.metrics.clinical.statements import statements


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("no edema, small effusion", ["no edema", "small effusion"]),
        ("no edema, effusion, fracture", ["no edema, effusion, fracture"]),
        ("no edema, large effusion, or fracture", ["no edema, large effusion, or fracture"]),
        ("no edema or fracture, mild scoliosis", ["no edema or fracture", "mild scoliosis"]),
        ("no acute and chronic fracture", ["no acute and chronic fracture"]),
        ("no edema and a mass", ["no edema", "and a mass"]),
        ("no edema with a 4 mm nodule", ["no edema", "with a 4 mm nodule"]),
        ("nothing consistent with a mass", ["nothing consistent with a mass"]),
        ("no edema and heart is large", ["no edema", "and heart is large"]),
        ("no edema, effusion is seen", ["no edema, effusion is seen"]),
        ("the heart and the hila are normal", ["the heart and the hila are normal"]),
        ("heart is not large, mild edema", ["heart is not large", "mild edema"]),
        ("no edema despite fractures", ["no edema", "despite fractures"]),
        ("edema, no effusion", ["edema", "no effusion"]),
    ],
)
def test_where_a_statement_begins(sentence, expected):
    assert [part.strip(" ,") for part in statements(sentence)] == expected
    assert "".join(statements(sentence)) == sentence


def test_things_that_stand_without_an_adjective():
    things = re.compile(r"(?:chest )?tube")
    assert len(list(statements("no edema, chest tube in place", things))) == 2
    assert len(list(statements("no edema, chest tube in place"))) == 1
    assert len(list(statements("no edema and tube", things))) == 1
