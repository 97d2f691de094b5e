import pytest

from tasks.metrics.text.porter import stem

# What NLTK's PorterStemmer gives in its default mode.
KNOWN = {
    "effusions": "effus", "enlarged": "enlarg", "enlarging": "enlarg", "dies": "die", "died": "die", "flies": "fli",
    "spied": "spi", "sky": "sky", "skies": "sky", "dying": "die", "news": "news", "agreed": "agre", "feed": "feed",
    "hopping": "hop", "falling": "fall", "filing": "file", "conflated": "conflat", "troubled": "troubl",
    "sized": "size", "happy": "happi", "enjoy": "enjoy", "spy": "spi", "radically": "radic", "formalize": "formal",
    "relational": "relat", "conditional": "condit", "hesitancy": "hesit", "digitizer": "digit",
    "conformably": "conform", "differently": "differ", "vilely": "vile", "analogously": "analog", "operator": "oper",
    "feudalism": "feudal", "decisiveness": "decis", "hopefulness": "hope", "callousness": "callous",
    "formality": "formal", "sensitivity": "sensit", "sensibility": "sensibl", "archaeology": "archaeolog",
    "geology": "geolog", "triplicate": "triplic", "formative": "form", "electricity": "electr", "electrical": "electr",
    "goodness": "good", "revival": "reviv", "allowance": "allow", "inference": "infer", "airliner": "airlin",
    "adjustable": "adjust", "replacement": "replac", "adjustment": "adjust", "dependent": "depend", "adoption": "adopt",
    "irritant": "irrit", "communism": "commun", "activate": "activ", "effective": "effect", "bowdlerize": "bowdler",
    "probate": "probat", "rate": "rate", "cease": "ceas", "controll": "control", "roll": "roll",
    "pneumothoraces": "pneumothorac", "calcified": "calcifi", "degenerative": "degen",
    "cardiomediastinal": "cardiomediastin", "ties": "tie", "oed": "o", "as": "as", "by": "by", "yyy": "yyy",
    "proceed": "proceed", "inning": "inning", "hopefully": "hope",
}  # fmt: skip


@pytest.mark.parametrize(("word", "expected"), list(KNOWN.items()))
def test_stems(word, expected):
    assert stem(word) == expected
    assert stem(word.upper()) == expected
