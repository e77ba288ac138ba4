"""External ids: the names that users and items have outside, and the only way from them inside."""

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxrec.errors import InputError

NONE = -1
"""Position of a name that is not there."""
LONGEST = 1_000
"""Characters of a name: one that is longer would make all names take its room."""
WHOLE = re.compile(r"0|-?[1-9]\d{0,18}")


class Ids:
    """Names in a fixed order; everything else speaks in their positions.

    Names are whole numbers (int64) or text, and text is text: `007` is not `7`.
    """

    def __init__(self, names: Iterable[Any], what: str = "id"):
        """`what` they name, in the singular, for errors.

        Raises:
            InputError: a name is missing, there twice, longer than `LONGEST`, or holds a NUL.
        """
        listed = _as_names(names, what)
        if isinstance(listed, list):
            for name in listed:
                if (why := unfit(name, what)) is not None:
                    raise InputError(why)
        self.names = np.array(listed)
        self.what = what
        self._order = np.argsort(self.names, kind="stable")
        ordered = self.names[self._order]
        for twice in np.flatnonzero(ordered[1:] == ordered[:-1]):
            raise InputError(f"{what} {ordered[twice]} is there twice")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, positions: Any) -> Any:
        """The names at `positions`."""
        return self.names[positions]

    def find(self, asked: Iterable[Any]) -> NDArray[np.int32]:
        """Positions of the names asked for, `NONE` where there is no such name.

        A number may be asked for in words: of the names 7 and 42, `"42"` is the second and `"007"`
        none.
        """
        wanted = _as_names(asked, self.what)
        found = np.full(len(wanted), NONE, np.int32)
        if not len(self.names) or not len(wanted):
            return found
        there = np.ones(len(wanted), bool)
        if self.names.dtype.kind == "U":
            longer = self.names.dtype.itemsize // 4 + 1  # than any name: so much tells it from them
            asked_for = [str(name)[:longer] for name in wanted]
            there = np.array([not name.endswith("\0") for name in asked_for])  # which NumPy drops
            wanted = np.array(asked_for)
        elif isinstance(wanted, list):
            there = np.array([_is_whole(name) for name in wanted])
            numbers = [int(name) if whole else 0 for name, whole in zip(wanted, there, strict=True)]
            wanted = np.array(numbers, np.int64)
        place = np.searchsorted(self.names, wanted, sorter=self._order)
        place = self._order[place.clip(max=len(self.names) - 1)]
        return np.where(there & (self.names[place] == wanted), place, NONE).astype(np.int32)

    def positions(self, asked: Iterable[Any]) -> NDArray[np.int32]:
        """Positions of the names asked for; InputError for one that is not there."""
        wanted = list(asked)
        found = self.find(wanted)
        for name in np.flatnonzero(found == NONE):
            ends = self.names[self._order[[0, -1]]] if len(self) else ()
            raise InputError(
                f"no {self.what} {wanted[name]}; there are {' to '.join(map(str, ends)) or 'none'}"
            )
        return found

    def draws(self, seed: int, purpose: str) -> NDArray[np.uint64]:
        """[n] 64 random bits a name, alike wherever and in whatever company it stands.

        They are BLAKE2b of the name as it is written, keyed by `seed` and `purpose`: the number 7
        and the text `7` draw the same.
        """
        key = hashlib.sha256(f"{seed} {purpose}".encode()).digest()
        drawn = b"".join(
            hashlib.blake2b(str(name).encode(), digest_size=8, key=key).digest()
            for name in self.names.tolist()
        )
        return np.frombuffer(drawn, "<u8").astype(np.uint64)

    @property
    def sha256(self) -> str:
        """Hash of the names in their order."""
        return hashlib.sha256(self.content()).hexdigest()

    def content(self) -> bytes:
        """The names as bytes that mean the same everywhere."""
        if self.names.dtype.kind == "i":
            return self.names.astype("<i8").tobytes()
        encoded = [name.encode() for name in self.names.tolist()]
        return b"".join(len(name).to_bytes(4, "little") + name for name in encoded)


def unfit(name: str, what: str) -> str | None:
    """Why text cannot be the name of what it is to name, with a remedy; None if it can."""
    if len(name) > LONGEST:
        return (
            f"{what} {name[:40]!r}... has {len(name):,} characters, and names have at most"
            f" {LONGEST:,}; cut or number them"
        )
    if "\0" in name:  # NumPy takes those at its end for nothing
        return f"{what} {name[:40]!r} holds a NUL character; write it without"
    return None


def _as_names(names: Iterable[Any], what: str) -> NDArray[np.int64] | list[str]:
    """Int64 if all are whole numbers within 64 bits, else text, each as it is written."""
    if isinstance(names, np.ndarray) and names.dtype.kind in "iu" and names.dtype != np.uint64:
        return names.astype(np.int64)
    listed = list(names)
    if all(_is_number(name) and -(2**63) <= name < 2**63 for name in listed):
        return np.array(listed, np.int64)
    if any(name is None for name in listed):
        raise InputError(f"no name of {what}")
    return [str(name) for name in listed]


def _is_number(name: Any) -> bool:
    return isinstance(name, int | np.integer) and not isinstance(name, bool)


def _is_whole(name: str) -> bool:
    """Is it a number within 64 bits, as one writes it?"""
    return bool(WHOLE.fullmatch(name)) and -(2**63) <= int(name) < 2**63
