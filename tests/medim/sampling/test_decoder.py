"""Every order on a model with a known law: what it draws follows the law it should, and a wrong one is caught."""

import math

import pytest
import torch

from medim.canvas import Canvas
from medim.common.errors import UserError
from medim.sampling import decoder, plan, step
from medim.sampling.decoder import Countdown, decode
from medim.sampling.settings import ModalitySettings, SamplerSettings

N = 5000
CLOSE, FAR = 4.5, 8.0
"""In standard deviations of the statistic: what a right sampler never exceeds, and what a wrong one must."""
REPORT = [1, 2]
APART = {"report": {"start": 0.0, "stop": 0.5}, "image": {"start": 0.5, "stop": 1.0}}


def one_by_one(order: str, image: dict | None = None, report: dict | None = None) -> SamplerSettings:
    """One token a round, report first."""
    common = {"schedule": "linear", "steps": 8, "order": "left" if order == "halton" else order}
    return SamplerSettings(
        image=ModalitySettings(**{**common, **APART["image"], "order": order, **(image or {})}),
        report=ModalitySettings(**{**common, **APART["report"], **(report or {})}),
    )


def draw(toy, settings, report=None, count=N):
    return decode(toy, toy.blank(count, report), settings, range(count))


@pytest.mark.parametrize("order", ["random", "left", "halton", "margin", "entropy"])
def test_orders_that_do_not_look_at_draws_follow_the_joint_law(toy, order):
    done = draw(toy, one_by_one(order))
    assert toy.excess(done.canvas.tokens, toy.law) < CLOSE
    assert done.forwards == 6


@pytest.mark.parametrize("order", ["random", "left", "halton", "margin", "entropy"])
def test_two_tokens_a_round_are_not_the_law(toy, order):
    done = draw(toy, one_by_one(order, {"steps": 4, "stop": 0.75}, {"steps": 2}))
    assert toy.excess(done.canvas.tokens, toy.law) > FAR


@pytest.mark.parametrize("order", ["margin", "entropy"])
def test_an_order_that_peeks_at_the_draw_is_not_the_law(toy, order, monkeypatch):
    monkeypatch.setitem(step.RANKS, order, step.threshold)
    assert toy.excess(draw(toy, one_by_one(order)).canvas.tokens, toy.law) > FAR


def by_gumbel(noise: float):
    """Confidence with Gumbel noise picks a place with the probability of a softmax."""

    def choose(drawn: dict[int, float]) -> dict[frozenset[int], float]:
        scale = noise * len(drawn) / 4
        powers = {place: p ** (1 / scale) for place, p in drawn.items()}
        return {frozenset([place]): power / sum(powers.values()) for place, power in powers.items()}

    return choose


def the_surest(drawn: dict[int, float]) -> dict[frozenset[int], float]:
    return {frozenset([max(drawn, key=drawn.__getitem__)]): 1.0}


def above(least: float):
    def choose(drawn: dict[int, float]) -> dict[frozenset[int], float]:
        return {frozenset({p for p, chance in drawn.items() if chance >= least} | {max(drawn, key=drawn.__getitem__)}): 1.0}

    return choose


@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_confidence_follows_its_own_law(toy, noise):
    law = toy.law_of(REPORT, by_gumbel(noise) if noise else the_surest)
    settings = SamplerSettings(image=ModalitySettings(steps=4, schedule="linear", confidence_noise=noise))
    tokens = draw(toy, settings, REPORT).canvas.tokens
    assert toy.excess(tokens, law) < CLOSE
    assert toy.excess(tokens, toy.given(REPORT)) > FAR  # likely codes first is not sampling
    wrong = SamplerSettings(image=ModalitySettings(steps=4, schedule="linear", confidence_noise=noise + 2))
    assert toy.excess(draw(toy, wrong, REPORT).canvas.tokens, law) > FAR


@pytest.mark.parametrize("least", [0.6, 0.8])
def test_threshold_follows_its_own_law_and_ends_early(toy, least, monkeypatch):
    law = toy.law_of(REPORT, above(least))
    settings = SamplerSettings(image=ModalitySettings(steps=4, schedule="linear", order="threshold", threshold=least))
    done = draw(toy, settings, REPORT)
    assert toy.excess(done.canvas.tokens, law) < CLOSE
    alone = [decode(toy, toy.blank(1, REPORT), settings, [seed]).forwards for seed in range(40)]
    assert 1 <= min(alone) < max(alone) <= 4
    monkeypatch.setitem(step.RANKS, "threshold", lambda p, settings: -p.confidence)
    assert toy.excess(draw(toy, settings, REPORT).canvas.tokens, law) > FAR


def test_what_is_masked_again_is_revealed_again_though_the_count_is_a_round_late(toy, monkeypatch):
    class Late(Countdown):
        """What a GPU is told: of the round before."""

        last: Canvas | None = None

        def finished(self, canvas, modalities):
            self.last, before = canvas, self.last
            return before is not None and super().finished(before, modalities)

    monkeypatch.setattr(decoder, "Countdown", Late)
    again = ModalitySettings(order="ancestral", steps=12, schedule="linear", remask="rescale", remask_rate=0.8)
    early = ModalitySettings(order="threshold", steps=12, schedule="linear", threshold=0.1)
    assert not draw(toy, SamplerSettings(image=again, report=early), count=60).canvas.masked.any()
    alone = [
        decode(toy, toy.blank(1), SamplerSettings(image=again, report=early), [seed]).canvas.masked.any() for seed in range(60)
    ]
    assert not any(alone)
    late = [decode(toy, toy.blank(1), SamplerSettings(image=early, report=early), [seed]) for seed in range(20)]
    assert not any(one.canvas.masked.any() for one in late)
    assert min(one.forwards for one in late) < 12  # without remasking, a finished canvas costs no further rounds


@pytest.mark.parametrize("report", [None, REPORT])
def test_first_hitting_interleaves_both_modalities_and_follows_the_law(toy, report):
    settings = SamplerSettings(image=ModalitySettings(order="first-hitting"), report=ModalitySettings(order="first-hitting"))
    done = draw(toy, settings, report)
    assert toy.excess(done.canvas.tokens, toy.law if report is None else toy.given(report)) < CLOSE
    assert done.forwards == (6 if report is None else 4)
    orders = torch.stack([seen[:, 1:5].eq(toy.layout.vocabulary.mask).sum(1) for seen in toy.seen])
    assert report is not None or len(orders.T.unique(dim=0)) == 15  # 6 choose 2 ways to interleave


def test_first_hitting_with_two_events_at_once_is_not_the_law(toy, monkeypatch):
    settings = SamplerSettings(image=ModalitySettings(order="first-hitting"), report=ModalitySettings(order="first-hitting"))
    honest = plan._by_hitting_times

    def hasty(layout, vacant, modalities, settings, uniform):
        rounds = honest(layout, vacant, modalities, settings, uniform)
        merged = []
        for first, second in zip(rounds[::2], rounds[1::2], strict=True):
            reveal = {m: torch.zeros_like(vacant[:, layout.of(m)]) for m in modalities}
            for turn in (*first.turns, *second.turns):
                reveal[turn.modality] |= turn.reveal
            turns = [plan.Turn(m, reveal[m].sum(1), reveal[m].sum(1), None, reveal=reveal[m]) for m in modalities]
            merged.append(plan.Round(first.index, tuple(turns)))
        return merged

    monkeypatch.setattr(plan, "_by_hitting_times", hasty)
    assert toy.excess(draw(toy, settings).canvas.tokens, toy.law) > FAR


def test_first_hitting_is_for_both(toy):
    settings = SamplerSettings(image=ModalitySettings(order="first-hitting"))
    with pytest.raises(UserError, match="both modalities"):
        draw(toy, settings, count=1)
    assert not draw(toy, settings, REPORT, count=2).canvas.masked.any()  # the other one has nothing to reveal


REMASKING = {"none": {}, "cap": {"remask": "cap", "remask_rate": 0.02}, "rescale": {"remask": "rescale", "remask_rate": 0.02}}


@pytest.mark.parametrize("kind", REMASKING)
def test_ancestral_sampling_follows_the_law_with_and_without_remasking(toy, kind):
    own = {"order": "ancestral", "schedule": "linear", "steps": 150, **REMASKING[kind]}
    done = draw(toy, SamplerSettings(image=ModalitySettings(**own), report=ModalitySettings(**own)), count=3000)
    assert toy.excess(done.canvas.tokens, toy.law) < CLOSE
    masked = torch.stack([seen.eq(toy.layout.vocabulary.mask) for seen in toy.seen])
    again = (masked[1:] & ~masked[:-1]).any()
    assert bool(again) == (kind != "none")


def test_ancestral_steps_that_are_too_long_are_not_the_law(toy):
    own = {"order": "ancestral", "schedule": "linear", "steps": 3}
    done = draw(toy, SamplerSettings(image=ModalitySettings(**own), report=ModalitySettings(**own)))
    assert toy.excess(done.canvas.tokens, toy.law) > FAR


def test_remasking_that_puts_tokens_instead_of_masks_is_not_the_law(toy, monkeypatch):
    def careless(canvas, modality, remask):
        tokens, where = canvas.tokens.clone(), canvas.layout.of(modality)
        tokens[:, where] = tokens[:, where].masked_fill(remask, canvas.layout.vocabulary.image_offset * (modality == "image"))
        return Canvas(canvas.layout, tokens, canvas.given)

    monkeypatch.setattr(decoder, "_mask_again", careless)
    own = {"order": "ancestral", "schedule": "linear", "steps": 40, "remask": "rescale", "remask_rate": 0.1}
    done = draw(toy, SamplerSettings(image=ModalitySettings(**own), report=ModalitySettings(**own)), count=2000)
    assert toy.excess(done.canvas.tokens, toy.law) > FAR


def test_remasking_keeps_the_share_that_the_schedule_asks_for(toy):
    own = ModalitySettings(order="ancestral", schedule="linear", steps=20, remask="rescale", remask_rate=0.5)
    draw(toy, SamplerSettings(image=own, report=own), count=4000)
    shares = torch.stack([seen[:, 1:5].eq(toy.layout.vocabulary.mask).float().mean() for seen in toy.seen])
    torch.testing.assert_close(shares, 1 - torch.arange(len(shares)) / 20, atol=0.02, rtol=0)


def guided_law(toy, weights: list[float]) -> torch.Tensor:
    """Codes drawn from the left, place k by p(. | left, report)^(1 + w_k) / p(. | left)^(w_k)."""
    given, free = toy.given(REPORT), toy.law
    result = torch.zeros(len(free), dtype=torch.float64)
    for index, state in enumerate(toy.states):
        if state[4:].tolist() != REPORT:
            continue
        chance = 1.0
        for place, w in enumerate(weights):
            before = (toy.states[:, :place] == state[:place]).all(1)
            power = []
            for code in range(2):
                here = before & (toy.states[:, place] == code)
                conditional, alone = given[here].sum() / given[before].sum(), free[here].sum() / free[before].sum()
                power.append(float(conditional ** (1 + w) / alone**w))
            chance *= power[int(state[place])] / sum(power)
        result[index] = chance
    return result


@pytest.mark.parametrize(
    ("ramp", "start", "stop", "weights"),
    [
        ("constant", 0.0, 1.0, [1.5] * 4),
        ("constant", 0.25, 0.75, [0.0, 1.5, 1.5, 0.0]),
        ("rising", 0.0, 1.0, [0.0, 0.375, 0.75, 1.125]),
        ("falling", 0.5, 1.0, [0.0, 0.0, 1.5, 0.75]),
    ],
)
def test_guidance_follows_its_own_law_and_costs_only_where_it_acts(toy, ramp, start, stop, weights):
    own = ModalitySettings(
        order="left", steps=4, schedule="linear", guidance=1.5, guidance_start=start, guidance_stop=stop, guidance_ramp=ramp
    )
    done = draw(toy, SamplerSettings(image=own), REPORT)
    assert toy.excess(done.canvas.tokens, guided_law(toy, weights)) < CLOSE
    assert [p.guided for p in done.passes] == [N if w > 0 else 0 for w in weights]
    for seen, times in zip(toy.seen, toy.times, strict=True):
        if len(seen) > N:
            assert (seen[N:, toy.layout.report] == toy.layout.vocabulary.mask).all()
            assert torch.equal(times[N:, 1], torch.ones(N))
            assert torch.equal(times[N:, 0], times[:N, 0])
    wrong = guided_law(toy, [w / 3 for w in weights])
    assert toy.excess(done.canvas.tokens, wrong) > FAR or max(weights) < 1.2


def test_guidance_spends_nothing_before_the_other_modality_is_known(toy):
    settings = one_by_one("left", {"guidance": 1.0}, {"guidance": 1.0})
    done = draw(toy, settings, count=3)  # report first: it has nothing to be guided by
    assert [p.guided for p in done.passes] == [0, 0, 3, 3, 3, 3]


def test_the_model_is_fed_the_true_masked_fraction(toy):
    draw(toy, one_by_one("random"), [0, 1], count=1)
    assert [t.tolist() for t in toy.times] == [[[1.0, 0.0]], [[0.75, 0.0]], [[0.5, 0.0]], [[0.25, 0.0]]]


def test_halton_reveals_in_halton_order(toy):
    draw(toy, one_by_one("halton"), REPORT, count=2)
    masked = [seen[0, 1:5].eq(toy.layout.vocabulary.mask).tolist() for seen in toy.seen]
    # Cells of (1/2, 1/3), (1/4, 2/3), (3/4, 1/9), (1/8, 4/9), (5/8, 7/9) on two rows and columns: 2, 1, 2, 0, 3.
    assert masked == [[True] * 4, [True, True, False, True], [True, False, False, True], [False, False, False, True]]


def test_logits_are_made_only_where_a_token_may_be_drawn(toy):
    planned = draw(toy, one_by_one("random"), REPORT, count=2).passes
    assert [p.image_logits for p in planned] == [2] * 4
    assert all(p.report_logits == 0 for p in planned)
    looked = draw(toy, one_by_one("entropy"), REPORT, count=2).passes
    assert [p.image_logits for p in looked] == [8, 6, 4, 2]


MIXED = [{}, {"report": [2, 1]}, {"image": [0, 1, 1, 0]}, {"part": True}]


def mixed(toy, kind: dict) -> Canvas:
    canvas = Canvas.blank(toy.layout, 1)
    if "report" in kind:
        canvas = canvas.give_report(torch.tensor([kind["report"]]))
    if "image" in kind:
        canvas = canvas.give_image(torch.tensor([kind["image"]]))
    if "part" in kind:
        canvas = canvas.give_report(torch.tensor([[0, 1]]), torch.tensor([[True, False]]))
        canvas.tokens[0, 2], canvas.given[0, 2] = toy.layout.vocabulary.image_offset, True
    return canvas


@pytest.mark.parametrize("size", [7, 32])
@pytest.mark.parametrize(
    "own",
    [
        {"order": "random"},
        {"order": "confidence"},
        {"order": "threshold", "threshold": 0.6},
        {"order": "margin"},
        {"order": "first-hitting"},
        {"order": "ancestral", "remask": "cap", "remask_rate": 0.2},
        {"guidance": 1.0},
    ],
    ids=lambda own: "-".join(str(v) for v in own.values()),
)
def test_a_sample_depends_on_its_seed_and_its_canvas_and_not_on_its_batch(toy, own, size):
    settings = SamplerSettings(
        image=ModalitySettings(steps=3, **own), report=ModalitySettings(steps=5, schedule="linear", **own)
    )
    rows = [mixed(toy, MIXED[k % 4]) for k in range(size)]
    seeds = [100 + k for k in range(size)]
    batch = Canvas(toy.layout, torch.cat([c.tokens for c in rows]), torch.cat([c.given for c in rows]))
    together = decode(toy, batch, settings, seeds).canvas.tokens
    alone = torch.cat([decode(toy, canvas, settings, [seed]).canvas.tokens for canvas, seed in zip(rows, seeds, strict=True)])
    assert torch.equal(together, alone)
    assert len(together.unique(dim=0)) > 3


def test_length_needs_to_know_what_an_end_is(toy):
    with pytest.raises(ValueError, match="end a report"):
        decode(toy, toy.blank(1), SamplerSettings().with_overrides({"report.length": 1}), [0])


def test_settings_that_another_process_cannot_obey_are_refused(toy):
    toy.config.transition = "uniform"
    with pytest.raises(UserError, match=r"image\.guidance"):
        decode(toy, toy.blank(1), SamplerSettings().with_overrides({"image.guidance": 2}), [0])


def test_a_canvas_with_nothing_vacant_costs_nothing(toy):
    canvas = toy.blank(2, REPORT).give_image(torch.zeros(2, 4, dtype=torch.long))
    done = decode(toy, canvas, SamplerSettings(), [0, 1])
    assert done.forwards == 0
    assert torch.equal(done.canvas.tokens, canvas.tokens)


def test_weight_of_guidance_by_progress():
    own = ModalitySettings(guidance=2.0, guidance_start=0.2, guidance_stop=0.6, guidance_ramp="rising")
    progress = torch.tensor([0.0, 0.2, 0.3, 0.4, 0.59999, 0.6, 0.9])
    expected = torch.tensor([0.0, 0.0, 0.5, 1.0, 2 * 0.39999 / 0.4, 0.0, 0.0])
    torch.testing.assert_close(plan.weight(own, progress), expected, atol=1e-5, rtol=0)
    assert math.isclose(float(plan.weight(ModalitySettings(guidance=3.0), progress)[0]), 3.0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("walk", ["absorbing", "uniform"])
def test_logits_that_are_no_numbers_are_refused(toy, monkeypatch, walk, value):
    toy.config.transition, honest = walk, toy.logits

    def logits(hidden, modality):
        said = honest(hidden, modality).clone()
        if len(toy.seen) == 3:
            said[-1, 0, 1] = value
        return said

    monkeypatch.setattr(toy, "logits", logits)
    with pytest.raises(UserError, match="logits are NaN or infinite"):
        draw(toy, one_by_one("random"), count=3)


def test_a_modality_is_finished_when_nothing_of_it_is_masked(toy):
    blank, half = toy.blank(2), toy.blank(2, [0, 1])
    whole = half.give_image(torch.zeros(2, 4, dtype=torch.long))
    countdown = Countdown()
    assert not countdown.finished(blank, ["image", "report"])
    assert countdown.finished(half, ["report"])
    assert not countdown.finished(half, ["report", "image"])
    assert countdown.finished(whole, ["image", "report"])
    assert countdown.finished(blank, [])
