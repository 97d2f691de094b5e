"""Sentences of a report: in its text, among the tokens of a text, and in tokens alone, whatever way they spell it."""

import re
from collections.abc import Sequence
from itertools import pairwise

from medim.common.errors import UserError
from medim.tokenizers.report import ReportTokenizer

# A full stop ends a sentence where white space or nothing follows it: "1.5 cm" is one; so does a line break.
_END = re.compile(r"[.!?]+(?=\s|$)\s*|\n\s*")
_SPACE = ("\u0120", "\u2581", " ")  # how byte-level and SentencePiece vocabularies write a space before a word


def sentences(text: str) -> list[slice]:
    """Where each sentence stands in a text, white space after it included: slices that tile the text, none of them blank."""
    stops = [match.end() for match in _END.finditer(text)]
    edges = [0, *stops, len(text)]
    parts = [slice(start, stop) for start, stop in pairwise(edges) if text[start:stop].strip()]
    if parts:  # leading blank space belongs to the first
        parts[0] = slice(0, parts[0].stop)
    return parts


def sentence_tokens(reports: ReportTokenizer, text: str) -> list[tuple[slice, slice]]:
    """Each sentence's place in the text, and its tokens' place among the report's ids.
    Raises UserError: the tokenizer cannot tell where in the text a token stands."""
    if not reports.tokenizer.is_fast:
        raise UserError(f"report tokenizer {reports.tokenizer.name_or_path!r} cannot tell where in the text its tokens stand")
    offsets = reports.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    last = [max(stop - 1, 0) for _, stop in offsets]  # a token belongs to the sentence of its last character
    result = []
    for part in sentences(text):
        inside = [index for index, place in enumerate(last) if part.start <= place < part.stop]
        before = len(reports.opening)
        tokens = slice(before + inside[0], before + inside[-1] + 1) if inside else slice(0, 0)
        result.append((part, tokens))
    return result


def sentence_slices(reports: ReportTokenizer, ids: Sequence[int]) -> list[tuple[str, slice]]:
    """Text and place of each sentence among the ids before the first end; a stop inside a word or number ends none."""
    ids = list(ids)
    if reports.end in ids:
        ids = ids[: ids.index(reports.end)]
    written = reports.tokenizer.convert_ids_to_tokens(ids)
    result, start = [], len(reports.opening)
    for index, token in enumerate(ids):
        if index < start:
            continue
        last = index + 1 == len(ids)
        stop = str(reports.tokenizer.decode([token])).rstrip().endswith((".", "!", "?"))
        if last or (stop and written[index + 1].startswith(_SPACE)):
            result.append((str(reports.tokenizer.decode(ids[start : index + 1])).strip(), slice(start, index + 1)))
            start = index + 1
    return result
