"""From the released checkpoint, a LLaMA tokenizer and a VQGAN to a model folder of this project."""

import shutil
import tempfile
from pathlib import Path

from medim.common.errors import UserError, named
from medim.common.files import hash_files, read_mapping, write_json, writes_into
from medim.denoiser import MeDiMModel
from medim.imaging.images import GEOMETRIES
from medim.pipeline import SAMPLER
from medim.released import SIZE, TERMS
from medim.released.network import HEAD_DIM, SPECIAL, denoiser_of
from medim.sampling.settings import SamplerSettings
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer, open_tokenizer
from medim.weights.files import read_folder, weight_files

GEOMETRY = GEOMETRIES["pad-square-122-116-104,lanczos"]
REPORT_LENGTH = 256


def import_released(
    source: Path,
    tokenizer: str,
    vqgan: Path,
    out: Path,
    *,
    head_dim: int | None = None,
    size: str = SIZE,
    terms: str = TERMS,
    report_length: int = REPORT_LENGTH,
) -> MeDiMModel:
    """Writes the model folder `out`, whole or not at all; the weights keep their type.
    `source`: folder with the weights: `model.safetensors`, its shards with their index, or `pytorch_model.bin`.
    `tokenizer`: folder or hub id of LLaMA-2's tokenizer.
    `vqgan`: folder that `ImageTokenizer.from_pretrained` reads, such as Chameleon's.
    `head_dim`: dimensions of an attention head; by default those of `config.json` in `source`, else Gemma-7B's.
    `size`: text before every report.
    `terms`: of the data that the model learned from; they hold for its samples.
    Raises UserError: a file is missing or damaged, a tensor has no place, or tokenizers and weights do not fit each other."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} exists and is not empty: choose another")
    what = f"released checkpoint in '{source}'"
    images = ImageTokenizer.from_pretrained(vqgan)
    images = ImageTokenizer(images.model, images.resolution, images.training, GEOMETRY)
    reports = _reports(tokenizer, report_length)
    if not source.is_dir():
        raise UserError(f"released checkpoint: folder '{source}' does not exist")
    tensors = read_folder(source)
    beside = source / "config.json"
    if head_dim is None:
        head_dim = read_mapping(beside).get("head_dim", HEAD_DIM) if beside.is_file() else HEAD_DIM
        if not isinstance(head_dim, int) or head_dim < 1:
            raise UserError(f"'{beside}': field 'head_dim': a whole number above 0 is needed (given: {head_dim!r})")
    model = denoiser_of(
        tensors,
        what,
        codes=images.codes,
        image_length=images.length,
        report_length=report_length,
        before_report=reports.ids(size),
        head_dim=head_dim,
    )
    config = model.config
    if reports.size != config.text_vocabulary:
        raise UserError(
            f"{what} has rows for {config.text_vocabulary} text ids beside MASK and {images.codes} image codes, but tokenizer "
            f"'{tokenizer}' has {reports.size} ids, {', '.join(SPECIAL)} included"
        )
    config.report_tokenizer, config.image_tokenizer = reports.vocabulary, images.vocabulary
    out = out.resolve()  # an empty folder may be a link to one
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        with writes_into(partial):
            images.save_pretrained(partial / "image_tokenizer")
            reports.save_pretrained(partial / "report_tokenizer")
            write_json(partial / SAMPLER, SamplerSettings(procedure="released").to_dict())
            origin = {"format": "medim released", "sha256": hash_files(*weight_files(source)), "size": size}
            write_json(partial / "training.json", {"imported": origin, "terms": terms})
            model.save_pretrained(partial)
        partial.chmod(0o755)
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return model


def _reports(source: str, report_length: int) -> ReportTokenizer:
    """LLaMA's tokenizer with the released code's special tokens after its ids, padding <unk>."""
    tokenizer = open_tokenizer(source, f"--tokenizer '{source}'")
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    tokenizer.pad_token = tokenizer.unk_token
    with named(f"--tokenizer '{source}'"):
        reports = ReportTokenizer(tokenizer, report_length, opens=True)
    places = [tokenizer.convert_tokens_to_ids(token) for token in SPECIAL]
    if reports.padding != 0 or places != list(range(reports.size - 3, reports.size)):
        raise UserError(f"--tokenizer '{source}': <unk> has to be id 0 and {', '.join(SPECIAL)} the last: is it LLaMA-2's?")
    return reports
