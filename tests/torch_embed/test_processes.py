"""Two processes under `accelerate launch`, as the documentation starts them, and one: own data."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from jaxrec.files import read_json
from tests.tiny_models import WORDS, tiny_bert

ROOT = Path(__file__).parent.parent.parent
LAUNCHER = [
    "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines",
    "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
]  # fmt: skip
"""With `--cpu` in place of `--multi_gpu` it starts one process, whatever their number."""
COMMAND = ["-m", "jaxrec.cli"]
DYING = """
import os, signal
import cli
from torch_embed.training.state import TrainingState

save = TrainingState.save

def save_or_die(state, fold, reached):
    if (os.environ["RANK"], reached["epoch"], reached["step"]) == ("RANK_THAT_DIES", 2, 1):
        os.kill(os.getpid(), signal.SIGKILL)
    save(state, fold, reached)

TrainingState.save = save_or_die
cli.main()
"""
TAUGHT = [
    "--finetune", "--epochs", "2", "--folds", "1", "--rate", "0.003", "--micro-tokens", "60",
    "--batch", "16", "--checkpoint-every", "1",
]  # fmt: skip
DIGITS = 1e-6
"""Sums over two processes are taken in another order, and every step goes on from the last."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users who like the texts that begin with one of four words."""
    folder, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    kind = np.arange(60) % 4
    texts = [
        " ".join([WORDS[5 + k], *rng.choice(WORDS[9:], 1 + i % 7)]) for i, k in enumerate(kind)
    ]
    lines = ["user,item,rating,title"]
    for user in range(40):
        for item in rng.choice(60, 20, replace=False):
            stars = 5 if kind[item] == user % 4 else 2
            lines.append(f"u{user},i{item},{stars},{texts[item]}")
    (folder / "own.csv").write_text("\n".join(lines) + "\n")
    tiny_bert(folder / "bert")
    return folder


def embed(data: Path, run: str, *before: str, what: list[str]) -> subprocess.CompletedProcess[str]:
    told = ["embed", "--run", run, "--data", str(data / "own.csv"), "--model", str(data / "bert")]
    return subprocess.run(
        [sys.executable, *before, *told, *what],
        cwd=data,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


def made(data: Path, run: str, name: str) -> tuple[NDArray[np.float32], dict]:
    path = data / run / "embeddings" / f"{name}.safetensors"
    return load_file(path)["embeddings"], read_json(path.with_suffix(".json"))


def files(data: Path, run: str) -> list[str]:
    return sorted(str(path.relative_to(data / run)) for path in (data / run).rglob("*"))


def broken(data: Path, run: str, killed: int) -> None:
    """Two processes of which one is killed in the second epoch."""
    dying = data / f"dying-{killed}.py"
    dying.write_text(DYING.replace("RANK_THAT_DIES", str(killed)))
    done = embed(data, run, *LAUNCHER, str(dying), what=TAUGHT)
    assert done.returncode
    first = done.stderr.partition("Root Cause")[2]
    assert f"rank      : {killed} " in first
    assert f"exitcode  : -{int(signal.SIGKILL)} " in first
    assert "torch_embed/" not in done.stderr  # no traceback of ours
    assert not [*(data / run / "embeddings").rglob("*.*")]


def test_the_first_process_killed_ends_the_other(data: Path) -> None:
    broken(data, "broken", 0)


def test_two_of_which_one_was_killed_go_on_to_what_one_process_comes_to(data: Path) -> None:
    """Batches, losses and embeddings are those of one process; the second one is silent."""
    broken(data, "two", 1)
    one, two = (
        embed(data, run, *launcher, *COMMAND, what=TAUGHT)
        for run, launcher in (("one", []), ("two", LAUNCHER))
    )
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    assert two.stdout == one.stdout
    told = [
        [line.replace(f"{run}/", "") for line in done.stderr.splitlines() if "trained" in line]
        for run, done in (("one", one), ("two", two))
    ]
    assert told[0] == told[1]
    (E, of_one), (ours, card) = made(data, "one", "bert-ft"), made(data, "two", "bert-ft")
    np.testing.assert_allclose(ours, E, atol=DIGITS)
    for each, alone in zip(card["history"], of_one["history"], strict=True):
        assert each == pytest.approx(alone, rel=DIGITS)
    assert files(data, "two") == files(data, "one")


def test_two_processes_encode_what_one_does(data: Path) -> None:
    one, two = (
        embed(data, run, *before, *COMMAND, what=[])
        for run, before in (("plain", []), ("shared", LAUNCHER))
    )
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    np.testing.assert_array_equal(made(data, "shared", "bert")[0], made(data, "plain", "bert")[0])
    assert files(data, "shared") == files(data, "plain")
    assert two.stderr.count("embeddings of 32 dimensions") == 1
