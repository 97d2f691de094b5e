"""R2Gen's `annotation.json` and its folder of images as examples to train on."""

from pathlib import Path

from medim.common.errors import UserError
from medim.data.archives.archive import Loss, Record
from medim.data.archives.r2gen import R2Gen, R2GenOptions
from medim.pair import SPLITS
from tasks.downstream.contract import Example


def load_annotation(root: Path, annotation: str = "", images: str = "images") -> dict[str, list[Example]]:
    """The examples of each split, train, val and test, in the file's order; images stay paths.

    A study with several images gives an example for each, as the reader of the archive has it
    (`medim.data.archives.r2gen.R2Gen`).

    Args:
        root: folder of the file, or the file.
        annotation: the file's name where the folder holds several.
        images: folder that `image_path` is relative to, itself relative to `root`.

    Raises:
        UserError: no such file, an entry that is not as it should be, or an image that is not there.
    """
    archive = R2Gen(Path(root), R2GenOptions.model_validate({"annotation": annotation, "images": images}))
    examples: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for record in archive.records():
        if isinstance(record, Loss):
            raise UserError(f"{archive.file}: {record.item}: {record.reason}")
        if isinstance(record, Record):
            fields, image = record.fields, archive.images / record.source
            if not image.is_file():
                raise UserError(f"{archive.file}: image '{image}' of '{fields['id']}' does not exist")
            examples[fields["split"]].append(Example(fields["id"], fields["patient"], image, fields["report"]))
    return examples
