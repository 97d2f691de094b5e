"""What an `--out` folder holds: one configuration, and stages, each with the hash of its inputs."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from medim.common.claims import claim, refuse_foreign
from medim.common.files import hash_of, write_json
from medim.common.locks import LOCK, held

STAGES, TRAINING_INDEX = "stages", "training-index"
CONFIGURATION = "configuration.json"
# All that a command of this package writes into an --out beside its stages; --overwrite removes both and nothing else.
OWNED = (
    *("manifest.json", "records.jsonl", "failures.jsonl", "samples.jsonl", "generated.jsonl", "contact_sheet.png"),
    *("images", "samples", "statistics", "leaderboard", TRAINING_INDEX),
    *("before", "sample_speed.json", "sample_speed.csv", "pareto.png"),
    *("splits.json", "synthetic", "arms", "augmentation.json", "augmentation.csv", "augmentation.md", "curve.png"),
)


class Artifacts:
    """The stages of one `--out`, which belongs to one configuration from the first command on. A stage is done when its file
    holds its key: a hash of the stage's inputs, so a stage whose inputs changed is simply not done."""

    def __init__(self, out: Path) -> None:
        self.out = out

    @classmethod
    @contextmanager
    def claim(cls, out: Path, configuration: Mapping[str, Any], overwrite: bool = False) -> Iterator["Artifacts"]:
        """Opens `out` for `configuration` (JSON-able, may be nested), new or to be continued, and holds it within.
        Raises UserError: the folder belongs to another configuration (the message names the first key that differs), holds
        files that are no run's, or is being written by another process."""
        path = out / STAGES / CONFIGURATION
        refuse_foreign(out, path, "run")
        path.parent.mkdir(parents=True, exist_ok=True)
        with held(out, f"{STAGES}/{LOCK}"):
            claim(out, path, configuration, "a run", partial(cls._clear, out) if overwrite else None)
            yield cls(out)

    @staticmethod
    def _clear(out: Path) -> None:
        for name in OWNED:
            path = out / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        # The configuration last, by which a folder half cleared is still known; the lock stays: it is held.
        for child in sorted((out / STAGES).iterdir(), key=lambda child: child.name == CONFIGURATION):
            if child.name != LOCK:
                child.unlink()

    def get(self, stage: str, inputs: Mapping[str, Any]) -> Any | None:
        """The value of a stage that is done for these inputs, else None."""
        path = self._path(stage)
        if not path.exists():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        return content["value"] if content["key"] == hash_of(inputs) else None

    def put(self, stage: str, inputs: Mapping[str, Any], value: Any) -> None:
        """Marks a stage as done, with its value (JSON-able, not None)."""
        write_json(self._path(stage), {"key": hash_of(inputs), "inputs": inputs, "value": value})

    def _path(self, stage: str) -> Path:
        return self.out / STAGES / f"{stage}.json"
