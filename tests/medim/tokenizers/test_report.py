"""Reports to ids and back; the end is part of the sequence."""

import pytest
import torch

from medim.common.errors import UserError
from medim.tokenizers.report import ReportTokenizer

REPORTS = ["the heart is enlarged. no effusion.", "small left pleural effusion.", "h&e section. high cellularity."] * 5


@pytest.fixture(scope="module")
def tokenizer() -> ReportTokenizer:
    return ReportTokenizer.train(REPORTS, size=320, report_length=24)


def test_text_survives_the_round_trip(tokenizer):
    assert tokenizer.decode(tokenizer.encode(REPORTS)) == REPORTS
    unseen = "µ-calcification, 3 mm — “new”"
    assert ReportTokenizer.train(REPORTS, 320, 60).decode(ReportTokenizer.train(REPORTS, 320, 60).encode([unseen])) == [unseen]


def test_a_row_is_tokens_then_eos_then_padding(tokenizer):
    row = tokenizer.encode(["no effusion."])[0].tolist()
    length = len(tokenizer.ids("no effusion."))
    assert row[length] == tokenizer.end
    assert set(row[length + 1 :]) == {tokenizer.padding}
    assert tokenizer.lengths(torch.tensor([row])).tolist() == [length + 1]


def test_a_report_too_long_keeps_its_beginning_and_says_so(tokenizer):
    long = " ".join(REPORTS)
    assert not tokenizer.fits(long)
    assert tokenizer.fits(REPORTS[0])
    row = tokenizer.encode([long])
    assert tokenizer.end not in row[0].tolist()
    assert tokenizer.lengths(row).tolist() == [24]
    assert long.startswith(tokenizer.decode(row)[0])


def test_text_after_the_first_eos_is_dropped(tokenizer):
    row = tokenizer.encode(["no effusion."])
    length = int(tokenizer.lengths(row)[0])
    row[0, length : length + 3] = row[0, :3]
    assert tokenizer.decode(row) == ["no effusion."]


def test_saved_and_loaded_is_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = ReportTokenizer.from_pretrained(tmp_path, tokenizer.report_length)
    assert torch.equal(again.encode(REPORTS), tokenizer.encode(REPORTS))
    assert again.fingerprint == tokenizer.fingerprint
    assert again.decode(tokenizer.encode(REPORTS)) == REPORTS


def test_a_tokenizer_without_eos_is_refused(tokenizer):
    tokenizer.tokenizer.eos_token = None
    with pytest.raises(UserError, match="no EOS"):
        ReportTokenizer(tokenizer.tokenizer, 24)
    tokenizer.tokenizer.eos_token = "<eos>"
