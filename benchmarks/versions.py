"""Does jaxrec work where it may be installed? Run: python benchmarks/versions.py [CELL...]

A cell is a Python, and what is installed: the `lowest` that pyproject.toml allows, the `newest`, or
the newest with a JAX that pyproject.toml need not allow: 3.11-lowest, 3.12-newest, 3.13-jax0.11. In
each a wheel is installed without extras into an environment of its own, tests of the kernel, the
metrics and top-K run beside it, and `jaxrec run` on made-up data. Environments are removed.

Interpreters are those on the path, or pyenv's. The last line is JSON: by cell what failed, if
anything, and what was installed.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

ROOT = Path(__file__).parent.parent
CELLS = [
    "3.11-lowest",
    "3.11-newest",
    "3.12-lowest",
    "3.12-jax0.11",
    "3.12-jax0.12",
    "3.12-newest",
    "3.13-lowest",
    "3.13-jax0.11",
    "3.13-jax0.12",
    "3.13-newest",
]
TESTS = [
    "tests/pmf/test_tiles.py",
    "tests/pmf/test_text_prior.py",
    "tests/pmf/test_fit.py",
    "tests/pmf/test_sequential.py",
    "tests/evaluation/test_metrics.py",
    "tests/topk/test_ranking.py",
]
TESTED_BY = ["pytest>=8.3", "pytest-timeout>=2.3", "hypothesis>=6.120"]
RUN = ["run", "--data", "synthetic", "--trials", "0", "--run", "card"]
TOLD = "jax", "jaxlib", "numpy", "scipy", "polars", "flax", "orbax-checkpoint"


class Failed(Exception):
    """A step of a cell, and the end of what it said."""


def step(name: str, *command: str | Path, folder: Path) -> str:
    """What a command says.

    Raises:
        Failed: it ends with another status than 0, or not within half an hour.
    """
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800
    )
    print(f"  {name}: {time.monotonic() - began:.0f} s", flush=True)
    said = done.stdout + done.stderr
    if done.returncode:
        print(said[-4000:], flush=True)
        last = [line for line in said.splitlines() if line.strip()]
        raise Failed(f"{name}: {last[-1] if last else f'status {done.returncode}'}")
    return said


def interpreter(version: str) -> str:
    """Where a Python of that version is: this one, pyenv's, or one on the path.

    Raises:
        Failed: nowhere.
    """
    if version == "{}.{}".format(*sys.version_info):
        return sys.executable
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    there = str(pyenv[-1]) if pyenv else shutil.which(f"python{version}")
    if there is None:
        raise Failed(f"no Python {version} here")
    return there


def cell(name: str, wheel: Path, scratch: Path) -> dict[str, str]:
    """What is installed where all went well.

    Raises:
        Failed: something did not.
    """
    version, _, kind = name.partition("-")
    uv = [sys.executable, "-m", "uv"]
    step("environment", *uv, "venv", "-q", "--python", interpreter(version), "env", folder=scratch)
    python = scratch / "env" / "bin" / "python"
    install: list[str | Path] = [
        *uv,
        "pip",
        "install",
        "-q",
        "--python",
        python,
        "--only-binary",
        ":all:",
    ]
    if kind == "lowest":
        install += ["--resolution", "lowest-direct"]
    elif kind.startswith("jax"):
        other = scratch / "other.txt"
        other.write_text(f"jax=={kind.removeprefix('jax')}.*\n")
        install += ["--override", other]
    step("install", *install, "-r", ROOT / "pyproject.toml", folder=scratch)
    step("add", *install[:8], "--no-deps", wheel, folder=scratch)
    step("add tests", *install[:8], *TESTED_BY, folder=scratch)
    listed = step("list", *uv, "pip", "freeze", "--python", python, folder=scratch)
    there = dict(line.split("==") for line in listed.splitlines() if "==" in line)
    shutil.copytree(ROOT / "tests", scratch / "tests")
    shutil.copy(ROOT / "pyproject.toml", scratch)
    step("tests", python, "-m", "pytest", "-q", *TESTS, folder=scratch)
    step("run", python, "-m", "jaxrec", *RUN, folder=scratch)
    return {package: there[package] for package in TOLD}


@click.command()
@click.argument("cells", nargs=-1)
def main(cells: tuple[str, ...]) -> None:
    found: dict[str, dict[str, Any]] = {}
    with TemporaryDirectory() as built:
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", built]
        step("wheel", *build, ROOT, folder=ROOT)
        (wheel,) = Path(built).glob("*.whl")
        for name in cells or CELLS:
            print(name, flush=True)
            with TemporaryDirectory() as scratch:
                try:
                    found[name] = {"installed": cell(name, wheel, Path(scratch))}
                except Failed as failed:
                    found[name] = {"failed": str(failed)}
                    print(f"  FAILED {failed}", flush=True)
    print(json.dumps(found))
    sys.exit(any("failed" in of_cell for of_cell in found.values()))


if __name__ == "__main__":
    main()
