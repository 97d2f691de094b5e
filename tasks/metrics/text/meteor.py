"""METEOR 1.5 (Denkowski and Lavie 2014), by its jar with English defaults and `-norm`, as COCO captioning runs it.
The jar gives a line of counts per segment; the corpus score is a closed form of their sum, written out here so that an interval
needs no second run of the jar. The jar reads no more of its paraphrases than the texts can use (`paraphrases`)."""

import atexit
import os
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np

from medim.common.errors import UserError
from tasks.metrics.statistics.additive import combiner
from tasks.metrics.text.java import ScorerError, complaint, jar, java_problem
from tasks.metrics.text.paraphrases import table, vocabulary

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
MODULE_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase
COUNTS = 23
OPTIONS = "-l en -norm"
_JVM = ("-Dfile.encoding=UTF-8", "-Xmx2G", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # it lives for seconds


class Meteor:
    """One process of the jar for all texts, restarted only where new words bring paraphrases that it has not read. `whole`: the
    jar reads its whole table, which takes some ten seconds; scores are the same. `starts`: how often the jar was started."""

    def __init__(self, whole: bool = False) -> None:
        self.starts = 0
        self._whole = whole
        self._words: set[str] = set()
        self._rows = np.zeros(0, dtype=np.int64)
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()

    def counts(self, references: Sequence[str | Sequence[str]], hypotheses: Sequence[str]) -> np.ndarray:
        """The jar's counts of each tokenised text and that of its references by which it scores best: (N, 23), in the order of
        `score`. Raises ScorerError: Java is missing, or the jar fails."""
        groups = [(theirs,) if isinstance(theirs, str) else theirs for theirs in references]
        with self._lock:
            self._ready([text for theirs in groups for text in theirs], hypotheses)
            rows = [self._ask(theirs, hypothesis) for theirs, hypothesis in zip(groups, hypotheses, strict=True)]
        return np.array(rows, dtype=np.float64).reshape(len(rows), COUNTS)

    def start(self, *texts: Sequence[str]) -> None:
        """Starts the jar for these texts where necessary, without waiting for it; a ScorerError without Java."""
        with self._lock:
            self._ready(*texts)

    def close(self) -> None:
        """Ends the process, if one runs."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        if self._errors is not None:
            self._errors.close()
        if self._folder is not None:
            self._folder.cleanup()
        self._process = self._errors = self._folder = None

    def _ready(self, *texts: Sequence[str]) -> None:
        if (problem := java_problem()) is not None:
            raise ScorerError(f"METEOR 1.5 needs Java ({problem})")
        runs = self._process is not None and self._process.poll() is None
        path = jar("meteor/meteor-1.5.jar")
        source = path.parent / "data" / "paraphrase-en.gz"
        if self._whole:
            if not runs:
                self.close()
                self._start(path, source)
            return None
        words = vocabulary(text for group in texts for text in group)
        if runs and words <= self._words:
            return
        words |= self._words
        try:
            paraphrases = table(source)
        except (OSError, UserError):  # no index can be kept here: slower, and the scores are the same
            self._whole = True
            return self._ready(*texts)
        rows = paraphrases.select(words)
        self._words = words
        if not runs or len(rows) != len(self._rows):  # rows only grow with the words
            self.close()
            self._folder = tempfile.TemporaryDirectory()
            trimmed = Path(self._folder.name) / "paraphrases.gz"
            paraphrases.write(trimmed, rows)
            self._rows = rows
            self._start(path, trimmed)
        return None

    def _start(self, path: Path, paraphrases: Path) -> None:
        self.starts += 1
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        command = ["java", *_JVM, "-jar", str(path), "-", "-", "-stdio", *OPTIONS.split(), "-a", str(paraphrases)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)

    def _ask(self, references: Sequence[str], hypothesis: str) -> list[float]:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = " ||| ".join(["SCORE", *map(_plain, references), _plain(hypothesis)]) + "\n"
        try:
            self._process.stdin.write(line.encode("utf-8", "replace"))
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None
        counts = self._process.stdout.readline().split()
        if len(counts) != COUNTS:
            raise self._failure()
        if self._folder is not None:  # it has read its paraphrases: a kill leaves nothing
            self._folder.cleanup()
            self._folder = None
        return [float(count) for count in counts]

    def _failure(self) -> ScorerError:
        assert self._process is not None
        assert self._errors is not None
        self._process.kill()
        self._process.wait()
        self._errors.seek(0)
        said = complaint(self._errors.read().decode("utf-8", "replace"))
        self.close()
        return ScorerError(f"METEOR 1.5 failed: {said}")


@lru_cache(maxsize=1)
def shared() -> Meteor:
    """The process shared by all scoring of this Python process; ended at exit."""
    meteor = Meteor()
    atexit.register(meteor.close)
    return meteor


def additive(counts: np.ndarray) -> np.ndarray:
    """Counts (N, 23) of segments as they enter a corpus's sum: a segment matched whole, in order, has no fragmentation."""
    counts = counts.copy()
    counts[_whole(counts), 20] = 0
    return counts


@combiner("meteor-1.5", bounds=(0, 1))
def score(counts: np.ndarray) -> np.ndarray:
    """METEOR of one segment's counts, or of a sum of `additive` counts: (..., 23) -> (...).

    Counts are: words of hypothesis and reference; function words of each; per module (exact, stem, synonym, paraphrase) the
    matched content words of hypothesis and reference and matched function words of each; chunks; matched words of each.

        P = sum_i w_i (d m_ci(h) + (1 - d) m_fi(h)) / (d |h_c| + (1 - d) |h_f|), R likewise on the reference
        F = P R / (a P + (1 - a) R);  score = (1 - g (chunks / matches)^b) F
    """
    hypothesis, reference, hypothesis_function, reference_function = np.moveaxis(counts[..., :4], -1, 0)
    modules = counts[..., 4:20].reshape(*counts.shape[:-1], 4, 4)  # module, (content h, content r, function h, function r)
    weighted = np.einsum("...mk,m->...k", modules, MODULE_WEIGHTS)
    chunks, hypothesis_matches, reference_matches = np.moveaxis(counts[..., 20:], -1, 0)
    precision = _ratio(
        DELTA * weighted[..., 0] + (1 - DELTA) * weighted[..., 2],
        DELTA * (hypothesis - hypothesis_function) + (1 - DELTA) * hypothesis_function,
    )
    recall = _ratio(
        DELTA * weighted[..., 1] + (1 - DELTA) * weighted[..., 3],
        DELTA * (reference - reference_function) + (1 - DELTA) * reference_function,
    )
    f = _ratio(precision * recall, ALPHA * precision + (1 - ALPHA) * recall)
    fragmentation = np.where(_whole(counts), 0.0, _ratio(chunks, (hypothesis_matches + reference_matches) / 2))
    return f * (1 - GAMMA * fragmentation**BETA)


def _whole(counts: np.ndarray) -> np.ndarray:
    return (counts[..., 21] == counts[..., 0]) & (counts[..., 22] == counts[..., 1]) & (counts[..., 20] == 1)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros(np.shape(denominator)), where=np.asarray(denominator) > 0)


def _plain(text: str) -> str:
    """The text without the jar's field separator and with single spaces."""
    return " ".join(text.replace("|||", " ").split())


class NoSynonyms:
    """Stands for WordNet where its data is not installed: no word has a synonym."""

    def synsets(self, word: str) -> list[Any]:
        return []


def nltk_meteor(reference: Sequence[str], hypothesis: Sequence[str], wordnet: Any = None) -> float:
    """METEOR of one pair of token lists, in [0, 1): identical texts of n words get 1 - 1 / (2 n^3), never 1.
    `wordnet`: NLTK's reader (`installed_wordnet`); None: words match exactly or by stem only."""
    from nltk.translate.meteor_score import single_meteor_score  # lazy: start-up

    return float(single_meteor_score(reference, hypothesis, stemmer=_stemmer(), wordnet=wordnet or NoSynonyms()))


def installed_wordnet() -> Any:
    """NLTK's WordNet, of a folder of NLTK_DATA or of NLTK's usual ones; None where its data is not there. Downloads nothing."""
    from nltk import data  # lazy: start-up
    from nltk.corpus import wordnet

    data.path[:0] = [folder for folder in os.environ.get("NLTK_DATA", "").split(os.pathsep) if folder and Path(folder).is_dir()]
    try:
        wordnet.ensure_loaded()
    except (LookupError, OSError, BadZipFile):  # missing, unreadable or damaged
        return None
    return wordnet


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    """Porter's stemmer in NLTK's mode, each word stemmed once."""
    from nltk.stem.porter import PorterStemmer  # lazy: start-up

    stemmer = PorterStemmer()
    stemmer.stem = lru_cache(maxsize=1 << 16)(stemmer.stem)
    return stemmer
