"""Whenever a command is told to end, it ends by 130 or 143 and a line on how to go on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cli

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

TOLD = """
import atexit, gc, os, signal, sys, time
from jaxrec import __main__ as program
from jaxrec.models.registry import MODELS

moment, number = sys.argv.pop(1), int(sys.argv.pop(1))

def tell(*_):
    signal.raise_signal(number)

class Importing:
    def find_spec(self, name, *_):
        if name == "jaxrec.experiment.scoring":
            tell()

def within_compiled_code(*_):
    import jax, logging

    logging.disable()  # JAX logs it
    jax.pure_callback(tell, jax.ShapeDtypeStruct((), "float32")).block_until_ready()

def swallowed(*_):
    try:
        tell()
    except KeyboardInterrupt:
        raise ValueError("a library's own") from None

def panics(*_):
    try:
        tell()
    except KeyboardInterrupt:
        os.write(2, b"panicked: Traceback")  # as Polars does
        raise

def dropped(*_):
    def collecting(*_):
        gc.callbacks.remove(collecting)
        tell()
    gc.callbacks.append(collecting)
    gc.collect()
    time.sleep(3600)

def printed(*_):
    try:
        tell()
    except KeyboardInterrupt:  # as `import_array` of NumPy does within a compiled package
        sys.excepthook(*sys.exc_info())
    time.sleep(3600)

if moment == "import":
    sys.meta_path.insert(0, Importing())
elif moment == "afterwards":
    atexit.register(tell)
else:
    learn = {"fit": tell, "callback": within_compiled_code, "library": swallowed,
             "collector": dropped, "panic": panics, "printed": printed}[moment]
    MODELS["rp3beta"] = MODELS["rp3beta"]._replace(learn=learn)
program.main()
"""


@pytest.mark.parametrize(
    ("moment", "number", "status"),
    [
        ("import", signal.SIGINT, 130),
        ("import", signal.SIGTERM, 143),
        ("fit", signal.SIGTERM, 143),
        ("callback", signal.SIGINT, 130),
        ("library", signal.SIGTERM, 143),
        ("panic", signal.SIGINT, 130),
        ("collector", signal.SIGINT, 130),
        ("collector", signal.SIGTERM, 143),
        ("printed", signal.SIGINT, 130),
        ("afterwards", signal.SIGINT, 130),
        ("afterwards", signal.SIGTERM, 143),
    ],
)
def test_a_command_ends_by_the_status_of_what_it_was_told(
    tmp_path: Path, moment: str, number: signal.Signals, status: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOLD, moment, str(int(number)), "eval", "--data", "synthetic", "-q",
         "--run", str(tmp_path / "run"), "--row", "rp3beta"],
        cwd=Path(cli.__file__).parent, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == "jaxrec: interrupted; the same command goes on from here"
    assert not list(tmp_path.rglob(".*"))
