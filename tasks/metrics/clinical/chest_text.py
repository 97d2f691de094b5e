"""A chest report made ready to be read by rules: what describes the image, in sentences, without abbreviations and templates.

Left out are sections that ask or tell of other days (indication, history, comparison, technique, recommendation, ...) and what
the text calls history. A line of a template ("Effusion: none.") becomes a sentence. Where generated text lacks full stops, a
comma stands before what cannot go on with the words before it.
"""

import re

from medim.data.archives.sections import CANONICAL
from tasks.metrics.clinical.statements import BEGINS
from tasks.metrics.clinical.terms import either, read_terms

_TERMS = read_terms("chest_terms")


def _names(*sections: str) -> str:
    return "|".join(sorted((name for key in sections for name in CANONICAL[key]), key=len, reverse=True))


_DESCRIBES = rf"(?:{_names('findings', 'impression')})"
_ASKS = (
    rf"(?:{_names('indication', 'history', 'comparison', 'technique', 'recommendation', 'notification', 'examination')}"
    r"|reason for (?:\w+ ){1,3}?(?=:)|clinical(?: details| notes?| background| concern)?|request|hx"
    r"|history of (?:present|presenting) \w+)"
)
_STARTS = r"(?:(?<=[.?!;:\n] )|(?<=[\n.?])|^)[ \d.)]*"
_ASKING = re.compile(rf"{_STARTS}{_ASKS}\s*:", re.M)
_HEADING = re.compile(rf"{_STARTS}[a-z][a-z/&-]*(?: [a-z/&-]+){{0,3}}\s*:|\b{_DESCRIBES}\s*:", re.M)
_DESCRIBING = re.compile(rf"\b{_DESCRIBES}\s*:")
_ASKING_BARE = re.compile(rf"^\s*{_ASKS}\b(?! of\b)(?!\s*:)[^.!?]*?\b(?=(?:findings?|impression|conclusion)\b)")
_DESCRIBING_BARE = re.compile(
    r"^\s*(?:findings?|impression|conclusion)\b(?! (?:are|is|of|consistent|suggest|concerning))|\bimpression\b"
)
_QUESTION = r"(?:please |to )?(?:evaluate|evaluation|assess\w*|rule out|r/o|exclude|query|check|eval|confirm)\b(?= )"
"""Of whoever asked for the image."""
_LAST = re.compile(rf"[^.]*(?:\.\s+{_QUESTION}[^.]*)*")
_LINE = re.compile(r"\S[^\n]*\n")

_TOLD_OF = re.compile(
    r"history|hx|h/o|evaluat|assess|to exclude|eval |rule out|treatment|therapy|antibiotics|\bif |patient|[mw]om?an\b|male\b"
)
_TOLD = re.compile(
    r"\b(?:(?:known|past|prior|remote|previous|personal|medical|recent|with|given|clinical) )*"
    r"(?:(?:history|hx) (?:of|significant for)|h/o)\b"
    r"[^,;.:()\n]*?(?=[,;.:()\n]|$| now\b| who\b| with\b| presents?\b| there (?:is|are)\b| the \w+ (?:is|are)\b)"
    rf"|^{_QUESTION}[^,;]*"
    r"|\b(?:obtained|performed|ordered|requested|done|study|examination|film|x-ray)s? (?:was |were )?(?:to|for) "
    rf"{_QUESTION}[^,;]*"
    r"|\b(?:status post|s/p|post|after|following|completed|undergoing) (?:\w+ )?(?:treatment|therapy|antibiotics|chemotherapy)"
    r" (?:for|of) (?:(?!now\b)[\w-]+ ?){1,4}"
    r"|\bif (?:there (?:is|are|remains) )?(?:\w+ ){0,3}?(?:concern|suspicion|suspected|question)\b[^,;]*"
    r"|^(?:this is an? |the |an? )?(?:[\w-]+ ){0,3}?(?:patient|man|woman|male|female) (?:\w+ )?(?:with|presenting|who)\b"
    r"[^,;]*"
)

_TEMPLATE = re.compile(r"[:=?(]|\s[-\u2013\u2014]")
_LEAD = r"(?P<name>\b[a-z][a-z/-]*(?: (?!is |are )[a-z/-]+){0,3})\s*(?:[:=?]|\s[-\u2013\u2014])\s*"
_TAIL = r"\b(?=\s*(?:[.;,\n]|$))"
_SEEN = r"(?:seen|identified|evident|noted|present|detected|visible|visuali[sz]ed|apparent)"
_ABSENT = re.compile(rf"{_LEAD}(?:none|no|nil|absent|negative|neg|n/a|(?:not|none|nothing) {_SEEN}){_TAIL}")
_PRESENT = re.compile(rf"{_LEAD}(?:yes|present|positive|seen|noted){_TAIL}")
_SIGN = re.compile(r"(?P<name>\b[a-z][a-z/-]*(?: [a-z/-]+){0,3}):? ?\((?P<sign>[-+\u2212]|neg(?:ative)?|pos(?:itive)?)\)")
_SIGNED_FIRST = re.compile(r"(?:^|[.;\n]) *\((?:[-+\u2212]|neg(?:ative)?|pos(?:itive)?)\)")
_SIGN_BEFORE = re.compile(r"\((?P<sign>[-+\u2212]|neg(?:ative)?|pos(?:itive)?)\) ?(?P<name>[a-z][a-z/-]*(?: [a-z/-]+){0,3})")
_QUERY = re.compile(r"(?:(?<=[\s(,])|^)\?+ ?(?=\w)")

_SHORT = re.compile(r"/|\(|\b(?:bilat|due to|cm|pnas?|atx|effs?|fx|not (?:\w+ )?normal)\b")
_LONG = tuple((re.compile(pattern), words) for pattern, words in _TERMS["abbreviations"])
_MARKED = re.compile(r"xx|__|\[")
_BOX, _TICKED = re.compile(r"\[ *\]"), re.compile(r"\[ *x *\]")  # of a form
_MARKS = re.compile(r"\bx{2,}\b|_{2,}|\[[^\]]*\]")  # what de-identification leaves
_CUT_OFF = r"(?:(?<=,)|(?<=\b(?:of|or|no))|(?<=\b(?:and|for|the))|(?<=\b(?:with|from)))[ \t]*\n[ \t]*(?=\S)"
_UNFINISHED = re.compile(_CUT_OFF, re.I)
_WRAPPED = re.compile(rf"{_CUT_OFF}|(?<![.:;!?\n])[ \t]*\n[ \t]*(?-i:(?=[a-z]))", re.I)
_MIXED = re.compile(r"(?m)^\s*[A-Z][a-z]|[.:] [A-Z][a-z]")
_SENTENCE = re.compile(r"(?<!\d)\.|\.(?!\d)|[;!?\n]|(?:^|\s)\(?\d{1,2}\)\s")
_BREAKS = re.compile(r"\s+-+\s+|--+|[()\u2013\u2014]")

_ENDS, _ORGANS, _DEVICES = (either(_TERMS[name]) for name in ("ends", "organs", "devices"))
_NAMED = re.compile(r"(?:(?<=^heart)|(?<=^lungs)|(?<=^mediastinum)|(?<=^heart size))\s+[-\u2013\u2014]\s+")
_SAME_ORGAN = re.compile(
    r"^(?:heart|cardiac|mediastin\w+|cardio\w*mediastin\w+)(?:(?:/| and | & )[a-z]+)?\s*:"
    r"(?=[^:]*\b(?:heart|cardiac|cardio|mediastin))"
)
"""A heading before a sentence that names the organ itself."""
_IS = r"is|are|was|were|appears?|remains?|shows?|demonstrates?|has|have"
_RUN_ON = re.compile(
    rf"\b(?<!previously )(?<!as )(?P<end>{_ENDS}) (?=(?:no(?! longer)|there (?:is|are)|without)\b"
    rf"|(?:[\w-]+ ){{0,2}}(?:{_DEVICES}) (?:in|tip|with|at|is|remains?|unchanged)\b"
    rf"|(?:{_ENDS}) (?:is|are|unchanged|stable|persists?|remains?|has|have)\b"
    rf"|(?:the )?(?:{_ORGANS})(?: (?!no\b)\w+){{0,3}}? (?:{_IS}|normal|enlarged)\b"
    rf"|(?:an? )?{BEGINS}(?: [\w-]+){{0,3}}? (?:{_ENDS}|{_DEVICES})\b)"
)
_NEW_SUBJECT = re.compile(rf"\b(?P<end>[a-z]+) (?=the (?:left |right )?(?:{_ORGANS})(?: \w+){{0,3}}? (?:{_IS})\b)")
_LEADS_ON = re.compile(either(_TERMS["leading_on"]))


def sentences(report: str) -> list[str] | None:
    """What a report says of its image: lower-case sentences, without full stops; None where it says nothing of one.

    They are as written but for headings, templates and line breaks: `plain` makes them ready for rules.
    """
    text = report.replace("\r\n", "\n").replace("\r", "\n")
    if "\n" in text:
        text = (_WRAPPED if _MIXED.search(text) else _UNFINISHED).sub(" ", text)
    text = text.lower()
    if _MARKED.search(text):
        text = _MARKS.sub(" ", _TICKED.sub("(+)", _BOX.sub("(-)", text)))
    text = _described(text)
    if not text.strip(" .,;:\n"):
        return None
    if _TEMPLATE.search(text):
        text = _ABSENT.sub(r"no \g<name>. ", text)
        text = _PRESENT.sub(r"\g<name> present. ", text)
        signs = _SIGN_BEFORE if _SIGNED_FIRST.search(text) else _SIGN
        text = signs.sub(lambda m: f"{m['name']} present. " if m["sign"][0] in "+p" else f"no {m['name']}. ", text)
        text = _QUERY.sub(" possible ", text)
    return [words for part in _SENTENCE.split(text) if (words := part.strip())]


def plain(sentence: str) -> str:
    """A sentence of `sentences` without abbreviations, history and brackets, one space between words."""
    if _TOLD_OF.search(sentence):
        sentence = _TOLD.sub(" ", sentence)
    if _SHORT.search(sentence):
        for pattern, words in _LONG:
            sentence = pattern.sub(words, sentence)
    sentence = _SAME_ORGAN.sub("", _NAMED.sub(" ", sentence))
    sentence = " ".join(_BREAKS.sub(", ", sentence).replace(":", " ").split())
    sentence = _RUN_ON.sub(r"\g<end>, ", sentence)
    return _NEW_SUBJECT.sub(lambda m: m.group() if _LEADS_ON.fullmatch(m["end"]) else f"{m['end']}, ", sentence)


def _described(text: str) -> str:
    """Without the sections that do not describe the image."""
    if ":" not in text:
        return text if "." in text else _DESCRIBING_BARE.sub(" ", _ASKING_BARE.sub("", text))
    parts, place = [], 0
    while found := _ASKING.search(text, place):
        parts.append(text[place : found.start()])
        following = _HEADING.search(text, found.end())
        place = following.start() if following else _end_of_last(text, found.end())
    return _DESCRIBING.sub(". ", "".join([*parts, text[place:]]))


def _end_of_last(text: str, start: int) -> int:
    """Where a section that asks ends with no heading behind it: with its line, or its sentence and further questions."""
    end = _LINE.search(text, start) or _LAST.match(text, start)
    assert end is not None
    return end.end()
