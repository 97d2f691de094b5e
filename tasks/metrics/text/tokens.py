"""Texts as the tokens that each protocol of report scoring sees.

`strict-v1` takes Penn Treebank tokens as COCO captioning does: lower case, punctuation dropped, by the tokenizer of Stanford
CoreNLP 3.4.1, a jar inside pycocoevalcap. Without Java its rules as regular expressions stand in, which cover the language of
reports; the signature names which of the two was used.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tasks.metrics.text.java import ScorerError, complaint, jar, java_problem

_WORDS = yaml.safe_load((Path(__file__).parent / "ptb_words.yaml").read_text(encoding="utf-8"))
PUNCTUATION = frozenset(_WORDS["punctuation"])  # COCO's own list
_ABBREVIATIONS, _BEFORE_NUMBER, _STARTERS = ("|".join(_WORDS[name]) for name in ("abbreviations", "before_number", "starters"))
JAR = "PTB, stanford-corenlp-3.4.1, lower case, COCO punctuation dropped"
PYTHON = "PTB rules in Python (no Java), lower case, COCO punctuation dropped"
R2GEN = "R2Gen's cleaning, full stops are tokens"
RELEASED = "lower case, split at spaces, full stops split off"
GIVEN = "as given, split at spaces"


@dataclass(frozen=True)
class Tokenised:
    """Texts as space-separated tokens, and the name of the tokenizer for the signature."""

    texts: list[str]
    tokenisation: str


def tokenise(texts: Sequence[str]) -> Tokenised:
    """Tokens of each text, by the jar where there is Java and by the rules in Python where not."""
    if java_problem() is None:
        return Tokenised(tokenise_jar(texts), JAR)
    return Tokenised([tokenise_python(text) for text in texts], PYTHON)


def one_line(text: str) -> str:
    """The text with every line break that Unicode or Java knows collapsed to a space."""
    return " ".join(text.splitlines())


def tokenise_jar(texts: Sequence[str]) -> list[str]:
    """Tokens of each text by the jar, through standard input; a ScorerError where it fails or its lines do not align."""
    if not texts:
        return []
    command = ["java", "-Dfile.encoding=UTF-8", "-cp", str(jar("tokenizer/stanford-corenlp-3.4.1.jar"))]
    command += ["edu.stanford.nlp.process.PTBTokenizer", "-encoding", "UTF-8", "-preserveLines", "-lowerCase"]
    lines = "".join(one_line(text) + "\n" for text in texts)
    process = subprocess.run(command, input=lines.encode("utf-8", "replace"), capture_output=True, check=False)
    if process.returncode:
        raise ScorerError(f"the PTB tokenizer failed: {complaint(process.stderr.decode('utf-8', 'replace'))}")
    tokenised = process.stdout.decode("utf-8", "replace").removesuffix("\n").split("\n")
    if len(tokenised) != len(texts):
        raise ScorerError(f"the PTB tokenizer gave {len(tokenised)} lines for {len(texts)} texts")
    return [_without_punctuation(line.split(" ")) for line in tokenised]


def tokenise_python(text: str) -> str:
    """Tokens of one text by the rules in Python."""
    text = one_line(text).translate(_FOLD)
    tokens: list[str] = []
    for match in _TOKEN.finditer(text):
        token, kind = match.group(), match.lastgroup
        if kind == "word":
            tokens += _word(token)
        else:
            tokens.append(_BRACKETS.get(token, token))
    return _without_punctuation([token.lower() for token in tokens])


def _without_punctuation(tokens: Sequence[str]) -> str:
    return " ".join(token for token in tokens if token and token not in PUNCTUATION)


def r2gen_tokens(texts: Sequence[str], maximum: int | None = None) -> Tokenised:
    """Texts as R2Gen cleans those of MIMIC-CXR (Chen et al. 2020): lower case, no list numbers or punctuation, " . " after each
    sentence. `maximum`: number of tokens to cut at, as R2Gen does with both sides (60 for IU X-ray, 100 for MIMIC-CXR)."""
    cleaned = [_r2gen(text).split()[:maximum] for text in texts]
    how = R2GEN if maximum is None else f"{R2GEN}, cut at {maximum} tokens"
    return Tokenised([" ".join(tokens) for tokens in cleaned], how)


def given_tokens(texts: Sequence[str]) -> Tokenised:
    """Texts that are tokens already: case, punctuation, `<unk>` and repeated spaces stay; other white space becomes a space."""
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


_LIST_MARKS = (("1. ", ""), *((f". {n}. ", ". ") for n in range(2, 6)), *((f" {n}. ", ". ") for n in range(2, 6)))
_R2GEN_DROPPED = re.compile(r"[.,?;*!%^&_+():<=>@\[\]{}\"/\\']")
# Only the space splits in the released script: other white space stays inside a token, here as a private character.
_INNER_SPACE = str.maketrans({mark: chr(0xE000 + mark) for mark in range(0x3001) if chr(mark).isspace() and chr(mark) != " "})

_FOLD = str.maketrans(
    {"½": "1/2", "¼": "1/4", "¾": "3/4", "\u00ad": None, "\u2013": "--", "\u2014": "--", "\u2026": "..."}
    | {"\u201c": "``", "\u201d": "''", "\u2018": "`", "\u2019": "'", "\u00a0": " ", "\ufffd": " "}
)
_BRACKETS = {"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-", '"': "''"}

_LETTER = r"[^\W\d_]"
_ALNUM = r"[^\W_]"
_TOKEN = re.compile(
    rf"""
      (?P<url>   https?://[^\s<>"]+[^\s<>".,;:!?)] | [\w.+-]+@[\w-]+(?:\.[\w-]+)+ )
    | (?P<tag>   </?[A-Za-z][A-Za-z0-9]*/?> )
    | (?P<abbr>  (?<![\w]) (?: (?i:{_ABBREVIATIONS})\.
                 | (?i:{_BEFORE_NUMBER})\.(?=\s*\d)
                 | (?:{_LETTER}\.){{2,}}
                 | {_LETTER}\.(?!\s+(?:{_STARTERS})\b) ) (?!\w) )
    | (?P<ampersand> (?<!\w)[A-Z]&[A-Z](?!\w) )
    | (?P<number> (?<!\w)[-+]?(?: \d*(?:[.,:]\d+)+ | \d+(?:/\d+)+(?![\w/-]) ) | (?<=\w)[.,]\d+(?:[.,]\d+)* )
    | (?P<word>  {_ALNUM}+ (?: (?:[-/] | \.(?={_LETTER}{{2}})(?<=\w\w\.) | _ ) {_ALNUM}+ )* (?:'{_LETTER}+)? )
    | (?P<ellipsis> \.{{3}} ) | (?P<dash> -{{2,}} ) | (?P<quotes> `` | '' )
    | (?P<clitic> '(?:s|d|m|ll|re|ve)(?!\w) ) | (?P<blank> _+ )
    | (?P<other> \S )
    """,
    re.VERBOSE,
)
_SPLIT = {"cannot": 3, "gonna": 3, "gotta": 3, "wanna": 3, "gimme": 3, "lemme": 3}
_CLITIC = re.compile(r"(?i)^(.+?)(n't|'s|'d|'m|'ll|'re|'ve)$")


def _word(token: str) -> list[str]:
    """A word without what English glues to it: can|not, do|n't, patient|'s."""
    if (cut := _SPLIT.get(token.lower())) is not None:
        return [token[:cut], token[cut:]]
    if match := _CLITIC.match(token):
        return [match[1], match[2]]
    if "'" in token:
        head, tail = token.split("'", 1)
        return [head, "'", tail]
    return [token]
