import numpy as np
import pytest
from PIL import Image

from tasks.metrics.image import memorisation
from tasks.metrics.image.memorisation import (
    Rows,
    altered_copies,
    authentic,
    correlation,
    duplicate_share,
    found_on_top,
    mirrored,
    nearest,
    nearest_of_views,
    normalised,
    severity,
    threshold_of,
    thumbnails,
)


def blocks(values, size, patients=None):
    for start in range(0, len(values), size):
        chunk = slice(start, start + size)
        yield Rows(start, values[chunk], None if patients is None else patients[chunk])


def noise(generator, side=40):
    return Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8))


@pytest.fixture
def generator():
    return np.random.default_rng(5)


def test_neighbours_equal_brute_force_whatever_the_blocks(generator, monkeypatch):
    monkeypatch.setattr(memorisation, "_QUERIES", 7)
    training = generator.normal(size=(53, 6)).astype(np.float32)
    queries = generator.normal(size=(20, 6)).astype(np.float32)
    table = np.linalg.norm(queries[:, None].astype(np.float64) - training, axis=-1)
    for size in (1, 10, 53):
        found = nearest(queries, blocks(training, size))
        assert found.rows.tolist() == table.argmin(axis=1).tolist()
        np.testing.assert_allclose(found.distances, table.min(axis=1), rtol=1e-12)


def test_a_copy_far_from_the_origin_is_at_zero_exactly(generator):
    training = (1000 + generator.normal(size=(30, 64))).astype(np.float32)  # float32 rounds |x|^2 = 6.4e7 to the nearest 4
    found = nearest(training[[4, 17]], blocks(training, 8))
    assert found.distances.tolist() == [0, 0]
    assert found.rows.tolist() == [4, 17]


def test_rows_of_the_same_patient_and_the_own_row_are_left_out():
    training = np.array([[0.0], [1.0], [5.0]], dtype=np.float32)
    patients = np.array([1, 1, 2], dtype=np.uint64)
    query = np.array([[0.1]], dtype=np.float32)
    for size in (1, 2, 3):
        other = nearest(query, blocks(training, size, patients), patients=np.array([1], dtype=np.uint64))
        assert other.rows.tolist() == [2]
        assert other.distances == pytest.approx([4.9])
        assert nearest(training[:1], blocks(training, size), own=np.array([0])).distances.tolist() == [1]
    none = nearest(query, blocks(training[:2], 1, patients[:2]), patients=np.array([1], dtype=np.uint64))
    assert none.rows.tolist() == [-1]
    assert np.isinf(none.distances).all()
    with pytest.raises(ValueError, match="without patients"):
        nearest(query, blocks(training, 2), patients=np.array([1], dtype=np.uint64))


def test_the_nearest_of_two_views_and_the_first_alone():
    training = np.array([[0.0], [10.0]], dtype=np.float32)
    views = np.array([[[3.0], [9.0]], [[1.0], [6.0]]], dtype=np.float32)
    either, first = nearest_of_views(views, lambda queries: nearest(queries, blocks(training, 2)))
    assert (either.distances.tolist(), either.rows.tolist()) == ([1, 1], [1, 0])
    assert (first.distances.tolist(), first.rows.tolist()) == ([3, 1], [0, 0])


def test_pixels_know_neither_brightness_nor_contrast(generator):
    image = noise(generator)
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float64)
    small = thumbnails([image])
    assert small.shape == (1, 1024)
    assert small.dtype == np.uint8
    np.testing.assert_array_equal(small[0], grey.ravel())
    rows = normalised(np.stack([np.arange(256), 10 + np.arange(256) // 2, np.full(256, 7)]).astype(np.uint8))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 1, 0], atol=1e-6)
    assert rows[0] @ rows[1] == pytest.approx(1, abs=1e-4)
    distance = np.linalg.norm(rows[0] - rows[0][::-1])
    assert correlation(distance) == pytest.approx(rows[0] @ rows[0][::-1], abs=1e-5)
    assert correlation(0) == 1


def test_the_threshold_lets_the_stated_share_of_unseen_images_below_it():
    null = np.arange(1, 200) / 10.0  # 199: alpha 0.01 is the second smallest, exactly
    found = threshold_of(null[::-1], 0.01)
    assert (found.distance, found.nominal, found.held_out) == (0.2, 2 / 200, 199)
    few = threshold_of(null[:9], 0.01)  # too few: below every one of them, and the share says so
    assert (few.distance, few.nominal) == (0.1, 1 / 10)
    for wrong in (0, 1):
        with pytest.raises(ValueError, match="alpha"):
            threshold_of(null, wrong)
    with pytest.raises(ValueError, match="0 held-out"):
        threshold_of(np.array([]), 0.01)


def test_the_false_alarm_rate_over_many_worlds_is_the_nominal_one(generator):
    distances = generator.gamma(3.0, size=(4000, 150))
    flagged = [(row[99:] < threshold_of(row[:99], 0.05).distance).mean() for row in distances]
    assert np.mean(flagged) == pytest.approx(0.05, abs=4 * np.std(flagged) / np.sqrt(4000))


def test_authentic_is_farther_than_the_training_points_own_neighbour():
    """Alaa et al. 2022: the sample is farther from its nearest training point than that is from its own."""
    assert authentic(np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0])).tolist() == [False, False, True]


def test_duplicates_are_counted_with_the_one_that_they_repeat():
    small = np.array([[1, 2], [3, 4], [1, 2], [5, 6]], dtype=np.uint8)
    assert duplicate_share(small) == 0.5
    assert duplicate_share(small[:2]) == 0
    assert duplicate_share(small[:0]) == 0


def test_altered_copies_are_copies_to_the_screen(generator):
    image = Image.fromarray(generator.integers(30, 200, (40, 40, 3), dtype=np.uint8))  # nothing saturates
    altered = altered_copies([image] * 5)
    assert all(other.tobytes() != image.tobytes() for other in altered)
    assert altered[0].tobytes() == mirrored(image).tobytes()
    assert int(np.asarray(altered[1])[0, 0, 0]) == int(np.asarray(image)[0, 0, 0]) + 20
    training = normalised(thumbnails([noise(generator), image]))
    views = np.stack([normalised(thumbnails(altered)), normalised(thumbnails([mirrored(one) for one in altered]))], axis=1)
    either, _ = nearest_of_views(views, lambda queries: nearest(queries, blocks(training, 2)))
    assert either.rows.tolist() == [1] * 5
    assert (correlation(either.distances) > 0.99).all()


def test_severity_and_the_top():
    assert severity(np.array([[1.0, 4.0], [3.0, 1.0]]), [2.0, 4.0]).tolist() == [0.5, 0.25]
    planted = np.array([0.0, 0.1, 0.4])
    assert found_on_top(planted, np.array([0.5, 0.9])) == 3
    assert found_on_top(planted, np.array([0.3, 0.9])) == 2
    assert found_on_top(planted, np.array([0.05, 0.06, 0.07])) == 1
    assert found_on_top(planted, np.array([])) == 3
