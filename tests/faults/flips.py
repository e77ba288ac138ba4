"""Bits of kept files, flipped: what reads them must find it, or give what it gave before."""

import traceback
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.readers import FOUND, KINDS, Kind, Reader


class Outcome(NamedTuple):
    """What came of a flipped bit."""

    word: str
    """`found` (an InputError), `mended` (the same answer, with a line), `harmless` (the same
    answer), `told` (another answer, with a line); `wrong` (another, unnoticed), `traceback`."""
    why: str


BAD = ("wrong", "traceback")


class Kept:
    """Folders whose files are flipped, and how they were."""

    def __init__(self, place: Path):
        self.place = place
        self.files = {path: path.read_bytes() for path in _files(place)}
        self._stats = {path: _stat(path) for path in self.files}
        self.expected: dict[tuple[str, Reader], Any] = {}
        for kind in self.kinds():
            for reader in kind.readers:
                self.expected[kind.folder, reader] = reader(place / kind.folder, lambda line: None)
        self.restore()

    def kinds(self) -> list[Kind]:
        """Of the files that there are."""
        return list({kind.under: kind for kind in map(self.kind_of, self.files)}.values())

    def kind_of(self, path: Path) -> Kind:
        name = path.relative_to(self.place).as_posix()
        return next(kind for kind in KINDS if name.startswith(kind.under))

    def flip(self, path: Path, bit: int) -> Outcome:
        """What its readers make of a file with a flipped bit; all is as it was, afterwards."""
        content = bytearray(self.files[path])
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        self._stats.pop(path)
        try:
            each = [self._read(self.kind_of(path), reader) for reader in self.kind_of(path).readers]
        finally:
            self.restore()
        worst = ("traceback", "wrong", "told", "found", "mended", "harmless")
        return min(each, key=lambda outcome: worst.index(outcome.word))

    def _read(self, kind: Kind, reader: Reader) -> Outcome:
        said: list[str] = []
        try:
            answer = reader(self.place / kind.folder, said.append)
        except FOUND as error:
            return Outcome("found", str(error))
        except Exception:
            return Outcome("traceback", traceback.format_exc())
        if answer == self.expected[kind.folder, reader]:
            return Outcome("mended" if said else "harmless", "; ".join(said))
        return Outcome("told" if said else "wrong", "; ".join(said) or reader.__name__)

    def restore(self) -> None:
        """Whatever the flip, or a reader, has changed."""
        for path in _files(self.place):
            if path not in self.files:
                path.unlink()
        for path, content in self.files.items():
            if not path.exists() or self._stats.get(path) != _stat(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                self._stats[path] = _stat(path)


def _files(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.is_file())


def _stat(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
