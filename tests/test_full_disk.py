"""A disk that is full costs one line that names the file, and nothing is half-written."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

import cli
from jaxrec.files import refused_as
from jaxrec.pmf.sweeps import Checkpoints
from tests.tiny_models import tiny_bert

resource = pytest.importorskip("resource")
pytestmark = [
    pytest.mark.usefixtures("small_synthetic"),
    pytest.mark.filterwarnings("ignore:Error writing persistent compilation cache"),
    # of orbax's threads, whose error is raised, too
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@contextmanager
def room(size: int) -> Iterator[None]:
    """No file gets more than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def jaxrec(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


COMMANDS: dict[str, Callable[[Path], tuple[object, ...]]] = {
    "new/split.parquet": lambda run: (
        *("eval", "--run", run.parent / "new", "--data", "synthetic", "--row", "popularity"),
    ),
    "run/checkpoints/mf/sweep-1": lambda run: (
        *("train-pmf", "--run", run, "--solver", "sequential", "--sweeps", 2),
    ),
    "run/tuned/ease.trials": lambda run: ("tune", "--run", run, "--row", "ease", "--trials", 9),
    "model": lambda run: (
        *("fit", "--run", run, "--row", "popularity", "--out", run.parent / "model"),
    ),
    "run/models/itemknn.safetensors": lambda run: (
        *("eval", "--run", run, "--row", "popularity", "--row", "itemknn"),
    ),
    "lists.csv": lambda run: (
        *("recommend", "--run", run, "--row", "popularity", "--all", "-k", 50),
        *("--out", run.parent / "lists.csv"),
    ),
}


@pytest.mark.parametrize("named", COMMANDS)
def test_a_full_disk_is_one_line_and_then_all_goes_on(
    run: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setattr(Checkpoints, "due", lambda self: True)
    command = COMMANDS[named](run)
    with room(3000):
        done = jaxrec(*command, "-q")
    assert done.exit_code == 2, done.exception
    assert done.output == f"jaxrec: {run.parent / named}: File too large\n"
    assert not [path for path in run.parent.rglob(".*") if "checkpoints" not in path.parts]
    done = jaxrec(*command, "-q")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    "command",
    [
        COMMANDS["run/checkpoints/mf/sweep-1"],
        COMMANDS["run/tuned/ease.trials"],
        COMMANDS["model"],
        lambda run: ("eval", "--run", run, "--row", "ease"),
        lambda run: ("embed", "--run", run, "--model", tiny_bert(run.parent / "bert")),
        lambda run: (
            *("embed", "--run", run, "--model", tiny_bert(run.parent / "bert"), "--finetune"),
        ),
    ],
)
def test_what_will_not_fit_is_refused_before_the_fit(
    run: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[[Path], tuple[object, ...]]
) -> None:
    monkeypatch.setattr("jaxrec.files.shutil.disk_usage", lambda place: Usage(2000, 1000, 1000))
    monkeypatch.setattr("jaxrec.experiment.fitting.fit_factors", None)
    monkeypatch.setattr("jaxrec.serving.fit.fit_model", None)
    monkeypatch.setattr("jaxrec.models.registry.learn", None)
    monkeypatch.setattr("torch_embed.encoding.encode.encode", None)
    done = jaxrec(*command(run), "-q")
    assert done.exit_code == 2
    assert "MB are to be written, and 0.0 MB are free; free some" in done.output


@pytest.mark.parametrize(
    "said",
    [
        "IO error: No space left on device (os error 28)",
        "Failed to write 5 bytes: No space left on device [os_error_code='28']",
    ],
)
def test_what_other_languages_are_refused_is_said_of_the_file(said: str) -> None:
    with pytest.raises(OSError, match="No space left") as caught, refused_as(Path("a")):
        raise ValueError(said)
    assert caught.value.filename == "a"


def test_what_lies_beside_is_said_of_the_file_and_what_lies_elsewhere_is_not() -> None:
    for filename, said in ((None, "a"), (".a/b", "a"), ("c", "c")):
        with pytest.raises(OSError, match="full") as caught, refused_as(Path("a"), Path(".a")):
            raise OSError(28, "full", filename)
        assert caught.value.filename == said
