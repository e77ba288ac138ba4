"""How a command ends that is told to: by one line and status 130 (Ctrl-C) or 143 (SIGTERM).

It is told at any moment: while packages are imported, or while compiled code calls back, which
makes an error of its own of what a handler raises. So it is remembered that it was told.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GOES_ON = "the same command goes on from here"
_told: list[int] = []
"""The signals so far."""


def told() -> bool:
    """Has this process been told to end?"""
    return bool(_told)


def status() -> int:
    """With which it ends."""
    return 128 + (_told[0] if _told else signal.SIGINT)


@contextmanager
def told_to_end() -> Iterator[None]:
    """Around a whole command; what is around it already counts."""
    try:
        if signal.getsignal(signal.SIGINT) is _tell:
            listened = []
        else:
            # who launches several processes ends them all by SIGTERM, and one may wait for another
            alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
            numbers = [signal.SIGINT, signal.SIGTERM] if alone else [signal.SIGINT]
            listened = [(number, signal.signal(number, _tell)) for number in numbers]
    except ValueError:  # of a thread, which is told nothing
        listened = []
    try:
        yield
    except BaseException as error:
        mistaken = not isinstance(error, KeyboardInterrupt) and not _told
        if not listened or mistaken or (isinstance(error, SystemExit) and error.code == status()):
            raise
        for number, _ in listened:
            signal.signal(number, signal.SIG_IGN)
        print(f"jaxrec: interrupted; {GOES_ON}", file=sys.stderr, flush=True)
        sys.exit(status())
    finally:
        for number, before in listened:
            signal.signal(number, before)
        if listened:
            _told.clear()


def _tell(number: int, frame: FrameType | None) -> None:
    _told.append(number)
    raise KeyboardInterrupt
