"""How many are masked after each step, and which are kept."""

import torch

from tasks.adapters.mmada.sampling import draw_codes, draw_text


def test_images_follow_the_cosine():
    left = []

    def logits(codes):
        left.append(int((codes < 0).sum()))
        return torch.zeros(len(codes), 5)

    drawn = draw_codes(logits, 64, 4, 1.0, torch.Generator().manual_seed(0))
    assert left == [64, 59, 45, 24]
    assert ((drawn >= 0) & (drawn < 5)).all()


def test_the_surest_codes_come_first():
    seen = []

    def logits(codes):
        seen.append(codes)
        return torch.eye(16) * torch.arange(16)[:, None] * 3  # place i is surer than i - 1, of code i

    drawn = draw_codes(logits, 16, 3, 0.0, torch.Generator().manual_seed(0))
    assert seen[1][13:].tolist() == [-1, 14, 15] or seen[1][14:].tolist() == [14, 15]
    assert drawn[8:].tolist() == list(range(8, 16))


def test_text_is_written_block_by_block_likeliest_first():
    seen, mask = [], 9

    def logits(ids, part):
        seen.append((part.start, (ids == mask).tolist()))
        sure = torch.zeros(part.stop - part.start, 10)
        sure[:, 3] = torch.arange(len(sure)) + 1.0
        return sure

    ids = draw_text(logits, 8, 4, 4, mask, 0.0, torch.Generator())
    assert ids.tolist() == [3] * 8
    assert [start for start, _ in seen] == [0, 0, 4, 4]
    assert seen[1][1] == [True, True, False, False] + [True] * 4
    hot = [draw_text(logits, 8, 4, 4, mask, 5.0, torch.Generator().manual_seed(seed)).tolist() for seed in (1, 1, 2)]
    assert hot[0] == hot[1] != hot[2]
