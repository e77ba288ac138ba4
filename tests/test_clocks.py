"""The system's clock may be set back at any moment: it tells people the time, and decides nothing.

What has passed is told of `time.monotonic` and `time.perf_counter`, which never go back.
"""

import ast
import os
from pathlib import Path

from jaxrec.locks import held, of_run
from jaxrec.pmf.sweeps import Checkpoints
from tests.test_architecture import ROOT, modules

SET_BACK = {
    "time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.ctime", "time.strftime",
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.date.today",
}  # fmt: skip
OF_FILES = {
    "st_mtime", "st_mtime_ns", "st_ctime", "st_ctime_ns", "st_atime", "getmtime", "getctime",
    "getatime",
}  # fmt: skip
TELL = {
    "jaxrec/locks.py": {"datetime.now"},  # since when a folder is held
    "jaxrec/web/ready.py": {"st_mtime"},  # when a model was written
}
STEADY = {"monotonic", "perf_counter", "sleep"}


def asked(path: Path) -> set[str]:
    """What a module asks of the clock, and of the times of files."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            found |= {node.attr} & OF_FILES | {ast.unparse(node)} & SET_BACK
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            found |= {name.name for name in node.names} - STEADY
    return found


def test_a_clock_that_may_be_set_back_only_tells() -> None:
    paths = (ROOT / "cli.py", *modules("jaxrec"), *modules("torch_embed"))
    found = {str(path.relative_to(ROOT)): asked(path) for path in paths}
    assert {path: own for path, own in found.items() if own} == TELL


def test_files_of_the_future_are_held_and_gone_on_with(tmp_path: Path) -> None:
    """And those of before everything."""
    Checkpoints(tmp_path / "c", {}).keep([1.0], lambda path: path.mkdir(parents=True))
    lock = of_run(tmp_path)
    for at in (0, 2**32):
        lock.touch()  # of who was killed
        for path in (lock, *(tmp_path / "c").iterdir()):
            os.utime(path, (at, at))
        assert Checkpoints(tmp_path / "c", {}).saved() == (tmp_path / "c" / "sweep-1", [1.0])
        with held(lock, tmp_path):
            pass
