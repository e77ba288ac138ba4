"""The command: what is said, its status, and no traceback whatever is missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def doctor(*arguments: object, **environment: str) -> tuple[int, list[str]]:
    """Status and lines."""
    own = {name: value for name, value in os.environ.items() if name != "JAXREC_DATA"}
    own |= {"PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-m", "cli", "doctor", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, (done.stdout + done.stderr).splitlines()


def wrong(lines: list[str]) -> list[str]:
    return [line.removeprefix("WRONG: ") for line in lines if line.startswith("WRONG: ")]


def test_all_is_well_and_json_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "data" / "films").mkdir(parents=True)
    out = tmp_path / "found.json"
    status, lines = doctor("--json", out, JAXREC_DATA=str(tmp_path / "data"))
    assert (status, lines[-1]) == (0, "all well")
    assert f"JAXREC_DATA: {tmp_path}/data, which holds films" in lines
    assert "Hugging Face hub: offline, only what is on disk is read" in lines
    found = json.loads(out.read_text())
    assert found["wrong"] == []
    assert found["devices"]["jax"] == ["cpu: cpu"]
    assert found["extras"]["embed"]["lacks"] == []
    assert set(found["versions"]) > {"python", "jax", "torch"}


def test_whatever_is_broken_is_a_line_with_its_remedy(tmp_path: Path) -> None:
    for package in ("rich", "torch", "polars", "psutil", "platformdirs"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise ImportError('not today')")
    status, lines = doctor(
        "--clean", PYTHONPATH=f"{tmp_path}:{ROOT}", JAX_PLATFORMS="nonsense",
        JAXREC_DATA=str(tmp_path / "nowhere"),
    )  # fmt: skip
    assert status == 1
    said = "\n".join(wrong(lines))
    for what in (
        "torch sees no device: ImportError: not today; pip install --force-reinstall torch",
        "polars does not load: ImportError: not today",
        "memory: not today",
        "JAX_PLATFORMS=nonsense asks for others: unset it",
        "caches: not today",
        f"JAXREC_DATA: {tmp_path}/nowhere is no folder; name another, or unset it",
    ):
        assert what in said


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME")
def test_a_cache_that_keeps_nothing_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, lines = doctor(XDG_CACHE_HOME=str(tmp_path / "file"))
    (line,) = wrong(lines)  # the tests have a cache of their own for what is compiled
    assert status == 1
    assert line.startswith(f"cache of data {tmp_path}/file/jaxrec/data: Not a directory; make it")


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME")
def test_clean_leaves_what_others_keep_among_the_data(tmp_path: Path) -> None:
    own = tmp_path / "jaxrec"
    for file in ("compiled/jit_a", "data/ml-latest-small/ratings.csv", "data/mine/x.csv"):
        (own / file).parent.mkdir(parents=True, exist_ok=True)
        (own / file).write_text("12345")
    status, lines = doctor("--clean", XDG_CACHE_HOME=str(tmp_path))
    assert status == 0
    assert lines[:2] == [
        f"cache of {kind}: 5 bytes removed from {own}/{kind}" for kind in ("compiled", "data")
    ]
    assert [path for path in own.rglob("*") if path.is_file()] == [own / "data/mine/x.csv"]
