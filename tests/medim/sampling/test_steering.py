"""The best of several and repair, with checkers whose readings are known."""

import numpy as np
import pytest
import torch
from PIL import Image

from medim.canvas import Canvas, Layout
from medim.sampling.decoder import Decoded
from medim.sampling.settings import SteeringSettings
from medim.sampling.steering import Steering, seed_of, steer
from medim.vocabulary import Vocabulary

LAYOUT = Layout(Vocabulary(text=4, codes=2), image_length=4, report_length=3)


class Bright:
    """Finds `bright` where the first of four quarters is white."""

    name, fingerprint, labels = "bright", "b", ("bright", "other")

    def probabilities(self, images):
        first = np.array([np.asarray(image.convert("L"))[:4, :4].mean() / 255 for image in images])
        return np.stack([0.1 + 0.8 * first, np.full(len(images), 0.2)], axis=1)

    def __call__(self, images):
        return [frozenset(["bright"]) if p > 0.5 else frozenset() for p in self.probabilities(images)[:, 0]]


class Word:
    """Finds `bright` where the report says 1."""

    name, fingerprint, labels = "word", "w", ("bright", "other")

    def __call__(self, items):
        return [frozenset(["bright"]) if "1" in item else frozenset() for item in items]


STEERING = Steering(Bright(), Word())


def show(canvas: Canvas):
    images = []
    for codes in canvas.image_codes():
        plane = codes.view(2, 2).numpy().astype(np.uint8).repeat(4, 0).repeat(4, 1) * 255
        images.append(Image.fromarray(plane).convert("RGB"))
    return images, [" ".join(str(int(i)) for i in row) for row in canvas.report_tokens()]


def sentences(canvas: Canvas, row: int):
    return [(str(int(word)), slice(k, k + 1)) for k, word in enumerate(canvas.report_tokens()[row])]


class Runs:
    """Fills what is vacant with the bits of the seed, and remembers what it was asked."""

    def __init__(self):
        self.requested: list[tuple[torch.Tensor, list[int]]] = []

    def __call__(self, canvas: Canvas, seeds) -> Decoded:
        self.requested.append((canvas.masked.clone(), list(seeds)))
        tokens = canvas.tokens.clone()
        for row, seed in enumerate(seeds):
            bits = torch.tensor([(seed >> k) & 1 for k in range(LAYOUT.length)])
            ids = bits.clone()
            ids[LAYOUT.image] = LAYOUT.vocabulary.image_ids(bits[LAYOUT.image])
            tokens[row] = torch.where(canvas.masked[row], ids, tokens[row])
        return Decoded(Canvas(LAYOUT, tokens, canvas.given), 1, 0.0, ())


def flops(decoded) -> float:
    return 0.0


def test_agreement_is_the_mean_log_probability_of_what_is_wanted():
    white, black = (Image.new("RGB", (8, 8), (v, v, v)) for v in (255, 0))
    scores = STEERING.scores([white, black], [frozenset(["bright"]), frozenset(["bright"])])
    np.testing.assert_allclose(scores, [(np.log(0.9) + np.log(0.8)) / 2, (np.log(0.1) + np.log(0.8)) / 2], rtol=1e-6)


def test_a_checker_without_probabilities_counts_labels():
    class Blunt(Word):
        def __call__(self, items):
            return [frozenset(["bright"])] * len(items)

    image = Image.new("RGB", (8, 8))
    assert Steering(Blunt(), Word()).scores([image] * 2, [frozenset(["bright"]), frozenset(["other"])]).tolist() == [1.0, 0.0]


def test_the_best_of_three_is_kept_for_each_sample():
    runs = Runs()
    canvas = Canvas.blank(LAYOUT, 5).give_report(torch.tensor([[1, 0, 0]] * 5))
    seeds = [0, 1, 2, 3, 5]
    done, spent = steer(canvas, seeds, STEERING, SteeringSettings(candidates=3), runs, show, sentences, flops)
    assert [asked for _, asked in runs.requested] == [seeds, [seed_of(s, 1) for s in seeds], [seed_of(s, 2) for s in seeds]]
    for row, seed in enumerate(seeds):  # place 1 is the first quarter: bit 1 of the seed
        assert int(done.image_codes()[row, 0]) == max((seed_of(seed, k) >> 1) & 1 for k in range(3))
    assert torch.equal(done.report_tokens(), canvas.report_tokens())
    assert (spent.candidates, spent.rows, sum(one.forwards for one in spent.decoded)) == (3, [5, 5, 5], 3)


def test_repair_opens_the_region_that_contradicts_and_keeps_what_is_better():
    runs = Runs()
    canvas = Canvas.blank(LAYOUT, 2).give_report(torch.tensor([[1, 0, 0]] * 2))
    seeds = [0b01100, 0b00010]  # dark first quarter, and a bright one
    done, spent = steer(canvas, seeds, STEERING, SteeringSettings(repairs=6, share=0.25), runs, show, sentences, flops)
    opened, again = runs.requested[1]
    assert len(again) == 1  # the second sample agreed at once
    assert opened[0].nonzero()[:, 0].tolist() == [LAYOUT.image.start]
    assert done.image_codes()[0, 0] == 1
    assert done.image_codes()[0, 1:].tolist() == [1, 1, 0]  # the rest of the first sample stays
    assert spent.rows[0] == 2
    assert set(spent.rows[1:]) == {1}
    assert len(spent.decoded) <= 7


def test_repair_opens_the_sentence_that_contradicts_a_given_image():
    runs = Runs()
    canvas = Canvas.blank(LAYOUT, 1).give_image(torch.zeros(1, 4, dtype=torch.long))
    settings = SteeringSettings(repairs=8)
    done, _ = steer(canvas, [0b10000000], STEERING, settings, runs, show, sentences, flops)  # the report's second word says 1
    assert runs.requested[1][0][0].nonzero()[:, 0].tolist() == [LAYOUT.report.start + 1]
    assert "1" not in show(done)[1][0]


def test_what_is_not_told_is_written_behind_the_last_word():
    runs = Runs()
    canvas = Canvas.blank(LAYOUT, 1).give_image(torch.ones(1, 4, dtype=torch.long))
    last = lambda canvas, row: sentences(canvas, row)[:2]  # noqa: E731
    steer(canvas, [0], STEERING, SteeringSettings(repairs=1), runs, show, last, flops)
    assert runs.requested[1][0][0].nonzero()[:, 0].tolist() == [LAYOUT.report.start + 2]


def test_a_budget_is_counted_in_what_the_first_run_took():
    canvas = Canvas.blank(LAYOUT, 2).give_report(torch.tensor([[1, 0, 0]] * 2))

    for budget, candidates in [(500, 1), (1000, 1), (2999, 2), (3000, 3), (1e9, 5)]:
        settings = SteeringSettings(candidates=5, budget=budget)
        _, spent = steer(canvas, [0, 0], STEERING, settings, Runs(), show, sentences, lambda decoded: 2000)  # 1,000 a sample
        assert spent.candidates == candidates


def test_a_worse_candidate_never_replaces_a_better_one():
    """The mutation: always the last. It is worse for some seed."""
    canvas = Canvas.blank(LAYOUT, 40).give_report(torch.tensor([[1, 0, 0]] * 40))
    seeds = list(range(40))
    best, _ = steer(canvas, seeds, STEERING, SteeringSettings(candidates=2), Runs(), show, sentences, flops)
    last = Runs()(canvas, [seed_of(s, 1) for s in seeds]).canvas
    kept, replaced = (STEERING.agreement(*show(c)) for c in (best, last))
    assert (kept >= replaced).all()
    assert (kept > replaced).any()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_seeds_of_candidates(number):
    assert seed_of(7, 0) == 7
    assert len({seed_of(seed, n) for seed in range(50) for n in range(4)}) == 200
    assert seed_of(3, number) >= 0
