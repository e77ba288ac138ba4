"""External ids: the names that users and items have outside, and the only way from them inside."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxrec.errors import InputError

NONE = -1
"""Position of a name that is not there."""


class Ids:
    """Names in a fixed order; everything else speaks in their positions.

    Names are whole numbers (int64) or text, and text is text: `007` is not `7`.
    """

    def __init__(self, names: Iterable[Any], what: str = "id"):
        """`what` they name, in the singular, for errors."""
        self.names = _as_names(names)
        self.what = what
        self._order = np.argsort(self.names, kind="stable")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, positions: Any) -> Any:
        """The names at `positions`."""
        return self.names[positions]

    def find(self, asked: Iterable[Any]) -> NDArray[np.int32]:
        """Positions of the names asked for, `NONE` where there is no such name."""
        wanted = _as_names(asked)
        found = np.full(len(wanted), NONE, np.int32)
        if not len(self.names) or not len(wanted):
            return found
        if wanted.dtype.kind != self.names.dtype.kind:
            wanted = np.array([self._parsed(name) for name in wanted.tolist()], self.names.dtype)
        place = np.searchsorted(self.names, wanted, sorter=self._order)
        place = self._order[place.clip(max=len(self.names) - 1)]
        return np.where(self.names[place] == wanted, place, NONE).astype(np.int32)

    def positions(self, asked: Iterable[Any]) -> NDArray[np.int32]:
        """Positions of the names asked for; InputError for one that is not there."""
        wanted = list(asked)
        found = self.find(wanted)
        for name in np.flatnonzero(found == NONE):
            first, last = (
                self.names[self._order[[0, -1]]].tolist() if len(self.names) else (None, None)
            )
            raise InputError(f"no {self.what} {wanted[name]}; there are {first} to {last}")
        return found

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

    def _parsed(self, name: Any) -> Any:
        """A name of the other kind as one of ours: `"42"` may be 42, and 42 is written `42`."""
        if self.names.dtype.kind != "i":
            return str(name)
        text = str(name).strip()
        number = int(text) if text.lstrip("-").isdecimal() else None
        within = number is not None and str(number) == text and abs(number) < 2**63
        return number if within else np.iinfo(np.int64).min


def _as_names(names: Iterable[Any]) -> NDArray[Any]:
    array = np.asarray(names if isinstance(names, np.ndarray) else list(names))
    if not len(array):
        return array.astype(np.int64)
    if array.dtype.kind in "iu" and array.max() < 2**63:
        return array.astype(np.int64)
    return np.asarray(array.tolist(), dtype=np.str_)
