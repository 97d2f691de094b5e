"""LLaVA's conversation JSON as its documentation describes it, read strictly: what its trainer would trip over is told here.

The form (`docs/Finetune_Custom_Data.md` of LLaVA): a list of samples, each with `id`, a unique identifier, `image`, the path to
the image, and `conversations`, turns from `human` and `gpt` in alternation; `<image>` in the first stands for the picture.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medim.common.errors import UserError
from medim.common.files import located, read_json
from tasks.downstream.contract import Example

IMAGE = "<image>"
_SPEAKERS = ("human", "gpt")


@dataclass(frozen=True)
class Conversation:
    """A sample.

    Attributes:
        image: an existing file.
        turns: (question, answer) pairs, in order; the first question has no `<image>` left in it.
    """

    id: str
    image: Path
    turns: tuple[tuple[str, str], ...]

    def example(self) -> Example:
        """The first answer as the report of the image; the patient is not told by this form and is the sample."""
        return Example(self.id, self.id, self.image, self.turns[0][1])


def load_conversations(file: Path, images: Path | None = None) -> list[Conversation]:
    """The samples of a file, in its order.

    Args:
        images: folder that `image` is relative to; the file's own by default.

    Raises:
        UserError: anything is not as the documentation has it; the line names file, sample and field.
    """
    file = Path(file)
    samples = read_json(file)
    if not isinstance(samples, list) or not samples:
        raise UserError(f"{file}: a list of samples is needed")
    folder = file.parent if images is None else Path(images)
    seen: dict[str, int] = {}
    conversations = []
    for number, sample in enumerate(samples, start=1):
        try:
            conversation = _read(sample, folder)
        except UserError as error:
            raise UserError(f"{file}, sample {number}: {error}") from None
        if conversation.id in seen:
            first = seen[conversation.id]
            raise UserError(f"{file}, sample {number}: field 'id' '{conversation.id}' is that of sample {first} too")
        seen[conversation.id] = number
        conversations.append(conversation)
    return conversations


def _read(sample: Any, folder: Path) -> Conversation:
    if not isinstance(sample, dict):
        raise UserError("an object is needed")
    for field in ("id", "image", "conversations"):
        if field not in sample:
            raise UserError(f"field '{field}' is missing")
    identity, image = sample["id"], sample["image"]
    if not isinstance(identity, str | int) or isinstance(identity, bool) or not str(identity).strip():
        raise UserError("field 'id' must be a text or a number")
    if not isinstance(image, str) or not image:
        raise UserError("field 'image' must be a path")
    try:
        path, there = located(folder, image)
    except ValueError as error:
        raise UserError(f"field 'image': {image[:80]!a} is no path: {error}") from None
    if not path.is_relative_to(folder.resolve()):
        raise UserError(f"field 'image': '{image}' leaves its folder")
    if not there:
        raise UserError(f"field 'image': '{folder / image}' does not exist")
    return Conversation(str(identity), folder / image, _turns(sample["conversations"]))


def _turns(turns: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(turns, list) or not turns or len(turns) % 2:
        raise UserError("field 'conversations' must be a list of questions, each with its answer")
    texts = []
    for place, turn in enumerate(turns):
        name, speaker = f"field 'conversations', turn {place + 1}", _SPEAKERS[place % 2]
        if not isinstance(turn, dict) or turn.get("from") != speaker:
            said = turn.get("from") if isinstance(turn, dict) else turn
            raise UserError(f"{name}: 'from' must be '{speaker}', not {said!r}")
        text = turn.get("value")
        if not isinstance(text, str) or not text.replace(IMAGE, "").strip():
            raise UserError(f"{name}: 'value' must be a text")
        if text.count(IMAGE) != (place == 0):
            wanted = "must stand once" if place == 0 else "may stand in the first turn alone"
            raise UserError(f"{name}: {IMAGE} {wanted}")
        texts.append(text.replace(IMAGE, "").strip())
    return tuple(zip(texts[::2], texts[1::2], strict=True))
