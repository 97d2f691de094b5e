"""What several splits share: patients, images, near copies of images, and reports."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from medim.data.checks.pictures import is_flat
from medim.data.checks.report import LISTED, Issue
from medim.data.dataset import Keys, PairDataset, keys_of
from medim.imaging.images import read_image
from medim.imaging.near_duplicates import DETAIL_LEAST, detail, detail_correlation, near_pairs

COMPARED = 2000
"""Candidates for near copies whose pictures are compared, the nearest by their hashes first."""


class Leakage:
    """Compares the splits of one data set.

    Args:
        dataset: names the pairs of the examples.
        rows: `reading.ROW` of every pair, in order of splits.
        splits: their names, in the order of `rows["split"]`.
    """

    def __init__(self, dataset: PairDataset, rows: np.ndarray, splits: tuple[str, ...]) -> None:
        self._dataset, self._rows, self._splits = dataset, rows, splits
        self._details: dict[int, np.ndarray] = {}

    def issues(self) -> Iterator[Issue]:
        """Errors, then warnings and notes."""
        crossing = _under_several(self._rows, "patient", "split")
        if len(crossing):
            examples = [self._places("patient", key) for key in crossing[:LISTED]]
            yield Issue(
                "error", "patient-leakage", f"{_n(len(crossing), 'patient occurs', 'patients occur')} in several splits",
                tuple(examples), "split by patient; --allow patient-leakage where it is meant",
            )  # fmt: skip
        yield from self._images()
        yield from self._near()
        yield from self._reports()
        ids, counts = np.unique(self._rows["id"], return_counts=True)
        if (counts > 1).any():
            twice = ids[counts > 1]
            examples = [self._places("id", key) for key in twice[:LISTED]]
            yield Issue("error", "duplicate-ids", f"{_n(len(twice), 'id is', 'ids are')} used more than once", tuple(examples))

    def _images(self) -> Iterator[Issue]:
        """The same decoded pixels under several patients."""
        rows = self._rows
        shared = _under_several(rows, "image", "patient")
        crossing = np.intersect1d(shared, _under_several(rows, "image", "split"))
        within = np.setdiff1d(shared, crossing)
        if len(crossing):
            yield Issue(
                "error", "image-leakage",
                f"{_n(len(crossing), 'image occurs', 'images occur')} in several splits under different patients, to the pixel",
                tuple(self._places("image", key) for key in crossing[:LISTED]),
                "keep copies in one split or drop them; --allow image-leakage where it is meant",
            )  # fmt: skip
        if len(within):
            yield Issue(
                "warning", "duplicate-images",
                f"{_n(len(within), 'image occurs', 'images occur')} under several patients of one split, to the pixel",
                tuple(self._places("image", key) for key in within[:LISTED]), "one patient under two names?",
            )  # fmt: skip
        own = rows["image"][(rows["image"] != 0) & ~np.isin(rows["image"], shared)]
        if copies := len(own) - len(np.unique(own)):
            yield Issue("note", "repeated-images", f"{_n(copies, 'pair repeats', 'pairs repeat')} an image of the same patient")

    def _near(self) -> Iterator[Issue]:
        """Near copies: candidates by their hashes, then the pictures of the nearest candidates are compared.

        Of a synthetic set they are a warning: cases drawn alike are no copies, and no patient crosses a split.
        """
        for across, (candidates, count) in self._candidates().items():
            found = [
                (similar, first, second)
                for first, second in candidates
                if (similar := detail_correlation(self._detail(first), self._detail(second))) >= DETAIL_LEAST
            ]
            found.sort(key=lambda item: -item[0])
            if count > len(candidates):
                where = "in different splits" if across else "in one split"
                yield Issue(
                    "warning", "near-candidates", f"{count} pairs under different patients {where} have near hashes; the "
                    f"nearest {len(candidates)} were compared by their pictures, {len(found)} of them are near copies",
                )  # fmt: skip
            examples = tuple(
                f"{self._named(first)} ~ {self._named(second)}: detail correlates {similar:.3f}"
                for similar, first, second in found
            )[:LISTED]
            if found and across:
                number = len({second for _, _, second in found})  # the later split is the held-out one
                are = _n(number, "held-out image is", "held-out images are")
                yield Issue(
                    "warning" if self._dataset.synthetic else "error", "near-duplicates",
                    f"{are} a near copy of one under another patient of an earlier split", examples,
                    "look at these pairs; keep copies in one split or drop them; --allow near-duplicates where they are none",
                )  # fmt: skip
            elif found:
                message = f"{_n(len(found), 'pair', 'pairs')} of near copies under different patients of one split"
                yield Issue("warning", "near-duplicates-within", message, examples, "one patient under two names?")

    def _candidates(self) -> dict[bool, tuple[list[tuple[int, int]], int]]:
        """Rows of the nearest pairs by hash, and the number of all, for pairs across splits (True) and within one (False).

        One row of each image and split stands for its exact copies; flat pictures are left out.
        """
        rows = self._rows
        usable = np.flatnonzero((rows["image"] != 0) & ~is_flat(rows))
        chosen = usable[_firsts(rows["split"][usable], rows["image"][usable])]
        nearest: dict[bool, list[tuple[int, int, int]]] = {True: [], False: []}
        counts = {True: 0, False: 0}
        for block in near_pairs(rows["hash"][chosen]):
            first, second = chosen[block.first], chosen[block.second]
            other = (rows["patient"][first] != rows["patient"][second]) & (rows["image"][first] != rows["image"][second])
            crosses = rows["split"][first] != rows["split"][second]
            for across in (True, False):
                kept = np.flatnonzero(other & (crosses == across))
                counts[across] += len(kept)
                kept = kept[np.argsort(block.fine[kept], kind="stable")[:COMPARED]]
                columns = (block.fine[kept], np.minimum(first, second)[kept], np.maximum(first, second)[kept])
                nearest[across] = sorted([*nearest[across], *zip(*(c.tolist() for c in columns), strict=True)])[:COMPARED]
        return {across: ([(a, b) for _, a, b in nearest[across]], counts[across]) for across in (True, False)}

    def _detail(self, row: int) -> np.ndarray:
        if row not in self._details:
            split, index = self._splits[self._rows["split"][row]], int(self._rows["index"][row])
            image = self._dataset.pair(split, index).image
            self._details[row] = detail(image if isinstance(image, Image.Image) else read_image(image))
        return self._details[row]

    def _reports(self) -> Iterator[Issue]:
        """Texts that several studies share: expected of terse normal reports, suspicious where they are long."""
        rows = self._rows[self._rows["report"] != 0]
        if not len(rows):
            return
        keys, counts = np.unique(rows["report"][_firsts(rows["report"], rows["study"])], return_counts=True)
        repeated = keys[counts > 1]
        if len(repeated):
            share = np.isin(rows["report"], repeated).mean()
            most = self._places("report", int(keys[counts.argmax()]))
            yield Issue(
                "note", "repeated-reports",
                f"{share:.1%} of the reports have the words of another study's ({len(repeated)} texts, one by "
                f"{counts.max()} studies)", (most,),
            )  # fmt: skip
        crossing = np.intersect1d(_under_several(rows, "report", "patient"), _under_several(rows, "report", "split"))
        long = rows[np.isin(rows["report"], crossing) & (rows["words"] >= 20)]
        if len(long):
            texts = np.unique(long["report"])
            message = f"{_n(len(texts), 'text', 'texts')} of 20 words or more in several splits under different patients"
            examples = tuple(self._places("report", int(key)) for key in texts[:LISTED])
            yield Issue("warning", "report-leakage", message, examples, "templates, or one patient under two names?")

    def _places(self, field: str, key: int) -> str:
        """Where a key occurs: its name, then the first pair of each split (of each patient, within one split)."""
        at = np.flatnonzero(self._rows[field] == key)
        by = "split" if len(np.unique(self._rows["split"][at])) > 1 else "patient" if field != "id" else "index"
        firsts = at[np.sort(np.unique(self._rows[by][at], return_index=True)[1])]
        where = " and ".join(self._named(int(row)) for row in firsts[:3]) + (
            f" and {len(firsts) - 3} more" if len(firsts) > 3 else ""
        )
        if field in ("patient", "id"):
            return f"{field} '{getattr(self._keys(int(at[0])), field)}': {where}"
        return f"{len(at)} times: {where}"

    def _keys(self, row: int) -> Keys:
        return keys_of(self._dataset, self._splits[self._rows["split"][row]], int(self._rows["index"][row]))

    def _named(self, row: int) -> str:
        """A pair as `split id (patient)`."""
        keys = self._keys(row)
        return f"{self._splits[self._rows['split'][row]]} '{keys.id}' (patient '{keys.patient}')"


def _n(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _under_several(rows: np.ndarray, field: str, owner: str) -> np.ndarray:
    """Keys of a field (but 0, which stands for none) that occur with several values of another."""
    order = np.lexsort((rows[owner], rows[field]))
    keys, owners = rows[field][order], rows[owner][order]
    anew = keys[1:] != keys[:-1]
    other = ~anew & (owners[1:] != owners[:-1])
    several = np.unique(keys[1:][other])
    return several[several != 0]


def _firsts(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The first place of every distinct pair of values."""
    order = np.lexsort((b, a))  # stable: the first of equals stays first
    anew = np.r_[True, (np.diff(a[order]) != 0) | (np.diff(b[order]) != 0)] if len(order) else np.zeros(0, dtype=bool)
    return np.sort(order[anew])
