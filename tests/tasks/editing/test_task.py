"""Editing in a world where the image of every finding is known: bands of an image, words of a report."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from medim.data.sources.selection import Subset
from tasks.editing.reports import Rewriter
from tasks.editing.task import Editing, EditingRemoval, Inpainting, changes_of, true_regions
from tasks.protocols import Prediction

SIDE = 16

EDITING, REMOVAL, INPAINTING = Editing(), EditingRemoval(), Inpainting()


@dataclass
class Editor:
    """Draws what the new report says; `misses` and `spoils` by running number, and `leaks` changes tokens that were to stay."""

    world: object
    misses: frozenset[int] = frozenset()
    spoils: frozenset[int] = frozenset()
    leaks: int = 0
    finds_regions: bool = True
    name: str = "editor"
    fingerprint: str = "editor-1"

    def settings(self):
        return {}

    def generate_images(self, reports, *, seeds): ...

    def generate_reports(self, images, *, seeds): ...

    def generate_pairs(self, prompts, *, seeds): ...

    def image_codes(self, images):
        return np.zeros((len(images), 4, 4), int)

    def edit(self, images, reports, new_reports, *, regions, seeds):
        self.regions = list(regions)
        checker, result = self.world.report_checker(), []
        for row, (image, new) in enumerate(zip(images, new_reports, strict=True)):
            wanted = checker([new])[0]
            picture = image if row in self.misses else self.world.draw(wanted, 10)
            if row in self.spoils:
                picture = self.world.draw(wanted ^ {"amber", "blue", "coral"}, 10)
            redrawn = np.zeros((4, 4), bool)
            redrawn[0] = True
            codes = redrawn.astype(int).ravel()
            codes[4 : 4 + self.leaks] = 7
            result.append(SimpleNamespace(image=picture, report=new, codes=codes, redrawn=redrawn))
        return result


def done(world, task, editor, count=40):
    cases = world.cases[:count]
    prepared = task.prepared(cases, world)
    predictions = prepared.generate(editor, cases, list(range(count)))
    context = world.context()
    context.dataset = world
    scores, samples = task.score(cases, predictions, context)
    return {score.metric: score for score in scores}, samples, predictions, prepared


def test_each_case_is_given_a_finding_that_it_lacks(world):
    cases = world.cases[:30]
    changes, checker = changes_of(cases, world, True), world.report_checker()
    assert len(changes) == sum(case.findings != set(checker.labels) for case in cases)
    for case in cases:
        if case.id in changes:
            change = changes[case.id]
            assert change.finding not in case.findings
            assert checker([change.report])[0] == case.findings | {change.finding}
    assert len({change.finding for change in changes.values()}) == 4
    assert changes == changes_of(list(reversed(cases)), world, True)  # by id alone


def test_to_remove_asks_only_those_that_have_something(world):
    cases = world.cases[:30]
    changes = changes_of(cases, world, False)
    assert set(changes) == {case.id for case in cases if case.findings}
    for case in cases:
        if case.id in changes:
            assert world.report_checker()([changes[case.id].report])[0] == case.findings - {changes[case.id].finding}


def test_a_perfect_editor_hits_and_keeps(world):
    for task in (EDITING, REMOVAL):
        scores, samples, predictions, _ = done(world, task, Editor(world))
        asked = [p for p in predictions if p.image is not None]
        for metric in ("edit hit rate", "other findings kept", "hit and others kept"):
            assert scores[metric].value == 1
            assert scores[metric].n == len(asked)
        assert scores["tokens changed outside the region"].value == 0
        assert scores["share of tokens redrawn"].value == 0.25
        assert sum(sample == {"hit": 1.0, "kept": 1.0} for sample in samples) == len(asked)
        assert asked[0].details["redrawn"] == [0, 1, 2, 3]
        assert asked[0].details["change"] == ("added" if task.present else "removed")
        assert asked[0].prompt != asked[0].details["report_before"]


def test_misses_spoilt_findings_and_leaks_are_counted(world):
    scores, samples, predictions, _ = done(
        world, EDITING, Editor(world, misses=frozenset(range(5)), spoils=frozenset({10}), leaks=3)
    )
    asked = [row for row, p in enumerate(predictions) if p.image is not None]
    spoilt = samples[asked[10]]
    assert spoilt["kept"] == 0
    assert scores["edit hit rate"].value == pytest.approx(1 - (5 + (spoilt["hit"] == 0)) / len(asked))
    assert scores["other findings kept"].value == pytest.approx(1 - 1 / len(asked))
    assert scores["tokens changed outside the region"].value == pytest.approx(3 / 12)
    by_domain = [scores[f"edit hit rate: {domain}"] for domain in ("east", "west")]
    assert sum(one.n for one in by_domain) == len(asked)


def test_a_missing_edit_is_no_hit(world):
    cases = world.cases[:20]
    context = world.context()
    context.dataset = world
    scores, _ = EDITING.score(cases, [Prediction(case.id) for case in cases], context)
    assert (scores[0].metric, scores[0].value, scores[0].coverage) == ("edit hit rate", 0, 0)
    withheld = {score.metric: score.reason for score in scores if score.value is None}
    assert set(withheld) == {"tokens changed outside the region", "share of tokens redrawn"}


def test_the_unedited_image_is_the_zero_line(world):
    cases = world.cases[:30]
    context = world.context()
    context.dataset = world
    real, blurred = EDITING.anchors(cases, world.train, world.blur, 0)
    for task, anchor in ((EDITING, real), (EDITING, blurred), (REMOVAL, real)):
        scores = {score.metric: score.value for score in task.score(cases, anchor.predictions, context)[0]}
        assert scores["edit hit rate"] == 0
        assert scores["other findings kept"] == 1


def test_who_cannot_edit_is_not_asked(world):
    assert "edits no images" in EDITING.refuses(world.perfect(world.cases))
    blind = Editor(world, finds_regions=False)
    assert "does not find the region" in EDITING.refuses(blind)
    assert INPAINTING.refuses(blind) is EDITING.refuses(Editor(world)) is None
    assert EDITING.refuses_data(world) is None
    assert "does not know where" in INPAINTING.refuses_data(world)
    world.image_checker = lambda: None
    assert "no image checker" in EDITING.refuses_data(world)


def test_inpainting_is_given_the_region(world):
    marked = np.zeros((SIDE, SIDE), bool)
    marked[3:5] = True
    world.finding_region = lambda split, index, label: marked if index % 2 else None
    world.keys = lambda split, index: SimpleNamespace(id=world.pair(split, index).id)
    editor = Editor(world, finds_regions=False)
    _, _, predictions, prepared = done(world, INPAINTING, editor, 20)
    given = [p.id for p in predictions if p.image is not None]
    assert given == [case.id for row, case in enumerate(world.cases[:20]) if row % 2 and case.id in prepared.edits]
    assert given
    assert all((region == marked).all() for region in editor.regions)


def test_regions_of_twins_are_where_they_differ():
    from medim.data.loading import load_dataset

    dataset = load_dataset("phantom-v2")
    no_room, pair = dataset.pair("val", 0), dataset.pair("val", 2)
    regions = true_regions(Subset(dataset, 0.5), {no_room.id: "pacemaker", pair.id: "right nodule"}, 64)
    assert set(regions) == {pair.id}
    region = regions[pair.id]
    assert region.shape == (64, 64)
    assert 0.002 < region.mean() < 0.2
    assert region[:, :36].sum() == region.sum()  # the right of the patient is the left of the picture


def test_a_rewriter_reads_each_text_once(world):
    rewriter = Rewriter(world)
    assert rewriter.domain_of("amber") in ("east", "west")
    assert rewriter.change("there is amber.", "east", "amber", True) is None
    seen = []
    inner = rewriter.checker.checker
    rewriter.checker.checker = lambda items: seen.extend(items) or inner(items)
    for _ in range(3):
        assert rewriter.read("there is blue.") == {"blue"}
    assert seen == ["there is blue."]
    from medim.common.errors import UserError

    with pytest.raises(UserError, match="did you mean 'amber'"):
        rewriter.change("there is blue.", "east", "ambr", True)


def test_findings_that_no_training_report_tells_together_do_not_go_together():
    """High and low of one thing, say: asking for both would ask for what does not exist."""
    reports = ["high", "low", "high mass", "low mass", "clear"]
    lists = [frozenset(report.split()) - {"clear"} for report in reports]

    def checker(texts):
        return [frozenset(text.split()) - {"clear"} for text in texts]

    checker.name, checker.fingerprint, checker.labels = "words", "words-1", ("high", "low", "mass")
    pairs = [SimpleNamespace(domain=None, report=report) for report in reports]
    data = SimpleNamespace(
        name="words", domains=(), report_checker=lambda: checker, size=lambda split: len(pairs), pair=lambda split, i: pairs[i]
    )
    rewriter = Rewriter(data)
    for finding in checker.labels:
        for others in lists:
            together = any(others | {finding} <= told for told in lists)
            assert rewriter.goes_with(finding, others - {finding}, None) == together
    assert not rewriter.goes_with("low", frozenset({"high"}), None)
    assert rewriter.goes_with("low", frozenset({"mass"}), None)
