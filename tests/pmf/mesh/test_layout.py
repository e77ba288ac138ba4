"""Who holds what, one place after the other."""

import jax
import numpy as np
import pytest

from jaxrec.devices import Mesh
from jaxrec.pmf.mesh.layout import Items, Users, lay_out_on
from jaxrec.pmf.objective import Observed, PmfSettings, ridges
from jaxrec.pmf.tiles import by_length

ORDER = by_length(np.array([3, 1, 2, 5, 4, 1, 1]), empty=False)
VALUES = np.arange(14.0).reshape(7, 2) + 1


def test_place_p_of_users_is_row_p_over_d_of_device_p_mod_d() -> None:
    users = Users(ORDER, devices=2, rows=5, vectors=7, counts=[7], before=0)
    expected = np.zeros((2, 5, 2))
    for place, value in enumerate(VALUES):
        expected[place % 2, place // 2] = value
    assert users.spread(VALUES).tolist() == expected.tolist()
    assert users.gathered(expected).tolist() == VALUES.tolist()


def test_place_p_of_items_is_column_p_over_t_of_tile_p_mod_t() -> None:
    """Two columns of each of three tiles on a device."""
    items = Items(ORDER, devices=2, tiles=3, width=2)
    assert (items.columns, items.rows) == (4, 6)
    expected = np.zeros((2, 6, 2))
    for place, value in enumerate(VALUES):
        column, tile = divmod(place, 3)
        device, column = divmod(column, 2)
        expected[device, 2 * tile + column] = value
    assert items.spread(VALUES).tolist() == expected.tolist()
    assert items.gathered(expected.reshape(12, 2)).tolist() == VALUES.tolist()


OBSERVED = Observed(
    np.array([0, 0, 2, 2, 2, 4], np.int32),
    np.array([1, 3, 1, 3, 4, 1], np.int32),
    np.ones(6),
    np.ones(6),
)
"""Of five users and six items, three of each without a pair."""


@pytest.mark.parametrize(
    ("gathered", "tiles", "width"), [(2**30, 1, 3), (72, 1, 3), (71, 2, 2), (8, 9, 1)]
)
def test_item_vectors_lie_in_as_few_tiles_as_the_budget_lets(
    gathered: int, tiles: int, width: int
) -> None:
    """Three items with pairs, of three numbers of eight bytes: 72 in all."""
    with jax.enable_x64(True):
        settings = PmfSettings(factors=3, float64=True, item_lambda=0.7, item_nu=0.2)
        mesh = Mesh.of(jax.devices()[:1])
        layout = lay_out_on(mesh, OBSERVED, (5, 6), settings, (None, None), np.float64, gathered)
        users, items = layout.users, layout.items
        assert (items.tiles, items.width, items.devices) == (tiles, width, 1)
        assert (layout.ratings, layout.columns) == (6, 3)
        assert (users.devices, users.rows, users.vectors, users.counts, users.before) == (
            1,
            3,
            3,
            [5],
            0,
        )
        for of, rows, lengths, others, side in (
            (users, layout.U_rows, [3, 2, 1], 6, "users"),
            (items, layout.V_rows, [3, 2, 1], 5, "items"),
        ):
            ridge = ridges(np.array(lengths), others, settings, side)
            assert np.ravel(rows.ridge).tolist() == of.spread(ridge).ravel().tolist()
            assert np.ravel(rows.live).tolist() == of.spread(np.ones(3)).ravel().tolist()
            assert rows.mean is None
