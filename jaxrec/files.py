"""Files that are either whole or absent: written beside their place, then renamed.

Pipes and devices are not: they get what is whole.
"""

import glob
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from jaxrec.errors import InputError

SEAL, VERSION = "seal", "version"
"""What `write_sealed` adds: a hash of all else, and the version of what is written."""
HELD: set[Path] = set()
"""Files that are there as long as the folders that this process holds (`jaxrec.locks`)."""
TO_WRITE: dict[Path, str] = {}
"""What the command is asked to write, links resolved, and the options that say so."""
Form = dict[str, type | tuple[type, ...]]
"""What JSON must have: names, and what each value is."""
REFUSED = re.compile(r"\(os error ([0-9]+)\)|\[os_error_code='([0-9]+)'\]")
"""How Polars and safetensors, and tensorstore, say that the system refused: an exception of theirs
has no `errno`."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; what is written there becomes `path` only if the block succeeds.

    A link stays, and what it points to is replaced. Into a stream (see `is_stream`) the whole
    content is written at the end.

    Raises:
        InputError: the folder has vanished; see `check_there`.
        OSError: it cannot be written; its `filename` is `path`.
    """
    check_there(path)
    streams, place = is_stream(path), real(path)
    with ExitStack() as afterwards:
        if streams:
            folder = Path(afterwards.enter_context(tempfile.TemporaryDirectory()))
        else:
            folder = place.parent
            folder.mkdir(parents=True, exist_ok=True)
        partial = beside(folder / place.name)
        afterwards.callback(partial.unlink, missing_ok=True)
        with refused_as(path, partial):
            yield partial
            if streams:
                _pour(partial, path)
            else:
                partial.replace(place)


def check_there(path: Path) -> None:
    """Raise InputError if `path` lies in a folder that was removed while this process held it.

    Without this the folder would be made again, with the half of what it had.
    """
    for lock in HELD:
        if not lock.exists() and lock.parent in real(path).parents:
            raise InputError(
                f"{lock.parent} was removed while this command wrote into it; give it again"
            )


def beside(place: Path) -> Path:
    """Where this process writes what is to become `place`, and nobody else does.

    What killed processes of this machine have left there is removed.
    """
    # the end of a name that may be as long as the system allows
    start = f".{place.name[-40:]}.{socket.gethostname()}."
    for left in place.parent.glob(f"{glob.escape(start)}*.partial"):
        number = left.name.removeprefix(start).removesuffix(".partial")
        if number.isdigit() and not _is_running(int(number)):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
    return place.with_name(f"{start}{os.getpid()}.partial")


def _is_running(process: int) -> bool:
    import psutil

    return psutil.pid_exists(process)


@contextmanager
def refused_as(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Around what writes `path` by other means: what the system refuses there is said of `path`.

    Args:
        path: what the user knows of.
        partial: a file or folder that is written in its stead.

    Raises:
        OSError: the system refuses; its `filename` is `path` where it was nothing, `partial`, or
            in that.
    """
    try:
        yield
    except Exception as error:
        known = getattr(error, "errno", None)
        if known is None and (number := REFUSED.search(str(error))) is not None:
            code = int(number[1] or number[2])
            raise OSError(code, os.strerror(code), str(path)) from error
        if isinstance(error, OSError) and known is not None:
            named = None if error.filename is None else Path(os.fsdecode(error.filename))
            if named is None or (partial is not None and partial in (named, *named.parents)):
                error.filename = str(path)
        raise


def real(path: str | Path) -> Path:
    """Where the links of a path lead, as far as they lead anywhere: `resolve` fails in a circle."""
    return Path(os.path.realpath(path))


def refuse_devices(path: Path) -> None:
    """Raise InputError for a pipe or device: what is read twice must lie in a file."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(
            f"{path}: neither a file nor a folder; write what comes out of it into a file"
        )


def refuse_written(paths: Iterable[Path]) -> None:
    """Raise InputError if the command is asked to write a file of these, which it reads.

    A member of an archive is where the archive is.
    """
    for path in paths:
        place = real(path)
        for file in (place, *place.parents):
            if file in TO_WRITE:
                raise InputError(f"{TO_WRITE[file]} {file}: is read as data; give another file")


def check_space(folder: Path, needed: float) -> None:
    """Raise InputError unless `needed` bytes are free where a folder is, or will be."""
    place = folder.absolute()
    there = next(place for place in (place, *place.parents) if place.exists())
    if (free := shutil.disk_usage(there).free) < needed:
        raise InputError(
            f"{folder}: about {needed / 1e6:,.1f} MB are to be written, and {free / 1e6:,.1f} MB"
            " are free; free some, or give another place"
        )


def is_stream(path: Path) -> bool:
    """Is it a pipe or device, or what standard output or error go to? It is never replaced."""
    try:
        there = path.stat()
    except OSError:
        return False
    return not stat.S_ISREG(there.st_mode) or _descriptor(there) is not None


def _descriptor(there: os.stat_result) -> int | None:
    """Of standard output and error the one that goes to a file, if one does."""
    for number in (1, 2):
        try:
            if os.path.samestat(os.fstat(number), there):
                return number
        except OSError:
            pass  # closed
    return None


def _pour(made: Path, path: Path) -> None:
    """Write the content of a file into a stream, after what has been printed there."""
    number = _descriptor(path.stat())
    sys.stdout.flush()
    # a copy shares its position with what is printed; opened anew it would begin at 0
    to: Path | int = path if number is None else os.dup(number)
    with made.open("rb") as content, open(to, "wb") as stream:  # noqa: PTH123
        shutil.copyfileobj(content, stream)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as indented JSON, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path, remedy: str = "delete it and make it again") -> dict[str, Any]:
    """Read a JSON object; raises InputError naming the file and the remedy if it is not one."""
    refuse_devices(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); {remedy}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object; {remedy}")
    return content


def write_sealed(path: Path, content: dict[str, Any], version: int = 1) -> None:
    """`write_json` of what says its version and carries a hash of itself, for `read_sealed`."""
    write_json(path, sealed(content | {VERSION: version}))


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """JSON with a hash of itself, in place of an older one."""
    own = json.loads(json.dumps({name: of for name, of in content.items() if name != SEAL}))
    return own | {SEAL: json_sha256(own)}


def read_sealed(path: Path, remedy: str, form: Form, version: int = 1) -> dict[str, Any]:
    """Read what `write_sealed` wrote, without seal and version.

    What carries no seal was written by an earlier version, or by hand, and is read by its form.

    Args:
        path: of the file.
        remedy: what mends it, for the error.
        form: what it must have.
        version: that can be read.

    Raises:
        InputError: it is not as it was written, of another version, or lacks something.
    """
    content = read_json(path, remedy)
    check_seal(path, content, remedy)
    content.pop(SEAL, None)
    if (found := content.pop(VERSION, version)) != version:
        raise InputError(
            f"{path}: of version {found}, and this jaxrec reads version {version}; {remedy}"
        )
    check_form(path, content, form, remedy)
    return content


def check_form(path: Path, content: dict[str, Any], form: Form, remedy: str) -> None:
    """Raise InputError if JSON that was read from `path` lacks something of its form."""
    for name, kind in form.items():
        if not isinstance(content.get(name), kind):
            raise InputError(f"{path}: damaged, {name} is missing or not what it must be; {remedy}")


def check_seal(path: Path, content: dict[str, Any], remedy: str) -> None:
    """Raise InputError if JSON that was read from `path` has a seal, and it is broken."""
    if SEAL in content and content[SEAL] != sealed(content)[SEAL]:
        raise InputError(f"{path}: not as it was written; {remedy}")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(content: Any) -> str:
    """SHA-256 of JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def owner_of(place: Path) -> str | None:
    """In words the run folder or model folder that a place, links resolved, is or lies in."""
    for folder in (place, *place.parents):
        if (folder / "experiment.json").exists():
            return f"the run folder {folder}, which only jaxrec writes"
        if _is_model(folder / "model.json"):
            return f"the model folder {folder}, which only jaxrec writes"
    return None


def _is_model(card: Path) -> bool:
    """Is this file, which may be anybody's or absent, the card of a model of jaxrec?"""
    try:
        content = json.loads(card.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "jaxrec" in content
