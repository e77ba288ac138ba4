"""What jaxrec bears: commands killed, ended between file operations, bits flipped.

    python benchmarks/faults.py kills train-pmf --count 50

| campaign        | what                                                                         |
|-----------------|------------------------------------------------------------------------------|
| kills COMMAND   | killed at random moments (SIGKILL, SIGTERM, SIGINT in turn), run again until |
|                 | it ends by itself, often killed again before; then each file is compared     |
| steps COMMAND   | ended before its n-th file operation, for every n or a spread; run again     |
| flips           | a bit flipped in a file of a run or model folder: found, or the same answer  |
| serve           | a server is killed while it is asked, and takes its folder anew; started     |
|                 | again it answers the same, and the folder is as it was                       |

On small made data; checkpoints are written after every sweep and step. The last line is JSON: what
was done how often, and what came of it. The status is 1 if anything was lost, or wrong.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import click
import numpy as np

from tests.faults import deaths
from tests.faults.deaths import DIED, SIGNALS, begun, differing, ended, tree
from tests.faults.flips import BAD, Kept
from tests.faults.served import ASKED, Asking, address, answer, listens

MODULES = (
    "jaxrec.cli", "jaxrec.experiment.scoring", "jaxrec.experiment.tuning", "jaxrec.fusion.learning",
    "jaxrec.report.page", "jaxrec.report.chapters", "jaxrec.serving.fit", "jaxrec.serving.folder",
    "jaxrec.sources.sharded.writing", "jaxrec.commands.cases", "jaxrec.web.server",
    "orbax.checkpoint", "torch_embed.learn", "jax.numpy", "matplotlib.figure",
)  # fmt: skip
EVAL = ("eval", "--run", "{work}/run", "--data", "{data}", "-k", 5)
ROWS = ("--row", "ease", "--row", "rp3beta", "--row", "pmf")


class Case(NamedTuple):
    """A command, and the commands that come before it."""

    command: tuple[object, ...]
    before: tuple[tuple[object, ...], ...] = ()
    done: str | None = None
    """What it says, with status 2, where it has done its work already; else it does it again."""


RUN = "--run", "{work}/run", "--data", "{data}"
FINETUNE = (
    *("--finetune", "--epochs", 2, "--folds", 2, "--batch", 16, "--rate", 0.01),
    *("--pairs", 4, "--checkpoint-every", 2),
)
MODEL = (
    ("embed", *RUN, "--model", "{bert}"),
    (*EVAL, "--row", "pmf+text"),
    ("fit", "--run", "{work}/run", "--row", "pmf+text", "--out", "{work}/model"),
)
CASES = {
    "run": Case(
        ("run", *RUN, "--model", "{bert}", "-k", 5, "--trials", 2, *ROWS, "--row", "text",
         "--row", "hybrid"),
    ),
    "train-pmf": Case(("train-pmf", *RUN, "--factors", 4, "--sweeps", 8)),
    "sequential": Case(
        ("train-pmf", *RUN, "--solver", "sequential", "--factors", 4, "--sweeps", 8)
    ),
    "tune": Case(("tune", *RUN, "--row", "ease", "--row", "rp3beta", "--trials", 6)),
    "fit": Case(
        ("fit", "--run", "{work}/run", "--row", "ease", "--out", "{work}/model"),
        ((*EVAL, *ROWS), ("fit", "--run", "{work}/run", "--row", "rp3beta", "--out",
                          "{work}/model")),
    ),
    "report": Case(
        ("report", "--run", "{work}/run", "--out", "{work}/report.html"), ((*EVAL, *ROWS),)
    ),
    "shard": Case(
        ("data", "shard", "--data", "{data}", "--out", "{work}/cut", "--parts", 3),
        done="is there already; remove it, or give another --out",
    ),
    "eval": Case((*EVAL, *ROWS)),
    "recommend": Case(
        ("recommend", "--model", "{work}/model", "--all", "--out", "{work}/lists.csv"), MODEL
    ),
    "export": Case(
        ("export", "--model", "{work}/model", "--to", "{work}/vectors", "--format", "npz"), MODEL
    ),
    "add-items": Case(
        ("model", "add-items", "--model", "{work}/model", "{new}", "--encoder", "{bert}"), MODEL
    ),
    "inspect": Case(("data", "inspect", "{data}", "--out", "{work}/dataset.toml", "--force")),
    "serve": Case(("serve", "--model", "{work}/model", "--port", 0, "--rate", 10**6), MODEL),
    "embed": Case(("embed", *RUN, "--model", "{bert}")),
    "finetune": Case(
        ("embed", *RUN, "--model", "{bert}", *FINETUNE),
    ),
    "kept": Case(  # whatever may lie in a folder: see `flips`
        ("report", "--run", "{work}/run", "--out", "{scratch}/report.html"),
        (
            ("embed", *RUN, "--model", "{bert}", *FINETUNE),
            (*EVAL, "--row", "pmf+text"),
            ("fit", "--run", "{work}/run", "--row", "pmf+text", "--out", "{work}/model"),
            ("embed", *RUN, "--model", "{bert}"),
            ("tune", *RUN, "--row", "ease", "--trials", 4),
            (*EVAL, *ROWS, "--row", "pmf+text", "--row", "text", "--row", "hybrid"),
            ("run", "--run", "{work}/study", "--data", "{data}", "--model", "{bert}", "--seeds", 2,
             "--trials", 0, "-k", 5, "--row", "ease", "--row", "popularity"),
        ),
    ),
}  # fmt: skip
"""By name. What is in braces is filled in."""
ENDING = [name for name in CASES if name != "serve"]
"""Those that end by themselves."""


class Bench:
    """Where a command is run again and again, from the same beginning."""

    def __init__(self, scratch: Path, name: str):
        from tests.tiny_models import tiny_bert

        self.case, self.work, self.log = CASES[name], scratch / "work", scratch / "log"
        self._prepared = scratch / "prepared"
        (bert := scratch / "bert-tiny").mkdir()
        self._places = {"work": self.work, "scratch": scratch, "bert": tiny_bert(bert)}
        self._places["data"] = deaths.small_data(scratch / "data")
        self._places["new"] = scratch / "new.csv"
        self._places["new"].write_text("movieId,title,genres\n901,A B (1960),Drama\n902,C,\n")
        self.work.mkdir()
        for command in self.case.before:
            status, said = ended(self._begun(command), self.log)
            assert status == 0, said
        self.work.rename(self._prepared)

    def afresh(self) -> None:
        """What was there before the command."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self._prepared, self.work)

    def begun(self, dies_at: int = 0) -> deaths.ForkServerProcess:
        """The command."""
        return self._begun(self.case.command, dies_at)

    def address(self, process: deaths.ForkServerProcess) -> str:
        """Of the server that the command is, once it answers."""
        while process.exitcode is None:
            url = address(self.log) if self.log.exists() else None
            if url is not None and listens(url):
                return url
            process.join(0.01)
        raise AssertionError(self.log.read_text())

    def half(self, *command: object) -> None:
        """Another command, ended about in the middle of what it does to files."""
        kept = shutil.copytree(self.work, self.work.with_name("kept"))
        status, said = ended(self._begun(command), self.log)
        assert status == 0, said
        shutil.rmtree(self.work)
        kept.rename(self.work)
        step = deaths.operations(self.log) * 2 // 3
        status, said = ended(self._begun(command, step), self.log)
        assert status == DIED, said

    def _begun(self, command: tuple[object, ...], dies_at: int = 0) -> deaths.ForkServerProcess:
        filled = [str(part).format(**self._places) for part in command]
        return begun(deaths.often_kept, *filled, log=self.log, dies_at=dies_at, watched=self.work)

    def whole(self) -> tuple[dict[str, Any], float]:
        """What an unbroken run leaves, and the seconds it takes; twice, which must be the same."""
        found, seconds = [], 0.0
        for _ in range(3):  # the first compiles
            self.afresh()
            start = time.perf_counter()
            status, said = ended(self.begun(), self.log)
            seconds = time.perf_counter() - start
            assert status == 0, said
            found.append(tree(self.work))
        for line in differing(*found[1:]):
            click.echo(f"unbroken runs: {line}")
        return found[-1], seconds

    def was_done(self, status: int, said: str) -> bool:
        """Does it say that it has done its work already?"""
        return status == 2 and self.case.done is not None and self.case.done in said

    def compared(self, whole: dict[str, Any]) -> Iterator[str]:
        """Run it to its end; what is not as it is after an unbroken run."""
        status, said = ended(self.begun(), self.log)
        if status and not self.was_done(status, said):
            yield f"run again it ends with status {status}: {said[-2000:]}"
        else:
            yield from differing(whole, tree(self.work))


def promised(number: signal.Signals, status: int, said: str) -> bool:
    """Did a command that was told to end do so as docs/kept.md says, or was it done?"""
    expected = -number if number == signal.SIGKILL else 128 + number
    return status in (expected, 0) and "Traceback" not in said


def told(outcomes: Counter[str], wrong: list[str], **more: object) -> None:
    """The last line, and the status."""
    click.echo(json.dumps({**more, "outcomes": outcomes, "wrong": len(wrong)}))
    sys.exit(1 if wrong else 0)


@click.group()
def main() -> None:
    os.environ |= {"JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1"}
    deaths.preload(*MODULES)


@main.command()
@click.argument("name", metavar="COMMAND", type=click.Choice(ENDING))
@click.option("--count", default=50)
@click.option("--seed", default=0)
def kills(name: str, count: int, seed: int) -> None:
    rng, outcomes, wrong, done = np.random.default_rng(seed), Counter[str](), list[str](), 0
    with TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), name)
        whole, seconds = bench.whole()
        while done < count:
            bench.afresh()
            while done < count:
                bench.log.unlink(missing_ok=True)
                process = bench.begun()
                process.join(float(rng.uniform(0, seconds)))
                while not bench.log.exists():
                    process.join(0.01)
                if process.exitcode is not None:
                    break
                number, done = SIGNALS[done % len(SIGNALS)], done + 1
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(process.pid or 0, number)
                status, said = ended(process, bench.log)
                if status == -number != -signal.SIGKILL or "ForkServerProcess" in said:
                    outcomes["before it began"] += 1
                    continue
                outcomes[f"{number.name}: {status}"] += 1
                if not (promised(number, status, said) or bench.was_done(status, said)):
                    wrong.append(f"{number.name} gives {status}: {said[-2000:]}")
                    click.echo(wrong[-1])
            lines = [*bench.compared(whole)]
            outcomes["resumed, " + ("not the same" if lines else "the same")] += 1
            wrong += lines
            click.echo("\n".join([f"{done} kills: {dict(outcomes)}", *lines]))
    told(outcomes, wrong, campaign="kills", command=name, kills=done, seconds=seconds)


@main.command()
@click.argument("name", metavar="COMMAND", type=click.Choice(ENDING))
@click.option("--most", default=100, help="Of file operations before which it ends.")
def steps(name: str, most: int) -> None:
    outcomes, wrong = Counter[str](), list[str]()
    with TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), name)
        whole, seconds = bench.whole()
        there = deaths.operations(bench.log)
        spread = np.unique(np.linspace(1, there, min(most, there)).astype(int)).tolist()
        for step in spread:
            bench.afresh()
            status, said = ended(bench.begun(step), bench.log)
            outcomes["died" if status == DIED else f"status {status}"] += 1
            lines = [] if status == DIED else [f"status {status}: {said[-2000:]}"]
            lines += bench.compared(whole)
            outcomes["resumed, " + ("not the same" if lines else "the same")] += 1
            wrong += lines
            if lines:
                click.echo("\n".join([f"before operation {step} of {there}:", *lines]))
    told(outcomes, wrong, campaign="steps", command=name, operations=there, seconds=seconds)


@main.command()
@click.option("--count", default=50)
@click.option("--seed", default=0)
def serve(count: int, seed: int) -> None:
    rng, outcomes, wrong = np.random.default_rng(seed), Counter[str](), list[str]()
    answered = 0
    with TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), "serve")
        bench.afresh()
        whole = tree(bench.work)
        for _ in range(2):  # the first compiles
            start, process = time.perf_counter(), bench.begun()
            url = bench.address(process)
            expected = {path: answer(url, path) for path in ASKED}
            seconds = time.perf_counter() - start
            os.kill(process.pid or 0, signal.SIGKILL)
            ended(process, bench.log)
            bench.log.unlink()
        for done in range(count):
            process, asking = bench.begun(), None
            if rng.random() < 0.3:
                process.join(rng.uniform(0, seconds))  # perhaps before it answers
            else:
                asking = Asking(bench.address(process), expected)
                process.join(rng.uniform(0, 0.5))
                if rng.random() < 0.5:
                    os.kill(process.pid or 0, signal.SIGHUP)
                    process.join(rng.uniform(0, 0.5))
            while not bench.log.exists():
                process.join(0.01)
            number = SIGNALS[done % len(SIGNALS)]
            os.kill(process.pid or 0, number)
            status, said = ended(process, bench.log)
            bench.log.unlink()
            if asking is not None:
                asking.join()
                wrong += asking.wrong
                answered += asking.answered
            if status == -number != -signal.SIGKILL or "ForkServerProcess" in said:
                outcomes["before it began"] += 1
                continue
            outcomes[f"{number.name}, {'asked' if asking else 'not asked'}: {status}"] += 1
            lines = differing(whole, tree(bench.work))
            if not promised(number, status, said) or (asking and status > 0):
                lines.append(f"{number.name} gives {status}: {said[-2000:]}")
            wrong += lines
            click.echo("\n".join([f"{done + 1} kills", *lines]))
    told(outcomes, wrong, campaign="serve", kills=count, answered=answered, seconds=seconds)


@main.command()
@click.option("--count", default=10_000)
@click.option("--seed", default=0)
def flips(count: int, seed: int) -> None:
    from jaxrec.experiment import folder

    rng, outcomes, wrong = np.random.default_rng(seed), Counter[str](), list[str]()
    by_kind: dict[str, Counter[str]] = {}
    with TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), "kept")
        bench.afresh()
        bench.half("train-pmf", *RUN, "--factors", 4, "--sweeps", 6)
        bench.half("embed", *RUN, "--model", "{bert}", *FINETUNE, "--draw", 2)
        folder.load_dataset = cache(folder.load_dataset)  # the data are not flipped
        kept = Kept(bench.work)
        paths = sorted(path for path, content in kept.files.items() if content)
        for _ in range(count):
            path = paths[rng.integers(len(paths))]
            bit = int(rng.integers(8 * len(kept.files[path])))
            found = kept.flip(path, bit)
            outcomes[found.word] += 1
            by_kind.setdefault(kept.kind_of(path).under, Counter())[found.word] += 1
            if found.word in BAD:
                wrong.append(f"{path.relative_to(bench.work)}, bit {bit}: {found.why}")
                click.echo(wrong[-1])
    told(outcomes, wrong, campaign="flips", flips=count, files=len(paths), by_kind=by_kind)


if __name__ == "__main__":
    main()
