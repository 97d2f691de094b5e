"""The likelihood of pairs: nats of each modality, and the evidence of an image for each sentence of its report."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from medim.common.errors import UserError
from medim.denoiser import MeDiMModel
from medim.likelihood.bound import bound_terms, evidence, target_and_hidden
from medim.tokenizers.report import ReportTokenizer
from medim.tokenizers.sentences import sentence_tokens


@dataclass(frozen=True)
class PairLikelihood:
    """Nats that a model needs for n pairs; the columns of (n, 2) tensors are (image, report)."""

    condition: str  # `joint`, `report|image`, `image|report`, `report` or `image`
    # upper bounds on -log p (exact where `exact`), float64 (n, 2); 0 for a modality that is no target. With `joint` the columns
    # add up to the bound on -log p(image, report). NaN where the report did not fit the canvas
    nats: torch.Tensor
    # of `nats` over the stratified draws, (n, 2), hence conservative. 0 where exact, NaN of a single draw
    standard_error: torch.Tensor
    exact: bool  # by the chain rule of an autoregressive model, without noise
    estimator: str  # in words, for signatures
    report_tokens: torch.Tensor  # real tokens and the end, (n,)
    image_tokens: torch.Tensor  # (n,)
    text_bytes: torch.Tensor  # UTF-8 bytes of the reports, (n,)
    truncated: torch.Tensor  # True where the report did not fit the canvas, (n,)

    @property
    def log_likelihood(self) -> torch.Tensor:
        """Lower bounds on log p of the target, in nats; (n,)."""
        return -self.nats.sum(1)


@dataclass(frozen=True)
class SentenceEvidence:
    """log p(sentence | image, rest) - log p(sentence | rest) in nats, with its standard error over draws (0 where exact)."""

    text: str
    nats: float
    standard_error: float


def pair_likelihood(
    model: MeDiMModel,
    reports: ReportTokenizer,
    codes: torch.Tensor,
    texts: Sequence[str],
    condition: str,
    draws: int,
    seeds: Sequence[int],
    batch: int,
) -> PairLikelihood:
    """See `medim.pipeline.MeDiMPipeline.log_likelihood`; codes of the images (n, image_length)."""
    if not len(codes) == len(texts) == len(seeds):
        raise ValueError(f"{len(codes)} images, {len(texts)} reports and {len(seeds)} seeds")
    if draws < 1:
        raise UserError(f"draws must be at least 1, not {draws}")
    layout, exact = model.config.layout, model.config.objective == "autoregressive"
    ids = reports.encode(texts)
    truncated = torch.tensor([not reports.fits(text) for text in texts], dtype=torch.bool)
    clean = layout.join(codes.cpu(), ids)
    values, errors = [torch.zeros(0, 2, dtype=torch.float64)], [torch.zeros(0, 2, dtype=torch.float64)]
    for start in range(0, len(clean), batch):
        rows = slice(start, min(start + batch, len(clean)))
        target, hidden = target_and_hidden(layout, condition, rows.stop - rows.start)
        numbers = [seed % (1 << 31) for seed in seeds[rows]]  # a float64 keeps the fraction of number * golden ratio
        terms = torch.stack(bound_terms(model, clean[rows], target, hidden, draws, 0, numbers)).double()  # (draws, B, 2)
        values.append(terms.mean(0))
        errors.append(_standard_error(terms, exact))
    nats, error = torch.cat(values), torch.cat(errors)
    nats[truncated] = error[truncated] = torch.nan
    return PairLikelihood(
        condition,
        nats,
        error,
        exact,
        estimator=_estimator(model, draws),
        report_tokens=reports.lengths(ids),
        image_tokens=torch.full((len(clean),), layout.image_length),
        text_bytes=torch.tensor([len(text.encode()) for text in texts], dtype=torch.int64),
        truncated=truncated,
    )


def sentence_evidence(
    model: MeDiMModel, reports: ReportTokenizer, codes: torch.Tensor, text: str, draws: int, seed: int
) -> list[SentenceEvidence]:
    """See `medim.pipeline.MeDiMPipeline.evidence`; codes of the image (1, image_length)."""
    if not reports.fits(text):
        length, room = len(reports.ids(text)), reports.report_length
        raise UserError(f"a report of {length} tokens and its end do not fit into {room}: they have no evidence")
    parts = [(sentence, span) for sentence, span in sentence_tokens(reports, text) if span.stop > span.start]
    if not parts:
        return []
    clean = model.config.layout.join(codes.cpu(), reports.encode([text]))[0]
    nats, errors = evidence(model, clean, [span for _, span in parts], draws, seed)
    return [
        SentenceEvidence(text[sentence.start : sentence.stop].strip(), float(value), float(error))
        for (sentence, _), value, error in zip(parts, nats, errors, strict=True)
    ]


def _standard_error(terms: torch.Tensor, exact: bool) -> torch.Tensor:
    """Of the mean of draws (draws, B, 2); (B, 2)."""
    if exact:
        return torch.zeros_like(terms[0])
    return torch.full_like(terms[0], torch.nan) if len(terms) < 2 else terms.std(0) / len(terms) ** 0.5


def _estimator(model: MeDiMModel, draws: int) -> str:
    if model.config.objective == "autoregressive":
        return "exact, chain rule"
    over = "numbers of masked tokens" if model.config.transition == "absorbing" else "times of the log-linear schedule"
    return f"upper bound, {draws} stratified {over}" + ("" if model.config.hidden_padding is None else ", padding given")
