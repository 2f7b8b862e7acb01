import numpy as np

from nogps.earth import geo
from nogps.evaluate import baselines


def test_best_cell_is_the_nearest_point_also_across_the_antimeridian():
    points = np.array([[0.0, 179.0], [0.0, 0.0], [80.0, -170.0]])
    truth = np.array([[0.0, -179.5], [0.0, 60.0], [85.0, 20.0]])
    expected = [points[np.argmin(geo.distance_km(*place, *points.T))] for place in truth]
    assert (baselines.best_cell(truth, points) == expected).all()


def test_no_class_point_beats_the_oracle():
    rng = np.random.default_rng(0)
    points, truth = (rng.uniform((-90, -180), (90, 180), size=(n, 2)) for n in (40, 300))
    best = geo.distance_km(*truth.T, *baselines.best_cell(truth, points).T)
    for point in points:
        there = np.broadcast_to(point, truth.shape)
        assert (best <= geo.distance_km(*truth.T, *there.T) + 1e-9).all()


def test_most_common_cell_is_the_one_with_most_photos():
    points = np.array([[1.0, 2.0], [3.0, 4.0]])
    guess = baselines.most_common_cell(np.zeros((3, 2)), points, np.array([5, 9]))
    assert (guess == [3.0, 4.0]).all()


def test_chance_draws_train_places_and_repeats():
    train = np.random.default_rng(0).uniform(-90, 90, size=(50, 2))
    once, again, other = (baselines.chance(np.zeros((200, 2)), train, seed) for seed in (0, 0, 1))
    assert (once == again).all()
    assert (once != other).any()
    assert {tuple(place) for place in once} <= {tuple(place) for place in train}
    assert len(np.unique(once, axis=0)) > 40


def test_nearest_neighbour_goes_by_direction_not_length():
    places = np.array([[10.0, 10.0], [20.0, 20.0]])
    train = np.array([[1.0, 0.0], [0.0, 1.0]])
    guess = baselines.nearest_neighbour(np.array([[9.0, 1.0], [0.1, 0.2]]), train, places)
    assert guess.tolist() == [[10, 10], [20, 20]]
