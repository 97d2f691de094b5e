"""What several splits share: patients, images, near copies of images, and reports."""

from collections.abc import Iterator

import numpy as np

from medim.data.checks.reading import is_flat
from medim.data.checks.report import LISTED, Issue, Severity
from medim.data.dataset import Keys, PairDataset, keys_of
from medim.imaging.images import as_rgb
from medim.imaging.near_duplicates import DETAIL_LEAST, detail, detail_correlation, near_pairs

COMPARED = 2000  # candidates for near copies whose pictures are compared, the nearest by their hashes first
_TWO_NAMES = "one patient under two names?"


class Leakage:
    """Compares the splits of one data set. `rows`: `reading.ROW` of every pair, in order of splits. `splits`: their names, in
    the order of `rows["split"]`."""

    def __init__(self, dataset: PairDataset, rows: np.ndarray, splits: tuple[str, ...]) -> None:
        self._dataset, self._rows, self._splits = dataset, rows, splits
        self._details: dict[int, np.ndarray] = {}

    def issues(self) -> Iterator[Issue]:
        """Errors, then warnings and notes."""
        crossing = _under_several(self._rows, "patient", "split")
        message = f"{_n(len(crossing), 'patient occurs', 'patients occur')} in several splits"
        advice = "split by patient; --allow patient-leakage where it is meant"
        yield from self._of_keys("error", "patient-leakage", message, "patient", crossing, advice)
        yield from self._images()
        yield from self._near()
        yield from self._reports()
        ids, counts = np.unique(self._rows["id"], return_counts=True)
        message = f"{_n((counts > 1).sum(), 'id is', 'ids are')} used more than once"
        yield from self._of_keys("error", "duplicate-ids", message, "id", ids[counts > 1])

    def _of_keys(
        self, severity: Severity, kind: str, message: str, field: str, keys: np.ndarray, advice: str = ""
    ) -> Iterator[Issue]:
        """The issue of some keys of a field, where there are any."""
        if len(keys):
            yield Issue(severity, kind, message, tuple(self._places(field, int(key)) for key in keys[:LISTED]), advice)

    def _images(self) -> Iterator[Issue]:
        """The same decoded pixels under several patients."""
        rows = self._rows
        shared = _under_several(rows, "image", "patient")
        crossing = np.intersect1d(shared, _under_several(rows, "image", "split"))
        within = np.setdiff1d(shared, crossing)
        occur = _n(len(crossing), "image occurs", "images occur")
        message = f"{occur} in several splits under different patients, to the pixel"
        advice = "keep copies in one split or drop them; --allow image-leakage where it is meant"
        yield from self._of_keys("error", "image-leakage", message, "image", crossing, advice)
        message = f"{_n(len(within), 'image occurs', 'images occur')} under several patients of one split, to the pixel"
        yield from self._of_keys("warning", "duplicate-images", message, "image", within, _TWO_NAMES)
        same = rows["image"][(rows["image"] != 0) & ~np.isin(rows["image"], shared)]
        if copies := len(same) - len(np.unique(same)):
            yield Issue("note", "repeated-images", f"{_n(copies, 'pair repeats', 'pairs repeat')} an image of the same patient")

    def _near(self) -> Iterator[Issue]:
        """Near copies: candidates by their hashes, then the pictures of the nearest candidates are compared.
        Of a synthetic set they are a warning: cases drawn alike are no copies, and no patient crosses a split."""
        for across, (candidates, count) in self._candidates().items():
            compared = [(detail_correlation(self._detail(a), self._detail(b)), a, b) for a, b in candidates]
            found = sorted((item for item in compared if item[0] >= DETAIL_LEAST), key=lambda item: -item[0])
            if count > len(candidates):
                where = "in different splits" if across else "in one split"
                nearest = f"the nearest {len(candidates)} were compared by their pictures, {len(found)} of them are near copies"
                message = f"{count} pairs under different patients {where} have near hashes; {nearest}"
                yield Issue("warning", "near-candidates", message)
            examples = tuple(
                f"{self._named(one)} ~ {self._named(other)}: detail correlates {similar:.3f}"
                for similar, one, other in found[:LISTED]
            )
            if found and across:
                number = len({other for _, _, other in found})  # the later split is the held-out one
                are = _n(number, "held-out image is", "held-out images are")
                message = f"{are} a near copy of one under another patient of an earlier split"
                advice = (
                    "look at these pairs; keep copies in one split or drop them; --allow near-duplicates where they are none"
                )
                yield Issue("warning" if self._dataset.synthetic else "error", "near-duplicates", message, examples, advice)
            elif found:
                message = f"{_n(len(found), 'pair', 'pairs')} of near copies under different patients of one split"
                yield Issue("warning", "near-duplicates-within", message, examples, _TWO_NAMES)

    def _candidates(self) -> dict[bool, tuple[list[tuple[int, int]], int]]:
        """Rows of the nearest pairs by hash, and the number of all, for pairs across splits (True) and within one (False).
        One row of each image and split stands for its exact copies; flat pictures are left out."""
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
                some = np.flatnonzero(other & (crosses == across))
                counts[across] += len(some)
                some = some[np.argsort(block.fine[some], kind="stable")[:COMPARED]]
                columns = (block.fine[some], np.minimum(first, second)[some], np.maximum(first, second)[some])
                nearest[across] = sorted([*nearest[across], *zip(*(c.tolist() for c in columns), strict=True)])[:COMPARED]
        return {across: ([(a, b) for _, a, b in nearest[across]], counts[across]) for across in (True, False)}

    def _detail(self, row: int) -> np.ndarray:
        if row not in self._details:
            split, index = self._splits[self._rows["split"][row]], int(self._rows["index"][row])
            self._details[row] = detail(as_rgb(self._dataset.pair(split, index).image))
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
            of_one = f"{len(repeated)} texts, one by {counts.max()} studies"
            message = f"{share:.1%} of the reports have the words of another study's ({of_one})"
            yield Issue("note", "repeated-reports", message, (self._places("report", int(keys[counts.argmax()])),))
        crossing = np.intersect1d(_under_several(rows, "report", "patient"), _under_several(rows, "report", "split"))
        long = np.unique(rows["report"][np.isin(rows["report"], crossing) & (rows["words"] >= 20)])
        message = f"{_n(len(long), 'text', 'texts')} of 20 words or more in several splits under different patients"
        yield from self._of_keys("warning", "report-leakage", message, "report", long, f"templates, or {_TWO_NAMES}")

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
