"""What all trainings of an ablation need, looked at once and before the first of them is started."""

from collections.abc import Sequence
from importlib.util import find_spec

from benchmark.ablation.plan import Job
from benchmark.run.runner import known_tasks
from medim.backbones.causal_lm import load_tokenizer
from medim.checkpoints import resolve
from medim.common.errors import UserError
from medim.data.dataset import PairDataset
from medim.tokenizers.image import ImageTokenizer
from medim.training.as_causal_lm import check_image_ids
from medim.training.recipe import ModelRecipe
from medim.training.train import backbone_config, check_backbone


def check_inputs(jobs: Sequence[Job], dataset: PairDataset) -> None:
    """Opens every image tokenizer, backbone's configuration and report tokenizer of these jobs once; no weights are read.

    Raises:
        UserError: something is missing; the message names the arms that need it.
    """
    for job in jobs[:1]:
        splits = ["train", "val", job.evaluation.split, *([job.generation.split] if job.generation is not None else [])]
        for split in dict.fromkeys(splits):
            if not dataset.size(split):
                raise UserError(f"data set '{dataset.name}' has no pairs in split '{split}', which an ablation needs")
        if job.generation is not None:
            known_tasks()  # which need an extra
    looked: dict[tuple[object, ...], UserError | None] = {}
    failed: dict[str, list[str]] = {}
    for job in jobs:
        recipe = job.recipe()
        key = (repr(recipe.backbone), recipe.pretrained, recipe.layers, recipe.replaced_by, recipe.backbone_image_offset,
               recipe.image_tokenizer, recipe.report_vocabulary, recipe.lora_rank)  # fmt: skip
        if key not in looked:
            try:
                _check_recipe(recipe)
                looked[key] = None
            except UserError as error:
                looked[key] = error
        if (problem := looked[key]) is not None:
            failed.setdefault(str(problem), []).append(job.arm)
    for message, arms in failed.items():
        names = list(dict.fromkeys(arms))
        whose = "every arm" if len(names) == len({job.arm for job in jobs}) else ", ".join(names)
        raise UserError(f"nothing is trained: {whose}: {message}")


def _check_recipe(recipe: ModelRecipe) -> None:
    if recipe.image_tokenizer is None:
        raise UserError("the preset names no image tokenizer: give --tokenizer DIR")
    check_backbone(recipe)
    backbone_config(recipe, recipe.report_vocabulary or 1)
    if isinstance(recipe.backbone, str) and recipe.report_vocabulary is None:
        load_tokenizer(recipe.backbone)
    if recipe.lora_rank is not None and find_spec("peft") is None:
        raise UserError("lora_rank needs the package peft: pip install 'medim-bench[lora]'")
    check_image_ids(recipe, ImageTokenizer.from_pretrained(resolve(recipe.image_tokenizer, "image_tokenizer")))
