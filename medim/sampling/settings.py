"""How a canvas is filled: everything that changes a sample except the model, what is given and the seed."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from medim.canvas import MODALITIES, Modality
from medim.errors import UserError, unknown


@dataclass(frozen=True)
class ModalitySettings:
    """How one modality is revealed.

    Attributes:
        steps: rounds of revealing; at most one forward each. More rounds, fewer tokens decided without seeing each other.
        temperature: of the token distribution; 1 samples the model, lower is more certain.
        top_p: smallest set of tokens with this probability (nucleus sampling); 1 keeps all.
        order: `confidence` keeps the most certain tokens of each round (MaskGIT, arXiv 2202.04200), `random` any of them
            (ancestral sampling of the absorbing process).
        confidence_noise: Gumbel noise added to log-confidence, times the masked fraction.
        schedule: masked fraction after a share r of the rounds: `cosine` cos(pi r / 2) reveals few tokens first,
            `linear` 1 - r the same number in each.
        start, stop: the part of a joint trajectory in which this modality is revealed.
    """

    steps: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    order: Literal["confidence", "random"] = "confidence"
    confidence_noise: float = 1.0
    schedule: Literal["cosine", "linear"] = "cosine"
    start: float = 0.0
    stop: float = 1.0

    def __post_init__(self) -> None:
        checks = {
            "steps": self.steps >= 1,
            "temperature": self.temperature > 0,
            "top_p": 0 < self.top_p <= 1,
            "order": self.order in ("confidence", "random"),
            "confidence_noise": self.confidence_noise >= 0,
            "schedule": self.schedule in ("cosine", "linear"),
            "start": 0 <= self.start < self.stop,
            "stop": self.stop <= 1,
        }
        for name, good in checks.items():
            if not good:
                raise UserError(f"sampler setting {name}: {getattr(self, name)!r} is out of range")


@dataclass(frozen=True)
class SamplerSettings:
    """One setting per modality; they share each forward.

    Words of a report depend on each other more than patches of an image do: they are revealed in more rounds, at a lower
    temperature, and in random order, since confidence puts the end of a report first and makes it short.
    """

    image: ModalitySettings = field(default_factory=ModalitySettings)
    report: ModalitySettings = field(
        default_factory=lambda: ModalitySettings(steps=32, temperature=0.7, order="random", schedule="linear")
    )

    def of(self, modality: Modality) -> ModalitySettings:
        return self.image if modality == "image" else self.report

    def with_overrides(self, overrides: dict[str, Any]) -> "SamplerSettings":
        """Settings with `{"image.steps": "32"}` applied; values may be text.

        Raises:
            UserError: an unknown name (with the nearest) or a value that does not fit.
        """
        result = self
        for name, value in overrides.items():
            modality, _, key = name.partition(".")
            if modality not in MODALITIES:
                known = [f"{m}.{f.name}" for m in MODALITIES for f in fields(ModalitySettings)]
                raise unknown("sampler setting", name, known)
            result = replace(result, **{modality: override(result.of(modality), key, value)})
        return result

    @classmethod
    def from_dict(cls, values: dict[str, dict[str, Any]]) -> "SamplerSettings":
        flat = {f"{modality}.{key}": value for modality, inner in values.items() for key, value in inner.items()}
        return cls().with_overrides(flat)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        return asdict(self)


def override(settings: ModalitySettings, key: str, value: Any) -> ModalitySettings:
    """`settings` with one field replaced, its text read as that field's type."""
    known = {f.name: type(getattr(settings, f.name)) for f in fields(settings)}
    if key not in known:
        raise unknown("sampler setting", key, known)
    try:
        return replace(settings, **{key: known[key](value)})
    except ValueError as error:
        raise UserError(f"sampler setting {key}: {value!r} is not a {known[key].__name__}") from error
