"""The one exception a user can mend, and what excuses a part without costing the others."""

import errno
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxrec.interruption import told

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""A disk that takes no more: what one part cannot write, no other can."""
NO_MEMORY = ("RESOURCE_EXHAUSTED", "out of memory", "not enough memory")
"""How a RuntimeError of JAX or torch says that memory is at an end."""


class InputError(ValueError):
    """One line that names the file, the row and the remedy; the CLI exits with status 2."""


Mistakes = tuple[type[Exception], ...]


def excuse(error: Exception, mistakes: Mistakes = (InputError,)) -> str | None:
    """Why something cannot be made here, in a line; None for a mistake of the program.

    Args:
        error: one of `mistakes`, or memory at an end, or anything.
        mistakes: exceptions that a user can mend.
    """
    if isinstance(error, mistakes):
        return str(error)
    told = _said(error)
    spent = isinstance(error, RuntimeError) and any(sign in str(error) for sign in NO_MEMORY)
    if spent or isinstance(error, MemoryError):
        return f"it does not fit in memory ({told}); free some, or ask for less"
    return None


@contextmanager
def excused(tell: Callable[[str], object], mistakes: Mistakes = (InputError,)) -> Iterator[None]:
    """Around a part that may be impossible: `tell` gets the excuse, and what follows goes on."""
    try:
        yield
    except Exception as error:
        why = excuse(error, mistakes)
        if why is None:
            raise
        tell(why)


@contextmanager
def survived(
    tell: Callable[[str], object], unless: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Around one of several parts none of which may cost another: `tell` gets what went wrong.

    What is `unless` goes on, and so does a disk that is full.
    """
    try:
        yield
    except unless:
        raise
    except Exception as error:
        if told():  # to end, while compiled code called back
            raise KeyboardInterrupt from error
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        if isinstance(error, FloatingPointError):
            tell(f"{error}; give its fit a larger lambda")
        else:
            ours = not isinstance(error, OSError) or error.strerror is None
            place = f"{_last_place(error)}: " if ours else ""
            tell(excuse(error) or f"{place}{_said(error)}")


def _last_place(error: Exception) -> str:
    """The kind of a mistake of ours, and where in jaxrec it was made."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "jaxrec" in Path(frame.filename).parts] or frames
    return f"{type(error).__name__} in {Path(ours[-1].filename).name}, line {ours[-1].lineno}"


def refused(error: OSError) -> str:
    """What the system refused, in a line: which file, and why."""
    return f"{error.filename or 'the system'}: {error.strerror or error}"


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror is not None:
        return refused(error)
    return (str(error) or type(error).__name__).splitlines()[0]


def grouped(excuses: dict[str, str]) -> str:
    """Every excuse once, after the names of those whose it is."""
    of = {why: [name for name in excuses if excuses[name] == why] for why in excuses.values()}
    return "; ".join(f"{', '.join(names)}: {why}" for why, names in of.items())
