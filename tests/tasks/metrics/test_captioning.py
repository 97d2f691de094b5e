import json

import numpy as np
import pytest

from tasks.metrics.captioning import METRICS, bleu, caption_scores, cider, rouge_l

WORDS = [
    "lung",
    "heart",
    "chest",
    "pleura",
    "rib",
    "spine",
    "clear",
    "normal",
    "large",
    "small",
    "left",
    "right",
    "upper",
    "lower",
    "zone",
]


@pytest.fixture(scope="module")
def corpus() -> list[str]:
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, size=12)) for _ in range(60)]


def published(shared_data, *parts: str) -> dict[str, list[str]]:
    return json.loads(shared_data.joinpath("fixtures", "iu_mrg_rl", *parts).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("path", "bleus", "rouge", "cider_value"),
    [
        (
            ("qwen_dino_sft_rag_top20_number_cw1_lr5e5_infer_epoch0_beam1", "test_preds.json"),
            [0.386319, 0.237406, 0.154767, 0.104615],
            0.325874,
            0.22488077800090597,
        ),
        (
            ("manual_template_target_b4rouge", "result", "test_result.json"),
            [0.492603, 0.34509, 0.247993, 0.182413],
            0.40007,
            None,
        ),
        (
            ("rag_top50_clinical_oracle", "test_cw1.0_rf0.0_preds.json"),
            [0.540898, 0.436026, 0.371248, 0.325783],
            0.528731,
            1.765804033044835,
        ),
    ],
)
def test_published_scores_of_real_generators(shared_data, path, bleus, rouge, cider_value):
    """The strings as they are: no tokenizer, no lower-casing."""
    references = published(shared_data, "qwen_dino_sft_rag_top20_number_cw1_lr5e5_infer_epoch0_beam1", "test_refs.json")
    predictions = published(shared_data, *path)
    reference, hypothesis = [references[k][0] for k in references], [predictions[k][0] for k in references]
    assert len(reference) == 382
    assert [score.value for score in bleu(reference, hypothesis, {})] == pytest.approx(bleus, abs=6e-7)
    assert rouge_l(reference, hypothesis, {}).value == pytest.approx(rouge, abs=6e-7)
    if cider_value is not None:
        assert cider(reference, hypothesis, {}).value == pytest.approx(cider_value, abs=1e-12)


def test_rouge_weighs_recall():
    """LCS 6 of 6 and of 7 tokens, beta 1.2: (1 + 1.44) P R / (R + 1.44 P) with P = 6/7, R = 1."""
    longer = rouge_l(["the cat sat on the mat"], ["the cat was sat on the mat"], {}).value
    assert longer == pytest.approx(2.44 * (6 / 7) / (1 + 1.44 * 6 / 7), abs=1e-12)
    assert longer == pytest.approx(0.93606, abs=5e-6)


def test_bleu_by_hand():
    """4 of 5 words, 2 of 4 bigrams, as long as the reference."""
    scores = bleu(["the cat is on mats"], ["the cat was on mats"], {})
    assert scores[0].value == pytest.approx(4 / 5, abs=1e-8)
    assert scores[1].value == pytest.approx(np.sqrt(4 / 5 * 2 / 4), abs=1e-8)


def test_identical_corpus(corpus, no_java):
    scores = {score.metric: score.value for score in caption_scores(corpus, corpus, "none")}
    assert [scores[f"BLEU-{n}"] for n in (1, 2, 3, 4)] == pytest.approx([1, 1, 1, 1], abs=1e-9)
    assert scores["ROUGE-L"] == pytest.approx(1)
    assert scores["CIDEr"] == pytest.approx(10.0, abs=1e-9)


def test_statistic_of_all_sums_is_the_value(corpus, no_java):
    hypotheses = [" ".join(text.split()[1:]) for text in corpus[:40]] + [""] * 20
    for score in caption_scores(corpus, hypotheses, "none"):
        if score.value is not None:
            assert score.additive(["p"] * len(score.sums)).value() == pytest.approx(score.value, rel=1e-9)
            assert len(score.per_sample) == 60


def test_an_all_empty_system_scores_zero(corpus, no_java):
    scores = caption_scores(corpus, [""] * 60, "none")
    assert [score.value for score in scores if score.metric != "METEOR"] == pytest.approx([0] * 6, abs=1e-9)
    for score in scores:
        if score.combine is not None:
            assert np.isfinite(score.additive(["p"] * len(score.sums)).value())


def test_cider_is_withheld_below_fifty_references(corpus):
    short = cider(corpus[:49], corpus[:49], {})
    assert short.value is None
    assert short.reason == "CIDEr needs at least 50 references, here are 49"
    assert cider(corpus[:50], corpus[:50], {}).value == pytest.approx(10.0)


def test_meteor_without_java_says_so_and_the_rest_runs(corpus, no_java):
    scores = {score.metric: score for score in caption_scores(corpus, corpus, "none")}
    assert tuple(scores) == METRICS
    assert scores["METEOR"].value is None
    assert "METEOR 1.5 needs Java" in scores["METEOR"].reason
    assert all(score.value is not None for name, score in scores.items() if name != "METEOR")


def test_refuses_misaligned_lists(corpus):
    with pytest.raises(ValueError, match="60 references but 59"):
        caption_scores(corpus, corpus[1:], "none")
