"""Which data-use terms keep samples off every page, and the terms that a model learned under."""

import re

from medim.checkpoints import resolve
from medim.common.errors import UserError
from medim.common.files import read_mapping

RESTRICTED = ("credentialed", "physionet", "data use agreement", "dua", "restricted")


def withheld(terms: str) -> bool:
    """Whether images and reports of data under these terms stay out of pages, galleries and exports.

    The marks are whole words, alone or in the plural, in any case, with any punctuation.

    >>> withheld("PhysioNet Credentialed Health Data License 1.5.0"), withheld("CC BY 4.0")
    (True, False)
    """
    words = re.sub(r"[\W_]+", " ", terms.lower())
    return re.search(rf"\b({'|'.join(RESTRICTED)})s?\b", words) is not None


def joined(*terms: str | None) -> str:
    """Each of the terms once, as one text.

    >>> joined("CC BY 4.0; CC0-1.0", None, "CC0-1.0")
    'CC BY 4.0; CC0-1.0'
    """
    return "; ".join(dict.fromkeys(part for text in terms if text is not None for part in text.split("; ")))


def model_terms(name: str) -> str | None:
    """The terms of the data that the trained model `name` learned from; None where it states none, or is of another kind."""
    try:
        card = resolve(name) / "training.json"
    except UserError:  # an adapter, a baseline, a generator of another package; `open_model` knows whether it is none of these
        return None
    return read_mapping(card).get("terms") if card.is_file() else None
