"""Sentences of a report that is tokens, whatever way the tokens spell it."""

from collections.abc import Sequence

from medim.tokenizers.report import ReportTokenizer

_SPACE = ("\u0120", "\u2581", " ")  # how byte-level and SentencePiece vocabularies write a space before a word


def sentence_slices(reports: ReportTokenizer, ids: Sequence[int]) -> list[tuple[str, slice]]:
    """Text and place of each sentence among the ids before the first end; a stop inside a word or number ends none."""
    ids = list(ids)
    if reports.end in ids:
        ids = ids[: ids.index(reports.end)]
    written = reports.tokenizer.convert_ids_to_tokens(ids)
    result, start = [], 0
    for index, token in enumerate(ids):
        last = index + 1 == len(ids)
        stop = str(reports.tokenizer.decode([token])).rstrip().endswith((".", "!", "?"))
        if last or (stop and written[index + 1].startswith(_SPACE)):
            result.append((str(reports.tokenizer.decode(ids[start : index + 1])).strip(), slice(start, index + 1)))
            start = index + 1
    return result
