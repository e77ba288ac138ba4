"""Bytes and text of a file that may be compressed, or a member of an archive."""

import bz2
import codecs
import gzip
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from errno import EINVAL
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import zstandard

from jaxrec.errors import InputError
from jaxrec.files import refuse_devices

BLOCK = 2**20
PIECE = 2**12
"""Of what zstandard packed: some bytes may become 2**15 times as many, all of them at once."""
LONGEST = 2**26
"""Characters of a line: a longer one is of no table, and would be held several times over."""
MOST_UNPACKED, MOST_TIMES = 2**30, 200
"""What comes out of a packed file may have so many bytes, or so many times as many as went in."""
LOOKED_AT = 2**26
"""Bytes of which the encoding is told; what comes later and is otherwise is found in reading."""
LATIN = "windows-1252"
"""What calls itself latin-1 mostly is; it has room for every byte of latin-1 that prints."""
GZIP, BZIP2, XZ, ZIP = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"PK\x03\x04"
ZSTANDARD = (b"\x28\xb5\x2f\xfd", *(bytes([sign]) + b"\x2a\x4d\x18" for sign in range(0x50, 0x60)))
"""Of a frame, and of one that is to be skipped, which says how others were made."""
PACKED = (GZIP, *ZSTANDARD, BZIP2, XZ, ZIP)
DAMAGED = (
    EOFError, gzip.BadGzipFile, zipfile.BadZipFile, lzma.LZMAError, zstandard.ZstdError, zlib.error,
)  # fmt: skip
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def members(path: Path) -> list[Path]:
    """Files in a folder, or in a zip archive as if it were one; those of a file itself.

    Raises:
        InputError: the archive is damaged, or names a file that would lie outside it.
    """
    if path.is_dir():
        return sorted(found for found in path.iterdir() if found.is_file())
    if path.is_file() and zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if not name.endswith("/")]
        except (*DAMAGED, OSError) as error:
            if _of_machine(error):
                raise
            raise _damaged(path, error) from None
        for name in map(PurePosixPath, names):
            if name.is_absolute() or ".." in name.parts:
                raise InputError(f"{path}: it has {str(name)!r}, which lies outside; pack it anew")
        return sorted(path / name for name in names if not Path(name).name.startswith("."))
    return [path]


def is_packed(path: Path) -> bool:
    """Is it compressed, or within an archive?"""
    if not path.is_file():
        return True
    with path.open("rb") as file:
        return file.read(6).startswith(PACKED)


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file: gzip, zstandard, bzip2 and xz are undone, archives looked into.

    Raises:
        InputError: it is absent, damaged, or an archive of several tables; or more comes out of it
            than of any table.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_unpacked(_opened(path, stack), path))
            if is_packed(path):
                file = cast(BinaryIO, io.BufferedReader(_Bounded(file, path), BLOCK))
            yield file
        except (*DAMAGED, OSError) as error:
            if _of_machine(error):
                raise
            raise _damaged(path, error) from None


class _Bounded(io.RawIOBase):
    """What is unpacked, as far as it is not far too much."""

    def __init__(self, file: BinaryIO, path: Path):
        packed = _archive_of(path) or path
        self.file, self.path, self.read_so_far = file, path, 0
        self.most = max(MOST_UNPACKED, MOST_TIMES * packed.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase`; InputError instead of more than `most` bytes."""
        content = self.file.read(len(buffer))
        buffer[: len(content)] = content
        self.read_so_far += len(content)
        if self.read_so_far > self.most:
            raise InputError(
                f"{self.path}: more than {self.most:,} bytes come out of it; if it is a table,"
                " unpack it yourself"
            )
        return len(content)


class _Frames(io.RawIOBase):
    """What zstandard packed: its own reader says nothing of a frame that is cut short."""

    def __init__(self, file: BinaryIO):
        self.file, self.frame = file, zstandard.ZstdDecompressor().decompressobj()
        self.left = b""
        """Of what has come out already."""

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase`; EOFError where a frame has no end."""
        while not self.left:
            packed = self.frame.unused_data or self.file.read(PIECE)
            if not packed and not self.frame.eof:
                raise EOFError("its last frame has no end")
            if not packed:
                return 0
            if self.frame.eof:
                self.frame = zstandard.ZstdDecompressor().decompressobj()
            self.left = self.frame.decompress(packed)
        content, self.left = self.left[: len(buffer)], self.left[len(buffer) :]
        buffer[: len(content)] = content
        return len(content)


def _archive_of(path: Path) -> Path | None:
    """The file within which a path leads."""
    return next((folder for folder in path.parents if folder.is_file()), None)


def _opened(path: Path, stack: ExitStack) -> io.BufferedReader:
    archive = _archive_of(path)
    if not _is(os.fsencode(path), "utf-8"):
        raise InputError(f"{path}: the name is not UTF-8, and polars opens no other; rename it")
    try:
        if archive is None:
            refuse_devices(path)
            return stack.enter_context(path.open("rb"))
        inside = stack.enter_context(zipfile.ZipFile(archive))
        name = path.relative_to(archive).as_posix()
        return io.BufferedReader(cast(io.RawIOBase, stack.enter_context(inside.open(name))))
    except (KeyError, FileNotFoundError):
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: a folder, not a table") from None
    except (PermissionError, RuntimeError) as error:  # a password, an unknown compression
        raise InputError(f"{path} cannot be opened ({error}); unpack it") from None


def _of_machine(error: Exception) -> bool:
    """Does an error speak of the machine, not of what is read? Where no place can be it is read."""
    return isinstance(error, OSError) and error.errno not in (None, EINVAL)


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: damaged or cut short ({error}); fetch it again")


@contextmanager
def _unpacked(file: io.BufferedReader, path: Path) -> Iterator[BinaryIO]:
    start = file.peek(6)[:6]
    openers: dict[Any, Any] = {
        GZIP: gzip.open, ZSTANDARD: _Frames, BZIP2: bz2.open, XZ: lzma.open
    }  # fmt: skip
    opener = next((own for mark, own in openers.items() if start.startswith(mark)), None)
    if opener is not None:
        with opener(file) as plain:
            yield cast(BinaryIO, plain)
    elif start.startswith(ZIP):
        inside = members(path)
        if inside == [path]:
            raise zipfile.BadZipFile("its list of files is missing")
        if len(inside) != 1:
            one = f"; name one, as in {inside[0]}" if inside else ""
            raise InputError(f"{path} holds {len(inside)} files{one}")
        with open_bytes(inside[0]) as only:
            yield only
    else:
        yield file


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[Iterator[str]]:
    """The lines of a text, their ends as they are.

    Raises:
        InputError: no such encoding, or the text is not in it, or a line is too long; the line is
            named.
    """
    try:
        "a".encode(encoding)  # looks whether it is one of text, too
    except (LookupError, ValueError):
        raise InputError(f"no encoding {encoding!r}; utf-8, utf-16 and latin-1 are some") from None
    with open_bytes(path) as file:
        text = io.TextIOWrapper(cast(io.BufferedReader, file), encoding, newline="")
        try:
            yield _lines(text, path)
        except UnicodeError:  # of UTF-16 without a mark, too
            line = _first_bad_line(path, encoding)
            raise InputError(
                f"{path}, line {line}: not {encoding} text; give the encoding it has"
            ) from None
        finally:
            text.detach()


def _lines(file: Any, path: Path) -> Iterator[Any]:
    """Lines of text or bytes, none of them longer than fits."""
    number = 0
    while line := file.readline(LONGEST):
        number += 1
        if len(line) == LONGEST:
            raise InputError(f"{path}, line {number}: longer than {LONGEST:,}; is it a table?")
        yield line


def encoding_of(path: Path) -> str:
    """The encoding of a text: UTF-8 if it is, UTF-16 if marked or full of zeros, else latin.

    Raises:
        InputError: lines in UTF-8 and others that are not; the first of these is named.
    """
    with open_bytes(path) as file:
        start = file.read(BLOCK)
        for mark, encoding in MARKS.items():
            if start.startswith(mark):
                return encoding
        even, odd = start[0::2].count(0), start[1::2].count(0)
        if even + odd > len(start) // 4:
            return "utf-16-le" if odd > even else "utf-16-be"
        decoder, block, left = codecs.getincrementaldecoder("utf-8")(), start, LOOKED_AT
        try:
            while block and left > 0:
                # plain ASCII is most of most files, and told apart at the speed of memory
                if not block.isascii() or decoder.getstate()[0]:
                    decoder.decode(block)
                left -= len(block)
                block = file.read(BLOCK)
            decoder.decode(b"", final=not block)
        except UnicodeDecodeError:
            return _latin(path)
    return "utf-8"


def _latin(path: Path) -> str:
    """`LATIN`, unless most lines that are not ASCII are UTF-8: then some are damaged."""
    good, bad = 0, 0
    for line in _byte_lines(path):
        if not line.isascii():
            if _is(line, "utf-8"):
                good += 1
            else:
                bad += 1
    if good > bad:
        raise InputError(
            f"{path}, line {_first_bad_line(path, 'utf-8')}: not UTF-8 text, though {good:,} other"
            f" lines are; mend it, or say encoding = 'latin-1' in dataset.toml"
        )
    return LATIN


def _first_bad_line(path: Path, encoding: str) -> int:
    for number, line in enumerate(_byte_lines(path), start=1):
        if not _is(line, encoding):
            return number
    return 0


def _byte_lines(path: Path) -> Iterator[bytes]:
    with open_bytes(path) as file:
        yield from _lines(file, path)


def _is(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeError:
        return False
    return True
