"""Folders of the user's cache that jaxrec keeps: compiled programs, downloaded data sets."""

import os
import shutil
from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path

COMPILED = "JAX_COMPILATION_CACHE_DIR"
"""The variable that names another folder for compiled programs, which then is not jaxrec's own."""


def cache(kind: str) -> Path:
    """The folder of `compiled` programs or of `data` sets."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("jaxrec")) / kind


def size(place: Path) -> int:
    """Bytes of a file or of all files in a folder; of a link its own."""
    if not place.is_dir() or place.is_symlink():
        return place.lstat().st_size if os.path.lexists(place) else 0
    return sum(
        (Path(folder) / name).lstat().st_size
        for folder, folders, files in os.walk(place)
        for name in files + [name for name in folders if (Path(folder) / name).is_symlink()]
    )


def emptied(folder: Path, names: Collection[str] = ("*",)) -> int | None:
    """Remove what is in a cache; a link in it goes, and what that points to stays.

    Args:
        folder: need not be there.
        names: patterns of the names that go.

    Returns:
        Bytes removed; None where the cache itself, or the folder it is in, is a link: what it leads
        to may be anybody's.

    Raises:
        OSError: something cannot be removed.
    """
    if folder.is_symlink() or folder.parent.is_symlink():
        return None
    count = 0
    for place in list(folder.iterdir()) if folder.is_dir() else []:
        if any(fnmatchcase(place.name, name) for name in names):
            bytes_of_it = size(place)
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink()
            count += bytes_of_it
    return count
