"""Penn Treebank tokens as the COCO captioning protocol scores them: lower case, punctuation dropped.

The reference is the tokenizer of Stanford CoreNLP 3.4.1, a jar inside pycocoevalcap. Without Java its rules stand in, written
as regular expressions; they cover the text that reports are made of, and the signature names which of the two was used.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.metrics.text.java import ScorerError, complaint, jar, java_problem

PUNCTUATION = frozenset(
    [
        "''",
        "'",
        "``",
        "`",
        "-LRB-",
        "-RRB-",
        "-LCB-",
        "-RCB-",
        ".",
        "?",
        "!",
        ",",
        ":",
        "-",
        "--",
        "...",
        ";",
    ]  # COCO's own list
)
JAR = "PTB, stanford-corenlp-3.4.1, lower case, COCO punctuation dropped"
PYTHON = "PTB rules in Python (no Java), lower case, COCO punctuation dropped"


@dataclass(frozen=True)
class Tokenised:
    """Texts as space-separated tokens, and the name of the tokenizer for the signature."""

    texts: list[str]
    tokenisation: str


def tokenise(texts: Sequence[str]) -> Tokenised:
    """Tokens of each text, aligned with `texts`, by the jar where there is Java and by the rules in Python where not.

    Raises:
        ScorerError: the jar fails, or returns another number of lines than it was given.
    """
    if java_problem() is None:
        return Tokenised(tokenise_jar(texts), JAR)
    return Tokenised([tokenise_python(text) for text in texts], PYTHON)


def one_line(text: str) -> str:
    """The text with every line break that Unicode or Java knows collapsed to a space."""
    return " ".join(text.splitlines())


def tokenise_jar(texts: Sequence[str]) -> list[str]:
    """Tokens of each text by the jar; it reads standard input, so nothing is written to disk.

    Raises:
        ScorerError: the jar fails, or the lines do not align.
    """
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


_FOLD = str.maketrans(
    {"½": "1/2", "¼": "1/4", "¾": "3/4", "\u00ad": None, "\u2013": "--", "\u2014": "--", "\u2026": "..."}
    | {"\u201c": "``", "\u201d": "''", "\u2018": "`", "\u2019": "'", "\u00a0": " ", "\ufffd": " "}
)
_BRACKETS = {"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-", '"': "''"}

# An abbreviation keeps its full stop anywhere; those of the second list only before a number; a single letter unless
# a word follows that usually begins a sentence.
_ABBREVIATIONS = (
    "jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tue|wed|thu|fri|mr|mrs|ms|drs?|prof|sen|rep|gov|gen|lt|col|maj|capt|sgt|st"
    r"|ave|blvd|corp|inc|ltd|jr|sr|cf|al|etc|vs|ph\.d|est|ext|dept|assn|bros|sq|ft|mo|tel|rt|univ|mt|rd|intl|adj|bldg|cmdr|hon"
    "|rev|supt|messrs|mlle|mme|pres|mfg|calif|ga|fla|mich|minn|va|ind|kan|ky|md|neb|nev|okla|tenn|vt|wis|wyo|ariz|ala|colo|conn"
    "|co|ct"
)
_BEFORE_NUMBER = "figs?|nos?|pp|ca|op|art"
_STARTERS = (
    "A|About|According|Additionally|After|All|Also|Although|An|And|Another|As|At|Because|Before|But|By|Each|Even|For|From"
    "|Further|He|Her|Here|How|However|I|If|In|It|Its|Last|Many|More|Now|Of|On|Once|One|Other|Our|Over|She|Since|So|Some|Such"
    "|That|The|Their|Then|There|These|They|This|Three|To|Two|Under|Until|Up|We|Well|What|When|Where|Which|While|Who|With|Yet|You"
)
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
