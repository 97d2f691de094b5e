import pytest

from medim.common.errors import UserError
from tasks.scoring.context import NO_FINDINGS, Context, space_signature


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


def test_a_feature_space_is_opened_once(world):
    opened = []

    def opener(spec, device):
        opened.append((spec, device))
        if spec == "absent":
            raise UserError("no such weights")
        return world.context().opener(spec, device)

    context = Context(device="cpu", features=("pooled", "absent"), opener=opener)
    assert context.bank("pooled") is context.bank("pooled")
    for _ in range(2):
        with pytest.raises(UserError, match="no such weights"):
            context.bank("absent")
    assert opened == [("pooled", "cpu"), ("absent", "cpu")]


def test_for_dataset_takes_feature_spaces_once_each(world, tmp_path):
    context = Context.for_dataset(world, features=["inception", "array:x.npz", "inception"], feature_folder=tmp_path)
    assert context.features == ("inception", "array:x.npz")
    assert context.feature_folder == tmp_path
    assert Context.for_dataset(world).features == ("efficientnet-lite0",)


def test_a_space_that_models_train_against_says_so(world):
    space = world.context().bank("pooled").space
    assert "trained_against" not in space_signature(space)
    space.trained_against = True
    assert space_signature(space)["trained_against"] == "perceptual loss of image tokenizers"
