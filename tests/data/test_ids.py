import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrec.data.ids import NONE, Ids
from jaxrec.errors import InputError


@given(st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, min_size=1))
def test_every_number_is_found_where_it_is(names: list[int]) -> None:
    ids = Ids(names)
    assert ids.find(names).tolist() == list(range(len(names)))
    assert ids[ids.positions(names[:1])[0]] == names[0]


@given(
    st.lists(st.text(min_size=1).filter(lambda s: not s.endswith("\0")), unique=True, min_size=1)
)
def test_every_text_is_found_where_it_is(names: list[str]) -> None:
    ids = Ids(names)
    assert ids.find(reversed(names)).tolist() == list(range(len(names)))[::-1]


def test_text_is_not_a_number() -> None:
    ids = Ids(["007", "7", "B00A"], "item")
    assert ids.find(["7", "007", "7.0"]).tolist() == [1, 0, NONE]
    assert ids.find([7]).tolist() == [1]
    with pytest.raises(InputError, match=r"no item 07; there are 007 to B00A"):
        ids.positions(["07"])


def test_a_number_may_be_asked_for_in_words() -> None:
    ids = Ids(np.array([3, 40, 5]), "user")
    assert ids.find(["40", "3", "03", "x", str(2**70)]).tolist() == [1, 0, NONE, NONE, NONE]
    assert ids.positions(["5"]).tolist() == [2]


def test_ids_beyond_64_bits_are_text() -> None:
    big = 2**63
    ids = Ids([str(big), "1"])
    assert ids.names.dtype.kind == "U"
    assert Ids([big]).names.tolist() == [str(big)]


def test_the_hash_is_of_what_the_names_say() -> None:
    assert Ids(["a", "bc"]).sha256 == Ids(np.array(["a", "bc"], object)).sha256
    assert Ids(["a", "bc"]).sha256 != Ids(["ab", "c"]).sha256
    assert Ids([1, 2]).sha256 == Ids(np.array([1, 2], np.int32)).sha256 != Ids([2, 1]).sha256


def test_nobody_is_found_among_nobody() -> None:
    assert Ids([]).find([1, 2]).tolist() == [NONE, NONE]
    assert Ids([1]).find([]).tolist() == []
