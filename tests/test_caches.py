"""What `--clean` removes, and what it leaves."""

from pathlib import Path

import pytest

from jaxrec.caches import emptied, size


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of 5 bytes, and links out of it to one of somebody else's and to his folder."""
    folder, others = tmp_path / "jaxrec" / "compiled", tmp_path / "others"
    (folder / "deep").mkdir(parents=True)
    others.mkdir()
    (folder / "a").write_bytes(b"12345")
    (folder / "deep" / "b").write_bytes(b"12345")
    (others / "precious").write_bytes(b"1234567")
    (folder / "file").symlink_to(others / "precious")
    (folder / "deep" / "folder").symlink_to(others)
    return folder


def links(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_symlink())


def test_a_cache_is_emptied_and_links_lead_nowhere(folder: Path) -> None:
    count = 10 + links(folder)
    assert size(folder) == count
    assert emptied(folder) == count
    assert list(folder.iterdir()) == []
    assert (folder.parents[1] / "others" / "precious").read_bytes() == b"1234567"


def test_only_what_is_named_goes(folder: Path) -> None:
    assert emptied(folder, ["a", "no*"]) == 5
    assert {path.name for path in folder.iterdir()} == {"deep", "file"}


@pytest.mark.parametrize("link", ["compiled", "."])
def test_a_cache_that_is_a_link_stays(folder: Path, tmp_path: Path, link: str) -> None:
    place = tmp_path / "cache" / "jaxrec"
    if link == ".":
        place.parent.mkdir()
        place.symlink_to(folder.parent)
    else:
        place.mkdir(parents=True)
        (place / "compiled").symlink_to(folder)
    assert emptied(place / "compiled") is None
    assert (folder / "a").exists()


def test_what_is_not_there_has_nothing(tmp_path: Path) -> None:
    assert (size(tmp_path / "no"), emptied(tmp_path / "no")) == (0, 0)
