"""One writer at a time: a folder is held by the command that writes into it.

The system lets go of a lock when its process ends, however that ends: what was killed holds nobody
up. Who only reads asks for none, since every file is whole at every moment (`jaxrec.files`).
"""

import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from jaxrec.errors import InputError
from jaxrec.files import read_json, write_json


def of_run(folder: Path) -> Path:
    """The lock of a run folder, or of a folder of several."""
    return Path(os.path.realpath(folder)) / ".lock"


def of_model(folder: Path) -> Path:
    """The lock of a model folder, which is replaced as a whole: it lies beside."""
    place = Path(os.path.realpath(folder))
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
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        holding = FileLock(lock, timeout=0)
        holding.acquire()
    except Timeout:
        raise InputError(
            f"{folder} is being written by {_in_words(told)}; wait until that ends, or give another"
        ) from None
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}); give another") from None
    try:
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        command = shlex.join(["jaxrec", *sys.argv[1:]])
        who = {"process": os.getpid(), "host": socket.gethostname(), "since": since}
        write_json(told, who | {"command": command})
        yield
    finally:
        with suppress(OSError):
            told.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
        holding.release()
        with suppress(OSError):  # not empty
            for place in made:
                place.rmdir()


def _in_words(told: Path) -> str:
    """Who holds a lock, as far as that has been written."""
    try:
        who = read_json(told)
        return (
            f"process {who['process']} on {who['host']} since {who['since']} (`{who['command']}`)"
        )
    except (InputError, OSError, KeyError):
        return "another process"
