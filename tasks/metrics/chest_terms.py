"""What reports call the 13 observations of CheXpert's labels, and the words that deny or doubt them: version 1.

Regular expressions on lower-case text, as lists of alternatives. Of one that holds others, <gap> is up to some words that name
nothing of their own, <mediastinum> any form of that word, <grown> a word for being too large.
"""

from collections.abc import Sequence

_PARTS = {
    "<gap>": r"(?: (?!normal|within|with|without|but|limits|lungs?|pulmonary|aort\w*|hil\w+|no|mass|nod\w+)[\w/-]+)",
    "<mediastinum>": r"(?:(?:cardio)?-?mediastin\w+)",
    "<grown>": r"(?:enlarge\w*|prominen\w+|increased in size|widen\w*|dilat\w+|large(?! effusion)|big)",
    "<more>": r"(?:significant |definite |interval |appreciable |other |further )",
    "<earlier>": r"(?:on|in|at) (?:the |that |a )?(?:prior|previous|earlier|last|outside)",
    "<wholly>": r"(?:(?:entirely|completely|definitively|fully) )",
}


def _any(alternatives: Sequence[str], whole: bool = False) -> str:
    """One expression for all of them; where `whole`, of whole words."""
    pattern = "|".join(alternatives)
    for name, part in _PARTS.items():
        pattern = pattern.replace(name, part)
    return rf"\b(?:{pattern})\b" if whole else pattern


MENTIONS: dict[str, str] = {
    "Enlarged Cardiomediastinum": _any([
        r"(?:widen\w+|enlarge\w+|prominen\w+)<gap>{0,3} <mediastinum>",
        r"<mediastinum><gap>{0,6}? (?:widen\w*|enlarge\w*|prominen\w+)",
    ]),
    "Cardiomegaly": _any([
        r"cardiomegaly", r"(?:<grown>|enlargement of)<gap>{0,3} (?:heart|cardiac|cardiopericardial)",
        r"(?:heart|cardiac|cardiopericardial|ventricular|cardio-?mediastinal silhouette)<gap>{0,7}? <grown>",
    ]),
    "Lung Lesion": _any([
        r"(?:micro)?nodul(?:es?|ar(?: \w+)? (?:opacit\w+|densit\w+|opacification\w*|focus|foci|lesions?|shadows?))",
        r"nodularity", r"mass(?:es)?(?! effect)(?:-like \w+)?",
        r"(?:cavitary|lung|pulmonary|focal|mass|lytic|parenchymal) lesions?", r"tumou?rs?", r"neoplas\w+", r"carcinoma\w*",
        r"malignan\w+", r"metasta\w+",
    ]),
    "Lung Opacity": _any([
        r"opaci\w+",
        r"(?:increased|patchy|focal|hazy|streaky|linear|vague|ill-defined|airspace|parenchymal|basilar) densit\w+",
        r"air ?-?space (?:disease|process\w*|opacit\w+|changes?)", r"(?<!retrosternal )airspace", r"infiltrat\w+",
        r"interstitial (?:\w+ )?(?:markings?|pattern\w*|lung disease|disease|prominence|thickening)",
        r"interstitial (?:\w+ )?(?:changes?|infiltrat\w+|edema)",
        r"reticul\w+(?: \w+)? (?:pattern\w*|markings?|densit\w+)", r"reticulation\w*",
        r"(?:peri)?bronchial (?:wall )?(?:thickening|cuffing)", r"scar(?:s|ring)?", r"haziness", r"ground ?-?glass",
        r"fibro-?nodular", r"lung markings", r"bronchovascular markings",
    ]),
    "Edema": _any([
        r"edema", r"oedema", r"(?:congestive )?(?:heart|cardiac) failure", r"chf",
        r"(?:pulmonary |venous |vascular |pulmonary venous )+congestion",
        r"vascular (?:prominence|redistribution|engorgement)", r"cephalization", r"kerley", r"volume overload",
        r"fluid overload",
    ]),
    "Consolidation": _any([
        r"consolidat\w+",
    ]),
    "Pneumonia": _any([
        r"(?:broncho)?pneumonias?", r"pneumonic", r"pneumonitis", r"infect\w+(?: \w+)? ?(?:process|etiology)?",
    ]),
    "Atelectasis": _any([
        r"atelecta\w+", r"(?:lobar |lung |lobe |partial |subsegmental )collapse", r"collapse of", r"volume loss",
    ]),
    "Pneumothorax": _any([
        r"(?:hydro)?pneumothora\w+", r"ptx",
    ]),
    "Pleural Effusion": _any([
        r"(?:pleural |parapneumonic |layering |subpulmonic )?effusions?", r"pleural fluid", r"hydropneumothorax",
        r"hemothorax", r"fluid in the pleural", r"pleural (?:space )?collections?",
    ]),
    "Pleural Other": _any([
        r"(?:bi)?(?:apical |pleural |pleuro-?parenchymal |biapical )+(?:thickening|scar\w*|plaques?|calcifications?)",
        r"thickening of the (?:\w+ )?pleura", r"pleural based", r"fibrosis", r"fibrothorax", r"pleural disease",
    ]),
    "Fracture": _any([
        r"fractur\w+", r"rib deformit\w+",
    ]),
    "Support Devices": _any([
        r"pacer\w*", r"pace ?-?makers?", r"picc",
        r"(?:central|venous|subclavian|jugular|ij|arterial|peripheral|port|dialysis)(?: \w+){0,2} lines?",
        r"(?:et|ng|endotracheal|nasogastric|enteric|tracheostomy|chest) (?:\w+ )?tubes?",
        r"(?:feeding|gastric|orogastric|thoracostomy|dobbhoff) (?:\w+ )?tubes?",
        r"catheters?", r"valve (?:replacement|prosthesis)", r"prosthe\w+", r"(?:\w+ )?hardware", r"arthroplast\w+", r"icd",
        r"defibrillator\w*", r"(?:cardiac|monitoring|support|electronic|stimulator) devices?", r"drains?\b", r"screws?",
        r"cannulas?", r"port-?a-?cath", r"medi-?port\w*", r"sternotomy (?:wires?|sutures?)", r"sternal wires?",
        r"(?:ivc|vena cava) filter", r"(?:pacer|pacemaker|icd) leads?", r"gastrostomy", r"(?:catheter|line|tube|picc) tip",
        r"tip (?:in|at|overl\w+|projects?|terminat\w+)", r"generator", r"wires\b", r"swan", r"fusion (?:plates?|rods?)",
        r"spinal fusion", r"port\b",
    ]),
}  # fmt: skip
"""By label, what reports call it. `No Finding` follows from the others."""

NORMAL: dict[str, str] = {
    "Enlarged Cardiomediastinum": _any([
        r"<mediastinum>",
    ]),
    "Cardiomegaly": _any([
        r"(?:heart|cardiac|cardio-?mediastinal|cardiopericardial)",
    ]),
}  # fmt: skip
"""Organs that a clause with `NORMALITY` calls normal."""

NORMALITY = _any([
    r"normal", r"unremarkable", r"within (?:\w+ )?limits", r"not (?:\w+ )?(?:enlarged|widened|prominent)",
    r"upper limits? of normal", r"top normal", r"clear", r"intact", r"negative",
], whole=True)  # fmt: skip

NOT_DENIALS = _any([
    r"\bno <more>*(?:changes?|difference|progression|increase|improvement)(?: (?:in|of|from|to)\b)?",
    r"\bnot (?:significantly |appreciably )?changed", r"\bno longer (?:as|so)\b", r"\bnot only\b", r"\bwithout change\b",
    r"\bwithout (?:significant )?(?:interval )?change\b",
    r"\bnot (?:\w+ )?(?:seen|present|evident|noted|identified) <earlier>",
])  # fmt: skip
"""Look like denials and are none."""

DOUBTFUL_DENIALS = _any([
    r"\b(?:can ?not|could not|can't|not) (?:be )?<wholly>?(?:be )?(?:excluded?|ruled? out)",
    r"\bnot (?:entirely )?excluded", r"\bdifficult to exclude", r"\bcannot be excluded",
])  # fmt: skip
"""Leave open what they seem to deny."""

DENIALS = _any([
    r"no", r"without", r"absent", r"negative for", r"free (?:of|from)", r"clear of", r"absence of", r"lack of", r"neither",
    r"nor", r"denies", r"not", r"resolution of", r"resolved", r"interval removal of", r"removal of", r"rather than",
    r"no evidence of", r"never", r"clearing of", r"non",
], whole=True)  # fmt: skip
"""Deny what follows in the clause."""

DENIALS_AFTER = _any([
    r"not (?:\w+ )?(?:seen|identified|present|visuali[sz]ed|evident|appreciated|demonstrated)(?! <earlier>)",
    r"not (?:\w+ )?(?:detected|noted|suspected|observed|apparent)(?! <earlier>)",
    r"(?:is|are|was|were) absent", r"(?:has|have) (?:\w+ )?(?:resolved|cleared)",
    r"(?:has|have|was|were) (?:been )?removed", r"no longer (?:\w+ )?(?:seen|identified|present|visuali[sz]ed|evident)",
    r"ruled out", r"(?:is|are) unlikely", r"are excluded", r"is excluded",
], whole=True)  # fmt: skip
"""Deny what the clause named before."""

DOUBTS = _any([
    r"possibl[ey]", r"possibility of", r"may", r"might", r"could", r"questionable", r"questioned", r"question",
    r"suspicious for", r"suspicion (?:of|for)", r"suspected", r"concern(?:ing)? (?:for|of)",
    r"suggest(?:s|ing|ed)? possible", r"perhaps", r"potentially?", r"presumed", r"equivocal", r"evaluate for", r"rule out",
    r"r/o", r"differential", r"borderline", r"versus", r"vs", r"worrisome for", r"indeterminate", r"cannot exclude",
    r"not excluded", r"consider",
], whole=True)  # fmt: skip
"""Leave open what follows in the clause."""

DOUBTS_AFTER = _any([
    r"(?:is|are) (?:possible|suspected|questioned|a consideration|borderline)", r"versus", r"vs", r"not excluded",
    r"in the differential",
], whole=True)  # fmt: skip
"""Leave open what the clause named before."""

CLAUSE_ENDS = _any([
    r"but", r"however", r"although", r"though", r"except(?:ing)?", r"apart from", r"aside from", r"other than",
    r"otherwise", r"whereas", r"while", r"yet", r"which", r"therefore", r"with the exception of", r"nevertheless",
    r"there (?:is|are|was|were)", r"it is", r"they are",
], whole=True)  # fmt: skip
"""Begin another clause, which nothing before them governs."""
