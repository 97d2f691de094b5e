"""Phantom version 2 as a data set: graded findings, several report styles, priors, stated rates of noise, twins."""

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from medim.common.errors import UserError, unknown
from medim.common.files import hash_of
from medim.data.dataset import Keys
from medim.data.phantom.v2.cases import Case, change, patient_of, sample_case, twin
from medim.data.phantom.v2.drawing.pictures import RESOLUTIONS, compute_pictures_fingerprint, draw
from medim.data.phantom.v2.names import CHEST, DOMAINS, LABELS, LABELS_BY_DOMAIN, SPLIT_SIZES
from medim.data.phantom.v2.streams import stream
from medim.data.phantom.v2.writing.grammar import MIXED, STYLES, Report, write_report
from medim.pair import ImageReportPair

if TYPE_CHECKING:
    from medim.data.phantom.v2.reading.image_checker import PhantomV2ImageChecker
    from medim.data.phantom.v2.reading.report_checker import PhantomV2ReportChecker

# Version 2 is frozen: a change of case, picture, wording or split changes `compute_fingerprint()` and fails its test.
FINGERPRINT = "79181f5f49197681"
TERMS = "CC0-1.0 (procedural, synthetic: no patient)"
WEIGHTS = Path(__file__).parent / "weights"
CARD = Path(__file__).parent / "CARD.md"
_MODALITY = {domain: domain[0] for domain in DOMAINS}  # c, p


@dataclass(frozen=True)
class Options:
    """How the reports are written and the labels given; the defaults are the frozen set."""

    style: str = MIXED
    omission: float = 0.0
    label_noise: float = 0.0
    uncertainty: float = 0.1
    comparison: bool = True

    def __post_init__(self) -> None:
        if self.style not in (*STYLES, MIXED):
            raise unknown("report style", self.style, (*STYLES, MIXED))
        limits = (
            ("omission", self.omission, 1.0),
            ("label_noise", self.label_noise, 0.5),
            ("uncertainty", self.uncertainty, 0.66),
        )
        for field, value, limit in limits:
            if not 0.0 <= value <= limit:
                raise UserError(f"phantom-v2: {field} {value} is outside 0..{limit:g}")


def report_of(case: Case, options: Options | None = None) -> Report:
    """The report of a case; the same words for what a twin shares with it."""
    o = options or Options()
    return write_report(case, stream(case.split, "report", case.index), o.style, o.omission, o.uncertainty, o.comparison)


def noisy_labels(case: Case, rate: float) -> tuple[str, ...]:
    """The labels of a case, each of its domain's flipped with probability `rate`; always the same ones."""
    flipped = stream(case.split, "labels", case.index).random(len(LABELS)) < rate
    return tuple(label for label in LABELS_BY_DOMAIN[case.domain] if case.has(label) != flipped[LABELS.index(label)])


def compute_fingerprint() -> str:
    """Hash over the pictures' fingerprint and 64 reports of each split, in each style."""
    content: list[object] = [compute_pictures_fingerprint()]
    for split in SPLIT_SIZES:
        for index in range(64):
            case = sample_case(split, index)
            content.extend(report_of(case, Options(style=style)).text for style in (MIXED, *STYLES))
    return hash_of(content)


def _keys(split: str, index: int, domain: str, patient: int, visit: int) -> Keys:
    person = f"phantom-v2-{split}-{_MODALITY[domain]}{patient:06d}"
    return Keys(f"phantom-v2-{split}-{index:06d}", f"{person}-s{visit}", person)


def _attributes(case: Case) -> dict[str, dict[str, object]]:
    return {
        finding.label: {
            "size": round(finding.size, 1),
            "contrast": round(finding.contrast, 3),
            "severity": finding.severity,
            "count": finding.count,
            "zone": finding.zone,
        }
        for finding in case.findings
    }


class PhantomV2:
    """Phantom version 2: synthetic pairs with graded findings; `CARD.md` says what they can and cannot tell about real images.

    Pair `index` of a split is a pure function of (version, split, index, options); domains alternate.

    Args:
        resolution: side of the square pictures in pixels, 32 to 1024; details are drawn for 64 to 512.
        style: of the reports: `terse`, `standard`, `long`, or `mixed`.
        omission: probability that a finding in the picture goes unmentioned in the report.
        label_noise: probability that a label of `findings` is flipped (picture and report stay as they are), up to 0.5.
        uncertainty: probability that a mentioned finding is left open in words.
        comparison: whether reports compare with the prior study.

    Raises:
        UserError: an option out of range.
    """

    name = "phantom-v2"
    synthetic = True
    terms = TERMS
    domains = DOMAINS
    labels = LABELS

    def __init__(
        self,
        resolution: int = 64,
        style: str = MIXED,
        omission: float = 0.0,
        label_noise: float = 0.0,
        uncertainty: float = 0.1,
        comparison: bool = True,
    ) -> None:
        low, high = RESOLUTIONS
        if not low <= resolution <= high:
            raise UserError(f"phantom-v2: resolution {resolution} is outside {low}..{high}")
        self.resolution = resolution
        self.options = Options(style, omission, label_noise, uncertainty, comparison)
        chosen = {**vars(self.options), "resolution": resolution}
        standard = {**vars(Options()), "resolution": 64}
        self.fingerprint = FINGERPRINT if chosen == standard else hash_of([FINGERPRINT, chosen])

    def with_resolution(self, resolution: int) -> "PhantomV2":
        """The same pairs drawn at another resolution."""
        return PhantomV2(resolution, **vars(self.options))

    def size(self, split: str) -> int:
        """Number of pairs of a split.

        Raises:
            UserError: unknown split.
        """
        if split not in SPLIT_SIZES:
            raise unknown("split", split, SPLIT_SIZES)
        return SPLIT_SIZES[split]

    def case(self, split: str, index: int) -> Case:
        """What is in the pair at `index`.

        Raises:
            UserError: unknown split.
            IndexError: `index` outside the split.
        """
        return sample_case(split, index)

    def pair(self, split: str, index: int) -> ImageReportPair:
        """The pair at `index` (0-based) of a split; its image is RGB, `resolution` pixels square.

        `extra` holds `attributes` (per finding size, contrast, severity, count, zone), `cellularity`, the report's `style` and
        `mentions`, and where there is a prior study its id (`prior`) and how each finding compares (`change`).

        Raises:
            UserError: unknown split.
            IndexError: `index` outside the split.
        """
        return self.pair_of(sample_case(split, index))

    def pair_of(self, case: Case, suffix: str = "") -> ImageReportPair:
        """The pair of a case, sampled or made by hand.

        Args:
            suffix: appended to the id and the study.
        """
        names = _keys(case.split, case.index, case.domain, case.patient, case.visit)
        report = report_of(case, self.options)
        extra: dict[str, object] = {"attributes": _attributes(case), "style": report.style, "mentions": dict(report.mentions)}
        if case.cellularity is not None:
            extra["cellularity"] = case.cellularity
        if case.prior is not None:
            before = case.prior
            extra["prior"] = _keys(before.split, before.index, before.domain, before.patient, before.visit).id
            compared = {label: change(case, label) for label in LABELS_BY_DOMAIN[case.domain]}
            extra["change"] = {label: how for label, how in compared.items() if how is not None}
        return ImageReportPair(
            id=names.id + suffix,
            image=draw(case, self.resolution),
            report=report.text,
            split=case.split,
            study=names.study + suffix,
            patient=names.patient,
            view="frontal" if case.domain == CHEST else None,
            domain=case.domain,
            findings=noisy_labels(case, self.options.label_noise),
            terms=TERMS,
            sections=MappingProxyType(dict(report.sections)),
            extra=MappingProxyType(extra),
        )

    def twin_pairs(self, split: str, index: int, label: str) -> tuple[ImageReportPair, ImageReportPair]:
        """The pair at `index` and its counterfactual: with the finding `label` taken out, or put in where it was absent.

        Image and report differ only where they show or tell of that finding (see `grammar` on grouped sentences).

        Raises:
            UserError: unknown split, a label of the other domain, or no room for the finding.
            IndexError: `index` outside the split.
        """
        case = sample_case(split, index)
        other = twin(case, label)
        return self.pair_of(case), self.pair_of(other, suffix=f"-twin-{label.replace(' ', '-')}")

    def keys(self, split: str, index: int) -> Keys:
        """Id, study and patient of `pair(split, index)`, without drawing it."""
        if not 0 <= index < self.size(split):
            raise IndexError(f"phantom-v2 {split} has {self.size(split)} pairs; index {index} is outside")
        return _keys(split, index, DOMAINS[index % len(DOMAINS)], *patient_of(index))

    def report_checker(self) -> "PhantomV2ReportChecker":
        """Reads findings from reports; exact on this set's grammar."""
        from medim.data.phantom.v2.reading.report_checker import PhantomV2ReportChecker

        return PhantomV2ReportChecker()

    def image_checker(self) -> "PhantomV2ImageChecker":
        """Reads findings from images: the shipped classifier that scores; it never steers.

        Raises:
            UserError: its weights are missing.
        """
        from medim.data.phantom.v2.reading.image_checker import PhantomV2ImageChecker  # needs torch; pairs do not

        return PhantomV2ImageChecker.load(WEIGHTS / "image_checker_score.safetensors")

    def steering_image_checker(self) -> "PhantomV2ImageChecker":
        """Another classifier, trained on other cases: for guidance and repair, whose results it must not score.

        Raises:
            UserError: its weights are missing.
        """
        from medim.data.phantom.v2.reading.image_checker import PhantomV2ImageChecker

        return PhantomV2ImageChecker.load(WEIGHTS / "image_checker_steer.safetensors")
