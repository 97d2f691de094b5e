"""Report metrics by protocol, one or more references per case: BLEU, METEOR, ROUGE, CIDEr under names that say whose they are.

* `strict-v1`, also known as `coco`: the captioning protocol of COCO. PTB tokens, corpus BLEU, METEOR 1.5, ROUGE-L with
  beta 1.2, CIDEr; values are pycocoevalcap's. A missing report scores as an empty one.
* `r2gen`: the same metrics on R2Gen's cleaned tokens, of which the full stop is one.
* `as-given`: the same metrics on the texts split at white space, for texts that are tokens already.
* `medim-paper-v1`: what the script released with MeDiM computes. Means of smoothed sentence BLEU and of the package `rouge`,
  NLTK's METEOR; cases without a report are left out of the mean.

Values of two protocols are never comparable: on the same texts, BLEU-4 differs by up to a factor of two.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from medim.common.errors import UserError, foreign, unknown
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.text import meteor, overlap
from tasks.metrics.text.meteor import installed_wordnet, nltk_meteor
from tasks.metrics.text.ngrams import ORDERS, Counted, ReferenceCache, References
from tasks.metrics.text.overlap import BETA, SIGMA, bleu_of_sums, bleu_sums, rouge_package, smoothed_sentence_bleu
from tasks.metrics.text.tokens import Tokenised, given_tokens, r2gen_tokens, released_tokens, tokenise

MINIMUM_CIDER_REFERENCES = 50
METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
RELEASED_METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-1", "ROUGE-2", "ROUGE-L")
RELEASED = "medim-paper-v1"
_COCO = {"formula": "pycocoevalcap 1.2"}


@dataclass(frozen=True)
class CaptionScore:
    """One metric over a corpus."""

    metric: str
    value: float | None  # None where it is withheld; `reason` says why
    details: dict[str, Any]  # for the signature
    # (N,) the metric of each case alone, NaN for a case that the protocol leaves out; empty where withheld
    per_sample: np.ndarray = field(default_factory=lambda: np.zeros(0))
    # sums, combine, parameters: of its `Additive`: (N, K) counts per case, and the function of their sum
    sums: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    combine: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None

    def additive(self, patients: Sequence[str]) -> Additive | None:
        """The sums by patient; None where the metric is withheld."""
        return None if self.combine is None else Additive(self.sums, tuple(patients), self.combine, self.parameters)


@dataclass(frozen=True)
class Protocol:
    """How reports are scored against references."""

    name: str
    tokens: Callable[[Sequence[str]], Tokenised]  # texts to space-separated tokens
    # the metrics, of references, and of hypotheses as tokens and as they came
    scores: Callable[[References, Sequence[str], Sequence[str]], list[CaptionScore]]
    metrics: tuple[str, ...]  # their names in order, without `suffix`, which keeps two protocols from sharing a column
    suffix: str = ""

    def references(self, texts: Sequence[str | tuple[str, ...]], cache: ReferenceCache | None = None) -> References:
        """The references, one or several a case, from the cache where it holds them."""
        return (ReferenceCache() if cache is None else cache).get(texts, self.name, self.tokens)

    def score(self, references: References, hypotheses: Sequence[str | None], tokens: Sequence[str]) -> list[CaptionScore]:
        """All metrics of N texts, as they came and as this protocol's tokens; a ValueError where numbers differ or are 0."""
        if not len(references) == len(hypotheses) == len(tokens) or not tokens:
            raise ValueError(f"{len(references)} references but {len(hypotheses)} hypotheses")
        several = f"{references.per_case.min()} to {references.most}"
        common = {"tokenisation": references.tokenisation, "references_per_case": 1 if references.most == 1 else several}
        return [
            replace(score, metric=score.metric + self.suffix, details=common | score.details)
            for score in self.scores(references, tokens, [text or "" for text in hypotheses])
        ]


def caption_scores(
    references: Sequence[str | tuple[str, ...]],
    hypotheses: Sequence[str | None],
    protocol: str = "strict-v1",
    cache: ReferenceCache | None = None,
) -> list[CaptionScore]:
    """All metrics of a protocol, in its order, of N texts each as they came; None for a missing one. Raises ValueError: no
    cases, or different numbers of them. Raises UserError: no such protocol. Raises ScorerError: the PTB tokenizer fails."""
    chosen = protocol_named(protocol)
    tokens = chosen.tokens([text or "" for text in hypotheses]).texts
    return chosen.score(chosen.references(references, cache), hypotheses, tokens)


def protocol_named(name: str) -> Protocol:
    """The protocol of a name or an alias; a UserError that suggests the nearest where there is none."""
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def coco_scores(references: References, tokens: Sequence[str], texts: Sequence[str] = ()) -> list[CaptionScore]:
    """BLEU-1..4, METEOR 1.5, ROUGE-L and CIDEr of space-separated tokens; `texts` is not used."""
    started = _meteor(references, tokens, start=True)  # the jar loads while the others are computed
    counted = references.count(tokens)
    others = rouge_l(references, tokens), cider(references, counted)
    return [*bleu(references, counted), started or meteor_15(references, tokens), *others]


def bleu(references: References, counted: Counted) -> list[CaptionScore]:
    """Corpus BLEU-1..4, without smoothing."""
    sums = bleu_sums(references, counted)
    total = sums.sum(axis=0, keepdims=True)
    details = _COCO | {"aggregation": "corpus", "smoothing": "none"}
    scores = []
    for order in range(1, ORDERS + 1):
        value, per_sample = float(bleu_of_sums(total, order=order)[0]), bleu_of_sums(sums, order=order)
        scores.append(CaptionScore(f"BLEU-{order}", value, details, per_sample, sums, "corpus-bleu", {"order": order}))
    return scores


def rouge_l(references: References, tokens: Sequence[str]) -> CaptionScore:
    """Mean ROUGE-L F with beta = 1.2, which weighs recall."""
    return _mean("ROUGE-L", overlap.rouge_l(references, tokens), _COCO | {"beta": BETA, "stemmer": "none"})


def cider(references: References, counted: Counted) -> CaptionScore:
    """Mean CIDEr with the document frequencies of these references, or of the set that stands in for them; withheld below
    `MINIMUM_CIDER_REFERENCES` of them."""
    source = "test references" if references.documents is None else f"reference statistics, {references.corpus}"
    details = _COCO | {"document_frequencies": source, "sigma": SIGMA}
    if references.corpus < MINIMUM_CIDER_REFERENCES:
        reason = f"CIDEr needs at least {MINIMUM_CIDER_REFERENCES} references, here are {references.corpus}"
        return CaptionScore("CIDEr", None, details, reason=reason)
    if not any(references.texts):
        return CaptionScore("CIDEr", None, details, reason="every reference is empty after tokenisation")
    return _mean("CIDEr", overlap.cider(references, counted), details)


def meteor_15(references: References, tokens: Sequence[str]) -> CaptionScore:
    """Corpus METEOR 1.5; withheld with the reason where Java is missing or the jar fails."""
    score = _meteor(references, tokens)
    assert score is not None
    return score


def _meteor(references: References, tokens: Sequence[str], start: bool = False) -> CaptionScore | None:
    """The score, or with `start` only the start of the jar: then None, or the withheld score where it fails."""
    details: dict[str, Any] = {"scorer": "meteor-1.5.jar", "options": meteor.OPTIONS}
    try:
        with foreign("METEOR 1.5 failed"):
            if start:
                meteor.shared().start(references.every, tokens)
                return None
            several = [references.every[references.of_case(row)] for row in range(len(references))]
            counts = meteor.shared().counts(several, tokens)
    except UserError as error:
        return CaptionScore("METEOR", None, details | {"unavailable": True}, reason=str(error))
    sums = meteor.additive(counts)
    details["aggregation"] = "corpus"
    return CaptionScore("METEOR", float(meteor.score(sums.sum(axis=0))), details, meteor.score(counts), sums, "meteor-1.5")


def released_scores(references: References, tokens: Sequence[str], texts: Sequence[str]) -> list[CaptionScore]:
    """Means over the cases that the script released with MeDiM scores: those with a report in which it finds a sentence."""
    if references.most > 1:
        raise UserError(f"protocol {RELEASED} scores one reference a case, and here are up to {references.most}: take another")
    rouges = [
        rouge_package(reference.strip().lower(), text.strip().lower()) if text.strip() else None
        for reference, text in zip(references.sources, texts, strict=True)
    ]
    scored = np.array([rouge is not None for rouge in rouges])
    details: dict[str, Any] = {"missing": "left out", "scored": int(scored.sum())}
    sums = bleu_sums(references, references.count(tokens))
    columns = {f"BLEU-{n}": smoothed_sentence_bleu(sums, n) for n in range(1, ORDERS + 1)}
    extra = {metric: {"formula": "nltk sentence_bleu", "smoothing": "method1"} for metric in columns}
    wordnet = installed_wordnet()
    name = "METEOR" if wordnet is not None else "METEOR without synonyms"
    pairs = zip(references.texts, tokens, scored, strict=True)
    columns[name] = np.array([nltk_meteor(a.split(), b.split(), wordnet) if kept else np.nan for a, b, kept in pairs])
    extra[name] = {"formula": "nltk single_meteor_score", "synonyms": "none" if wordnet is None else "WordNet of nltk"}
    table = np.array([(np.nan,) * 3 if rouge is None else rouge for rouge in rouges])  # (N, 3)
    for index, which in enumerate(("ROUGE-1", "ROUGE-2", "ROUGE-L")):
        columns[which] = table[:, index]
        extra[which] = {"formula": "rouge 1.0, F"}
    scores = [_mean(metric, np.where(scored, values, np.nan), details | extra[metric]) for metric, values in columns.items()]
    if wordnet is None:
        reason = "METEOR of this protocol needs NLTK's WordNet data where NLTK_DATA points"
        withheld = CaptionScore("METEOR", None, details | {"unavailable": True}, reason=reason)
        scores.insert(list(columns).index(name), withheld)
    return scores


def _mean(metric: str, per_sample: np.ndarray, details: dict[str, Any]) -> CaptionScore:
    """The mean over cases that are not NaN; withheld where all are."""
    details = details | {"aggregation": "mean"}
    counts = np.isfinite(per_sample)
    if not counts.any():
        return CaptionScore(metric, None, details, reason="no case has a report that this protocol scores")
    sums = np.stack([np.where(counts, per_sample, 0.0), counts], axis=1)
    return CaptionScore(metric, float(per_sample[counts].mean()), details, per_sample, sums, "mean")


_STRICT = Protocol("strict-v1", tokenise, coco_scores, METRICS)
_R2GEN = Protocol("r2gen", r2gen_tokens, coco_scores, METRICS, " (r2gen)")
_GIVEN = Protocol("as-given", given_tokens, coco_scores, METRICS, " (as given)")
_RELEASED = Protocol(RELEASED, released_tokens, released_scores, RELEASED_METRICS, f" ({RELEASED})")
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {"strict-v1": _STRICT, "coco": _STRICT, "r2gen": _R2GEN, "as-given": _GIVEN, RELEASED: _RELEASED}
)
