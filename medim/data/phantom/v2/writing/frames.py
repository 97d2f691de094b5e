"""The sentences of version 2 in which any finding fits, and the words for since when and compared with what."""

# {p} the noun phrase, {a} with its indefinite and {same} with its definite article; {the} the short one with its definite.
ASSERTED: tuple[str, ...] = (
    "{p}",
    "there {is} {a}",
    "{a} {is} seen",
    "{a} {is} present",
    "{a} {is} noted",
    "note is made of {a}",
)
LIKELY: tuple[str, ...] = (
    "probable {p}",
    "likely {p}",
    "{a} {is} likely",
    "appearances consistent with {a}",
    "findings in keeping with {a}",
    "there {is} probably {a}",
    "{a} {is} probable",
    "findings compatible with {a}",
)
OPEN: tuple[str, ...] = (
    "possible {p}",
    "questionable {p}",
    "suspected {p}",
    "{a} {is} suspected",
    "{a} cannot be excluded",
    "there may be {a}",
    "{a} {is} possible",
    "suspicion of {a}",
    "equivocal {p}",
    "{a} {is} not excluded",
    "concern for {a}",
)
COURSE: dict[str, tuple[str, ...]] = {
    "new": (
        "new {p}",
        "{a} {has} developed {since}",
        "{a} {has} appeared {since}",
        "new {p} {since}",
        "{a} {is} now present",
        "{a}, new {since}",
        "{a}, not seen {before}",
    ),
    "increased": (
        "{the} {has} {grown} {since}",
        "interval increase in {the}",
        "{the} {is} {more} than {before}",
        "increasing {p}",
        "{a}, increased {since}",
        "worsening {p} {since}",
    ),
    "decreased": (
        "{the} {has} {shrunk} {since}",
        "interval decrease in {the}",
        "{the} {is} {less} than {before}",
        "decreasing {p}",
        "{a}, decreased {since}",
        "improving {p} {since}",
        "residual {p}",
    ),
    "unchanged": (
        "{same} {is} unchanged",
        "stable {p}",
        "persistent {p}",
        "unchanged {p} {since}",
        "{a} {is} again seen",
        "no change in {same}",
        "no significant interval change in {the}",
        "{the} {has} not changed {since}",
        "{a}, unchanged {since}",
        "{the} {is} still present",
    ),
    "resolved": (
        "{the} {has} {gone}",
        "the previously seen {short} {is} no longer seen",
        "interval resolution of {the}",
        "{the} seen {before} {has} {gone}",
        "the previously noted {short} {has} {gone} {since}",
        "{the} {is} no longer visible",
    ),
}
MEASURED: tuple[str, ...] = (
    "{the} now {measures} {size}, previously {earlier}",
    "{the} {measures} {size}, compared with {earlier} {before}",
)
PLACED: tuple[str, ...] = (
    "new {p}",
    "{a} {has} been placed {since}",
    "{a}, new {since}",
    "interval placement of {a}",
    "{a} {is} now present",
)
REMOVED: tuple[str, ...] = ("{the} has been removed", "interval removal of {the}", "{the} {is} no longer seen")
COURSE_WORDS: dict[str, tuple[str, ...]] = {
    "new": ("new",),
    "increased": ("increasing", "worsening"),
    "decreased": ("decreasing", "improving"),
    "unchanged": ("unchanged", "stable", "persistent"),
}
LIKELY_WORDS = ("probable", "likely", "presumed")
OPEN_WORDS = ("possible", "questionable", "suspected", "equivocal")
DENIED: tuple[str, ...] = (
    "no {these}",
    "there is no {these}",
    "no {these} is seen",
    "no evidence of {these}",
    "no {these} is identified",
    "there is no evidence of {these}",
    "negative for {these}",
)
DENIED_SIDE: tuple[str, ...] = (
    "no {side} {these}",
    "no {these} on the {side}",
    "there is no {side} {these}",
    "no evidence of {side} {these}",
)

SINCE = (
    "since the prior study",
    "since the previous examination",
    "compared with the prior radiograph",
    "from the prior study",
    "in the interval",
)
BEFORE = ("on the prior study", "on the previous examination", "on the earlier radiograph")
NEW_SINCE = ("since the prior study", "since the previous examination", "in the interval")
SINCE_BIOPSY = ("since the previous biopsy", "compared with the prior biopsy", "in the interval")
NEW_SINCE_BIOPSY = ("since the previous biopsy", "since the prior specimen", "in the interval")
BEFORE_BIOPSY = ("in the previous biopsy", "in the prior specimen")
SHORT_BOTH = {
    "effusion": ("bilateral pleural effusions", "bilateral effusions"),
    "pneumothorax": ("bilateral pneumothoraces",),
    "consolidation": ("bilateral consolidation",),
    "nodule": ("bilateral lung nodules", "bilateral nodules"),
}
