from collections.abc import Callable
from dataclasses import replace

import numpy as np

from jaxrec.data.dataset import Catalogue, Dataset
from jaxrec.data.features import FeatureSpace, category_shares, item_features


def films(make_dataset: Callable[..., Dataset]) -> Catalogue:
    return make_dataset(
        [(0, 0, 5.0, 0)],
        users=1,
        items=5,
        titles=["Heat (1995)", "Casino (1995)", "Solaris (1972)", "Cosmos (1980-1981)", "Nameless"],
        genres=["Action|Crime", "Crime", "Sci-Fi", "(no genres listed)", "Crime|Action"],
    ).catalogue


def test_the_year_is_the_first_of_the_last_bracket(make_dataset: Callable[..., Dataset]) -> None:
    years = films(make_dataset).table["year"].to_list()
    assert years == [1995, 1995, 1972, 1980, None]


def test_near_years_are_alike(make_dataset: Callable[..., Dataset]) -> None:
    catalogue = films(make_dataset)
    Y = FeatureSpace.of(catalogue).numbers(catalogue, "year")
    near = Y @ Y[0]
    assert near[1] > 0.999
    assert near[1] > near[3] > near[2]
    assert near[4] == 0
    np.testing.assert_allclose(np.linalg.norm(Y[:4], axis=1), 1, rtol=1e-6)


def test_genres_are_a_set(make_dataset: Callable[..., Dataset]) -> None:
    catalogue = films(make_dataset)
    G = FeatureSpace.of(catalogue).categories(catalogue, "genres")
    assert G.shape == (5, 3)
    np.testing.assert_array_equal(G[0], G[4])
    assert G[3].tolist() == [0, 0, 0]


def test_an_item_shares_itself_among_its_genres(make_dataset: Callable[..., Dataset]) -> None:
    """Action, Crime, Sci-Fi; nobody has shares where no item has a genre."""
    shares = category_shares(films(make_dataset))
    assert shares is not None
    half, nothing = [0.5, 0.5, 0], [0, 0, 0]
    assert shares.tolist() == [half, [0, 1, 0], [0, 0, 1], nothing, half]
    bare = make_dataset([(0, 0, 5.0, 0)], 1, 2, genres=["(no genres listed)"] * 2).catalogue
    assert category_shares(bare) is None
    assert category_shares(replace(bare, categories=())) is None


def test_features_stand_side_by_side(make_dataset: Callable[..., Dataset]) -> None:
    catalogue = films(make_dataset)
    E = np.eye(5, dtype=np.float32)
    without = item_features(catalogue, E, metadata=0)
    assert without.tolist() == np.hstack([np.ones((5, 1)), E]).tolist()
    weighted, single = item_features(catalogue, E, 2.0), item_features(catalogue, E, 1.0)
    np.testing.assert_allclose(weighted[:, 1:-5], 2 * single[:, 1:-5])


def test_further_items_are_written_in_the_same_space(make_dataset: Callable[..., Dataset]) -> None:
    """A year beyond all others is taken as the outermost, an unknown genre says nothing."""
    known = films(make_dataset)
    space = FeatureSpace.of(known)
    new = make_dataset(
        [(0, 0, 5.0, 0)],
        users=1,
        items=3,
        titles=["Again (1995)", "Later (2031)", "Blank"],
        genres=["Crime|Action", "Western", "Crime"],
    ).catalogue
    old_rows, rows = space.features(known), space.features(new)
    assert rows.shape == (3, old_rows.shape[1])
    np.testing.assert_allclose(rows[0], old_rows[0], atol=1e-6)
    assert not space.categories(new, "genres")[1].any()
    assert space.numbers(new, "year")[1].argmax() == len(space.centres["year"]) - 1
    assert not space.numbers(new, "year")[2].any()
