"""Checks for known failures of a joint diffusion model: a figure, a verdict by a stated rule, and what to do."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import torch

from benchmark.doctor.cache_drift import REFRESHES, cache_drift
from medim.canvas import MODALITIES
from medim.common.errors import UserError
from medim.common.streams import stream
from medim.data.dataset import PairDataset
from medim.data.tokens.cache import TokenSplit, tokenise_split
from medim.data.tokens.read_ahead import pixels
from medim.denoiser import MeDiMModel
from medim.imaging.images import to_tensor
from medim.likelihood.bound import likelihood
from medim.pipeline import MeDiMPipeline
from medim.tokenizers.image import ImageTokenizer

Verdict = Literal["pass", "warn", "fail", "unknown"]
DRIFT = 0.1  # share of the tokens that a model's cache may change
POOR, FAR = 18.0, 4.0
"""PSNR in dB below which a round trip loses much, and how far below that of its training images are strange to a tokenizer."""
GRID = 21  # times at which the modulation is read


@dataclass(frozen=True)
class Check:
    """One line of a diagnosis."""

    name: str
    verdict: Verdict  # by the rule of the check; `unknown` where something it needs is missing
    figure: str  # the measurement in words and numbers; several lines where it is a table
    advice: str = ""  # empty where nothing is to be done


def _graded(name: str, figure: str, *rules: tuple[bool, Verdict, str]) -> Check:
    """The verdict and advice of the first rule that holds, else a pass."""
    verdict, advice = next(((verdict, advice) for holds, verdict, advice in rules if holds), ("pass", ""))
    return Check(name, cast(Verdict, verdict), figure, advice)


def diagnose(
    pipeline: MeDiMPipeline, dataset: PairDataset | None = None, limit: int = 64, seed: int = 0, drawn: int = 0
) -> Iterator[Check]:
    """The checks of a model, then those of the model on data. `dataset`: pairs to test on; its `train` split is compared with
    its `val` split. `limit`: pairs of each split. `seed`: of the canvases and of the noise. `drawn`: pairs sampled with and
    without a cache; 0 skips that check."""
    model = pipeline.model
    yield finite_weights(model)
    canvas = noisy_canvas(model, seed)
    yield sees_both_sides(model, canvas)
    yield time_matters(model, canvas)
    yield from modulation_is_sane(model)
    if drawn:
        yield cache_drifts(pipeline, dataset, drawn, seed)
    names = [] if dataset is None else [name for name in ("train", "val") if dataset.size(name)]
    if dataset is None or not names:
        figure = "no data given" if dataset is None else f"'{dataset.name}' has no training and no validation pairs"
        yield Check("on data", "unknown", figure, "give --data DATA with such pairs to test codebook, tokenizer and memory")
        return
    splits = {
        name: tokenise_split(dataset, name, pipeline.images, pipeline.reports, limit=min(limit, dataset.size(name)))
        for name in names
    }
    heldout = splits[names[-1]]
    yield codebook_use(pipeline.images, heldout)
    yield round_trip(pipeline, dataset, names[-1], min(limit, 32))
    yield truncation(heldout, pipeline.reports.report_length)
    if len(splits) == 2:
        yield same_domain(pipeline.images, splits["train"], splits["val"])
        yield remembers(model, pipeline, splits["train"], splits["val"], seed)
        yield image_informs(model, pipeline, splits["val"], seed)


def cache_drifts(pipeline: MeDiMPipeline, dataset: PairDataset | None, drawn: int, seed: int) -> Check:
    """What `cache.refresh` changes and saves; with checkers also whether image and report still agree."""
    refresh, name = pipeline.sampler.cache.refresh, f"cache drift over {drawn} pairs"
    checkers = None if dataset is None else (dataset.image_checker(), dataset.report_checker())
    try:
        rows = cache_drift(pipeline, range(seed, seed + drawn), sorted({*REFRESHES, refresh}))
    except UserError as error:
        return Check(name, "unknown", str(error))
    lines = []
    for row in rows:
        text = f"refresh {row.refresh}: {row.changed:.1%} of the tokens differ ({row.image_changed:.1%} of the image's, "
        text += f"{row.report_changed:.1%} of the report's), {row.active:.0%} of the positions computed"
        if checkers is not None and checkers[0] is not None and checkers[1] is not None:
            pairs = zip(checkers[0](row.images), checkers[1](row.reports), strict=True)
            text += f", {sum(image == report for image, report in pairs) / drawn:.0%} of the pairs agree"
        lines.append(text)
    used = next(row.changed for row in rows if row.refresh == refresh)
    bad = used > DRIFT
    advice = f"its cache.refresh of {refresh} changes more than {DRIFT:.0%} of the tokens: compare agreement, or lower it"
    return Check(name, "warn" if bad else "pass", "\n".join(lines), advice if bad else "")


def noisy_canvas(model: MeDiMModel, seed: int) -> torch.Tensor:
    """Two canvases of random tokens, half of them masked; ids (2, L)."""
    layout, generator = model.config.layout, torch.Generator().manual_seed(seed)
    codes = torch.randint(0, layout.vocabulary.codes, (2, layout.image_length), generator=generator)
    words = torch.randint(0, layout.vocabulary.text, (2, layout.report_length), generator=generator)
    tokens = layout.join(codes, words)
    hidden = torch.rand(tokens.shape, generator=generator) < 0.5
    hidden &= layout.structure == layout.vocabulary.mask
    return torch.where(hidden, layout.vocabulary.mask, tokens).to(model.device)


def finite_weights(model: MeDiMModel) -> Check:
    """No weight is NaN or infinite."""
    bad = [name for name, p in model.named_parameters() if not torch.isfinite(p).all()]
    figure = f"{len(bad)} tensors, the first: {bad[0]}" if bad else f"{sum(p.numel() for p in model.parameters()):,} numbers"
    return _graded("finite weights", figure, (bool(bad), "fail", "go back to an earlier checkpoint"))


@torch.no_grad()
def sees_both_sides(model: MeDiMModel, tokens: torch.Tensor) -> Check:
    """Whether the last token moves the first hidden state (a causal mask that is still there does not let it)."""
    name = "attention sees both sides"
    if model.config.objective == "autoregressive":
        return Check(name, "pass", "an autoregressive model reads from the left")
    if model.config.attention == "causal":
        return Check(name, "warn", "the configuration keeps the causal mask", "attention=bidirectional is the method")
    t = torch.full((2, 2), 0.5, device=tokens.device)
    changed = tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % model.config.text_vocabulary
    alignment = 1 if model.config.logit_alignment == "shift" else 0
    moved = float((model.hidden(changed, t) - model.hidden(tokens, t))[:, alignment].abs().max())
    if moved == 0:
        figure = "the last token does not move the first"
        return Check(name, "fail", figure, "the attention kernel ignores attention=bidirectional")
    return Check(name, "pass", f"the last token moves the first by {moved:.2g}")


@torch.no_grad()
def time_matters(model: MeDiMModel, tokens: torch.Tensor) -> Check:
    """Mean KL divergence between the predictions for one canvas at t = 0.1 and 0.9, in nats per masked token."""
    name = "the timestep matters"
    if model.config.objective == "autoregressive":
        return Check(name, "pass", "an autoregressive model has no timestep")
    if model.time is None:
        return Check(name, "warn", "the configuration has no timestep", "timestep=adaln is the method")
    layout = model.config.layout
    masked, places = tokens == layout.vocabulary.mask, {m: layout.of(m) for m in MODALITIES}
    laws = []
    for level in (0.1, 0.9):
        hidden = model.hidden(tokens, torch.full((2, 2), level, device=tokens.device))
        laws.append([model.logits(hidden[:, w][masked[:, w]], m).float().log_softmax(-1) for m, w in places.items()])
    nats = [float((p.exp() * (p - q)).sum(-1).mean()) for p, q in zip(*laws, strict=True)]
    figure = f"KL between t = 0.1 and 0.9: {nats[0]:.2g} nats (image), {nats[1]:.2g} (report)"
    return _graded(
        name,
        figure,
        (max(nats) < 1e-6, "fail", "time is ignored: an untrained or disconnected modulation"),
        (max(nats) < 1e-3, "warn", "time hardly matters: train longer, or compare with timestep=none"),
    )


@torch.no_grad()
def modulation_is_sane(model: MeDiMModel) -> Iterator[Check]:
    """Gates and scales over a grid of times: branches that are silenced, reversed or blown up."""
    if model.time is None or model.config.timestep != "adaln":
        return
    level = torch.linspace(0, 1, GRID, device=model.device)
    condition = model.time(torch.stack([level, level], dim=1))
    gates, scales = [], []
    for block in model.backbone.adaln:
        _, scale_a, gate_a, _, scale_f, gate_f = block(condition)
        gates += [gate_a.flatten(), gate_f.flatten()]
        scales += [1 + scale_a.flatten(), 1 + scale_f.flatten()]
    for name, values in (("gates", torch.cat(gates)), ("scales", torch.cat(scales))):
        reversed_ = float((values < 0).float().mean())
        silent = float((values.abs() < 0.05).float().mean())
        largest = float(values.abs().max())
        figure = f"mean {float(values.mean()):.2f}, {reversed_:.1%} negative, {silent:.1%} near 0, largest {largest:.1f}"
        advice = "branches of the backbone are reversed or silenced: "
        if model.config.gating == "identity":
            advice += "a lower learning_rate, or compare with timestep=additive"
        else:
            advice += "gating=identity starts from the backbone's function"
        yield _graded(
            f"{name} of the modulation",
            figure,
            (largest > 50 or not math.isfinite(largest), "fail", "a branch blows up: lower learning_rate or max_grad_norm"),
            (reversed_ > 0.2 or silent > 0.5, "warn", advice),
        )


def codebook_use(images: ImageTokenizer, split: TokenSplit) -> Check:
    """Share of the codes that occur, and their perplexity, on held-out images."""
    counts = torch.bincount(split.image[:].flatten(), minlength=images.codes).double()
    share = counts / counts.sum()
    perplexity = float((-torch.xlogy(share, share).sum()).exp())
    used = int((counts > 0).sum())
    figure = f"{used} of {images.codes} codes occur in {len(split)} images, perplexity {perplexity:.0f}"
    possible = min(images.codes, int(counts.sum()))
    return _graded(
        "codebook use",
        figure,
        (used < 0.1 * possible, "fail", "the codebook has collapsed: restart dead codes (restart_every), fewer codes"),
        (perplexity < 0.1 * possible, "warn", "few codes carry most patches: more restarts, or a smaller codebook"),
    )


def round_trip(pipeline: MeDiMPipeline, dataset: PairDataset, split: str, count: int) -> Check:
    """PSNR of the image tokenizer on the user's images, against what its training reached."""
    images = [pixels(dataset.pair(split, i), pipeline.resolution) for i in range(min(count, dataset.size(split)))]
    error = (to_tensor(images) - to_tensor(pipeline.reconstruct(images))).square().mean(dim=(1, 2, 3)) / 4  # of [0, 1]
    psnr = float(-10 * error.clamp_min(1e-10).log10().mean())
    known = pipeline.images.training.get("val", {}).get("psnr")
    figure = f"PSNR {psnr:.1f} dB on {len(images)} images" + (f", {known:.1f} in its training" if known is not None else "")
    strange, poor = known is not None and psnr < known - FAR, psnr < POOR
    if not strange and not poor:
        return Check("tokenizer round trip", "pass", figure)
    data = pipeline.images.training.get("data")
    if isinstance(data, dict) and data.get("fingerprint") == dataset.fingerprint:
        advice = "it was trained on this very data: train a larger one (more codes, a lower downsampling) or train it longer"
    elif strange:
        advice = "these images are not what the tokenizer learnt: train one on them"
    elif known is not None:
        advice = "it did no better on the images that it was trained on: train a larger one (more codes, a lower downsampling)"
    else:
        advice = "the tokenizer loses much of them: train one on these images or, where it was, a larger one"
    return Check("tokenizer round trip", "warn", figure, advice)


def truncation(split: TokenSplit, room: int) -> Check:
    """Share of reports that do not fit the canvas."""
    share = float(split.truncated[:].float().mean())
    figure = f"{share:.1%} of the reports are longer than {room - 1} tokens"
    return _graded(
        "report length", figure, (share > 0.05, "warn", "train with a larger report_length: a cut report has no end")
    )


def same_domain(images: ImageTokenizer, train: TokenSplit, val: TokenSplit) -> Check:
    """Jensen-Shannon divergence (nats) of code frequencies between training and validation, and between halves of training."""
    name = "domain shift of image tokens"
    if len(train) < 2:
        return Check(name, "unknown", "a single training pair has no halves", "give more pairs")

    def frequencies(codes: torch.Tensor) -> torch.Tensor:
        counts = torch.bincount(codes.flatten(), minlength=images.codes).double()
        return counts / counts.sum()

    def divergence(p: torch.Tensor, q: torch.Tensor) -> float:
        middle = (p + q) / 2
        return float(sum((torch.xlogy(x, x) - torch.xlogy(x, middle)).sum() for x in (p, q)) / 2)

    codes = train.image[:]
    codes = codes[torch.from_numpy(stream(0).permutation(len(codes)))]
    within = divergence(frequencies(codes[::2]), frequencies(codes[1::2]))
    between = divergence(frequencies(codes), frequencies(val.image[:]))
    figure = f"JS {between:.3f} nats between training and validation, {within:.3f} between halves of training"
    return _graded(name, figure, (between > max(2 * within, 0.05), "warn", "the splits differ: see `medim-bench data check`"))


def remembers(model: MeDiMModel, pipeline: MeDiMPipeline, train: TokenSplit, val: TokenSplit, seed: int) -> Check:
    """Nats per report token given the image, on training and on validation pairs."""
    seen, unseen = (_report_nats(model, pipeline, split, seed) for split in (train, val))
    figure = f"report|image: {seen:.3f} nats per token on training pairs, {unseen:.3f} on validation"
    advice = "training pairs are remembered: stop earlier, more data; screen samples with `run memorisation`"
    return _graded("memory of training pairs", figure, (seen < 0.5 * unseen and unseen - seen > 0.1, "warn", advice))


def _report_nats(model: MeDiMModel, pipeline: MeDiMPipeline, split: TokenSplit, seed: int) -> float:
    """Nats per report token given the image."""
    nats = likelihood(model, split, "report|image", draws=4, seed=seed)[:, 1]
    return float(nats.sum() / pipeline.reports.lengths(split.report[:]).float().sum())


def image_informs(model: MeDiMModel, pipeline: MeDiMPipeline, val: TokenSplit, seed: int) -> Check:
    """What the right image saves per report token, against the image of another pair."""
    name = "the image informs the report"
    if len(val) < 2:
        return Check(name, "unknown", "a single validation pair has no other's image", "give more pairs")
    order = torch.arange(len(val)).roll(1)
    other = TokenSplit(val.image[:][order], val.report[:], val.prompt[:], val.text_bytes[:], val.truncated[:])
    right, wrong = (_report_nats(model, pipeline, split, seed) for split in (val, other))
    figure = f"the right image saves {wrong - right:.3f} nats per report token ({right:.3f} against {wrong:.3f})"
    return _graded(name, figure, (wrong - right < 0.01, "fail", "reports ignore the image: more image-given training, longer"))
