"""The metrics of image generation under changes whose effect is known, and what happens to pixels on their way to them."""

import io
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmark.selftest.sheet import BLIND, FAIL, PASS, WARN, Sheet, half_of
from medim.data.dataset import PairDataset
from medim.data.phantom.worlds import default_world
from medim.imaging.images import read_image, to_images, to_tensor
from tasks.cases import cases_of
from tasks.generation.image import ImageGeneration
from tasks.metrics.image.extrapolation import frechet_infinity
from tasks.metrics.image.frechet import Moments, frechet_distance
from tasks.metrics.image.kernel import kernel_distance
from tasks.metrics.statistics.bootstrap import derangement
from tasks.protocols import Cases, Prediction
from tasks.scoring.context import Context
from tasks.scoring.findings import MACRO_F1

COUNT, SIDE = 64, 64
FEW = 4  # images that stand for all
Values = dict[str, float | None]
Images = Sequence[Image.Image | None]


def sheets() -> Iterator[Sheet]:
    """All perturbations of images."""
    yield _sixteen_bits()
    yield _quantisation()
    yield _number_of_samples()
    dataset = default_world(SIDE)
    cases, others, training = (cases_of(dataset, split, SIDE, COUNT) for split in ("test", "val", "train"))
    score = partial(_values, cases, Context.for_dataset(dataset))
    originals, strangers = [case.image for case in cases], [case.image for case in others]
    equal, real = score(originals), score(strangers)
    yield _identical(equal)
    yield _noise(originals, score)
    yield _codec(originals, equal, score)
    yield _collapse(strangers, real, score)
    yield _copies(real, score([case.image for case in training]))
    yield _shuffled(originals, equal, score)
    yield _order(cases, strangers, real, dataset)
    yield _missing(originals, equal, score)


def _values(cases: Cases, context: Context, images: Images) -> Values:
    predictions = [Prediction(case.id, image=image) for case, image in zip(cases, images, strict=True)]
    return {score.metric: score.value for score in ImageGeneration().score(cases, predictions, context)[0]}


def _of(values: Values, *starts: str) -> list[str]:
    """The metrics whose names begin so."""
    return [metric for metric in values if metric.startswith(starts)]


DISTANCES, SHARES = ("Fréchet", "FID", "KID"), ("image precision", "image recall", "image density", "image coverage")


def _sixteen_bits() -> Sheet:
    sheet = Sheet("a 16-bit image")
    ramp = np.arange(0, 65_536, 257, dtype=np.uint16).reshape(16, 16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ramp.png"
        Image.fromarray(ramp).save(path)
        values = np.asarray(read_image(path))[..., 0].ravel()
    sheet.same("grey levels that a ramp of 0..65535 keeps", 256.0, float(len(np.unique(values))), "none is cut off at 255")
    rising = bool((np.diff(values.astype(int)) > 0).all())
    sheet.same("the ramp still rises", 1.0, float(rising), "brighter stays brighter")
    return sheet


def _quantisation() -> Sheet:
    sheet = Sheet("a decoder's values to pixels")
    values = np.random.default_rng(0).uniform(-1, 1, (1, 3, 256, 256))
    pixels = np.asarray(to_images(torch.from_numpy(values))[0], dtype=np.float64)
    shift = float(pixels.mean() - (values + 1).mean() * 127.5)
    sheet.same("mean shift in grey levels", 0.0, shift, "rounded; cutting off would darken by 0.5", tolerance=0.01)
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    changed = np.abs(np.asarray(to_images(to_tensor([image]))[0], dtype=int) - np.asarray(image, dtype=int)).max()
    sheet.same("largest change there and back", 0.0, float(changed), "an image that is not changed is not changed")
    return sheet


def _number_of_samples() -> Sheet:
    """Two samples of one distribution, so that every true distance is 0."""
    sheet = Sheet("fewer samples (100 instead of 2,000 a side, true distance 0)")
    generator = np.random.default_rng(0)
    first, second = generator.standard_normal((2, 2000, 64))
    few = slice(0, 100)
    distances = [
        frechet_distance(Moments.of_features(first[part]), Moments.of_features(second[part])) for part in (slice(None), few)
    ]
    meaning = "few samples make it larger: never compare two of different n"
    sheet.blind("Fréchet distance", distances[0], distances[1], meaning)
    sheet.rises("Fréchet distance (its bias)", distances[0], distances[1], "22 at n = 100 and 1.1 at n = 2,000, as it is known")
    kernels = [kernel_distance(first[part], second[part]) for part in (slice(None), few)]
    sheet.same("KID", 0.0, kernels[0], "unbiased: about 0 at any n", tolerance=0.02)
    sheet.same("KID (n = 100)", 0.0, kernels[1], "unbiased: about 0 at any n", tolerance=0.1)
    patients = [str(number) for number in range(2000)]
    others = [f"other {number}" for number in patients]
    limit = frechet_infinity(first, second, patients, others, seed=0).value
    sheet.falls("FD∞", distances[0], abs(limit), "extrapolated: nearer to 0 than the distance at n = 2,000", share=0.5)
    return sheet


def _identical(values: Values) -> Sheet:
    sheet = Sheet("the references themselves (before: the known value)")
    for metric in _of(values, "Fréchet", "FID"):
        sheet.same(metric, 0.0, values[metric], "0 between equal sets", tolerance=1e-6)
    for metric in _of(values, "image precision", "image recall", "image coverage"):
        sheet.same(metric, 1.0, values[metric], "1 between equal sets")
    for metric in _of(values, "KID"):
        value = values[metric]
        verdict = PASS if value is not None and value <= 0 else FAIL
        sheet.add(metric, 0.0, value, verdict, "0 or just below: it takes both sets for samples")
    return sheet


def _noise(originals: list[Image.Image], score: partial[Values]) -> Sheet:
    sheet = Sheet("more noise on every image (deviation 12, then 36 grey levels)")
    generator = np.random.default_rng(0)
    shape = (len(originals), *np.asarray(originals[0]).shape)
    noise = generator.standard_normal(shape)
    levels = []
    for deviation in (12, 36):
        noisy = [
            Image.fromarray(np.clip(np.rint(np.asarray(image) + deviation * each), 0, 255).astype(np.uint8))
            for image, each in zip(originals, noise, strict=True)
        ]
        levels.append(score(noisy))
    for metric in _of(levels[0], *DISTANCES):
        sheet.rises(metric, levels[0][metric], levels[1][metric], "farther from the real images")
    sheet.falls(MACRO_F1, levels[0][MACRO_F1], levels[1][MACRO_F1], "findings drown in noise", share=0.05)
    return sheet


def _codec(originals: list[Image.Image], before: Values, score: partial[Values]) -> Sheet:
    sheet = Sheet("the same images as JPEG of quality 90 (before: as PNG)")
    after = score([_as_jpeg(image) for image in originals])
    for metric in _of(before, *DISTANCES):
        sheet.rises(metric, before[metric], after[metric], "the codec alone makes a distance: store both sides alike")
    return sheet


def _as_jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return Image.open(buffer).convert("RGB")


def _collapse(others: Sequence[Image.Image], real: Values, score: partial[Values]) -> Sheet:
    sheet = Sheet(f"{FEW} images in place of {COUNT} (before: as many real ones)")
    after = score([others[index % FEW] for index in range(COUNT)])
    for metric in _of(real, *DISTANCES):
        sheet.rises(metric, real[metric], after[metric], "variety is lost")
    for metric in _of(real, "image coverage", "image recall"):
        sheet.falls(metric, real[metric], after[metric], "most real images have nothing near them")
    for metric in _of(real, "image precision"):
        sheet.blind(metric, real[metric], after[metric], "each image is good: precision does not see that there are few")
    for metric in _of(real, "duplicate images", "MS-SSIM"):
        sheet.rises(metric, real[metric], after[metric], "collapse shows here")
    return sheet


def _copies(real: Values, copies: Values) -> Sheet:
    sheet = Sheet("training images in place of new ones (before: new real ones)")
    for metric in _of(real, *DISTANCES, *SHARES):
        if metric.startswith(DISTANCES):
            verdict = BLIND if (copies[metric] or 0.0) < 2 * max(real[metric] or 0.0, 0.01) else WARN
            sheet.add(metric, real[metric], copies[metric], verdict, "memory looks perfect here: run memorisation")
        else:
            sheet.blind(metric, real[metric], copies[metric], "memory looks perfect here: run memorisation")
    return sheet


def _shuffled(originals: list[Image.Image], before: Values, score: partial[Values]) -> Sheet:
    sheet = Sheet("images of other cases (before: the cases' own)")
    order = derangement(len(originals), np.random.default_rng(0))
    after = score([originals[index] for index in order])
    sheet.falls(MACRO_F1, before[MACRO_F1], after[MACRO_F1], "they do not show what their reports say")
    for metric in _of(before, *DISTANCES, *SHARES):
        sheet.unmoved(metric, before[metric], after[metric], "of the set: it does not ask which report an image answers")
    return sheet


def _order(cases: Cases, images: list[Image.Image], before: Values, dataset: PairDataset) -> Sheet:
    sheet = Sheet("cases in another order")
    order = np.random.default_rng(0).permutation(len(cases)).tolist()
    after = _values([cases[i] for i in order], Context.for_dataset(dataset), [images[i] for i in order])
    for metric in [*_of(before, *DISTANCES, *SHARES), MACRO_F1]:
        tolerance = 1e-6 * max(1.0, abs(before[metric] or 0.0))  # float32 features in batches of other neighbours
        sheet.same(metric, before[metric], after[metric], "the order of files decides nothing", tolerance)
    return sheet


def _missing(originals: list[Image.Image], before: Values, score: partial[Values]) -> Sheet:
    sheet = Sheet("half of the images missing")
    after = score(half_of(originals))
    for metric in _of(before, *DISTANCES, *SHARES):
        sheet.withheld(metric, before[metric], after[metric], "withheld: a distance of the rest would hide it")
    sheet.falls(MACRO_F1, before[MACRO_F1], after[MACRO_F1], "a missing image shows no finding")
    return sheet
