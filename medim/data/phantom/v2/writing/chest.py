"""The words of chest reports: every finding of version 2, on one side, on both, absent, and the chest's normal parts."""

from medim.data.phantom.v2.writing.phrases import Wording

_SMALL = (("small", "minor", "mild"), ("moderate", "moderate-sized", "medium-sized"), ("large", "extensive", "massive"))
_MILD = (("mild", "slight"), ("moderate",), ("severe", "marked"))

CHEST_WORDING: dict[str, Wording] = {
    "cardiomegaly": Wording(
        severity=_MILD,
        full=(
            "{sev} cardiomegaly",
            "{sev} enlargement of the heart",
            "{sev} cardiac enlargement",
            "{sev} enlargement of the cardiac silhouette",
        ),
        short=("cardiomegaly", "cardiac enlargement", "enlargement of the heart"),
        present=(
            "the heart is {sevly} enlarged",
            "the cardiac silhouette is {sevly} enlarged",
            "heart size is {sevly} increased",
            "the heart measures {size} across and is {sevly} enlarged",
            "{sevly} enlarged heart",
        ),
        open=(
            "the heart may be {sevly} enlarged",
            "borderline cardiomegaly",
            "the heart is possibly enlarged",
            "the width of the cardiac silhouette may represent {sev} cardiomegaly",
        ),
        absent=("cardiomegaly", "cardiac enlargement"),
        counted=False,
        grows=("increased", "worsened", "progressed"),
        shrinks=("decreased", "improved", "lessened"),
        more=("more marked", "more extensive"),
        less=("less marked", "less extensive"),
    ),
    "consolidation": Wording(
        severity=(("mild", "patchy", "small"), ("moderate", "focal"), ("extensive", "dense", "severe")),
        full=(
            "{sev} consolidation in the {where}",
            "{sev} {where} consolidation",
            "{sev} airspace consolidation in the {where}",
            "{sev} airspace opacity in the {where}",
            "{sev} {where} airspace disease",
        ),
        short=("{where} consolidation", "consolidation in the {where}", "{where} airspace opacity", "{side} consolidation"),
        present=(
            "the {where} shows {sev} consolidation",
            "opacity in the {where} consistent with {sev} consolidation",
            "{sev} consolidation in the {where} extends over {size}",
            "{sev} airspace opacity occupies the {where}",
        ),
        open=(
            "opacity in the {where} may represent consolidation",
            "atelectasis versus consolidation in the {where}",
            "hazy density in the {where}, possibly {sev} consolidation",
        ),
        absent=("consolidation", "airspace consolidation", "focal consolidation", "airspace opacity"),
        counted=False,
        grows=("increased", "progressed", "worsened"),
        shrinks=("decreased", "improved", "partially cleared"),
        more=("more marked", "more extensive"),
        less=("less marked", "less extensive"),
        gone=("resolved", "cleared", "completely resolved"),
    ),
    "nodule": Wording(
        severity=(("small",), ("medium-sized",), ("large",)),
        full=(
            "{size} nodule in the {where}",
            "{where} nodule measuring {size}",
            "{sev} nodule in the {where}",
            "{size} pulmonary nodule in the {where}",
            "{sev} {side} pulmonary nodule",
            "{sev} {side} lung nodule of {size}",
        ),
        plural=(
            "{n} nodules in the {where} measuring up to {size}",
            "{n} {side} lung nodules up to {size}",
            "{n} {sev} nodules in the {side} lung",
            "{n} {sev} {side} pulmonary nodules",
            "{n} {where} nodules",
        ),
        short=("{where} nodule", "{side} nodule", "{side} lung nodule", "nodule in the {where}"),
        short_plural=("{where} nodules", "{side} nodules", "{side} lung nodules", "nodules in the {side} lung"),
        present=(
            "the {where} contains {a_full}",
            "rounded density in the {where} consistent with {a_full}",
        ),
        open=(
            "rounded density in the {where} may represent a {sev} nodule",
            "nipple shadow versus nodule in the {where}",
            "an ill-defined {size} opacity in the {where}, possibly a nodule",
        ),
        absent=("nodule", "pulmonary nodule", "lung nodule"),
        grows=("increased in size", "grown", "enlarged"),
        shrinks=("decreased in size", "become smaller", "shrunk"),
        gone=("resolved", "disappeared"),
    ),
    "pulmonary edema": Wording(
        severity=_MILD,
        full=("{sev} pulmonary edema", "{sev} interstitial edema", "{sev} perihilar edema", "{sev} bilateral pulmonary edema"),
        short=("pulmonary edema", "edema", "perihilar edema"),
        present=(
            "perihilar haze consistent with {sev} pulmonary edema",
            "bilateral perihilar opacities in keeping with {sev} edema",
            "the hila are hazy, indicating {sev} pulmonary edema",
            "vascular congestion with {sev} pulmonary edema",
        ),
        open=(
            "prominent vascular markings may represent {sev} edema",
            "crowded vessels versus {sev} pulmonary edema",
            "hazy hila, possibly {sev} edema",
        ),
        absent=("pulmonary edema", "edema", "perihilar haze"),
        counted=False,
        grows=("increased", "worsened", "progressed"),
        shrinks=("decreased", "improved", "lessened"),
        more=("more marked", "more extensive"),
        less=("less marked", "less extensive"),
    ),
    "effusion": Wording(
        severity=_SMALL,
        full=(
            "{sev} {side} pleural effusion",
            "{sev} {side} effusion",
            "{sev} pleural effusion on the {side}",
            "{sev} {side}-sided pleural effusion",
            "{sev} {side} basal effusion",
        ),
        short=("{side} pleural effusion", "{side} effusion", "pleural effusion on the {side}", "{side}-sided effusion"),
        present=(
            "the {side} costophrenic angle is obscured by {a_full}",
            "{a_full} obscures the {side} hemidiaphragm",
            "{a_full} rises {size} above the costophrenic angle",
            "there is fluid at the {side} base, {a_full}",
        ),
        open=(
            "blunting of the {side} costophrenic angle may represent a {sev} effusion",
            "pleural thickening versus effusion on the {side}",
            "the {side} base is hazy, possibly a {sev} effusion",
        ),
        absent=("pleural effusion", "effusion", "effusion"),
        grows=("increased", "enlarged", "increased in size"),
        shrinks=("decreased", "become smaller", "partially resolved"),
        gone=("resolved", "cleared", "completely resolved"),
    ),
    "pneumothorax": Wording(
        severity=(("small", "minor"), ("moderate", "moderate-sized"), ("large", "extensive")),
        full=(
            "{sev} {side} pneumothorax",
            "{sev} {side} apical pneumothorax",
            "{sev} pneumothorax on the {side}",
            "{sev} {side}-sided pneumothorax",
            "{side} pneumothorax with a rim of {size}",
            "{side} pneumothorax measuring {size}",
        ),
        short=("{side} pneumothorax", "{side}-sided pneumothorax", "pneumothorax on the {side}"),
        present=(
            "{sev} collapse of the {side} lung with {a_full}",
            "the {side} lung edge is {size} from the chest wall, {a_full}",
            "a pleural line on the {side} indicates {a_full}",
        ),
        open=(
            "a lucent line at the {side} apex may represent a {sev} pneumothorax",
            "skin fold versus {sev} pneumothorax on the {side}",
            "the {side} apex is lucent, possibly a {sev} pneumothorax",
        ),
        absent=("pneumothorax",),
        grows=("increased", "enlarged", "increased in size"),
        shrinks=("decreased", "become smaller", "partially resolved"),
        gone=("resolved", "completely resolved"),
    ),
    "pacemaker": Wording(
        full=("pacemaker", "left chest pacemaker", "pacemaker with a single lead", "left-sided pacemaker"),
        short=("pacemaker", "left chest pacemaker"),
        present=(
            "pacemaker in place",
            "a left chest pacemaker is in place with its lead over the heart",
            "the pacemaker lead ends over the right ventricle",
            "a pacemaker generator projects over the left upper chest",
        ),
        absent=("pacemaker",),
        gone=("been removed",),
    ),
    "endotracheal tube": Wording(
        full=(
            "endotracheal tube",
            "endotracheal tube {size} above the carina",
            "endotracheal tube with its tip {size} above the carina",
            "endotracheal tube in the trachea",
        ),
        short=("endotracheal tube", "ET tube"),
        present=(
            "endotracheal tube in place",
            "the tip of the endotracheal tube is {size} above the carina",
            "the patient is intubated",
            "the endotracheal tube ends {size} above the carina",
        ),
        absent=("endotracheal tube",),
        gone=("been removed", "been withdrawn"),
    ),
}

DETAILS_CHEST: dict[str, tuple[str, ...]] = {
    "cardiomegaly": (
        "the apex is displaced laterally",
        "the left heart border is rounded",
        "the cardiothoracic ratio exceeds one half",
    ),
    "consolidation": ("air bronchograms are visible", "the margins are indistinct", "the adjacent vessels are obscured"),
    "nodule": ("the margin is smooth", "the margin is well defined", "no calcification is visible"),
    "pulmonary edema": ("the vessels are indistinct", "the hilar margins are blurred", "the upper zone vessels are prominent"),
    "effusion": ("the meniscus is well seen", "the hemidiaphragm is obscured", "the fluid layers dependently"),
    "pneumothorax": ("there is no mediastinal shift", "the lung edge is well seen", "no mediastinal shift"),
    "pacemaker": ("the lead is intact", "no lead fracture", "the generator is in the usual position"),
    "endotracheal tube": ("the position is satisfactory", "the cuff is not overinflated", "the tip projects over the trachea"),
}
# Of one side, in the lower quarter of its default range of contrast, and in the upper one.
CONSPICUITY: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "consolidation": (("the opacity is faint", "its density is low"), ("the opacity is dense", "its density is high")),
    "nodule": (("the lesion is faint", "it is of low density"), ("the lesion is dense", "it is of high density")),
}

# Both sides; {sev} is empty where they differ, {left} and {right} are the words of severity, {zones} names the zones.
BOTH_SIDES: dict[str, tuple[str, ...]] = {
    "effusion": (
        "{sev} bilateral pleural effusions",
        "bilateral {sev} effusions",
        "{sev} pleural effusions on both sides",
        "{sev} effusions bilaterally",
    ),
    "pneumothorax": ("{sev} bilateral pneumothoraces", "{sev} pneumothoraces on both sides"),
    "consolidation": (
        "{sev} bilateral consolidation",
        "{sev} consolidation {zones}",
        "{sev} airspace opacity {zones}",
        "{sev} consolidation in both lungs",
    ),
    "nodule": (
        "{sev} bilateral pulmonary nodules",
        "nodules in both lungs up to {size}",
        "bilateral {sev} lung nodules measuring up to {size}",
        "nodules {zones}",
    ),
}
UNLIKE_SIDES: dict[str, tuple[str, ...]] = {
    "effusion": (
        "{left} left and {right} right pleural effusions",
        "pleural effusions, {left} on the left and {right} on the right",
        "bilateral pleural effusions, {larger} larger than {smaller}",
        "{larger} greater than {smaller} pleural effusions",
    ),
    "pneumothorax": (
        "{left} left and {right} right pneumothoraces",
        "pneumothoraces, {left} on the left and {right} on the right",
    ),
    "consolidation": (
        "consolidation, {left} in the left {leftzone} zone and {right} in the right {rightzone} zone",
        "bilateral consolidation, {larger} greater than {smaller}",
    ),
    "nodule": (
        "nodules of {leftsize} on the left and {rightsize} on the right",
        "bilateral lung nodules, {larger} larger than {smaller}",
    ),
}

HEART_NORMAL: tuple[str, ...] = (
    "the heart size is normal",
    "the heart is not enlarged",
    "normal heart size",
    "no cardiomegaly",
    "the cardiac silhouette is within normal limits",
    "the heart is normal in size",
)
LUNGS_CLEAR: tuple[str, ...] = ("the lungs are clear", "both lungs are clear", "clear lungs", "the lung fields are clear")
LUNG_CLEAR: tuple[str, ...] = ("the {side} lung is clear", "clear {side} lung")
ANGLE_CLEAR: tuple[str, ...] = (
    "the {side} costophrenic angle is clear",
    "the {side} costophrenic angle is sharp",
    "no {side} effusion",
)
NO_DEVICES: tuple[str, ...] = ("no support devices", "no pacemaker or endotracheal tube", "there are no support devices")
NORMAL_CHEST: tuple[str, ...] = (
    "normal chest",
    "no acute abnormality",
    "no acute cardiopulmonary abnormality",
    "no acute cardiopulmonary process",
    "normal chest radiograph",
    "no acute findings",
)
UNCHANGED_OVERALL: tuple[str, ...] = (
    "no significant change since the prior study",
    "no significant interval change",
    "stable appearances",
)
OPENINGS_CHEST: tuple[str, ...] = (
    "Frontal chest radiograph.",
    "Portable chest radiograph.",
    "Single frontal view of the chest.",
    "Chest radiograph, frontal view.",
    "AP view of the chest.",
)
OTHER_ANATOMY_CHEST: tuple[str, ...] = (
    "the trachea is midline",
    "the mediastinal contours are normal",
    "the visible bones are intact",
    "the diaphragm is smooth",
    "the hilar contours are unremarkable",
    "the soft tissues are unremarkable",
    "no displaced rib fracture",
    "the aorta is normal in calibre",
    "lung volumes are adequate",
    "no free air beneath the diaphragm",
)
