"""Bytes and text, however a file is packed and encoded."""

import bz2
import gzip
import lzma
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from jaxrec.errors import InputError
from jaxrec.sources import encodings
from jaxrec.sources.encodings import encoding_of, is_packed, members, open_bytes, open_text

TEXT = "user,item\né,ü\n"


def zipped(content: bytes, *more: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("a.csv", *more):
                archive.writestr(name, content)

    return write


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": zstandard.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("kind", [*PACKED, "zip", "plain"])
def test_bytes_come_out_as_they_went_in(tmp_path: Path, kind: str) -> None:
    path, content = tmp_path / "a", 1000 * TEXT.encode()
    if kind == "zip":
        zipped(content)(path)
    else:
        path.write_bytes(PACKED.get(kind, bytes)(content))
    assert is_packed(path) == (kind != "plain")
    with open_bytes(path) as file:
        assert file.read() == content
    with open_bytes(path) as file:
        assert file.read(5) == content[:5]
    assert encoding_of(path) == "utf-8"
    with open_text(path, "utf-8") as lines:
        assert next(iter(lines)) == "user,item\n"


def test_what_is_packed_twice_is_unpacked_twice_in_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    zipped(gzip.compress(b"x"))(path)
    with open_bytes(path) as file:
        assert file.read() == b"x"
    with open_bytes(path / "a.csv") as file:
        assert file.read() == b"x"
    assert is_packed(path / "a.csv")


@pytest.mark.parametrize("kind", PACKED)
def test_what_is_cut_short_is_refused(tmp_path: Path, kind: str) -> None:
    path, whole = tmp_path / "a", PACKED[kind](bytes(range(256)) * 50)
    for end in (len(whole) - 5, len(whole) // 2):
        path.write_bytes(whole[:end])
        with (
            pytest.raises(InputError, match=r"a: damaged or cut short \(.*\); fetch it again"),
            open_bytes(path) as file,
        ):
            file.read()


@pytest.mark.parametrize("sign", [0x50, 0x5F])
def test_frames_of_zstandard_that_are_to_be_skipped_are(tmp_path: Path, sign: int) -> None:
    path, frame = tmp_path / "a", zstandard.compress(b"user,item\n" * 1000)
    for size in (0, 3, 2 * encodings.PIECE):
        skipped = bytes([sign]) + b"\x2a\x4d\x18" + size.to_bytes(4, "little") + bytes(size)
        path.write_bytes(skipped + skipped + frame + skipped + frame + skipped)
        assert is_packed(path)
        with open_bytes(path) as file:
            assert file.read() == b"user,item\n" * 2000
        path.write_bytes(skipped + frame[:-1])
        with pytest.raises(InputError, match="cut short"), open_bytes(path) as file:
            file.read()
    path.write_bytes(skipped[:-1])
    with pytest.raises(InputError, match="cut short"), open_bytes(path) as file:
        file.read()


def test_all_frames_of_zstandard_come_out(tmp_path: Path) -> None:
    """As those of gzip do; a piece may hold several, and one may fill several pieces."""
    parts = [bytes([n]) * 300_000 + random.Random(n).randbytes(10_000 * n) for n in range(4)]
    path = tmp_path / "a"
    path.write_bytes(b"".join(map(zstandard.compress, [*parts, b"", b"x", b"y"])))
    with open_bytes(path) as file:
        assert file.read() == b"".join(parts) + b"xy"


def test_an_archive_is_of_one_table_or_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    zipped(b"x", "b/c.csv", ".hidden", "b/.hidden")(path)
    assert members(path) == [path / "a.csv", path / "b" / "c.csv"]
    with pytest.raises(InputError, match=r"holds 2 files; name one, as in .*a\.zip/a\.csv"):
        open_bytes(path).__enter__()
    with open_bytes(path / "b" / "c.csv") as file:
        assert file.read() == b"x"
    with pytest.raises(InputError, match=r"d\.csv: no such file"):
        open_bytes(path / "d.csv").__enter__()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("folder/", "")
    with pytest.raises(InputError, match=r"holds 0 files$"):
        open_bytes(path).__enter__()


def test_files_of_a_folder_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("z", "a", "b/c"):
        (tmp_path / name).write_text("x")
    assert members(tmp_path) == [tmp_path / "a", tmp_path / "z"]
    assert members(tmp_path / "a") == [tmp_path / "a"]
    assert members(tmp_path / "nowhere") == [tmp_path / "nowhere"]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TEXT.encode(), "utf-8"),
        (b"plain\n", "utf-8"),
        (b"", "utf-8"),
        (TEXT.encode("utf-8-sig"), "utf-8-sig"),
        (TEXT.encode("utf-16"), "utf-16"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "utf-16"),
        (TEXT.encode("utf-16-le"), "utf-16-le"),
        (TEXT.encode("utf-16-be"), "utf-16-be"),
        (TEXT.encode("latin-1"), "windows-1252"),
        ("é\n".encode() + "é\n".encode("latin-1"), "windows-1252"),  # as many of each
        (b"a\0bc" * 10, "utf-8"),  # a quarter of zeros is not more than that
    ],
)
@pytest.mark.parametrize("block", [2**20, 3])
def test_the_encoding_is_told_of_the_bytes(
    tmp_path: Path, content: bytes, encoding: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Letters may lie across two blocks."""
    if block == 3 and (b"\0" in content or encoding == "utf-8-sig"):
        return  # the first block tells
    monkeypatch.setattr(encodings, "BLOCK", block)
    (tmp_path / "a").write_bytes(content)
    assert encoding_of(tmp_path / "a") == encoding


def test_only_so_much_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "BLOCK", 4)
    monkeypatch.setattr(encodings, "LOOKED_AT", 8)
    (tmp_path / "a").write_bytes(b"12345678\xff")
    assert encoding_of(tmp_path / "a") == "utf-8"
    (tmp_path / "a").write_bytes(b"1234567\xff")
    assert encoding_of(tmp_path / "a") == "windows-1252"


def test_a_letter_that_is_cut_off_at_the_end_is_of_no_utf_8(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"caf\xc3")
    assert encoding_of(tmp_path / "a") == "windows-1252"


def test_damaged_lines_among_more_whole_ones_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("é\na\né\n".encode() + b"\xe9\n")
    told = r"line 4: not UTF-8 text, though 2 other lines are; mend it, or say encoding = 'latin-1'"
    with pytest.raises(InputError, match=told):
        encoding_of(tmp_path / "a")


def test_text_that_is_not_in_its_encoding_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a\nb\n\xe9\n")
    with (
        pytest.raises(InputError, match=r"line 3: not utf-8 text; give the encoding it has"),
        open_text(tmp_path / "a", "utf-8") as lines,
    ):
        list(lines)
    with open_text(tmp_path / "a", "latin-1") as lines:
        assert list(lines) == ["a\n", "b\n", "é\n"]
    (tmp_path / "a").write_bytes(b"a\0b\0\n")  # no line is wrong, but half a letter is left
    with (
        pytest.raises(InputError, match=r"line [01]: not utf-16 text"),
        open_text(tmp_path / "a", "utf-16") as lines,
    ):
        list(lines)


@pytest.mark.parametrize("encoding", ["utf-9", "rot13", "hex", "a\0b"])
def test_an_encoding_that_is_none_of_text_is_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a").write_text("a")
    with pytest.raises(InputError, match=r"no encoding '.*'; utf-8, utf-16 and latin-1 are some"):
        open_text(tmp_path / "a", encoding).__enter__()


def test_a_line_may_have_so_many_characters_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encodings, "LONGEST", 5)
    (tmp_path / "a").write_text("abc\nabcd")
    with open_text(tmp_path / "a", "utf-8") as lines:
        assert list(lines) == ["abc\n", "abcd"]
    (tmp_path / "a").write_text("abc\nabcde")
    with (
        pytest.raises(InputError, match="a, line 2: longer than 5; is it a table"),
        open_text(tmp_path / "a", "utf-8") as lines,
    ):
        list(lines)


def test_a_line_of_67_million_characters_is_too_long_and_one_fewer_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(67_108_862 * b"x" + b"\n")
    with open_text(path, "utf-8") as lines:
        assert len(next(lines)) == 67_108_863  # its end is one, too
    path.write_bytes(67_108_864 * b"x")
    with (
        pytest.raises(InputError, match=r"line 1: longer than 67,108,864; is it a table"),
        open_text(path, "utf-8") as lines,
    ):
        next(lines)


@pytest.mark.parametrize(("size", "most"), [(100, 100), (30, 120)])
def test_what_comes_out_is_bounded_by_both_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, most: int
) -> None:
    """So many bytes, or so many times what went in, whichever is more."""
    path = tmp_path / "a.gz"
    monkeypatch.setattr(encodings, "MOST_UNPACKED", size)
    for more in (0, 1):
        path.write_bytes(gzip.compress(bytes(most + more)))
        monkeypatch.setattr(encodings, "MOST_TIMES", most / path.stat().st_size)
        if more:
            with (
                pytest.raises(InputError, match=r"more than .* bytes come out of it; if it is"),
                open_bytes(path) as file,
            ):
                file.read()
        else:
            with open_bytes(path) as file:
                assert len(file.read()) == most
