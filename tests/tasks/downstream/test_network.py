import pytest
import torch

from tasks.downstream.network import after_begin, cut, token_loss
from tasks.downstream.words import END


def test_the_loss_ends_with_the_first_end():
    targets = torch.tensor([[2, 1, END, END], [1, END, END, END]])
    logits = torch.zeros(2, 4, 3)
    total, count = token_loss(logits, targets)
    assert count == 5
    assert float(total) == pytest.approx(5 * torch.log(torch.tensor(3.0)).item(), rel=1e-6)
    logits[0, 3], logits[1, 2:] = torch.tensor([-9.0, 9.0, 0.0]), torch.tensor([-9.0, 9.0, 0.0])  # behind the ends
    assert token_loss(logits, targets)[0] == total
    logits[1, 1, END] = 1.0  # the end itself is learned
    assert token_loss(logits, targets)[0] < total


def test_columns_of_padding_alone_are_cut():
    targets = torch.tensor([[2, 1, END, END, END], [1, END, END, END, END]])
    assert cut(targets).tolist() == [[2, 1, END], [1, END, END]]
    assert cut(torch.tensor([[2, 1]])).tolist() == [[2, 1]]


def test_a_decoder_reads_what_stands_before():
    assert after_begin(torch.tensor([[2, 1, END]])).tolist() == [[END, 2, 1]]
