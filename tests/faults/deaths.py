"""What goes wrong, on purpose: kills, deaths between two file operations, flipped bits.

A command runs in a process forked from one that has imported what it imports, so that a death falls
into its work and costs no imports. The long forms are in benchmarks/faults.py.
"""

import hashlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from jaxrec.sources.synthetic import synthetic_dataset
from tests.tiny_models import WORDS

LONG = 300
"""Seconds: for a deadlock, not for speed."""
DIED = 99
"""Exit status of who died between two file operations."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink")
"""Audited operations that change a folder, beside `open`."""

_forks = multiprocessing.get_context("forkserver")


def preload(*modules: str) -> None:
    """What commands are to find imported; before the first of them."""
    _forks.set_forkserver_preload(list(modules))


def small_data(folder: Path, users: int = 40, items: int = 60) -> Path:
    """A folder as MovieLens is written, of made ratings; titles are of words that encoders know."""
    made, rng = synthetic_dataset(users, items), np.random.default_rng(0)
    folder.mkdir(parents=True)
    ratings, table = made.interactions, made.catalogue.table
    assert ratings.times is not None
    titles = [f"{' '.join(rng.choice(WORDS[5:], 4))} ({1950 + item})" for item in range(items)]
    written = {
        "ratings": pl.DataFrame(
            {
                "userId": made.user_ids[ratings.users],
                "movieId": made.catalogue.ids[ratings.items],
                "rating": ratings.values,
                "timestamp": ratings.times,
            }
        ),
        "movies": table.select(
            pl.Series("movieId", made.catalogue.ids.names),
            pl.Series("title", titles),
            pl.col("genres").list.join("|"),
        ),
        "tags": pl.DataFrame({"userId": [1], "movieId": [1], "tag": ["a"], "timestamp": [10**9]}),
    }
    for name, frame in written.items():
        frame.write_csv(folder / f"{name}.csv")
    return folder


def begun(
    call: Callable[..., Any], *arguments: Any, log: Path, dies_at: int = 0, watched: Path = Path()
) -> ForkServerProcess:
    """A process that calls, says what it says into a log, and perhaps dies at a file operation.

    Args:
        call: found by its name.
        arguments: of the call.
        log: gets what it says, and how many operations there were.
        dies_at: before which operation, from 1, beneath `watched`; 0 for none.
        watched: a folder.
    """
    process = _forks.Process(target=_calls, args=(call, arguments, log, dies_at, watched))
    process.start()
    return process


def command(*arguments: object) -> None:
    """One command of jaxrec, as the shell gives it."""
    from jaxrec.__main__ import main

    sys.argv = ["jaxrec", *map(str, arguments)]
    main()


def often_kept(*arguments: object) -> None:
    """The same; what is reached is kept after every sweep and step, not once in some seconds."""
    from jaxrec.pmf.sweeps import Checkpoints

    Checkpoints.due = lambda self: True  # type: ignore[method-assign]
    command(*arguments)


def ended(process: ForkServerProcess, log: Path) -> tuple[int, str]:
    """Status and what was said, once it has ended."""
    process.join(LONG)
    assert process.exitcode is not None, f"it hangs: {log}"
    return process.exitcode, log.read_text(encoding="utf-8", errors="replace")


def _calls(
    call: Callable[..., Any], arguments: tuple, log: Path, dies_at: int, watched: Path
) -> None:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(out, number)
    if watched.name:
        sys.addaudithook(_dying(dies_at, str(watched.resolve()), log.with_suffix(".count")))
    call(*arguments)


def _dying(dies_at: int, watched: str, count: Path) -> Callable[[str, tuple], None]:
    """A hook that counts what changes files in a folder, and ends the process at one of these."""
    seen, place = 0, os.open(count, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def hook(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & WRITES:
                return
        elif event in CHANGES:
            path = arguments[0]
        else:
            return
        if isinstance(path, int | None) or not _beneath(os.fsdecode(path), watched):
            return
        seen += 1
        os.pwrite(place, str(seen).encode(), 0)
        if seen == dies_at:
            os._exit(DIED)

    return hook


def _beneath(path: str, folder: str) -> bool:
    return os.path.abspath(path).startswith(folder)  # noqa: PTH100 - a hook is called very often


def operations(log: Path) -> int:
    """How many file operations a watched process came to."""
    count = log.with_suffix(".count").read_text()
    return int(count or 0)


def tree(folder: Path) -> dict[str, Any]:
    """What lies in a folder, hidden or not: by path the content, as `content` says it."""
    return {
        path.relative_to(folder).as_posix(): content(path)
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() or not any(path.iterdir())
    }


def content(path: Path) -> Any:
    """The hash of a file; of trials, whose times differ, what each was and came to."""
    if path.is_dir():
        return "an empty folder"
    if path.suffix == ".trials":
        return list(_trials(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _trials(path: Path) -> Iterator[Any]:
    """Settings, figure and state of the trials that ended."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(path)))
    for study in storage.get_all_studies():
        yield study.study_name
        for trial in storage.get_all_trials(study._study_id):
            if trial.state in (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED):
                yield json.dumps([trial.state.name, trial.values, trial.params], sort_keys=True)


def differing(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """In words what two trees do not have in common."""
    gone = [f"{name} is not there" for name in expected.keys() - found.keys()]
    more = [f"{name} is there, too" for name in found.keys() - expected.keys()]
    other = [
        f"{name} differs"
        for name in expected.keys() & found.keys()
        if expected[name] != found[name]
    ]
    return sorted([*gone, *more, *other])
