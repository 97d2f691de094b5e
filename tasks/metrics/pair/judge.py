"""A chat model that looks at an image, reads a report and says in one number whether they belong together.

Any vision-language model that transformers loads from a folder and that has a chat template (Qwen2-VL, LLaVA, ...). It runs on
this machine alone: no image and no report leaves it, so that credentialed data may be judged too. It decodes greedily.

An answer that is not plainly one number from 0 to 1 is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from medim.common.errors import UserError, foreign
from medim.common.files import hash_files, hash_of
from medim.weights.loading import load

PROMPT = (
    "Here are a medical image and a report.\n\nReport: {report}\n\n"
    "Do they belong together? Answer with one decimal number between 0 and 1 and nothing else: "
    "0 where the report does not describe this image at all, 1 where it describes it completely and correctly."
)
NEW_TOKENS = 16
_NUMBERS = re.compile(r"[^\s()\[\]{}:=*_`\"'!?;]*[0-9][^\s()\[\]{}:=*_`\"'!?;]*")
_PLAIN = re.compile(r"0|1|(0?\.[0-9]+)|(0\.0*)|(1\.0*)")
_LEAD = re.compile(
    r"\W*((the|final|overall|my|consistency|match|matching|decimal)\s+)*(score|answer|rating|number)\W*(is|:|=)?\W*", re.I
)


@dataclass(frozen=True)
class Verdict:
    """The score of one pair in [0, 1], None where the answer was refused; and the answer word for word."""

    score: float | None
    answer: str


class Judge:
    """Scores pairs one by one: no score depends on the others of a batch. `name`: of the folder. `fingerprint`: hash of
    weights, configuration, tokenizer, prompt and length of an answer. `folder`: a model as transformers saves it, with its
    processor and chat template. Raises UserError: no such folder, or what is in it cannot be loaded or has no chat template."""

    def __init__(self, folder: str | Path, device: str = "cpu") -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor  # lazy: start-up

        folder = Path(folder)
        if not folder.is_dir():
            raise UserError(f"judge '{folder}' is no folder: a judge runs on this machine, from a folder of its weights")
        with foreign(f"judge '{folder}' cannot be loaded"):
            self._processor = AutoProcessor.from_pretrained(str(folder), local_files_only=True)
        model, _ = load(AutoModelForImageTextToText, folder, f"judge '{folder}'", local_files_only=True, dtype="auto")
        if getattr(self._processor, "chat_template", None) is None:
            raise UserError(f"judge '{folder}' has no chat template: a chat model is needed")
        self._model, self._device = model.eval(), device
        torch.nn.Module.to(model, device)  # the wrapper of transformers hides the type
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix in _HASHED]
        self.name = folder.resolve().name
        self.fingerprint = hash_of([hash_files(*files), PROMPT, NEW_TOKENS])

    def __call__(self, images: Sequence[Image.Image], reports: Sequence[str]) -> list[Verdict]:
        pairs = list(zip(images, reports, strict=True))
        progress = tqdm(pairs, desc="judge", unit="pair", disable=len(pairs) < 8)
        answers = [self._answer(image, report) for image, report in progress]
        return [Verdict(parse(answer), answer) for answer in answers]

    @torch.no_grad()
    def _answer(self, image: Image.Image, report: str) -> str:
        content = [{"type": "image", "image": image.convert("RGB")}, {"type": "text", "text": PROMPT.format(report=report)}]
        options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        found = self._processor.apply_chat_template([{"role": "user", "content": content}], **options).to(self._device)
        dtype = self._model.dtype
        inputs = {name: value.to(dtype) if torch.is_floating_point(value) else value for name, value in found.items()}
        greedy = {"do_sample": False, "num_beams": 1, "temperature": None, "top_p": None, "top_k": None}
        generated = self._model.generate(**inputs, **greedy, max_new_tokens=NEW_TOKENS)
        new = generated[:, inputs["input_ids"].shape[1] :]
        answer: str = self._processor.batch_decode(new, skip_special_tokens=True)[0]
        return answer.strip()


_HASHED = {".safetensors", ".bin", ".json", ".jinja", ".model", ".txt"}


def parse(answer: str) -> float | None:
    """The number that an answer is, or None where it is not plainly one.

    Accepted: one number from 0 to 1 in ordinary notation, first or after "Score:", "The final answer is" or the like. Refused:
    two numbers, a fraction, a percentage, a range, a decimal comma, a sign, and a number after other words ("not 0.9").

    >>> parse("Score: 0.85"), parse("score (0 to 1) is 0.9"), parse("8/10"), parse("10")
    (0.85, None, None, None)
    """
    found = list(_NUMBERS.finditer(answer))
    if len(found) != 1:
        return None
    number = found[0].group().rstrip(".,")
    before = answer[: found[0].start()]
    if _PLAIN.fullmatch(number) is None or (re.search(r"\w", before) and _LEAD.fullmatch(before) is None):
        return None
    return None if re.search(r"[-\u2212\u2013+~<>\u2248]\s*$", before) else float(number)  # a sign of any kind
