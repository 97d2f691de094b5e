"""How a canvas is filled: everything that changes a sample except the model, what is given and the seed."""

import reprlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from medim.canvas import Modality
from medim.common.declared import shown
from medim.common.errors import UserError, unknown
from medim.common.files import read_json

Order = Literal[
    "confidence", "margin", "entropy", "threshold", "random", "halton", "left", "ancestral", "first-hitting"
]  # fmt: skip
Ramp = Literal["constant", "rising", "falling"]
Remask = Literal["none", "cap", "rescale"]
Procedure = Literal["own", "released"]


MOST_ROUNDS = 1 << 16
"""Rounds of revealing: as many as the largest canvas has tokens, each a forward."""
MOST_GUIDANCE = 100
"""Weight of guidance beyond which one token has all the probability in any type of number."""


@dataclass(frozen=True)
class ModalitySettings:
    """How one modality is revealed.

    Attributes:
        steps: rounds of revealing; at most one forward each. More rounds, fewer tokens decided without seeing each other.
        temperature: of the token distribution; 1 samples the model, lower is more certain.
        top_p: smallest set of tokens with this probability (nucleus sampling); 1 keeps all.
        order: which of the masked tokens a round reveals. By what the model says of them: `confidence` the likeliest draws
            (MaskGIT, arXiv 2202.04200), `margin` the largest gap between first and second choice, `entropy` the lowest
            entropy, `threshold` all draws likelier than `threshold` and never fewer than the schedule asks for
            (arXiv 2505.22618). Whatever it says: `random` any of them, `halton` evenly spread over the image
            (arXiv 2503.17076), `left` from the left, `ancestral` each by chance, as the reverse process does, `first-hitting`
            one token a round at the times of that process (arXiv 2409.02908), both modalities interleaved; it has as many
            rounds as there are tokens to reveal, and no `schedule`.
        confidence_noise: Gumbel noise added to log-confidence, times the masked fraction; for `confidence` alone.
        threshold: probability above which `threshold` reveals a token.
        schedule: masked fraction after a share r of the rounds: `cosine` cos(pi r / 2) reveals few tokens first,
            `linear` 1 - r the same number in each.
        start, stop: the part of a joint trajectory in which this modality is revealed.
        remask: whether a revealed token may be masked again (ReMDM, arXiv 2503.00307), with `ancestral` only: `cap` with
            probability min(remask_rate, largest), `rescale` with remask_rate * largest, where `largest` keeps the schedule.
        remask_rate: eta of ReMDM, in [0, 1].
        guidance: w of classifier-free guidance, (1 + w) log p(x | other modality) - w log p(x); 0 costs nothing.
        guidance_start, guidance_stop: the part of the modality's own trajectory that is guided; elsewhere no forward is spent.
        guidance_ramp: `constant`, or `rising` from 0 to w or `falling` from w to 0 over that part.
        length: of the report, in tokens without its end; 0 leaves it to the model.
    """

    steps: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    order: Order = "confidence"
    confidence_noise: float = 1.0
    threshold: float = 0.9
    schedule: Literal["cosine", "linear"] = "cosine"
    start: float = 0.0
    stop: float = 1.0
    remask: Remask = "none"
    remask_rate: float = 0.0
    guidance: float = 0.0
    guidance_start: float = 0.0
    guidance_stop: float = 1.0
    guidance_ramp: Ramp = "constant"
    length: int = 0

    def __post_init__(self) -> None:
        within(self, {
            "steps": (1, MOST_ROUNDS),
            "temperature": (1e-3, 1e3),
            "top_p": (1e-6, 1),
            "confidence_noise": (0, 1e3),
            "threshold": (0, 1),
            "start": (0, 1),
            "stop": (0, 1),
            "remask_rate": (0, 1),
            "guidance": (0, MOST_GUIDANCE),
            "guidance_start": (0, 1),
            "guidance_stop": (0, 1),
            "length": (0, 1 << 15),
        })  # fmt: skip
        for first, last in (("start", "stop"), ("guidance_start", "guidance_stop")):
            low, high = getattr(self, first), getattr(self, last)
            if low >= high:
                raise UserError(f"sampler setting {first}: {low} is out of range: it lies below {last}, which is {high}")
        choices = {"order": Order, "schedule": Literal["cosine", "linear"], "remask": Remask, "guidance_ramp": Ramp}
        for name, known in choices.items():
            if getattr(self, name) not in get_args(known):
                raise unknown(f"sampler setting {name}:", str(getattr(self, name)), get_args(known))
        if self.remask != "none" and self.order != "ancestral":
            raise UserError(f"sampler setting remask: '{self.remask}' goes with order 'ancestral', not '{self.order}'")


@dataclass(frozen=True)
class CacheSettings:
    """What is not computed anew in every round.

    Attributes:
        refresh: every so many forwards all positions are computed; in between only those that changed or are asked for, the
            others lending keys and values of before (arXiv 2506.06295 and others). 1 computes everything always.
    """

    refresh: int = 1

    def __post_init__(self) -> None:
        within(self, {"refresh": (1, MOST_ROUNDS)})


@dataclass(frozen=True)
class SteeringSettings:
    """What a checker of findings may do to a sample; see `medim.sampling.steering`.

    Attributes:
        candidates: samples drawn for each one that is kept, the one whose findings agree best (best of n).
        repairs: rounds in which what contradicts the wanted findings is masked and drawn again.
        share: of the image tokens that a repair masks.
        budget: floating-point operations that a sample may take in all, 0 for no limit: of candidates and repairs, as many are
            made as fit, and one candidate always.
    """

    candidates: int = 1
    repairs: int = 0
    share: float = 0.25
    budget: float = 0.0

    def __post_init__(self) -> None:
        within(self, {"candidates": (1, 4096), "repairs": (0, 4096), "share": (1e-6, 1), "budget": (0, 1e24)})

    @property
    def asked(self) -> bool:
        """Whether checkers are needed."""
        return self.candidates > 1 or self.repairs > 0


@dataclass(frozen=True)
class EditSettings:
    """How an image follows its changed report.

    Attributes:
        guidance: least weight of the image's guidance while an edit is drawn, for what stays of the image speaks for the old
            report. On 96 validation pairs of phantoms 0.91 of the edits by 2 show the finding, and 0.81 of those by 0.5.
        share: how much of what the new report says against the image lies in a region that is found; a small finding then
            takes a few tokens, one of the whole picture most of them.
    """

    guidance: float = 2.0
    share: float = 0.8

    def __post_init__(self) -> None:
        within(self, {"guidance": (0, MOST_GUIDANCE), "share": (1e-6, 1)})


@dataclass(frozen=True)
class ReleasedSettings:
    """The procedure of the authors' released code; see `medim.sampling.released`.

    Attributes:
        steps: the most forwards.
        guidance: its weight is this times (1 - t), where something is given.
        noise: Gumbel noise added to log-confidence, times t.
    """

    steps: int = 128
    guidance: float = 5.0
    noise: float = 10.0

    def __post_init__(self) -> None:
        within(self, {"steps": (1, MOST_ROUNDS), "guidance": (0, MOST_GUIDANCE), "noise": (0, 1e3)})


def _report() -> ModalitySettings:
    return ModalitySettings(steps=32, temperature=0.7, order="random", schedule="linear")


IDLE: dict[str, dict[str, Callable[[], Any]]] = {
    "own": {"released": ReleasedSettings},
    "released": {"image": ModalitySettings, "report": _report, "cache": CacheSettings},
}
"""By procedure the groups of which it takes nothing, and what they are then."""


@dataclass(frozen=True)
class SamplerSettings:
    """One setting per modality; they share each forward.

    Words of a report depend on each other more than patches of an image do: they are revealed in more rounds, at a lower
    temperature, and in random order, since confidence puts the end of a report first and makes it short.

    Attributes:
        procedure: `own`, as `image`, `report` and `cache` say; `released`, as `released` says, and they stay as by default.
    """

    image: ModalitySettings = field(default_factory=ModalitySettings)
    report: ModalitySettings = field(default_factory=_report)
    cache: CacheSettings = field(default_factory=CacheSettings)
    steering: SteeringSettings = field(default_factory=SteeringSettings)
    edit: EditSettings = field(default_factory=EditSettings)
    procedure: Procedure = "own"
    released: ReleasedSettings = field(default_factory=ReleasedSettings)

    def __post_init__(self) -> None:
        if self.procedure not in get_args(Procedure):
            raise unknown("sampler setting procedure:", str(self.procedure), get_args(Procedure))
        for name, default in IDLE[self.procedure].items():
            if getattr(self, name) != default():
                raise UserError(f"sampler setting {name}: not for procedure '{self.procedure}': leave it out")
        if self.report.order == "halton":
            raise UserError("sampler setting report.order: 'halton' spreads tokens over an image; a report has no plane")
        if self.image.length:
            raise UserError("sampler setting image.length: an image has all its tokens; only report.length can be asked for")

    def of(self, modality: Modality) -> ModalitySettings:
        return self.image if modality == "image" else self.report

    def with_overrides(self, overrides: dict[str, Any]) -> "SamplerSettings":
        """Settings with `{"image.steps": "32"}` applied, all at once; values may be text.

        Another `procedure` begins with the defaults of what it takes nothing of.

        Raises:
            UserError: an unknown name (with the nearest) or a value that does not fit.
        """
        procedure = overrides.get("procedure", self.procedure)
        groups = {group.name: getattr(self, group.name) for group in fields(self) if group.name != "procedure"}
        if procedure != self.procedure and procedure in get_args(Procedure):
            groups |= {name: default() for name, default in IDLE[procedure].items()}
        changes: dict[str, dict[str, Any]] = {name: {} for name in groups}
        for name, value in overrides.items():
            group, _, key = name.partition(".")
            if group in groups and hasattr(groups[group], key) and group in IDLE.get(str(procedure), ()):
                raise UserError(f"sampler setting {name}: not for procedure '{procedure}': leave it out")
            if group in groups:
                changes[group][key] = value
            elif name != "procedure":
                known = [f"{g}.{f.name}" for g, own in groups.items() for f in fields(own)]
                raise unknown("sampler setting", name, ["procedure", *known])
        changed = {name: override(groups[name], values) for name, values in changes.items()}
        return replace(self, procedure=procedure, **changed)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SamplerSettings":
        """The defaults with what `values` says, as `to_dict` writes it; what it does not name stays as it is by default.

        Raises:
            UserError: no groups of settings, an unknown name or a value that does not fit.
        """
        groups = {name: value for name, value in values.items() if name != "procedure"} if isinstance(values, dict) else None
        if groups is None or not all(isinstance(group, dict) for group in groups.values()):
            raise UserError(f"sampler settings are groups, such as {{'image': {{'steps': 16}}}}, not {shown(values)}")
        flat = {f"{group}.{key}": value for group, inner in groups.items() for key, value in inner.items()}
        own = cls().to_dict()
        for name, value in flat.items():  # texts are for the command line: a file states numbers as numbers
            group, _, key = name.partition(".")
            kind = type(own.get(group, {}).get(key, value))
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise UserError(f"sampler setting {name}: {shown(value)} is not a {kind.__name__}")
        return cls().with_overrides({name: values[name] for name in values if name == "procedure"} | flat)

    @classmethod
    def read(cls, path: Path) -> "SamplerSettings":
        """Those of a JSON file, see `from_dict`. Raises UserError: it is broken; the message names it."""
        values = read_json(path)
        try:
            return cls.from_dict(values)
        except UserError as error:
            raise UserError(f"'{path}' cannot be read: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Groups by name without those of which the procedure takes nothing, and the procedure unless it is `own`."""
        left_out = {*IDLE[self.procedure], *(["procedure"] if self.procedure == "own" else [])}
        return {name: value for name, value in asdict(self).items() if name not in left_out}


def within(settings: Any, bounds: dict[str, tuple[float, float]]) -> None:
    """Raises UserError for the first field that is not a number from its lower to its upper bound."""
    for name, (low, high) in bounds.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            raise UserError(f"sampler setting {name}: {reprlib.repr(value)} is out of range: from {low:g} to {high:g}")


def override(settings: Any, values: dict[str, Any]) -> Any:
    """`settings` with some fields replaced, each text read as that field's type."""
    known = {f.name: type(getattr(settings, f.name)) for f in fields(settings)}
    read = {}
    for key, value in values.items():
        if key not in known:
            raise unknown("sampler setting", key, known)
        try:
            read[key] = known[key](value)
            if isinstance(value, bool) or (isinstance(value, float) and read[key] != value and value == value):
                raise ValueError  # true is no number, and 3.7 no whole one
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"sampler setting {key}: {reprlib.repr(value)} is not a {known[key].__name__}") from error
    return replace(settings, **read)
