"""Processes that work as one, each a subprocess as a shell or a launcher starts it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

LONG = 300
"""Seconds: for a deadlock, not for speed."""
JAXREC = "import sys, cli; cli.main(sys.argv[1:])"


def free_address() -> str:
    """A port of this machine that nobody listens to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"localhost:{free.getsockname()[1]}"


def start(processes: int, program: str, *arguments: str) -> list[subprocess.Popen[str]]:
    """Processes of a program, told where, how many and which, then `arguments`."""
    where = free_address()
    return [
        begun(program, where, str(processes), str(process), *arguments)
        for process in range(processes)
    ]


def jaxrec(processes: int, *command: str) -> list[subprocess.Popen[str]]:
    """Processes of a command of jaxrec."""
    which = "--coordinator", free_address(), "--processes", str(processes)
    return [
        begun(JAXREC, *command, *which, "--process", str(process)) for process in range(processes)
    ]


def begun(program: str, *arguments: str) -> subprocess.Popen[str]:
    """One process, on the processor."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=environment | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ends_of(started: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Status, output and errors of each."""
    try:
        each = [process.communicate(timeout=LONG) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *said) for process, said in zip(started, each, strict=True)]
