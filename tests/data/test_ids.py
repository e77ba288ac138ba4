import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrec.data.ids import LONGEST, NONE, Ids
from jaxrec.errors import InputError


@given(st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, min_size=1))
def test_every_number_is_found_where_it_is(names: list[int]) -> None:
    ids = Ids(names)
    assert ids.find(names).tolist() == list(range(len(names)))
    assert ids[ids.positions(names[:1])[0]] == names[0]


@given(st.lists(st.text(min_size=1).filter(lambda s: "\0" not in s), unique=True, min_size=1))
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
    for names in ([5, big, big + 1], [-1, big], [np.uint64(big), 7]):
        ids = Ids(names)
        assert ids.names.tolist() == [str(name) for name in names]
        assert ids.find(names).tolist() == list(range(len(names)))
    assert Ids([1, -3]).find([-3, big]).tolist() == [1, NONE]


def test_a_longer_name_is_another_one() -> None:
    assert Ids(["12", "34"]).find([123, "34 "]).tolist() == [NONE, NONE]


@pytest.mark.parametrize("asked", ["--5", "9" * 5000, "", "-0", "1.0", "+1"])
def test_what_is_no_number_names_nobody(asked: str) -> None:
    assert Ids([0, 1, -(2**63)]).find([asked]).tolist() == [NONE]


@pytest.mark.parametrize(
    ("names", "message"), [([1, "1"], "1 is there twice"), (["a", None], "no")]
)
def test_names_are_there_once_and_not_missing(names: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Ids(names)


def test_the_hash_is_of_what_the_names_say() -> None:
    assert Ids(["a", "bc"]).sha256 == Ids(np.array(["a", "bc"], object)).sha256
    assert Ids(["a", "bc"]).sha256 != Ids(["ab", "c"]).sha256
    assert Ids([1, 2]).sha256 == Ids(np.array([1, 2], np.int32)).sha256 != Ids([2, 1]).sha256


def test_nobody_is_found_among_nobody() -> None:
    assert Ids([]).find([1, 2]).tolist() == [NONE, NONE]
    assert Ids([1]).find([]).tolist() == []


def test_one_long_name_does_not_make_all_take_its_room() -> None:
    names = [f"{number:06}" for number in range(50_000)]
    tracemalloc.start()
    with pytest.raises(InputError, match=r"^item '(ab){20}'\.\.\. has 5,000 characters, and names"):
        Ids([*names, "ab" * 2500], "item")
    ids = Ids([*names, "x" * 7], "item")
    assert ids.find([*names, "x" * 5000, "x" * 7])[-3:].tolist() == [49_999, NONE, 50_000]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # in characters of 4 bytes, the long name's width makes 1 GB


def test_the_longest_name_is_found_where_it_is() -> None:
    ids = Ids(["x" * LONGEST, "x" * (LONGEST - 1)])
    assert ids.find(["x" * (LONGEST - 1), "x" * LONGEST, "x" * (LONGEST + 1)]).tolist() == [
        1,
        0,
        NONE,
    ]
