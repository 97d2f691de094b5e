import json
from dataclasses import replace

import pytest

from medim.common.errors import UserError
from tasks.downstream import training_loop
from tasks.downstream.r2gen import R2Gen
from tasks.downstream.trainable import MODEL, hash_of_examples


@pytest.fixture
def once(small, examples, tmp_path):
    def fit(model=small, count=8, **changes):
        arguments = {"steps": 2, "seed": 0, "out": tmp_path, **changes}
        return model.fit(examples(count), examples(4, 8), **arguments)

    return fit


def test_what_is_trained_is_not_trained_again(once, monkeypatch):
    first = once()
    monkeypatch.setattr(training_loop, "_step", None)
    again = once()
    assert again.fingerprint == first.fingerprint
    assert again.settings() == first.settings()


def test_a_folder_belongs_to_one_training(once, preset):
    once()
    with pytest.raises(UserError, match="holds a training with seed = 0, and now seed = 1"):
        once(seed=1)
    with pytest.raises(UserError, match=r"holds a training with train\.n"):
        once(count=7)
    with pytest.raises(UserError, match="steps = 2, and now steps = 3: choose another folder, or remove it"):
        once(steps=3, augment=True)
    other = R2Gen("small", replace(preset, recipe=replace(preset.recipe, learning_rate=1.0)), None, "cpu")
    with pytest.raises(UserError, match=r"recipe\.learning_rate"):
        once(other)


def test_a_folder_is_opened_without_its_examples(once, small, tmp_path, examples):
    fitted = once()
    images = [example.image for example in examples(3)]
    assert small.open(tmp_path).generate_reports(images, seeds=[0] * 3) == fitted.generate_reports(images, seeds=[1] * 3)


def test_damage_is_told(once, small, tmp_path):
    with pytest.raises(UserError, match="no finished training of small"):
        small.open(tmp_path)
    once()
    model = json.loads((tmp_path / MODEL).read_text())
    (tmp_path / MODEL).write_text(json.dumps(model | {"known": {"words": ["a", "<unk>"], "longest": 24}}))
    with pytest.raises(UserError, match="holds no whole model of small"):
        small.open(tmp_path)


def test_settings_say_what_was_done(once):
    settings = once().settings()
    assert settings["train"]["n"] == 8
    assert settings["steps"] == 2
    assert settings["model"]["architecture"] == "R2Gen"
    assert settings["parameters"] > 1000
    assert json.loads(json.dumps(settings)) == settings


def test_no_examples_no_training(small, examples, tmp_path):
    with pytest.raises(UserError, match="no training examples"):
        small.fit([], examples(2), steps=1, seed=0, out=tmp_path)
    with pytest.raises(UserError, match="no validation examples"):
        small.fit(examples(2), [], steps=1, seed=0, out=tmp_path)
    with pytest.raises(UserError, match="must be at least 1, not 0"):
        small.fit(examples(2), examples(2), steps=0, seed=0, out=tmp_path)
    with pytest.raises(UserError, match="example 'e1' has no report"):
        small.fit([examples(1)[0], replace(examples(2)[1], report=" ")], examples(2), steps=1, seed=0, out=tmp_path)


def test_the_hash_of_examples_sees_everything_that_is_learned_from(examples, tmp_path):
    one = examples(2)
    hashes = {
        hash_of_examples(one),
        hash_of_examples(one[::-1]),
        hash_of_examples([one[0], replace(one[1], report="other")]),
        hash_of_examples([one[0], replace(one[1], findings=None)]),
        hash_of_examples([one[0], replace(one[1], image=one[0].image)]),
    }
    assert len(hashes) == 5
    assert hash_of_examples(examples(2)) == hash_of_examples(one)
    one[0].image.save(tmp_path / "a.png")
    assert hash_of_examples([replace(one[0], image=tmp_path / "a.png")]) not in hashes
    with pytest.raises(UserError, match=r"b.png' of 'e0' does not exist"):
        hash_of_examples([replace(one[0], image=tmp_path / "b.png")])
