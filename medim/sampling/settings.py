"""How a canvas is filled: everything that changes a sample except the model, what is given and the seed."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medim.canvas import Modality
from medim.common.declared import checked, read_yaml, shown
from medim.common.errors import UserError, named, unknown
from medim.common.files import read_json

Order = Literal["confidence", "margin", "entropy", "threshold", "random", "halton", "left", "ancestral", "first-hitting"]
Procedure = Literal["own", "released"]
Rounds = Annotated[int, Field(ge=1, le=1 << 16)]  # as many as the largest canvas has tokens, each a forward
Share = Annotated[float, Field(ge=0, le=1)]
Guidance = Annotated[float, Field(ge=0, le=100)]  # beyond 100 one token has all the probability in any floating-point type
Noise = Annotated[float, Field(ge=0, le=1e3)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModalitySettings(_Settings):
    """How one modality is revealed."""

    steps: Rounds = 16  # rounds of revealing; at most one forward each
    temperature: float = Field(default=1.0, ge=1e-3, le=1e3)  # of the token distribution
    # smallest set of tokens with this probability (nucleus sampling); 1 keeps all
    top_p: float = Field(default=1.0, ge=1e-6, le=1)
    # which of the masked tokens a round reveals. By the model's output: `confidence` the likeliest draws (MaskGIT, arXiv
    # 2202.04200), `margin` the largest gap between first and second choice, `entropy` the lowest entropy, `threshold` all draws
    # likelier than `threshold` and never fewer than the schedule's (arXiv 2505.22618). Planned: `random`, `halton` evenly
    # spread over the image (arXiv 2503.17076), `left` from the left, `ancestral` each by chance, as the reverse process does,
    # `first-hitting` one token a round at the times of that process (arXiv 2409.02908), both modalities interleaved, with as
    # many rounds as tokens and no `schedule`
    order: Order = "confidence"
    confidence_noise: Noise = 1.0  # Gumbel noise added to log-confidence, times the masked fraction; for `confidence` alone
    threshold: Share = 0.9  # probability above which `threshold` reveals a token
    # masked fraction after a share r of the rounds: `cosine` cos(pi r / 2) or `linear` 1 - r
    schedule: Literal["cosine", "linear"] = "cosine"
    # start, stop: the part of a joint trajectory in which this modality is revealed
    start: Share = 0.0
    stop: Share = 1.0
    # whether a revealed token may be masked again (ReMDM, arXiv 2503.00307), with `ancestral` only: `cap` with probability
    # min(remask_rate, largest), `rescale` with remask_rate * largest, where `largest` keeps the schedule
    remask: Literal["none", "cap", "rescale"] = "none"
    remask_rate: Share = 0.0  # eta of ReMDM
    guidance: Guidance = 0.0  # w of classifier-free guidance, (1 + w) log p(x | other modality) - w log p(x); 0 costs nothing
    # guidance_start, guidance_stop: the part of the modality's trajectory that is guided; elsewhere no forward is spent
    guidance_start: Share = 0.0
    guidance_stop: Share = 1.0
    # `constant`, or `rising` from 0 to w or `falling` from w to 0 over that part
    guidance_ramp: Literal["constant", "rising", "falling"] = "constant"
    length: int = Field(default=0, ge=0, le=1 << 15)  # of the report, in tokens without its end; 0 leaves it to the model

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        for first, last in (("start", "stop"), ("guidance_start", "guidance_stop")):
            low, high = getattr(self, first), getattr(self, last)
            if low >= high:
                raise ValueError(f"{first} {low} has to be less than {last}, which is {high}")
        if self.remask != "none" and self.order != "ancestral":
            raise ValueError(f"remask '{self.remask}' goes with order 'ancestral', not '{self.order}'")
        return self


class CacheSettings(_Settings):
    """What is not computed anew in every round.
    `refresh`: every so many forwards all positions are computed; in between only those that changed or are requested, with keys
    and values of the others from before (arXiv 2506.06295 and others). 1 computes everything always."""

    refresh: Rounds = 1


class SteeringSettings(_Settings):
    """What a checker of findings may do to a sample; see `medim.sampling.steering`."""

    # samples drawn for each one returned, the one whose findings agree best (best of n)
    candidates: int = Field(default=1, ge=1, le=4096)
    # rounds in which what contradicts the wanted findings is masked and drawn again
    repairs: int = Field(default=0, ge=0, le=4096)
    share: float = Field(default=0.25, ge=1e-6, le=1)  # of the image tokens that a repair masks
    # floating-point operations of a sample, 0 for no limit: as many candidates and repairs as fit, and at least one candidate
    budget: float = Field(default=0.0, ge=0, le=1e24)

    @property
    def needs_checkers(self) -> bool:
        return self.candidates > 1 or self.repairs > 0


class EditSettings(_Settings):
    """How an image follows its changed report."""

    # least weight of the image's guidance while an edit is drawn, since what stays of the image supports the old report. On 96
    # validation pairs of phantoms 0.91 of the edits by 2 show the finding, and 0.81 of those by 0.5
    guidance: Guidance = 2.0
    share: float = Field(default=0.8, ge=1e-6, le=1)  # of the evidence for the new report that a region found has to hold


class ReleasedSettings(_Settings):
    """The procedure of the authors' released code; see `medim.sampling.released`."""

    steps: Rounds = 128  # the most forwards
    guidance: Guidance = 5.0  # its weight is this times (1 - t), where something is given
    noise: Noise = 10.0  # Gumbel noise added to log-confidence, times t


UNUSED: dict[str, tuple[str, ...]] = {"own": ("released",), "released": ("image", "report", "cache")}
"""Groups of settings that a procedure does not read."""


class SamplerSettings(_Settings):
    """One setting per modality; they share each forward.
    Words of a report depend on each other more than patches of an image do: they are revealed in more rounds, at a lower
    temperature, and in random order, since confidence puts the end of a report first and makes it short.
    `procedure`: `own` reads `image`, `report` and `cache`; `released` reads `released`. The others keep their defaults."""

    image: ModalitySettings = ModalitySettings()
    report: ModalitySettings = ModalitySettings(steps=32, temperature=0.7, order="random", schedule="linear")
    cache: CacheSettings = CacheSettings()
    steering: SteeringSettings = SteeringSettings()
    edit: EditSettings = EditSettings()
    procedure: Procedure = "own"
    released: ReleasedSettings = ReleasedSettings()

    @model_validator(mode="after")
    def _groups_agree(self) -> Self:
        for name in UNUSED[self.procedure]:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name}: not for procedure '{self.procedure}': leave it out")
        if self.report.order == "halton":
            raise ValueError("report.order: 'halton' spreads tokens over an image; a report has no plane")
        if self.image.length:
            raise ValueError("image.length: an image has all its tokens; only report.length can be set")
        return self

    def of(self, modality: Modality) -> ModalitySettings:
        return self.image if modality == "image" else self.report

    def with_overrides(self, overrides: dict[str, Any]) -> "SamplerSettings":
        """Settings with `{"image.steps": "32"}` applied, all at once; texts are read as YAML. Another `procedure` resets the
        groups that it does not read. Raises UserError: an unknown name (with the nearest) or a value that does not fit."""
        return self._changed(
            {
                name: read_yaml(value, f"sampler setting {name}") if isinstance(value, str) else value
                for name, value in overrides.items()
            }
        )

    def _changed(self, changes: dict[str, Any]) -> "SamplerSettings":
        values, defaults = self.model_dump(), SamplerSettings().model_dump()
        procedure = values["procedure"] = changes.get("procedure", self.procedure)
        unused = UNUSED.get(str(procedure), ())
        if procedure != self.procedure:
            values |= {name: defaults[name] for name in unused}
        known = ["procedure", *(f"{name}.{key}" for name, group in values.items() if isinstance(group, dict) for key in group)]
        for name, value in changes.items():
            group, _, key = name.partition(".")
            if name not in known:
                raise unknown("sampler setting", name, [one for one in known if one.startswith(f"{group}.")] or known)
            if group in unused:
                raise UserError(f"sampler setting {name}: not for procedure '{procedure}': leave it out")
            if key:
                values[group][key] = value
        return checked(SamplerSettings, values, "sampler settings")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SamplerSettings":
        """The defaults, changed as `values` says in the form of `to_dict`.
        Raises UserError: no groups of settings, an unknown name or a value that does not fit."""
        groups = {name: value for name, value in values.items() if name != "procedure"} if isinstance(values, dict) else None
        if groups is None or not all(isinstance(group, dict) for group in groups.values()):
            raise UserError(f"sampler settings are groups, such as {{'image': {{'steps': 16}}}}, not {shown(values)}")
        flat = {f"{group}.{key}": value for group, inner in groups.items() for key, value in inner.items()}
        return cls()._changed({name: values[name] for name in values if name == "procedure"} | flat)

    @classmethod
    def read(cls, path: Path) -> "SamplerSettings":
        """Those of a JSON file, see `from_dict`. Raises UserError, which names the file."""
        values = read_json(path)
        with named(f"'{path}' cannot be read"):
            return cls.from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """Groups by name without those that the procedure does not read, and the procedure unless it is `own`."""
        left_out = {*UNUSED[self.procedure], *(["procedure"] if self.procedure == "own" else [])}
        return self.model_dump(exclude=left_out)
