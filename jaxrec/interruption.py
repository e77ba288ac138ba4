"""How a command ends that is told to: by one line and status 130 (Ctrl-C) or 143 (SIGTERM).

It is told at any moment: while packages are imported, or while compiled code calls back, which
makes an error of its own of what a handler raises. So it is remembered that it was told. What is
raised while the garbage collector calls back (into JAX, each time), or in a destructor, Python
prints and drops; what is raised while a compiled package imports NumPy, that package prints. So it
is raised once more. Where Python that it has called raises, Polars panics and prints a traceback;
so compiled code has no say any more.
"""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

GOES_ON = "the same command goes on from here"
LINE = f"jaxrec: interrupted; {GOES_ON}"
PAUSE = 0.05
"""Seconds after which what was dropped is raised once more."""
COMPILED = 2
"""The descriptor that compiled code speaks to, and Python by `speak_apart` does not."""
_told: list[int] = []
"""The signals so far."""
_apart = False


def told() -> bool:
    """Has this process been told to end?"""
    return bool(_told)


def status() -> int:
    """With which it ends."""
    return 128 + (_told[0] if _told else signal.SIGINT)


@contextmanager
def told_to_end() -> Iterator[None]:
    """Around a whole command; what is around it already counts."""
    outermost = signal.getsignal(signal.SIGINT) is not _tell
    listens = outermost and threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in _numbers()} if listens else {}
    hooks = sys.unraisablehook, sys.excepthook
    try:
        if listens:
            listen(before)
        yield
    except BaseException as error:
        mistaken = not isinstance(error, KeyboardInterrupt) and not _told
        if not listens or mistaken or (isinstance(error, SystemExit) and error.code == status()):
            raise
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        print(LINE, file=sys.stderr, flush=True)
        sys.exit(status())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if listens:
            sys.unraisablehook, sys.excepthook = hooks
            _told.clear()


def listen(numbers: Iterable[int]) -> None:
    """From now on these signals raise KeyboardInterrupt where it is not dropped."""
    for number in numbers:
        signal.signal(number, _tell)
    unraisable, printed = sys.unraisablehook, sys.excepthook

    def drop(it: "UnraisableHookArgs") -> None:
        if not _dropped(it.exc_type):
            unraisable(it)

    def print_and_drop(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if not _dropped(kind):
            printed(kind, error, trace)

    sys.unraisablehook, sys.excepthook = drop, print_and_drop


def speak_apart() -> None:
    """From now on Python's errors have a descriptor of their own; compiled code keeps the other."""
    global _apart
    if sys.stderr is not None:
        before, own = sys.stderr, os.dup(COMPILED)
        sys.stderr = os.fdopen(own, "w", 1, before.encoding, before.errors)
        _apart = True


def end_when_told() -> None:
    """From now on, but within `told_to_end`, a signal ends this process at once, by the line."""
    for number in _numbers():
        signal.signal(number, _end)


def _numbers() -> list[int]:
    # who launches several processes ends them all by SIGTERM, and one may wait for another
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    return [signal.SIGINT, signal.SIGTERM] if alone else [signal.SIGINT]


def _tell(number: int, frame: FrameType | None) -> None:
    _told.append(number)
    if _apart:
        os.dup2(os.open(os.devnull, os.O_WRONLY), COMPILED)
    raise KeyboardInterrupt


def _dropped(kind: type[BaseException]) -> bool:
    """Raise what nobody could catch once more, if it was the order to end."""
    if not (_told and issubclass(kind, KeyboardInterrupt)):
        return False
    # a bare thread: whoever is interrupted here may hold a lock of `threading`
    _thread.start_new_thread(_tell_again, (threading.get_ident(), _told[0]))
    return True


def _tell_again(main: int, number: int) -> None:
    time.sleep(PAUSE)
    if not _told:
        return
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, number)  # wakes it, too
    else:
        _thread.interrupt_main(signal.Signals(number))


def _end(number: int, frame: FrameType | None) -> None:
    with suppress(OSError, RuntimeError, ValueError):  # they may be in use, or closed
        sys.stdout.flush()
        print(LINE, file=sys.stderr, flush=True)
    os._exit(128 + number)
