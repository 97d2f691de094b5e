"""The words of pathology reports: every finding of version 2, absent ones, cellularity, and the patch's normal parts."""

from medim.data.phantom.v2.writing.phrases import Wording

PATHOLOGY_WORDING: dict[str, Wording] = {
    "glands": Wording(
        severity=(("small",), ("medium-sized",), ("large", "dilated")),
        full=(
            "{sev} gland with an open lumen",
            "{sev} gland {size} in diameter",
            "single {sev} gland",
            "{sev} glandular structure of {size}",
            "round {sev} gland",
        ),
        plural=(
            "{n} {sev} glands with open lumens",
            "{n} glands up to {size} in diameter",
            "{n} {sev} glands",
            "{n} {sev} glandular structures",
            "{n} round glands measuring up to {size}",
        ),
        short=("gland", "glandular structure"),
        short_plural=("glands", "glandular structures"),
        present=("the tissue forms {a_full}", "the stroma holds {a_full}"),
        open=("a clear space may represent a {sev} gland", "cleft versus {sev} gland", "a ring of nuclei, possibly a gland"),
        absent=("gland formation", "glandular differentiation", "glandular structure"),
        grows=("increased in size", "enlarged"),
        shrinks=("decreased in size", "become smaller"),
        gone=("disappeared",),
    ),
    "lymphocytic infiltrate": Wording(
        severity=(("mild", "sparse"), ("moderate",), ("dense", "brisk", "heavy")),
        full=(
            "{sev} lymphocytic infiltrate",
            "{sev} cluster of lymphocytes",
            "{sev} lymphoid aggregate of {size}",
            "single {sev} focus of lymphocytes",
            "{sev} lymphocytic infiltrate measuring {size}",
        ),
        plural=(
            "{n} {sev} clusters of lymphocytes",
            "{n} {sev} lymphoid aggregates",
            "{n} {sev} lymphocytic infiltrates",
            "{n} foci of lymphocytes up to {size}",
        ),
        short=("lymphocytic infiltrate", "lymphoid aggregate"),
        short_plural=("lymphocytic infiltrates", "lymphoid aggregates", "clusters of lymphocytes"),
        present=("the stroma contains {a_full}", "inflammation is present as {a_full}"),
        open=(
            "a crowd of small dark nuclei may represent a {sev} lymphocytic infiltrate",
            "plump stromal cells versus lymphocytes",
            "a small blue focus, possibly a lymphocytic infiltrate",
        ),
        absent=("lymphocytic infiltrate", "lymphocytic infiltration", "lymphoid aggregate"),
        grows=("increased", "become denser"),
        shrinks=("decreased", "become sparser"),
    ),
    "necrosis": Wording(
        severity=(("focal", "limited"), ("moderate",), ("extensive", "confluent")),
        full=(
            "{sev} area of necrosis",
            "{sev} necrotic area of {size}",
            "{sev} smudged necrotic area",
            "{sev} necrotic focus measuring {size}",
            "{sev} zone of necrosis",
        ),
        short=("area of necrosis", "necrotic area", "necrotic focus"),
        present=(
            "{sev} necrosis is present",
            "the tissue shows {sev} necrosis",
            "{sev} necrosis with loss of nuclei over {size}",
            "{sev} necrosis is identified",
        ),
        open=(
            "a smudged area may represent {sev} necrosis",
            "edematous stroma versus necrosis",
            "an eosinophilic area, possibly {sev} necrosis",
        ),
        absent=("necrosis", "necrotic area", "tissue necrosis"),
        grows=("increased", "extended", "enlarged"),
        shrinks=("decreased", "become smaller"),
    ),
    "pigment": Wording(
        severity=(("scant", "small"), ("moderate",), ("heavy", "large")),
        full=(
            "{sev} cluster of brown pigment",
            "{sev} deposit of dark brown pigment",
            "single {sev} focus of pigmentation",
            "{sev} group of pigment granules",
            "{sev} clump of pigment {size} across",
        ),
        plural=(
            "{n} {sev} clusters of brown pigment",
            "{n} {sev} deposits of pigment",
            "{n} {sev} foci of pigmentation",
            "{n} clumps of brown pigment up to {size}",
        ),
        short=("brown pigment", "pigment deposit"),
        short_plural=("pigment deposits", "clusters of pigment"),
        present=("{sev} brown pigment is present", "{sev} pigment granules are seen", "the stroma carries {a_full}"),
        open=("dark granules may represent pigment", "stain precipitate versus pigment", "brown specks, possibly pigment"),
        absent=("pigment", "brown pigment", "pigmentation"),
        grows=("increased",),
        shrinks=("decreased",),
    ),
}

# {level} is low, moderate or high; {hyper} hypocellular, normocellular or hypercellular.
CELLULARITY_SAID: tuple[str, ...] = (
    "cellularity is {level}",
    "{level} cellularity",
    "the tissue shows {level} cellularity",
    "{level} cell density",
    "the tissue is {hyper}",
    "{hyper} tissue",
)
CELLULARITY_LIKELY: tuple[str, ...] = (
    "probably {hyper} tissue",
    "cellularity is likely {level}",
    "appearances consistent with {level} cellularity",
)
CELLULARITY_OPEN: tuple[str, ...] = (
    "possibly {hyper} tissue",
    "cellularity may be {level}",
    "{level} cellularity is suspected",
    "questionable {level} cellularity",
    "{level} cellularity cannot be excluded",
)
CELLULARITY_SAME: tuple[str, ...] = (
    "cellularity remains {level}",
    "cellularity is unchanged and {level}",
    "the tissue is still {hyper}",
    "{level} cellularity, unchanged",
)
CELLULARITY_CHANGED: tuple[str, ...] = (
    "cellularity is now {level}",
    "the tissue is now {hyper}",
    "cellularity has changed to {level}",
)
HYPER = {"low": "hypocellular", "moderate": "normocellular", "high": "hypercellular"}
CELLULARITY_PHRASES: tuple[str, ...] = ("{level} cellularity", "{hyper} tissue", "{level} cell density")

DETAILS_PATHOLOGY: dict[str, tuple[str, ...]] = {
    "glands": ("the lumens are empty", "the lining is a single layer", "the epithelium is regular"),
    "lymphocytic infiltrate": ("the cells are small and round", "the nuclei there are dark", "germinal centres are not formed"),
    "necrosis": ("nuclear debris is scattered at the margin", "cell outlines are lost", "the margin is irregular"),
    "pigment": ("the granules are coarse", "the granules are dark brown", "the colour suggests melanin or iron"),
}
NORMAL_PATHOLOGY = (
    "no specific abnormality",
    "unremarkable tissue",
    "no significant abnormality is seen",
    "no diagnostic abnormality",
)
OPENINGS_PATHOLOGY = (
    "H&E section.",
    "Tissue section, H&E stain.",
    "H&E stained tissue.",
    "Histology patch, H&E.",
    "Biopsy, H&E stain.",
)
OTHER_ANATOMY_PATHOLOGY = (
    "the stroma is fibrous",
    "staining is even",
    "the section is intact",
    "no tissue fold is seen",
    "no haemorrhage is seen",
    "the nuclei are evenly stained",
    "mitoses are not conspicuous",
    "the background is eosinophilic",
    "no vascular invasion is identified",
    "the patch lies within the tissue",
)
