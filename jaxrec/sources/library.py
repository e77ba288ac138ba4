"""Finds a data set by name or path: on disk, in the user's cache, or at its publisher."""

import os
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from jaxrec.caches import cache
from jaxrec.data.dataset import Dataset
from jaxrec.errors import InputError
from jaxrec.files import file_sha256, real, refuse_devices
from jaxrec.sources.guess import describe
from jaxrec.sources.reading import read_dataset
from jaxrec.sources.synthetic import synthetic_dataset
from jaxrec.sources.tables import OnBytes, nobody

DEFAULT = "ml-latest-small"
SYNTHETIC = "synthetic"


class Release(NamedTuple):
    """A published archive and the files it must hold."""

    url: str
    sha256: str
    """Of the archive."""
    files: dict[str, str]
    """SHA-256 of each file, by name."""
    licence: str


RELEASES = {
    DEFAULT: Release(
        url="https://files.grouplens.org/datasets/movielens/ml-latest-small.zip",
        sha256="696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        files={
            "ratings.csv": "aa289ca83157595d0df6aea1be6a4ded676ddc4385472e8313a8ed9805352646",
            "movies.csv": "5a5f32dd9bb3797b8e728a1b98958789d2b13f294a69fdfbc5727f8a9611aa07",
            "tags.csv": "92a9f8bb7916dceef6151209845788c3643f794dfa79d1feaec7121b5960399d",
        },
        licence="GroupLens: https://files.grouplens.org/datasets/movielens/"
        "ml-latest-small-README.html",
    )
}


class AbsentError(InputError):
    """A data set is neither on disk nor to be downloaded."""


def load_dataset(
    name_or_path: str | Path,
    progress: bool = False,
    strict: bool = False,
    on_bytes: OnBytes = nobody,
    core: int = 0,
) -> Dataset:
    """Load a data set.

    Args:
        name_or_path: a `dataset.toml`, a folder, an archive or a table, of which what is not
            described is guessed (see `jaxrec.sources.guess`); `synthetic`; or a name that is looked
            for in `$JAXREC_DATA/<name>`, then in the user's cache, then at its publisher.
        progress: show a bar while downloading.
        strict: refuse whatever is not right, instead of mending it by a stated rule (see
            `jaxrec.data.assemble`).
        on_bytes: told how many bytes of the interactions have been read, of how many.
        core: to which the data are cut, see `Dataset.to_core`; by default what their description
            says, or all that there is.

    Raises:
        AbsentError: no such data set here or at a publisher.
        InputError: the data set is malformed, or a pipe or device; its description says another
            core, or nothing is left by it.
    """
    if str(name_or_path) == SYNTHETIC:
        made = synthetic_dataset()
        return made.to_core(core) if core else made
    described, source = describe(path := find(name_or_path, progress)), str(real(path))
    if described.licence is None and described.name in RELEASES:
        described = replace(described, licence=RELEASES[described.name].licence)
    if core and described.core not in (0, core):
        raise InputError(
            f"{path} says core = {described.core}, and {core} is asked for, by --core or the run"
            " folder; edit it, or give another --run"
        )
    described = replace(described, core=core or described.core)
    return read_dataset(described, source, strict, on_bytes)


def find(name_or_path: str | Path, progress: bool = False) -> Path:
    """The file or folder of a data set that is named, or a path; see `load_dataset`."""
    name = str(name_or_path)
    if name == SYNTHETIC:
        raise InputError(f"{SYNTHETIC} is made from a seed: there is no file to look at")
    if isinstance(name_or_path, Path) or Path(name).name != name or Path(name).exists():
        refuse_devices(Path(name))
        return Path(name)
    places = [cache_folder() / name]
    if "JAXREC_DATA" in os.environ:
        places.insert(0, Path(os.environ["JAXREC_DATA"]) / name)
    for place in places:
        if place.is_dir():
            return place
    if name not in RELEASES:
        looked = ", ".join(map(str, places))
        raise AbsentError(
            f"no data set {name!r} in {looked}; give a folder or a file, or one of"
            f" {', '.join([*RELEASES, SYNTHETIC])}"
        )
    return download(RELEASES[name], cache_folder() / name, progress)


def cache_folder() -> Path:
    """Where downloaded data sets are kept."""
    return cache("data")


def download(release: Release, folder: Path, progress: bool = False) -> Path:
    """Download `release` into `folder`, which appears only when every file's hash is right.

    Raises:
        AbsentError: the publisher cannot be reached or sends something else.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return _download(release, folder, progress)
    except OSError as error:
        raise AbsentError(f"{folder.name} cannot be kept in {folder.parent} ({error})") from None


def _download(release: Release, folder: Path, progress: bool) -> Path:
    import pooch  # a sixth of a second, only for who downloads
    import requests

    pooch.get_logger().setLevel("WARNING")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-") as scratch:
        try:
            archive = pooch.retrieve(
                release.url,
                known_hash=f"sha256:{release.sha256}",
                path=scratch,
                fname="archive.zip",
                progressbar=progress,
            )
        except (requests.RequestException, ValueError, OSError) as error:
            raise AbsentError(
                f"{folder.name} cannot be downloaded from {release.url} ({_reason(error)}); try"
                " again, or unpack it yourself and give its folder"
            ) from None
        unpacked = Path(scratch) / "unpacked"
        unpacked.mkdir()
        with zipfile.ZipFile(archive) as members:
            for member in members.namelist():
                if Path(member).name:
                    (unpacked / Path(member).name).write_bytes(members.read(member))
        for name, sha256 in release.files.items():
            if not (unpacked / name).exists() or file_sha256(unpacked / name) != sha256:
                raise AbsentError(f"{release.url}: {name} is not the published one; nothing kept")
        unpacked.rename(folder)
    return folder


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, requests.RequestException):
        return "no answer"
    if isinstance(error, ValueError):
        return "what came is not the published archive"
    return str(error)
