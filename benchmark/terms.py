"""Which data-use terms keep samples off every page."""

RESTRICTED = ("credentialed", "physionet", "data use agreement", "dua", "restricted")


def withheld(terms: str) -> bool:
    """Whether images and reports of data under these terms stay out of pages, galleries and exports.

    >>> withheld("PhysioNet Credentialed Health Data License 1.5.0"), withheld("CC BY 4.0")
    (True, False)
    """
    words = terms.lower()
    return any(mark in words.split() if mark.isalpha() and len(mark) < 5 else mark in words for mark in RESTRICTED)
