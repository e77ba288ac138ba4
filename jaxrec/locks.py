"""One writer at a time: a folder is held by the command that writes into it.

The system lets go of a lock when its process ends, however that ends: what was killed holds nobody
up. Who only reads asks for none, since every file is whole at every moment (`jaxrec.files`).
"""

import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from jaxrec.errors import InputError
from jaxrec.files import HELD, read_json, real, write_json


def of_run(folder: Path) -> Path:
    """The lock of a run folder, or of a folder of several."""
    return real(folder) / ".lock"


def of_model(folder: Path) -> Path:
    """The lock of a model folder, which is replaced as a whole: it lies beside."""
    place = real(folder)
    return place.with_name(f".{place.name}.lock")


@contextmanager
def held(lock: Path, folder: Path) -> Iterator[None]:
    """Hold a folder as its only writer; nothing of the lock is left afterwards.

    Args:
        lock: where it lies; folders that it needs are made, and removed if they stay empty.
        folder: what it is called in errors.

    Raises:
        InputError: another process holds it, which is named; or it cannot be written.
    """
    from filelock import FileLock, Timeout

    told = lock.with_name(f"{lock.name}.json")
    made = [place for place in lock.parents if not place.exists()]
    with ExitStack() as afterwards:
        try:
            afterwards.callback(_remove_empty, made)
            lock.parent.mkdir(parents=True, exist_ok=True)
            afterwards.enter_context(FileLock(lock, timeout=0))
            for path in (lock, told):
                afterwards.callback(_remove, path)
            HELD.add(lock)
            afterwards.callback(HELD.discard, lock)
            write_json(told, _who())
        except Timeout:
            raise InputError(
                f"{folder} is being written by {_in_words(told)}; wait until that ends, or give"
                " another"
            ) from None
        except OSError as error:
            why = error.strerror
            raise InputError(f"{folder} cannot be written ({why}); give another") from None
        yield


def _who() -> dict[str, Any]:
    """This process, for those whom it keeps out."""
    return {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        "command": shlex.join(["jaxrec", *sys.argv[1:]]),
    }


def _remove(path: Path) -> None:
    with suppress(OSError):  # open, on Windows
        path.unlink(missing_ok=True)


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _in_words(told: Path) -> str:
    """Who holds a lock, as far as that has been written."""
    try:
        who = read_json(told)
        return (
            f"process {who['process']} on {who['host']} since {who['since']} (`{who['command']}`)"
        )
    except (InputError, OSError, KeyError):
        return "another process"
