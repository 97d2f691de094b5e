"""Texts as the tokens that each protocol of report scoring sees."""

import re
from collections.abc import Sequence

from tasks.metrics.text.ptb import Tokenised

R2GEN = "R2Gen's cleaning, full stops are tokens"
RELEASED = "lower case, split at spaces, full stops split off"
GIVEN = "as given, split at spaces"

_LIST_MARKS = (("1. ", ""), *((f". {n}. ", ". ") for n in range(2, 6)), *((f" {n}. ", ". ") for n in range(2, 6)))
_R2GEN_DROPPED = re.compile(r"[.,?;*!%^&_+():<=>@\[\]{}\"/\\']")
# Only the space splits in the released script: other white space stays inside a token, here as a private character.
_INNER_SPACE = str.maketrans({mark: chr(0xE000 + mark) for mark in range(0x3001) if chr(mark).isspace() and chr(mark) != " "})


def r2gen_tokens(texts: Sequence[str], maximum: int | None = None) -> Tokenised:
    """Texts as R2Gen cleans them (Chen et al. 2020): lower case, list numbers and punctuation dropped, " . " after a sentence.

    Its two rules, for MIMIC-CXR and for IU X-ray, differ in what the first also does to line breaks and underscores; this is
    the first. An empty text stays empty, and references are whole: R2Gen cuts both sides at its decoder's length.

    Args:
        maximum: of tokens, to cut at as R2Gen does (60 for IU X-ray, 100 for MIMIC-CXR).
    """
    cleaned = [_r2gen(text).split()[:maximum] for text in texts]
    how = R2GEN if maximum is None else f"{R2GEN}, cut at {maximum} tokens"
    return Tokenised([" ".join(tokens) for tokens in cleaned], how)


def given_tokens(texts: Sequence[str]) -> Tokenised:
    """Texts that are tokens already, as they are: case, punctuation, marks such as `<unk>` and repeated spaces stay.

    Only other white space becomes a space: a line end would part a text in two.
    """
    return Tokenised([re.sub(r"[^\S ]", " ", text) for text in texts], GIVEN)


def released_tokens(texts: Sequence[str]) -> Tokenised:
    """Tokens of the script released with MeDiM (arXiv 2510.06131): lower case, every full stop split off, split at spaces."""
    lines = [text.replace("\r\n", "\n").replace("\r", "\n").strip().lower() for text in texts]
    return Tokenised([" ".join(line.replace(".", " .").translate(_INNER_SPACE).split()) for line in lines], RELEASED)


def _r2gen(text: str) -> str:
    if not text.strip():
        return ""
    text = re.sub(r" +", " ", re.sub(r"_+", "_", text.replace("\r", "").replace("\n", " ")))
    text = re.sub(r"\.{2,}", ".", text)
    for mark, instead in _LIST_MARKS:
        text = text.replace(mark, instead)
    sentences = [_R2GEN_DROPPED.sub("", sentence).strip() for sentence in text.strip().lower().split(". ")]
    return " . ".join(sentences) + " ."
