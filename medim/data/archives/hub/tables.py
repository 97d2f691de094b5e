"""Rows and cells of a source of the `datasets` library, as plain Python values: nothing is decoded, nothing is executed."""

import os
import tarfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from medim.common.errors import UserError
from medim.data.archives.archive import Loss
from medim.data.archives.fields import inside, known_split, labels_in
from medim.data.archives.json_records import read_list
from medim.data.archives.tables import Row, read_header, read_table

BATCH = 256
UNSPLIT = "unsplit"  # the split of a source that has none

_READERS = {".parquet": "parquet", ".arrow": "arrow"}
_TEXT_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl")
_METADATA = ("metadata.csv", "metadata.jsonl")
_FILE_NAME = "file_name"  # the column of an image folder's metadata that names the picture
_LOOKED_AT = 1000  # JSON entries, for the names of the columns


@lru_cache(maxsize=2)
def open_tables(root: str, config: str, revision: str, streaming: bool) -> "Tables":
    """The tables of a source, opened once in each process.
    Raises UserError: the source cannot be found, reached or read, or its configuration must be named."""
    try:
        import datasets
    except ImportError:
        raise UserError("reading a hub source needs the extra 'archives': pip install 'medim-bench[archives]'") from None
    try:
        found = _load(root, config or None, revision or None, streaming)
        return found if isinstance(found, TextTables) else Tables(root, found, streaming)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        cause = error.__cause__ if isinstance(error, datasets.exceptions.DatasetGenerationError) else None
        reason = " ".join(str(cause or error).split()) or type(error).__name__
        raise UserError(f"hub: '{root}' cannot be opened: {reason}") from None


class Tables:
    """The splits of one source; `columns` has the names of the columns by split."""

    def __init__(self, root: str, splits: dict[str, Any], streaming: bool) -> None:
        self.root, self.streaming = root, streaming
        self._splits = splits
        self._cells: dict[tuple[str, str], Any] = {}
        self._last: dict[tuple[str, str], tuple[int, Any]] = {}  # of a streamed column: the row read last, and its cell
        self.columns = {name: list(table.column_names or next(iter(table), {})) for name, table in splits.items()}

    def rows(self, split: str, columns: list[str]) -> Iterator[dict[str, Any]]:
        """The rows of a split in order, with these columns alone. Raises UserError: the source breaks off."""
        table = self._splits[split].select_columns(columns).with_format("arrow")
        try:
            for batch in table.iter(batch_size=BATCH):
                yield from batch.to_pylist()
        except (OSError, ValueError) as error:
            raise UserError(f"hub: '{self.root}', split '{split}' cannot be read: {' '.join(str(error).split())}") from None

    def header(self, split: str, needed: Sequence[str]) -> list[str]:
        return self.columns[split]

    def entries(self, split: str, columns: list[str]) -> Iterator[tuple[str, dict[str, Any] | Loss]]:
        """`rows`, and how messages call each."""
        return ((f"{split}, row {number}", row) for number, row in enumerate(self.rows(split, columns)))

    def cell(self, split: str, row: int, column: str) -> Any:
        """One cell. Of a streamed source the rows before it are read too, so ask for rows in growing order.
        Raises UserError: there is no such row any more."""
        key = (split, column)
        if not self.streaming:
            if key not in self._cells:
                self._cells[key] = self._splits[split].select_columns([column]).with_format("arrow")
            if row < len(self._cells[key]):
                return self._cells[key][row].to_pylist()[0][column]
            raise UserError(f"hub: '{self.root}', split '{split}' has no row {row} any more")
        at, value = self._last.get(key, (-1, None))
        if key not in self._cells or row < at:
            self._cells[key], at = self.rows(split, [column]), -1
        while at < row:
            values = next(self._cells[key], None)
            if values is None:
                del self._cells[key]
                raise UserError(f"hub: '{self.root}', split '{split}' has no row {row} any more")
            at, value = at + 1, values[column]
        self._last[key] = (at, value)
        return value

    def is_list(self, split: str, column: str) -> bool:
        feature = self._feature(split, column)
        return isinstance(feature, list) or type(feature).__name__ in ("List", "LargeList", "Sequence")

    def label(self, split: str, column: str, row: dict[str, Any]) -> str:
        """A cell as text; a class label by its name."""
        value, names = row[column], getattr(self._feature(split, column), "names", None)
        return str(names[value]) if names is not None and isinstance(value, int) and value >= 0 else str(value)

    def labels(self, split: str, column: str, row: dict[str, Any]) -> list[str] | None:
        """A cell as a list of labels, class labels by their names; see `labels_in`."""
        feature = self._feature(split, column)
        inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", feature)
        return labels_in(row[column], f"column '{column}'", getattr(inner, "names", None))

    def licence(self, split: str) -> str:
        """The licence that the source declares, or nothing."""
        return (self._splits[split].info.license or "").strip()

    def _feature(self, split: str, column: str) -> Any:
        return (self._splits[split].features or {}).get(column)


class TextTables(Tables):
    """The splits of CSV, TSV or JSON files, whose cells stay as they are written. The library would guess a type for each
    column: `0001` becomes 1, `1e0` a float, `NA` a missing cell, a date a timestamp. `files`: of each split. `image`: the
    column of pictures of an image folder, whose files name them by `file_name` relative to themselves."""

    def __init__(self, root: str, files: dict[str, list[Path]], licence: str = "", image: str = "") -> None:
        self.root, self._files, self._licence, self._image = root, files, licence, image
        self.columns = {name: self.header(name, ()) for name in files}

    def header(self, split: str, needed: Sequence[str]) -> list[str]:
        """The columns of a split: those of its first file, by the separator that finds the columns needed."""
        path = self._files[split][0]
        if path.suffix in (".csv", ".tsv"):
            names = read_header(path, self._stored(needed))
        else:
            values = (entry.value for entry in islice(read_list(path), _LOOKED_AT) if not isinstance(entry, Loss))
            names = list(dict.fromkeys(key for value in values if isinstance(value, dict) for key in value))
        return [self._image if self._image and name == _FILE_NAME else name for name in names]

    def entries(self, split: str, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, Any] | Loss]]:
        stored = self._stored(columns)
        for path in self._files[split]:
            for entry in read_table(path, stored) if path.suffix in (".csv", ".tsv") else read_list(path):
                if isinstance(entry, Loss):
                    yield entry.item, entry
                elif isinstance(entry, Row):
                    yield f"{path.name}:{entry.line}", self._named(path, entry.cells, columns)
                elif isinstance(entry.value, dict):
                    yield entry.name(path), self._named(path, entry.value, columns)
                else:
                    yield "", Loss(entry.name(path), "an object is needed")

    def licence(self, split: str) -> str:
        return self._licence

    def _feature(self, split: str, column: str) -> Any:
        return None

    def _stored(self, columns: Sequence[str]) -> list[str]:
        return [_FILE_NAME if self._image and name == self._image else name for name in columns]

    def _named(self, path: Path, cells: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
        row = {name: cells.get(stored) for name, stored in zip(columns, self._stored(columns), strict=True)}
        if self._image in row and isinstance(row[self._image], str):
            below = path.parent.relative_to(self.root).as_posix()
            row[self._image] = f"{below}/{row[self._image]}"
        return row


def file_in(root: str, path: str) -> bytes:
    """The bytes of a file that a cell names. Raises UserError: it is neither in the source's folder nor in the library's cache.
    Raises OSError: it cannot be read."""
    from datasets import config

    local = Path(root)
    folder = local if local.is_dir() else local.parent
    if "://" in path:
        import fsspec

        if f"hf://datasets/{root}@" not in path or local.exists():
            raise UserError(f"hub: '{path}' is no file of '{root}'")
        with fsspec.open(path, "rb") as stream:
            return bytes(stream.read())
    if not os.path.isabs(path):
        if not local.exists():
            raise UserError(f"hub: a row names the file '{path}', but '{root}' is no local folder")
        return (folder / inside(path)).read_bytes()
    folders = [config.HF_CACHE_HOME, config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH]
    absolute = Path(os.path.abspath(path))
    if not any(absolute.is_relative_to(os.path.abspath(place)) for place in [*folders, *([folder] if local.exists() else [])]):
        raise UserError(f"hub: a row names the file '{path}', outside '{root}'")
    return absolute.read_bytes()


def _load(root: str, config: str | None, revision: str | None, streaming: bool) -> dict[str, Any] | TextTables:
    """The source's splits by name; one without splits is `unsplit`."""
    import datasets

    path = Path(root)
    if path.is_file():
        if path.suffix not in (*_READERS, *_TEXT_SUFFIXES):
            raise UserError(f"hub: '{root}' is none of {', '.join((*_READERS, *_TEXT_SUFFIXES))}")
        name = known_split(path.stem) or UNSPLIT
        if path.suffix in _TEXT_SUFFIXES:
            return TextTables(root, {name: [path]})
        return dict(datasets.load_dataset(_READERS[path.suffix], data_files={name: [str(path)]}, streaming=streaming))
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():  # of save_to_disk
        found = datasets.load_from_disk(root)
        splits = dict(found) if isinstance(found, dict) else {UNSPLIT: found}
        return {name: table.to_iterable_dataset() if streaming else table for name, table in splits.items()}
    if shards := _exported_shards(path):
        texts = {name: datasets.Value("string") for name in ("report", "extra")}
        features = datasets.Features(image=datasets.Image(decode=False), **texts)
        kind = datasets.IterableDataset if streaming else datasets.Dataset
        # The files' state is an argument, as the library's cache knows a generator by its arguments.
        return {
            split: kind.from_generator(_samples, features=features, gen_kwargs={"files": files})
            for split, files in shards.items()
        }
    builder = datasets.load_dataset_builder(root, config, revision=revision)
    if builder.config.data_files:
        kind = type(builder).__module__.rpartition(".")[2]  # the library's reader: csv, json, imagefolder, ...
        files = {str(split): list(names) for split, names in builder.config.data_files.items()}
        licence = (builder.info.license or "").strip()
        if kind in ("csv", "json"):
            manager = datasets.DownloadManager(builder.dataset_name, download_config=datasets.DownloadConfig())
            files = {split: manager.download(names) for split, names in files.items()}
            return TextTables(root, {split: list(map(Path, names)) for split, names in files.items()}, licence)
        if kind == "imagefolder" and path.is_dir() and (tables := _image_folder(path, files)) is not None:
            return TextTables(root, tables[0], licence, tables[1])
    return dict(datasets.load_dataset(root, config, revision=revision, streaming=streaming))


def _image_folder(root: Path, files: dict[str, list[str]]) -> tuple[dict[str, list[Path]], str] | None:
    """The tables by split of an image folder, and its column of pictures where they are its metadata; None without tables."""
    metadata = {split: [path for path in map(Path, names) if path.name in _METADATA] for split, names in files.items()}
    if all(metadata.values()):
        return metadata, "image"
    if any(Path(name).name.startswith("metadata.") for names in files.values() for name in names):
        return None
    tables = sorted(path for path in root.iterdir() if path.suffix in _TEXT_SUFFIXES and path.is_file())
    named = {known_split(path.stem) or UNSPLIT: [path] for path in tables}
    return (named, "") if named and len(named) == len(tables) else None


def _exported_shards(folder: Path) -> dict[str, list[tuple[str, int, int]]]:
    """The WebDataset shards that `medim-bench export` wrote, by split: path, size and time of change.
    The library itself would guess the columns of a sample's JSON from the first five samples."""
    shards: dict[str, list[tuple[str, int, int]]] = {}
    for path in sorted(folder.glob("shards/*-[0-9][0-9][0-9][0-9][0-9].tar")):
        if known_split(path.name[:-10]) is not None:
            state = path.stat()
            shards.setdefault(path.name[:-10], []).append((str(path), state.st_size, state.st_mtime_ns))
    return shards


def _samples(files: list[tuple[str, int, int]]) -> Iterator[dict[str, Any]]:
    """The samples of shards: three members each, `<key>.json`, `<key>.png` and `<key>.txt`, in this order."""
    for name, *_ in files:
        parts: dict[str, bytes] = {}
        with tarfile.open(name) as tar:
            for member in tar:
                stream = tar.extractfile(member)
                parts[member.name.rpartition(".")[2]] = b"" if stream is None else stream.read()
                if member.name.endswith(".txt"):
                    if set(parts) != {"json", "png", "txt"}:
                        raise ValueError(f"{name}: sample '{member.name}' is not of json, png and txt")
                    image = {"bytes": parts["png"], "path": None}
                    yield {"image": image, "report": parts["txt"].decode(), "extra": parts["json"].decode()}
                    parts = {}
