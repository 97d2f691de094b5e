from collections import Counter

from PIL import Image

from benchmark.augmentation.added_pairs import condition_prompts
from tasks.downstream.contract import Example

REPORTS = ["Chest film. There is amber.", "Chest x-ray. All clear.", "Chest film. There is amber. Some blue is seen."] * 4
REPORTS += ["Tissue. Blue everywhere."]


def checker(sentences):
    return [frozenset(label for label in ("amber", "blue") if label in sentence.lower()) for sentence in sentences]


def examples(reports):
    return [Example(str(n), str(n), Image.new("RGB", (8, 8)), report) for n, report in enumerate(reports)]


DOMAINS = ["chest"] * 12 + ["tissue"]


def test_every_condition_of_every_domain_is_asked_for_equally_often():
    prompts = condition_prompts(examples(REPORTS), DOMAINS, checker, 20, 0)
    cells = Counter((prompt.startswith("Chest"), frozenset(checker([prompt])[0])) for prompt in prompts)
    assert cells == dict.fromkeys(
        [(True, frozenset({"amber"})), (True, frozenset({"blue"})), (True, frozenset()), (False, frozenset({"blue"}))],
        len(prompts) // 4,
    )
    assert set(prompts[:4]) == {
        "Chest film. There is amber.",
        "Chest film. Some blue is seen.",
        "Chest x-ray.",
        "Tissue. Blue everywhere.",
    }


def test_without_a_checker_openings_alone():
    assert set(condition_prompts(examples(REPORTS), DOMAINS, None, 20, 0)) == {"Chest film.", "Chest x-ray.", "Tissue."}


def test_prompts_keep_to_their_length():
    prompts = condition_prompts(examples(["one two three four five six. amber."]), ["x"], checker, 4, 0)
    assert prompts == ["one two three four"]


def test_prompts_without_room_lose_their_condition_and_cells_without_any_are_left_out():
    def prompts(has_room):
        return Counter(condition_prompts(examples(REPORTS), DOMAINS, checker, 20, 0, has_room))

    short = prompts(lambda prompt: len(prompt.split()) < 5)
    assert short == {"Chest film.": 2, "Chest x-ray.": 1, "Tissue. Blue everywhere.": 1}
    assert set(prompts(lambda prompt: prompt.startswith("Tissue"))) == {"Tissue. Blue everywhere."}
    assert not prompts(lambda prompt: False)
