"""What a table says of its task: as the manifests of its runs state it, else as `cards.yaml` does."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict


class TaskCard(BaseModel):
    """What is true of a task by name (`tasks.task.Task`).

    Attributes:
        title, intro: heading and first sentence of its table.
        needs: the modalities that a system generates: image, report.
        prompted: each sample answers its own case.
        headline_metrics: those that speak for the task, the primary one first.
        order: place on the page, ascending.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    title: str
    intro: str = ""
    needs: list[str] = []
    prompted: bool = True
    headline_metrics: list[str] = []
    order: int = 1000


def card_of(task: str, stated: Mapping[str, TaskCard]) -> TaskCard:
    """Returns the card of a task: `stated` by a manifest, else of `cards.yaml` (runs older than cards), else its bare name."""
    return stated.get(task) or _known().get(task) or TaskCard(title=task.replace("-", " ").capitalize())


@cache
def _known() -> dict[str, TaskCard]:
    text = files("leaderboard").joinpath("cards.yaml").read_text("utf-8")
    return {task: TaskCard(**card) for task, card in yaml.safe_load(text).items()}
