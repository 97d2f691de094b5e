"""Where one statement of a sentence ends and the next begins, so that a denial governs its own statement only.

A new statement begins at a comma, "and" or "with" before an adjective of its own ("no pneumothorax, small effusion"), an
article, a size, a denial or a subject with its verb ("no effusion and the heart is enlarged"); after "despite" and its like.
None begins where "or" or "nor" goes on with a list ("no consolidation, large effusion, or pneumothorax"), nor in a bare list.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from tasks.metrics.clinical.terms import either, read_terms

_WORDS = {name: either(words) for name, words in read_terms("statement_words").items()}
SIDES, _DEGREES, _ADVERBS, _VERBS, _NO = (_WORDS[name] for name in ("sides", "degrees", "adverbs", "verbs", "denials"))
_ADJECTIVES = either((_DEGREES, SIDES, _WORDS["states"], _WORDS["looks"]))
_MEASURE = r"\d+(?:\.\d+)?(?:\s?x\s?\d+(?:\.\d+)?)*[ -]?(?:mm|cm)"

BEGINS = rf"(?:(?:{_ADVERBS}) )*(?:{_DEGREES}|{SIDES}|stable|persistent|residual|chronic|old|healed|known)\b".replace(
    "large|", ""
)
"""What begins a statement even where no comma stands before it."""

OWN = re.compile(rf"(?:(?:{_ADVERBS}) )*(?:{_ADJECTIVES}|present|presence of|{_MEASURE})\b(?! (?:or|nor|and/or)\b)")
"""An adjective or a size of its own: what follows is a statement of its own."""

_ARTICLE = re.compile(r"(?:an?|the|this|these|those|there|it|its|they|another|some|one|two|three|both|presence of)\b")
_DENIAL_FIRST = re.compile(rf"(?:(?:there|it) (?:is|are) )?(?:now )?(?:{_NO})\b")
_DENIAL = re.compile(rf"\b(?:{_NO}|absence of|lack of|devoid of)\b")
_VERB = re.compile(rf"\b(?:{_VERBS})\b")
_PLURAL = re.compile(r"(?:are|were|have|appear|remain|show|seem|look|persist)\b")
_BEING = re.compile(r"(?:is|are|was|were)\b")
_SEEN = re.compile(
    r"(?:is|are|was|were|has been|have been) (?:\w+ly )?(?:seen|identified|visuali[sz]ed|evident|appreciated|demonstrated|"
    r"detected|observed|found|visible|apparent|suspected|suggested)\b"
)
_STATED = re.compile(r"(?:are|were) (?:present|noted)\b")
_STOP = re.compile(rf"\b(?:{_VERBS}|with|no|without|but|suggest\w*|indicat\w*)\b")
_OR = re.compile(r"\b(?:or|nor)\b")
_OXFORD = re.compile(r",\s*(?:and/)?(?:or|nor)\b")
_SIDED = re.compile(rf"(?:(?!or\b)\w+ ){{0,2}}(?:{SIDES})\b(?! or\b)")
_WAITING = rf"(?:{_ADVERBS}|{_ADJECTIVES}|acute|focal|definite|discrete|overt|any)\b(?:,| and/or| and| or)? ?"
_OPEN = re.compile(rf"(?:^|\b(?:no|without|any|an?|of|for|either|both|neither|nor) )(?:{_WAITING})*$")
"""An end that waits for its noun: "no acute" and chronic fracture."""

_SIGHT = 400  # letters: what is farther away decides nothing
_PLACE = re.compile(r"(?:(?!or\b|and\b|nor\b)[\w-]+ ){1,3}(?:of|in|at|on) the (?:left|right)\b")
_PLACED = re.compile(
    r"\b(?:in|at|tips?|place|with|position|intact|ok|satisfactory|standard|noted|again|overl\w+|project\w*|terminat\w+|remains?|\d+)\b"
)
_JOINT = re.compile(
    r"\s*,\s*(?:(?:and|with|plus|while|also)\b(?! ?/ ?or)\s*)?"
    r"|\s*\b(?:and|plus|as well as)\b(?! ?/ ?or)\s*"
    r"|\s*(?<!consistent )(?<!compatible )(?<!compared )(?<!keeping )(?<!comparison )(?<!correlat)(?<!correlate )\bwith\b\s*"
    r"|\s*\b(?P<apart>despite|alongside|in spite of|superimposed (?:up)?on|adjacent to|"
    r"(?:to|that would) (?:explain|account for)|in the setting of|"
    r"(?:status post|following|after) (?:\w+ ){0,3}?(?=(?:placement|insertion|intubation)))\b\s*"
)


def statements(sentence: str, things: re.Pattern[str] | None = None) -> Iterator[str]:
    """The statements of a sentence, in its order; together they are the sentence.

    Args:
        sentence: lower case, one space between words, no full stop.
        things: what begins a statement of its own also without an adjective, at the start of what follows (devices).
    """
    places = [0]
    for match in _JOINT.finditer(sentence):
        left = sentence[max(places[-1], match.start() - _SIGHT) : match.start()]
        rest = sentence[match.end() : match.end() + _SIGHT]
        if left.strip(" ,") and (match["apart"] or _begins(left, match.group(), rest, things)):
            places.append(match.start())
    for start, end in pairwise([*places, len(sentence)]):
        yield sentence[start:end]


def _begins(left: str, joint: str, rest: str, things: re.Pattern[str] | None) -> bool:
    if _DENIAL_FIRST.match(rest):
        return True
    stop = _STOP.search(rest)
    if _goes_on(left, rest[: stop.start()] if stop else rest) or _OPEN.search(left):
        return False
    verb = _VERB.search(rest)
    subject = rest[: verb.start()] if verb else ""
    denied = _DENIAL.search(left) is not None
    one_subject = not denied and not _VERB.search(left)  # "the heart and the mediastinum are normal"
    if verb and one_subject and "with" not in joint and _PLURAL.match(verb.group()) and not OWN.match(left.strip(" ,")):
        return False
    if "," in joint and _PLACE.match(rest):
        return True
    if OWN.match(rest) or _ARTICLE.match(rest) or _is_thing(left, joint, rest, things):
        return True
    if verb and not verb.start() and not _BEING.match(rest):
        return True  # "lacks normal ducts and shows fibrosis"
    if not verb or not subject.strip() or "with" in joint or re.search(r",|\bwith\b", subject):
        return False
    if " and " in subject and not _PLURAL.match(verb.group()):
        return False  # the next joint is nearer to the verb
    return not (denied and (_SEEN.match(rest, verb.start()) or _STATED.match(rest, verb.start())))


def _is_thing(left: str, joint: str, rest: str, things: re.Pattern[str] | None) -> bool:
    if things is None or not things.match(rest) or things.search(left):
        return False
    return "with" in joint or _PLACED.search(rest) is not None


def _goes_on(left: str, listed: str) -> bool:
    """Whether the list that began on the left goes on behind the joint, up to its "or"."""
    if _OXFORD.search(listed):
        return True
    closed = [match.start() for match in _DENIAL.finditer(left)]
    if _OR.search(left, closed[-1] if closed else 0) and not _OPEN.search(left):
        return bool(re.match(r"(?:or|nor)\b", listed))
    return _OR.search(listed) is not None and not _SIDED.match(listed)
