"""What reports call the 13 observations of CheXpert's labels, and the words that deny or doubt them: version 2.

Regular expressions on lower-case text (`chest_text.sentences`), as lists of alternatives. Of one that holds others, <gap> is
up to some words that name nothing of their own, <mediastinum> any form of that word, <grown> a word for being too large, <seen>
one for being seen, <unready> one for what is not complete.
"""

from collections.abc import Sequence

_PARTS = {
    "<gap>": r"(?: (?!normal|within|with|without|but|limits|lungs?|pulmonary|aort\w*|hil\w+|no|mass|nod\w+)[\w/-]+)",
    "<mediastinum>": r"(?:(?:cardio)?-?mediastin\w+)",
    "<grown>": r"(?:enlarge\w*|prominen\w+|increased in size|widen\w*|dilat\w+|large(?! effusion)|big)",
    "<more>": r"(?:significant |definite |interval |appreciable |other |further )",
    "<earlier>": r"(?:on|in|at) (?:the |that |a )?(?:prior|previous|earlier|last|outside)",
    "<seen>": r"(?:seen|identified|present|visuali[sz]ed|evident|appreciated|demonstrated|detected|noted|suspected|observed|"
    r"apparent|found|visible|there|shown|likely|recogni[sz]ed|discernible|favou?red|shown)",
    "<unready>": r"(?:nearly|near|almost|partial(?:ly)?|incomplete(?:ly)?|mostly|largely|in part|not|never|not yet)",
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
        r"<mediastinum><gap>{0,6}? (?:widen\w*|enlarge\w*|prominen\w+|abnormal)",
    ]),
    "Cardiomegaly": _any([
        r"cardiomeg\w+", r"(?:<grown>|enlargement of)<gap>{0,3} (?:heart|cardiac|cardiopericardial)",
        r"(?:heart|cardiac|cardiopericardial|ventricular|cardio-?mediastinal silhouette)<gap>{0,7}? <grown>",
        r"cardiac enlargement", r"(?:heart|cardiac) size<gap>{0,3}? increased", r"(?<=borderline )(?:heart|cardiac)",
        r"(?:heart|cardiac)<gap>{0,3}? (?:borderline|abnormal(?! \w))",
        r"cardio-?thoracic ratio (?:is )?(?:\w+ )?(?:increased|elevated|greater)",
    ]),
    "Lung Lesion": _any([
        r"(?:micro)?nodul(?:es?|ar(?: \w+)? (?:opacit\w+|densit\w+|opacification\w*|focus|foci|lesions?|shadows?))",
        r"nodularity", r"mass(?:es)?(?! effect)(?:-like \w+)?",
        r"(?:cavitary|lung|pulmonary|focal|mass|lytic|parenchymal) lesions?", r"tumou?rs?", r"neoplas\w+", r"carcinoma\w*",
        r"malignan\w+", r"metasta\w+",
    ]),
    "Lung Opacity": _any([
        r"opac\w+",
        r"(?:increased|patchy|focal|hazy|streaky|linear|vague|ill-defined|airspace|parenchymal|basilar) densit\w+",
        r"air ?-?space (?:disease|process\w*|opacit\w+|changes?)", r"(?<!retrosternal )airspace", r"infiltrat\w+",
        r"interstitial (?:\w+ )?(?:markings?|pattern\w*|lung disease|disease|prominence|thickening)",
        r"interstitial (?:\w+ )?(?:changes?|infiltrat\w+)",
        r"reticul\w+(?: \w+)? (?:pattern\w*|markings?|densit\w+)", r"reticulation\w*",
        r"(?:peri)?bronchial (?:wall )?(?:thickening|cuffing)", r"scar(?:s|ring)?", r"haziness", r"ground ?-?glass",
        r"fibro-?nodular", r"lung markings", r"bronchovascular markings",
    ]),
    "Edema": _any([
        r"o?edema", r"(?:congestive )?(?:heart|cardiac) failure", r"chf",
        r"(?:pulmonary |venous |vascular |pulmonary venous )+congestion",
        r"vascular (?:prominence|redistribution|engorgement)", r"cephalization",
        r"(?:vascul\w+|vessels|veins)<gap>{0,3}? (?:congested|engorged)", r"kerley", r"volume overload",
        r"fluid overload", r"(?:upper lobe|venous) (?:\w+ )?diversion",
    ]),
    "Consolidation": _any([
        r"consol(?:i?d|ad)\w+",
    ]),
    "Pneumonia": _any([
        r"(?:broncho)?pn?[eu]{1,2}monias?", r"pneumonic", r"pneumonitis", r"infect\w+(?: \w+)? ?(?:process|etiology)?",
    ]),
    "Atelectasis": _any([
        r"atelec\w+", r"(?<!vertebral )(?<!body )(?<!plate )collapse(?! of (?:the )?(?:\w+ )?vertebra)", r"volume loss",
    ]),
    "Pneumothorax": _any([
        r"(?:hydro|ha?emo)?pn?[eu]{1,2}mo-?thora\w+", r"ptx",
    ]),
    "Pleural Effusion": _any([
        r"(?:pleural |parapneumonic |layering |subpulmonic )?eff?usions?", r"pleural fluid", r"hydropneumothorax",
        r"ha?emothora\w+", r"ha?emopneumothora\w+", r"fluid in the pleural", r"pleural (?:space )?collections?",
    ]),
    "Pleural Other": _any([
        r"(?:(?:bi-?)?apical |pleural |pleuro-?parenchymal )+(?:thickening|plaques?|calcifications?|caps?)",
        r"pleur\w+(?: and parenchymal|-parenchymal|parenchymal)? scar\w*",
        r"thickening of the (?:\w+ )?pleura", r"pleural based", r"fibrosis", r"fibrothorax", r"pleural disease",
    ]),
    "Fracture": _any([
        r"fractur\w+", r"rib deformit\w+",
    ]),
    "Support Devices": _any([
        r"pacer\w*", r"pace ?-?makers?", r"piccs?", r"(?:ppm|aicd|cvl|cvc|iabp|ecmo|ett|ngt|ogt)s?\b",
        r"tubes?\b",
        r"(?:central|venous|subclavian|jugular|ij|arterial|peripheral|port|dialysis)(?: \w+){0,2} lines?",
        r"(?:et|ng|endotracheal|nasogastric|enteric|tracheostomy|chest) (?:\w+ )?tubes?",
        r"(?:feeding|gastric|orogastric|thoracostomy|dobbhoff) (?:\w+ )?tubes?",
        r"catheters?", r"valve (?:replacement|prosthesis|ring)",
        r"(?:mechanical|metal\w*|artificial|replaced)(?: \w+)? valves?",
        r"(?:[amt]|tc?a)v[ri]\b", r"lvad", r"pigtail", r"prosthe\w+", r"(?:\w+ )?hardware", r"arthroplast\w+", r"icd",
        r"defibrillator\w*", r"(?:cardiac|monitoring|support|electronic|stimulator|closure|assist) devices?", r"drains?\b",
        r"screws?",
        r"cannulas?", r"port-?a-?cath", r"medi-?port\w*", r"sternotomy (?:wires?|sutures?)", r"sternal wires?",
        r"(?:ivc|vena cava) filter", r"(?:pacer|pacemaker|icd) leads?", r"gastrostomy", r"(?:catheter|line|tube|picc) tip",
        r"tip (?:in|at|overl\w+|projects?|terminat\w+)", r"generator", r"wires\b", r"swan",
        r"(?:r|l|left|right) ij\b(?! (?:vein|thromb))", r"fusion (?:plates?|rods?)",
        r"spinal fusion", r"port\b",
    ]),
}  # fmt: skip
"""By label, what reports call it. `No Finding` follows from the others."""

STEMS: dict[str, tuple[str, ...]] = {
    "Enlarged Cardiomediastinum": ("mediastin",),
    "Cardiomegaly": ("cardi", "heart", "ventricular"),
    "Lung Lesion": ("nodul", "mass", "lesion", "tumo", "neoplas", "carcinoma", "malignan", "metasta"),
    "Lung Opacity": (
        "opac", "densit", "air", "infiltrat", "interstitial", "reticul", "bronchial", "scar", "haziness", "ground", "nodular",
        "markings",
    ),
    "Edema": (
        "dema", "failure", "chf", "congestion", "vascul", "vessel", "veins", "cephali", "kerley", "overload", "diversion",
    ),
    "Consolidation": ("consol",),
    "Pneumonia": ("monia", "monic", "monitis", "infect"),
    "Atelectasis": ("atelec", "collapse", "volume loss"),
    "Pneumothorax": ("thora", "ptx"),
    "Pleural Effusion": ("fusion", "pleural", "thora"),
    "Pleural Other": ("pleur", "fibro", "apical"),
    "Fracture": ("fractur", "deformit"),
    "Support Devices": (
        "pace", "picc", "ppm", "icd", "cv", "iabp", "ecmo", "ett", "ngt", "ogt", "tube", "line", "cathet", "valve", "prosth",
        "hardware", "arthroplast", "avr", "mvr", "tvr", "avi", "lvad", "pigtail", "defibrill", "device", "drain", "screw",
        "cannul", "port", "sternotomy", "wire", "filter", "lead", "gastrostomy", "tip ", "generator", "swan", " ij", "fusion",
        "plate", "rod",
    ),
}  # fmt: skip
"""By label, letters of which one is in every mention: a cheap first look."""

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

NORMAL_AFTER = (
    r"s?(?: (?:and|or)(?: [\w-]+){1,3}?)?(?: (?:is|are|was|were|appears?|remains?|seems?))(?: \w+ly| all| also)?"
    r" (?:normal|unremarkable|within|clear)\b|s? (?:normal|unremarkable|clear)$"
)
"""Calls what stands before it normal."""

NORMAL_BEFORE = r"\b(?:normal|unremarkable)(?: (?!heart|lungs? (?!markings)|with)[\w-]+)? $"
"""Calls what stands behind it normal."""

NOT_DENIALS = _any([
    r"\bno (?:evidence of )?<more>*(?:changes?|difference|progression|increase|improvement)(?: (?:in|of|from|to)\b)?",
    r"\bno (?:evidence of )?<more>*(?:worsening|reduction|decrease|resolution|clearing|growth) (?:in|of)\b",
    r"\bnot (?:significantly |appreciably )?changed", r"\bno longer (?:as|so)\b", r"\bnot only\b",
    r"\b(?:no|not) (?:more|greater|larger|less) than\b", r"\bwithout change\b",
    r"\bwithout (?:significant )?(?:interval )?change\b",
    r"\bnot (?:\w+ )?<seen> <earlier>", r"\bnot (?:yet )?(?:\w+ )?(?:changed|resolved|cleared|improved|removed|decreased)",
    r"(?:\b(?:has|have|is|are) )?\b<unready>[ -](?:yet |been )?(?:\w+(?:ly)? )?(?:resolved|cleared|gone|disappeared|removed)",
    r"\b<unready>[ -](?:\w+ )?(?:resolution|clearing|removal|disappearance) of", r"\b(?:resolution|clearing) is (?:not|in)",
    r"\b(?:ensure|document|confirm|until|show|verify)(?: the| its)?(?: \w+)? (?:resolution|clearing|clearance)(?: of)?\b",
    r"\b(?:fail\w*|unable) to (?:clear|resolve)", r"\b(?:without|no) (?:a |any )?(?:doubt|question)\b", r"\bnon-?displaced",
])  # fmt: skip
"""Look like denials and are none."""

DOUBTFUL_DENIALS = _any([
    r"\b(?:can ?not|could not|can't|not) (?:be )?<wholly>?(?:be )?(?:excluded?|ruled? out)",
    r"\bnot (?:entirely )?excluded", r"\bdifficult to exclude", r"\bcannot be excluded",
])  # fmt: skip
"""Leave open what they seem to deny."""

DENIALS = _any([
    r"no", r"without(?! a? ?(?:doubt|question))", r"absent", r"negative for", r"free (?:of|from)", r"clear of",
    r"absence of", r"lack of", r"lacks?", r"lacking", r"neither",
    r"nor", r"denies", r"not", r"resolution of", r"(?:interval(?:ly)? )?resolved(?= \w)", r"removal of", r"rather than",
    r"never", r"clearing of", r"non",
    r"(?:low|little|no) (?:\w+ )?(?:suspicion|likelihood|probability|concern|evidence) (?:for|of)",
    r"(?:suspicion|likelihood|probability) (?:for|of)(?= [\w ]+ (?:is|remains|seems) (?:very )?low)",
    r"paucity of (?:evidence (?:for|of))?", r"insufficient (?:\w+ )?(?:for|to suggest)", r"nothing to suggest",
    r"simulat\w+", r"mimic\w*", r"unlikely to (?:be|represent|reflect)", r"fails? to (?:show|demonstrate|reveal)",
    r"disappearance of", r"devoid of", r"favou?r\w*[\w ]*? over", r"excludes", r"excluding",
    r"against(?= (?:\w+ )?(?:pneumonia|edema|infection|malig\w+))",
    r"less suspicious for", r"(?<!no )(?<!out )(?<!any )(?<!a )(?<!little )doubt",
    r"more (?:compatible|consistent|suggestive|likely|in keeping|typical|characteristic)(?: [\w-]+){1,6}? than",
], whole=True)  # fmt: skip
"""Deny what follows in the clause."""

DENIALS_AFTER = _any([
    r"not (?:\w+ )?<seen>(?! <earlier>)", r"no longer (?:\w+ )?<seen>", r"nowhere (?:to be )?<seen>",
    r"(?:is|are|was|were) (?:now |again )?(?:\w+ly )?(?:absent|gone)", r"improbable",
    r"(?:has|have)(?: since| now)? (?:disappeared|gone|vanished)",
    r"(?:has|have|is|are)(?: now| since| completely| entirely| fully| also)* (?:resolved|cleared)",
    r"(?:(?:now|since|completely|entirely|fully) )*(?:resolved|cleared)"
    r"(?=$|,| (?:and|on|since|in|from|after|compared|now|with)\b)",
    r"(?:has|have|was|were|is|are|been|now)(?: since)? (?:been )?removed", r"removed$",
    r"(?:ruled out|disproved)", r"(?:is|are|seems?|appears?|felt to be|thought to be|considered|very|highly) unlikely",
    r"unlikely$", r"(?:absent|nil|none|negative)$",
    r"(?:is|are|been|was|were) (?:\w+ly )?excluded", r"(?:is|are) not$",
], whole=True)  # fmt: skip
"""Deny what the clause named before."""

DOUBTS = _any([
    r"possibl[ey]", r"possibility of", r"may", r"might", r"could", r"questionable", r"questioned", r"question",
    r"suspicious for", r"suspicion (?:of|for)", r"suspected", r"concern(?:ing)? (?:for|of)",
    r"suggest(?:s|ing|ed)? possible", r"perhaps", r"potentially?", r"presumed", r"equivocal", r"evaluate for", r"rule out",
    r"r/o", r"differential", r"borderline", r"versus", r"vs", r"probabl[ey]", r"likely", r"worrisome for",
    r"indeterminate", r"cannot exclude",
    r"not excluded", r"consider", r"to exclude", r"less likely", r"cannot rule out", r"query", r"indeterminate for",
], whole=True)  # fmt: skip
"""Leave open what follows in the clause."""

DOUBTS_AFTER = _any([
    r"(?:is|are) (?:possible|suspected|questioned|a consideration|borderline)", r"versus", r"vs", r"not excluded",
    r"in the differential", r"(?:age )?indeterminate", r"is likely", r"(?:is )?less likely",
], whole=True)  # fmt: skip
"""Leave open what the clause named before."""

CLAUSE_ENDS = _any([
    r"but", r"however", r"although", r"though", r"except(?:ing)?", r"apart from", r"aside from", r"other than",
    r"otherwise", r"whereas", r"while", r"yet", r"which(?! (?:would|could|might|may)\b)", r"therefore",
    r"with the exception of", r"nevertheless",
    r"there (?:is|are|was|were)", r"it is", r"they are",
], whole=True)  # fmt: skip
"""Begin another clause, which nothing before them governs."""
