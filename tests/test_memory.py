"""No command holds anything of users x items: the same interactions among few and among many."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FEW, MANY = 5_500, 9_000
"""Users, and as many items: 51 million more pairs of one with the other. Blocks of users are as
large as they get with the few already, and the users too many to be drawn anew."""
INTERACTIONS = 45_000
MOST = 2.0
"""Bytes for each pair more: single precision takes 4, and peaks of like runs differ by up to 1."""
PEAK = Path("/proc/self/clear_refs")
# in one process, so that JAX starts and compiles once; 5 sets the peak to what is held now
PROGRAM = """
import json, sys
from pathlib import Path
from click.testing import CliRunner
import cli
from jaxrec.experiment.folder import open_run
from jaxrec.files import write_json
write_json(open_run(Path("run"), "data.csv").tuned_path("pmf"), {"settings": {"factors": 8}})
peaks = {}
for name, command in json.loads(sys.argv[1]).items():
    Path("/proc/self/clear_refs").write_text("5")
    done = CliRunner().invoke(cli.main, command)
    assert done.exit_code == 0, done.output
    (line,) = [line for line in Path("/proc/self/status").open() if line.startswith("VmHWM")]
    peaks[name] = 1024 * int(line.split()[1])
print(json.dumps(peaks))
"""
# what was compiled before takes less memory than what is compiled now
ENVIRONMENT = {
    "PYTHONPATH": str(Path(__file__).parent.parent),
    "JAX_ENABLE_COMPILATION_CACHE": "false",
    "MALLOC_ARENA_MAX": "2",
}
COMMANDS = {
    "train-pmf": "train-pmf --run run --data data.csv",
    "eval": "eval --run run --row pmf --row popularity",
    "run": "run --run run --row popularity --row pmf --trials 0",
    "fit": "fit --run run --row pmf --out model",
    "recommend --all": "recommend --model model --all -k 5 --out lists.parquet",
}


def peaks(folder: Path, size: int) -> dict[str, int]:
    """Of each command [bytes]."""
    rng, own = np.random.default_rng(0), INTERACTIONS // size
    drawn = [rng.choice(size, own, replace=False) for _ in range(size)]
    lines = [f"u{user},i{item},5\n" for user, chosen in enumerate(drawn) for item in chosen]
    folder.mkdir()
    (folder / "data.csv").write_text("user_id,item_id,rating\n" + "".join(lines))
    commands = {name: command.split() for name, command in COMMANDS.items()}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)],
        cwd=folder, env=os.environ | ENVIRONMENT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not PEAK.exists(), reason="the peak of a command can be read on Linux alone")
def test_no_peak_grows_with_users_times_items(tmp_path: Path) -> None:
    few, many = (peaks(tmp_path / str(size), size) for size in (FEW, MANY))
    slopes = {name: (many[name] - few[name]) / (MANY**2 - FEW**2) for name in COMMANDS}
    assert max(slopes.values()) < MOST, (slopes, few, many)
