"""RadGraph F1 (Jain et al. 2021; Delbrouck et al. 2022): entities and relations of chest reports, by the package `radgraph`.

The package and its model are optional and read from a local folder (MEDIM_RADGRAPH, or `radgraph` in the folder of
MEDIM_BENCH_WEIGHTS); nothing is downloaded. F1 is computed here, from the graphs, each different text being parsed once.

    RG_E   entities: (tokens, label)
    RG_ER  entities, and whether they have any relation
    RG_bar_ER  entities without relations, and every (tokens, label, relation, tokens it leads to)

F1 of a report is that of the two sets; of a corpus, the mean over reports.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from medim.common.errors import UserError, foreign
from medim.common.files import hash_files
from medim.common.offline import offline
from tasks.metrics.clinical.weights import FOLDERS, weights_folder

NAMES = ("RG_E", "RG_ER", "RG_bar_ER")
WEIGHTS = "weights.th"
MODELS = ("radgraph-xl", "radgraph", "echograph")
Graph = Mapping[str, Any]
"""`{"entities": {id: {"tokens": str, "label": str, "relations": [[kind, id], ...]}}}`, as the package gives it."""
Parser = Callable[[list[str]], Mapping[str, Graph]]


class RadGraph:
    """Graphs of reports, each different text parsed once.

    Args:
        parser: texts to graphs by number ("0", "1", ...).
        fingerprint: hash of the model's weights, for signatures.
    """

    def __init__(self, parser: Parser, fingerprint: str | None = None) -> None:
        self._parser = parser
        self.fingerprint = fingerprint
        self._known: dict[str, Graph] = {"": {"entities": {}}}

    @classmethod
    def opened(cls, folder: str | Path | None = None, model: str = MODELS[0]) -> "RadGraph":
        """With the package's parser; see `open_parser`."""
        parser = open_parser(folder, model)
        place = model_folder(folder)
        return cls(parser, hash_files(*sorted(path for path in (place / model).rglob("*") if path.is_file())))

    def graphs(self, reports: Sequence[str | None]) -> list[Graph]:
        """The graph of each report; a missing or blank one has no entities."""
        texts = [" ".join((report or "").split()) for report in reports]
        new = sorted({text for text in texts if text not in self._known}, key=len)
        if new:
            found = self._parser(new)
            self._known.update((text, found[str(index)]) for index, text in enumerate(new))
        return [self._known[text] for text in texts]

    def scores(self, references: Sequence[str], hypotheses: Sequence[str | None]) -> np.ndarray:
        """F1 of each pair by the three definitions: float64 (N, 3), in the order of `NAMES`."""
        pairs = zip(self.graphs(references), self.graphs(hypotheses), strict=True)
        return np.array([graph_f1(reference, hypothesis) for reference, hypothesis in pairs]).reshape(-1, 3)


def graph_f1(reference: Graph, hypothesis: Graph) -> tuple[float, float, float]:
    """RG_E, RG_ER and RG_bar_ER of two graphs; 0 where either has no entities."""
    return tuple(_f1(facts(reference), facts(hypothesis)) for facts in (_entities, _related, _relations))  # type: ignore[return-value]


def open_parser(folder: str | Path | None = None, model: str = MODELS[0]) -> Parser:
    """The package's parser, with its model from a local folder; a UserError where either is missing or fails."""
    if find_spec("radgraph") is None:
        raise UserError("RadGraph F1 needs the package radgraph: pip install radgraph")
    place = model_folder(folder)
    if model not in MODELS:
        raise UserError(f"RadGraph's model is one of {', '.join(MODELS)}, not '{model}'")
    there = (place / model / WEIGHTS).is_file()
    lacks = "" if there else f" ('{place / model}' holds no {WEIGHTS}: unpack {model}.tar.gz there)"
    with foreign(f"RadGraph's model '{model}' cannot be opened{lacks}"), offline():
        from radgraph import RadGraph as Package

        return Package(model_type=model, model_cache_dir=str(place))


def model_folder(given: str | Path | None = None) -> Path:
    """The folder that holds a folder of each model: as given, else of the environment; a UserError where there is none."""
    place = given or weights_folder("radgraph")
    if place is None:
        raise UserError(f"RadGraph's model is missing: put its files into a folder and name it by {FOLDERS['radgraph']}")
    if not Path(place).is_dir():
        raise UserError(f"RadGraph's model: no folder '{place}'")
    return Path(place)


def _entities(graph: Graph) -> set[tuple[str, ...]]:
    return {(entity["tokens"], entity["label"]) for entity in graph["entities"].values()}


def _related(graph: Graph) -> set[tuple[str, ...]]:
    return {
        (entity["tokens"], entity["label"], *(["related"] if entity["relations"] else []))
        for entity in graph["entities"].values()
    }


def _relations(graph: Graph) -> set[tuple[str, ...]]:
    facts: set[tuple[str, ...]] = set()
    for entity in graph["entities"].values():
        if not entity["relations"]:
            facts.add((entity["tokens"], entity["label"]))
        for kind, target in entity["relations"]:
            facts.add((entity["tokens"].lower(), entity["label"], kind, graph["entities"][target]["tokens"].lower()))
    return facts


def _f1(reference: set[tuple[str, ...]], hypothesis: set[tuple[str, ...]]) -> float:
    """2 |both| / (|reference| + |hypothesis|)."""
    total = len(reference) + len(hypothesis)
    return 2 * len(reference & hypothesis) / total if total and reference and hypothesis else 0.0
