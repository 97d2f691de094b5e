import pytest

from tasks.context import NO_FINDINGS, Context


def test_equal_content_is_measured_once(world):
    context = world.context()
    images = [case.image for case in world.cases[:10]]
    first = context.image_findings(images)
    distinct = context.image_checker.calls
    assert distinct == len({image.tobytes() for image in images})
    again = context.image_findings([image.copy() for image in reversed(images)])
    assert again == first[::-1]
    assert context.image_checker.calls == distinct


def test_what_is_missing_has_no_findings(world):
    context = world.context()
    found = context.image_findings([None, world.draw(frozenset(["blue"]), 0), None])
    assert found == [NO_FINDINGS, frozenset(["blue"]), NO_FINDINGS]
    assert context.report_findings([None, "there is blue.", ""]) == [NO_FINDINGS, frozenset(["blue"]), NO_FINDINGS]


def test_for_dataset_takes_its_checkers(world):
    context = Context.for_dataset(world, seed=3)
    assert (context.image_checker.name, context.report_checker.name, context.seed) == ("bands", "words", 3)
    assert context.protocol == "strict-v1"


def test_without_a_checker_nothing_is_read(world):
    with pytest.raises(ValueError, match="no image checker"):
        world.context(checkers=False).image_findings([])
