import numpy as np

from tasks.baselines.retrieval import TfIdf, nearest


def test_nearest_is_by_angle_and_the_first_of_equals():
    references = np.array([[0.0, 1.0], [10.0, 1.0], [1.0, 0.1], [3.0, 3.0]])
    queries = np.array([[2.0, 0.2], [0.0, 0.5], [1.0, 1.0], [0.0, 0.0]])
    assert nearest(queries, references) == [1, 0, 3, 0]


def test_nearest_equals_a_loop():
    generator = np.random.default_rng(0)
    queries, references = generator.normal(size=(5, 8)), generator.normal(size=(40, 8))
    cosine = [[q @ r / np.linalg.norm(q) / np.linalg.norm(r) for r in references] for q in queries]
    assert nearest(queries, references) == np.argmax(cosine, axis=1).tolist()


def test_rare_words_weigh_more_than_common_ones_and_order_counts():
    texts = ["the heart is large", "the heart is normal", "the lung is clear", "effusion on the left"]
    index = TfIdf(texts)
    assert [index.nearest(text) for text in texts] == [0, 1, 2, 3]
    assert index.nearest("The EFFUSION, of the kind") == 3
    assert index.nearest("the clear heart") == 2
    assert TfIdf(["left large right small", "left small right large"]).nearest("right small") == 0
    assert index.nearest("nothing known") == 0
