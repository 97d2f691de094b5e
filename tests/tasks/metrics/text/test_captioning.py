import json
import subprocess
import sys

import numpy as np
import pytest

from medim.common.errors import UserError
from tasks.metrics.text import overlap
from tasks.metrics.text.captioning import (
    METRICS,
    PROTOCOLS,
    RELEASED_METRICS,
    bleu,
    caption_scores,
    cider,
    coco_scores,
    protocol_named,
    rouge_l,
)
from tasks.metrics.text.ngrams import ReferenceCache, References
from tasks.metrics.text.tokens import given_tokens, tokenise_jar

WORDS = ["lung", "heart", "chest", "pleura", "rib", "spine", "clear", "normal", "large", "small", "left", "right", "zone"]


@pytest.fixture(scope="module")
def corpus() -> list[str]:
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, size=12)) for _ in range(60)]


def published(shared_data, *parts: str) -> dict[str, list[str]]:
    return json.loads(shared_data.joinpath("fixtures", "iu_mrg_rl", *parts).read_text(encoding="utf-8"))


QWEN = "qwen_dino_sft_rag_top20_number_cw1_lr5e5_infer_epoch0_beam1"


@pytest.mark.parametrize(
    ("path", "bleus", "rouge", "cider_value"),
    [
        ((QWEN, "test_preds.json"), [0.386319, 0.237406, 0.154767, 0.104615], 0.325874, 0.22488077800090597),
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
    references = published(shared_data, QWEN, "test_refs.json")
    predictions = published(shared_data, *path)
    reference, hypothesis = References([references[k][0] for k in references]), [predictions[k][0] for k in references]
    assert len(reference) == 382
    counted = reference.count(hypothesis)
    assert [score.value for score in bleu(reference, counted)] == pytest.approx(bleus, abs=6e-7)
    assert rouge_l(reference, hypothesis).value == pytest.approx(rouge, abs=6e-7)
    if cider_value is not None:
        assert cider(reference, counted).value == pytest.approx(cider_value, abs=1e-12)
    assert given_tokens(hypothesis).texts == hypothesis  # so the protocol `as-given` has these values


def by_index(texts):
    return {index: [text] for index, text in enumerate(texts)}


def test_equal_to_pycocoevalcap_on_real_reports(java, degraded):
    """500 reports and captions: every metric, of the corpus and of each case."""
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    references, hypotheses = (tokenise_jar(texts) for texts in degraded(500))
    scores = {score.metric: score for score in caption_scores(*degraded(500))}
    scorer = BleuScorer(n=4)
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        scorer += (hypothesis, [reference])
    values, per_sample = scorer.compute_score(option="closest", verbose=0)
    for order in (1, 2, 3, 4):
        assert scores[f"BLEU-{order}"].value == pytest.approx(values[order - 1], abs=1e-12)
        assert scores[f"BLEU-{order}"].per_sample == pytest.approx(np.array(per_sample[order - 1]), abs=1e-12)
    for metric, oracle in (("ROUGE-L", Rouge()), ("CIDEr", Cider())):
        value, per_sample = oracle.compute_score(by_index(references), by_index(hypotheses))
        assert scores[metric].value == pytest.approx(value, abs=1e-10)
        assert scores[metric].per_sample == pytest.approx(per_sample, abs=1e-10)
    for score in scores.values():
        assert score.additive(["p"] * 500).value() == pytest.approx(score.value, rel=1e-9)


def test_several_references_equal_to_pycocoevalcap(java, degraded):
    """1 to 3 references a case, of real reports: BLEU, ROUGE-L and CIDEr of the corpus and of each case."""
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    texts, hypotheses = degraded(300)
    groups = [(text, *texts[row + 1 : row + 1 + row % 3]) for row, text in enumerate(texts)]
    scores = {score.metric: score for score in caption_scores(groups, hypotheses, "as-given")}
    tokens = [given_tokens(group).texts for group in groups]
    theirs = given_tokens(hypotheses).texts
    scorer = BleuScorer(n=4)
    for references, hypothesis in zip(tokens, theirs, strict=True):
        scorer += (hypothesis, references)
    values, per_sample = scorer.compute_score(option="closest", verbose=0)
    for order in (1, 2, 3, 4):
        assert scores[f"BLEU-{order} (as given)"].value == pytest.approx(values[order - 1], abs=1e-12)
        assert scores[f"BLEU-{order} (as given)"].per_sample == pytest.approx(np.array(per_sample[order - 1]), abs=1e-12)
    for metric, oracle in (("ROUGE-L (as given)", Rouge()), ("CIDEr (as given)", Cider())):
        value, per_sample = oracle.compute_score(dict(enumerate(tokens)), by_index(theirs))
        assert scores[metric].value == pytest.approx(value, abs=1e-10)
        assert scores[metric].per_sample == pytest.approx(per_sample, abs=1e-10)
    assert scores["CIDEr (as given)"].details["references_per_case"] == "1 to 3"


def test_published_scores_with_two_references(java, shared_data):
    """The two sentences of nlg-eval, each with two references: to the six digits that it publishes."""
    folder = shared_data / "fixtures" / "nlg_eval"
    hypotheses, *references = (folder.joinpath(name).read_text().splitlines() for name in ("hyp.txt", "ref1.txt", "ref2.txt"))
    expected = json.loads((folder / "expected.json").read_text())
    groups = list(zip(*references, strict=True))
    found = {score.metric: score.value for score in caption_scores(groups, hypotheses, "as-given")}
    names = {f"BLEU-{n}": f"Bleu_{n}" for n in range(1, 5)} | {"METEOR": "METEOR", "ROUGE-L": "ROUGE_L"}
    for ours, theirs in names.items():
        assert found[f"{ours} (as given)"] == pytest.approx(expected[theirs], abs=5e-7), ours
    several = References([text for group in groups for text in group], per_case=[2, 2])
    assert overlap.cider(several, several.count(hypotheses)).mean() == pytest.approx(expected["CIDEr"], abs=5e-7)


def test_one_reference_alone_for_the_released_script():
    with pytest.raises(UserError, match="medim-paper-v1 scores one reference a case, and here are up to 2"):
        caption_scores([("a", "b"), ("c",)], ["a", "c"], "medim-paper-v1")


@pytest.mark.slow
def test_meteor_equal_to_pycocoevalcap_on_real_reports(java, degraded):
    from pycocoevalcap.meteor.meteor import Meteor

    references, hypotheses = (tokenise_jar(texts) for texts in degraded(500))
    value, per_sample = Meteor().compute_score(by_index(references), by_index(hypotheses))
    score = next(score for score in caption_scores(*degraded(500)) if score.metric == "METEOR")
    assert score.value == pytest.approx(value, abs=1e-9)
    assert score.per_sample == pytest.approx(np.array(per_sample), abs=1e-9)


def test_half_of_the_reports_missing(java, findings, dropped):
    """Strict scores fall to less than half; those of the released script, which leaves the missing out, do not move."""
    references = findings[:300]
    generator = np.random.default_rng(1)
    whole = [dropped(text, generator) for text in references]
    half = [text if index % 2 else "" for index, text in enumerate(whole)]
    strict, strict_half = ({s.metric: s.value for s in caption_scores(references, texts)} for texts in (whole, half))
    for metric in METRICS:
        assert strict_half[metric] < 0.6 * strict[metric], metric
    assert strict_half["BLEU-4"] < 0.35 * strict["BLEU-4"]
    paper, paper_half = (
        {s.metric: s.value for s in caption_scores(references, texts, "medim-paper-v1") if s.value is not None}
        for texts in (whole, half)
    )
    assert len(paper) >= 8
    for metric in paper:
        assert paper_half[metric] == pytest.approx(paper[metric], abs=0.02), metric  # another half, as hard as the whole


def test_protocols_share_no_column(corpus, no_java):
    columns = {name: {score.metric for score in caption_scores(corpus, corpus, name)} for name in PROTOCOLS}
    assert columns["coco"] == columns["strict-v1"] == set(METRICS)
    assert columns["r2gen"] == {f"{metric} (r2gen)" for metric in METRICS}
    assert columns["medim-paper-v1"] >= {f"{metric} (medim-paper-v1)" for metric in RELEASED_METRICS}
    assert protocol_named("coco").name == "strict-v1"
    with pytest.raises(UserError, match="unknown protocol 'strict'; did you mean 'strict-v1'"):
        protocol_named("strict")


def test_the_released_script_leaves_out_what_it_cannot_score(corpus):
    """Its means run over the cases with a sentence: empty reports and those of full stops alone are not among them."""
    texts = [*corpus[:58], "", " ... "]
    scores = {score.metric: score for score in caption_scores(corpus, texts, "medim-paper-v1")}
    bleu_4 = scores["BLEU-4 (medim-paper-v1)"]
    assert bleu_4.value == pytest.approx(1)
    assert bleu_4.details["scored"] == 58
    assert np.isnan(bleu_4.per_sample).tolist() == [False] * 58 + [True] * 2
    assert bleu_4.additive(["p"] * 60).value() == pytest.approx(1)
    nothing = caption_scores(corpus, [None] * 60, "medim-paper-v1")
    assert {score.value for score in nothing} == {None}
    assert "no case has a report" in nothing[0].reason


def test_a_second_system_pays_nothing_for_the_references(corpus, no_java, monkeypatch):
    cache = ReferenceCache()
    first = caption_scores(corpus, corpus, cache=cache)
    monkeypatch.setattr(References, "__init__", None)  # nothing is counted again
    second = caption_scores(corpus, corpus[::-1], cache=cache)
    assert cache.misses == 1
    assert first[0].value > second[0].value


def test_identical_corpus(corpus, no_java):
    scores = {score.metric: score.value for score in caption_scores(corpus, corpus)}
    assert [scores[f"BLEU-{n}"] for n in (1, 2, 3, 4)] == pytest.approx([1, 1, 1, 1], abs=1e-9)
    assert scores["ROUGE-L"] == pytest.approx(1)
    assert scores["CIDEr"] == pytest.approx(10.0, abs=1e-9)


def test_an_all_empty_system_scores_zero(corpus, no_java):
    scores = caption_scores(corpus, [None] * 60)
    assert [score.value for score in scores if score.metric != "METEOR"] == pytest.approx([0] * 6, abs=1e-9)
    for score in scores:
        if score.combine is not None:
            assert np.isfinite(score.additive(["p"] * len(score.sums)).value())


def test_cider_is_withheld_below_fifty_references(corpus):
    few = References(corpus[:49])
    short = cider(few, few.counted)
    assert short.value is None
    assert short.reason == "CIDEr needs at least 50 references, here are 49"
    enough = References(corpus[:50])
    assert cider(enough, enough.counted).value == pytest.approx(10.0)


def test_meteor_without_java_says_so_and_the_rest_runs(corpus, no_java):
    scores = {score.metric: score for score in caption_scores(corpus, corpus)}
    assert tuple(scores) == METRICS
    assert scores["METEOR"].value is None
    assert "METEOR 1.5 needs Java" in scores["METEOR"].reason
    assert all(score.value is not None for name, score in scores.items() if name != "METEOR")


def test_references_are_never_cut(corpus, no_java):
    """R2Gen scores references cut at its decoder's length; here every word of a reference counts."""
    long = [" ".join([text] * 20) for text in corpus]
    for name in PROTOCOLS:
        references = protocol_named(name).references(long)
        assert references.sources == tuple(long)
        assert references.counted.lengths.min() >= 240


def test_refuses_misaligned_lists(corpus):
    with pytest.raises(ValueError, match="60 references but 59"):
        caption_scores(corpus, corpus[1:])
    with pytest.raises(ValueError, match="0 references"):
        caption_scores([], [])


def test_no_parser_is_fetched():
    """pycocoevalcap's own evaluator would download 384 MB for SPICE; it is not so much as imported."""
    code = "import sys, tasks.metrics.text.captioning; sys.exit(any(name.startswith('pycocoevalcap') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_coco_scores_take_tokens(corpus, no_java):
    assert [score.metric for score in coco_scores(References(corpus), corpus)] == list(METRICS)
