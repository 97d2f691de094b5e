"""The words that the report checker knows: names of findings, cues that deny or leave open, phrases rewritten first."""

import re

# Names of findings, as regular expressions over a lower-case clause. `device`, `tube`, `haze` count only where they are denied.
NAMES: dict[str, str] = {
    "cardiomegaly": r"cardiomegaly|cardiac enlargement|enlargement of the (?:heart|cardiac (?:silhouette|shadow))",
    "extubated": r"extubat(?:ed|ion)",
    "endotracheal tube": r"endotracheal tubes?|endotracheal|et tubes?|ett|intubated",
    "pacemaker": r"pacemakers?|pacer|pacing (?:device|lead|wire)s?",
    "device": r"(?:support(?:ing)?|implanted) (?:devices?|apparatus)|devices?",
    "tube": r"tubes?",
    "pulmonary edema": r"(?:(?:pulmonary|interstitial|alveolar|perihilar) )*o?edema",
    "haze": r"perihilar (?:haze|opacity|opacities)",
    "hydropneumothorax": r"hydropneumothora(?:x|xes|ces)",
    "pneumothorax": r"pneumothora(?:x|xes|ces)",
    "effusion": r"effusions?|pleural fluid(?: collections?)?",
    "consolidation": r"air[ -]?space (?:opacity|opacities|disease|consolidations?)|consolidations?|consolidat(?:ed|ive)"
    r"|pneumonia",
    "nodule": r"nodules?|nodular (?:opacity|opacities|density|densities)",
    "cellularity": r"(?P<low>(?:hypo|pauci)cellular(?:ity)?|(?:poorly|sparsely) cellular)"
    r"|(?P<high>hypercellular(?:ity)?|(?:highly|densely|markedly) cellular)"
    r"|(?P<moderate>normocellular)|cellularity|cell density",
    "glands": r"glands?|glandular",
    "lymphocytic infiltrate": r"lymphocytic infiltrat(?:es?|ion)|lymphocyt(?:es?|ic)|lymphoid(?: aggregates?)?",
    "necrosis": r"necrosis|necrotic",
    "pigment": r"pigment(?:ed|ation|s)?",
}
NAME = re.compile(r"\b(?:" + "|".join(f"(?P<n{i}>{pattern})" for i, pattern in enumerate(NAMES.values())) + r")\b")
KINDS = tuple(NAMES)
ONLY_DENIED = frozenset({"device", "tube", "haze"})
LATERAL = frozenset({"effusion", "pneumothorax", "hydropneumothorax", "consolidation", "nodule"})
PLURAL = re.compile(r"(?:effusions|pneumothoraxes|pneumothoraces|consolidations|opacities|densities|nodules)$")

SIDE = re.compile(r"\b(?:left|right|bilateral(?:ly)?|both|bibasal|bibasilar)\b")
SIDE_AFTER = re.compile(
    r"\b(?:on|in|at|of|within|to|involving|throughout) (?:the |both )?$"
)  # such a side belongs to what precedes it
SHARED_SIDE = re.compile(
    r"(?:.*\b(?:in|on|at|of) (?:the )?)?(?:left|right)(?: (?:upper|mid|middle|lower))?(?: zone| lobe| lung| side)?"
    r" and (?:the )?"
)
SEPARATOR = re.compile(r",|\b(?:and|or|nor|no|not|with|without|but|versus|vs)\b")

LEVEL = re.compile(r"\b(?:low|sparse|reduced|decreased|poor|high|increased|rich|moderate|normal|average|intermediate)\b")
LEVELS = {
    **dict.fromkeys(("low", "sparse", "reduced", "decreased", "poor"), "low"),
    **dict.fromkeys(("high", "increased", "rich"), "high"),
    **dict.fromkeys(("moderate", "normal", "average", "intermediate"), "moderate"),
}

_HEART = r"(?:heart|cardiac|cardiomediastinal)(?: (?:size|silhouettes?|shadow|contours?))*"
_MORE = r"pulmonary|mediastinal|mediastinum|vascular\w*|vasculature|silhouettes?|contours?|lungs|great vessels|aorta"
_AND_MORE = rf"(?:,? (?:and )?(?:{_MORE}))*"
_LARGE = r"enlarged|large|big|increased"
_LINK = _AND_MORE + (
    r"(?:(?:,? which)?,? (?:is|are|was|be|been|has|have|may|might|could|remains?|appears?|seems?|looks?|not|no longer|again"
    r"|also|now|still|become|returned|to|and|too|very|somewhat|borderline|at|the|in size|of|:|within|upper limits? of"
    r"|limits?|mild|moderate|severe|\w+ly|measures [^,;]{1,30} across))*"
)
ENLARGED_HEART = re.compile(rf"\b(?:{_HEART}{_LINK} (?:{_LARGE}|enlargement)|(?:{_LARGE}|borderline) {_HEART})\b")
NORMAL_HEART = re.compile(
    rf"\b(?:{_HEART}{_LINK} (?:normal(?: limits| size)?|unremarkable|top[- ]normal)"
    rf"|normal (?:size (?:and \w+ )?of the )?{_HEART})\b"
)
_CLEAR = r"(?:clear|normal|unremarkable|free of disease)\b(?! of| from)"
_OF_SIDE = r"(?:(?P<{0}>left|right) |both |bilateral )?"
_IS = r"(?: :| is| are| remains?| appears?)?"
_ADVERBS = r"(?: \w+ly| otherwise| well[- ]expanded and| both| again| still| also|,)*"
CLEAR_LUNGS = re.compile(
    rf"\b(?:{_OF_SIDE.format('a')}lungs?(?: fields?| zones?| parenchyma)?{_IS}{_ADVERBS} {_CLEAR}"
    rf"|(?:clear|normal) {_OF_SIDE.format('b')}lungs?(?: fields?)?)"
)
CLEAR_ANGLES = re.compile(
    rf"\b(?:{_OF_SIDE.format('a')}(?:lateral )?costophrenic (?:angles?|sulcus|sulci|recess(?:es)?){_IS}{_ADVERBS}"
    r" (?:clear|sharp|preserved|intact|normal|unremarkable|not blunted)\b"
    rf"|(?:clear|sharp) {_OF_SIDE.format('b')}costophrenic (?:angles?|sulcus|sulci))"
)

# What governs the findings after it. Denials first: "not consistent with" is one.
_SEEN = (
    r"seen|visuali[sz]ed|visible|present|identified|evident|noted|demonstrated|appreciated|detected|found|shown|observed"
    r"|apparent"
)
_DENY = (
    r"no|without|absence of|free (?:of|from)|clear of|negative for|lacks?(?: of)?|lacking|neither|nor|never|devoid of"
    r"|(?:resolution|clearing|disappearance|removal|withdrawal) of|rather than|instead of|unlikely|not likely"
    rf"|not(?! (?:\w+ly |well )?(?:{_SEEN})\b)"
)
_LEAVE_OPEN = (
    r"possibl[ey]|potential(?:ly)?|perhaps|maybe|questionabl[ey]|question of|equivocal|suspected|suspicion (?:of|for)"
    r"|suspicious (?:for|of)|concern(?:ing|ed)? for|worrisome for|may|might|could|borderline|indeterminate"
    r"|less likely|open before"
)
_SAY_NOTHING = (
    r"no (?:(?:new|other|additional|further|enlarging|worsening|increasing)(?: or |, )?)+"
    r"|(?:prior |past )?history of|evaluat(?:e|ion) for|assess(?:ment)? for|(?:to )?rule out|r/o|looking for|to exclude"
    r"|status post|s/p"
)
_ASSERT = r"positive for"
BEFORE = re.compile(
    rf"\b(?:(?P<silent>{_SAY_NOTHING})|(?P<open>{_LEAVE_OPEN})|(?P<absent>{_DENY})|(?P<present>{_ASSERT}))(?![\w-])"
)
# What closes a clause and governs the findings before it.
AFTER = re.compile(
    r"\b(?:(?P<absent>absent|(?:completely |fully |entirely )?resolved|cleared|removed|withdrawn|disappeared|gone|no longer"
    r"|unlikely|not likely|excluded|ruled out|none|nil|never (?:seen|present)|(?:no|negative)$"
    rf"|not (?:\w+ly |well )?(?:{_SEEN}))"
    r"|(?P<open>open after|suspected|possible|questionable|equivocal|uncertain|may|might|could|considered|in question"
    r"|possibly))\b"
)
COPULA = re.compile(r"\b(?:is|are|was|were|be|been|has|have|had|now|remains?|probably|also|all|both|since)(?: \w+ly)? $")
WAS_THERE = re.compile(
    r"\b(?:was|were|had)\b(?=.*\b(?:previously|before|earlier|(?:on|in|at) the (?:prior|previous|earlier|last|preceding))\b)"
)
IS_THERE = re.compile(r"\b(?:is|are|has|have|remains?|persists?|unchanged|again|still|now|stable|not seen|no)\b")
PRONOUN = re.compile(r"\b(?:it|this|that|those|they|these|one|ones|none|which|both)\b")
NEW_ONE = re.compile(r"\b(?:ones?|none)\b")  # takes the finding's name but not its side

# Ends a clause whatever stands before and behind.
BREAK = re.compile(
    r";|\b(?:but|however|although|though|except(?:ing)?(?: for)?|other than|apart from|aside from|besides|while|whereas|yet"
    r"|otherwise(?! (?:clear|normal|unremarkable)))\b"
    r"|, (?=(?:none|not|stable|unchanged|persistent|known|again|increasing|improving)\b)"
    r"|,(?: and)? (?=[^,;]*\balso\b)"
)
# Ends a clause where something is named behind it.
SOFT_BREAK = re.compile(
    r"(?:,|\band\b|(?<!consistent )(?<!compatible )(?<!keeping )(?<!compared )\bwith\b)(?: (?:and|with))?"
    r" (?=(?:an?|there|the|one|two|three|four|several|multiple|this|that|those|it|they) )"
)
COORDINATOR = re.compile(r",(?: and)? |\band ")
FINITE = re.compile(
    r"\b(?:is|are|was|were|has|have|had|may|might|could|cannot|remains?|persists?|shows?|measures?|resolved|cleared|unchanged|increased"
    r"|decreased|improved|worsened|removed|absent|larger|smaller|stable|noted|seen)\b"
)

_SLOW = r"(?:nearly|almost|partially|partly|incompletely|largely|mostly|substantially|only partially)"
_PRIOR = r"(?:prior|previous|earlier|last|preceding)"
# Rewritten before reading, in this order.
REWRITES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"(?<![\w-])(?:l|lt)(?![\w-])", "left"),
        (r"(?<![\w-])(?:r|rt)(?![\w/-])", "right"),
        (r"\bb/l\b", "bilateral"),
        (r"\b([lr])([uml])l\b", r"\1\2l "),
        (r"\brul\b", "right upper lobe"),
        (r"\brml\b", "right middle lobe"),
        (r"\brll\b", "right lower lobe"),
        (r"\blul\b", "left upper lobe"),
        (r"\blll\b", "left lower lobe"),
        (r"\s*>\s*", " greater than "),
        (r"\bnot (?:only|just|merely)\b|\b(?:no|without(?: a| any)?) (?:doubt|question)(?: that| about| of)?\b", " "),
        (r"\b(?:no|not) (?:more|larger|less) than\b", " "),
        (
            r"\b(?:no|without)(?: any| significant| interval| appreciable| definite| substantial| further)*"
            r" (?:change|increase|decrease|growth|improvement|worsening|progression|difference)(?: (?:in|of))?"
            r"(?: the)?(?: (?:size|appearance|extent) of)?\b",
            " unchanged ",
        ),
        (
            rf"\bnot (?:previously )?(?:seen|present|visible|noted|evident) (?:on|in|at) (?:the |that )?{_PRIOR}(?: \w+)?\b",
            " new ",
        ),
        (r"\b(?:(?:is|are|be|was) )?(?:not|cannot)(?: be)?(?: \w+ly)?(?: be)? (?:excluded|ruled out)\b", " open after "),
        (
            r"\b(?:cannot|can not|does not|do not)(?: \w+ly)? (?:exclude|rule out)\b|\b(?:difficult|hard) to exclude\b",
            " open before ",
        ),
        (r",? ?\bif any\b,?", " questionable "),
        (r"\b(?:is|are)? ?not (?:yet )?(?:certain|sure|definite|confirmed|proven)\b", " uncertain "),
        (rf"\b{_SLOW}(?: completely| entirely)? (?:resolved|cleared|gone|removed)\b", " improved "),
        (r"\b(?:partial|incomplete|near(?:ly)?[- ]complete) (?:resolution|clearing) of\b", " improved "),
        (
            r"\b(?:has|have|is|are|had)? ?not (?:yet )?(?:\w+ly )?"
            r"(?:changed|different|decreased|grown|worsened|progressed|improved|resolved|cleared|disappeared|gone"
            r"|been removed)\b",
            " persists ",
        ),
        (r"\bno (?:suspicious|concerning|worrisome|possible|questionable|convincing|definite)\b", "no"),
        (r"\bl ?ess likely\b", "less likely"),
    )
)
NOT_ENLARGED = re.compile(r"\b(?:has|have|is|are)? ?not (?:\w+ly )?(?:enlarged|increased)\b")  # of the heart, it denies

_SKIPPED = (
    r"indication|clinical (?:history|information|indication)|history|reason for (?:exam(?:ination)?|study)|technique|comparison"
)
_HEADING = (
    rf"(?:{_SKIPPED}|examination|exam|specimen|procedure|findings?|impression|conclusion|diagnosis|microscopy|description)"
)
SKIPPED_SECTION = re.compile(
    rf"\b(?:{_SKIPPED}|examination|exam|specimen|procedure)\s*:(?:(?:(?!\b{_HEADING}\s*:)[^\n])*(?=\n|\b{_HEADING}\s*:)|[^.\n]*)"
)
HEADING = re.compile(rf"\b{_HEADING}\s*:")
