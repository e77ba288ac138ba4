"""Damage in a run folder is found: it costs a line, never a traceback or a wrong figure."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import cli
from jaxrec.errors import InputError
from jaxrec.experiment.choices import learned_fusion
from jaxrec.experiment.folder import open_run
from jaxrec.experiment.rows import settings_of
from jaxrec.experiment.study import summarise
from jaxrec.files import SEAL, read_json, read_sealed, sealed, write_json, write_sealed

pytestmark = pytest.mark.usefixtures("quick")

ROWS = ("--row", "ease", "--row", "pmf", "--row", "hybrid", "-k", "5")
SEALED = (
    "experiment.json", "tuned/ease.json", "hybrid.json", "results.json", "pmf.json",
    "models/ease.json",
)  # fmt: skip


@pytest.fixture(scope="module")
def quick(small_synthetic: None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxrec.experiment.rows.SIGNALS", (("ease",), ("rp3beta",)))
        yield


def jaxrec(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def made(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("damage") / "run"
    for command in (
        ("tune", "--run", run, "--data", "synthetic", "--row", "ease", "--trials", 1),
        ("train-pmf", "--run", run, "--factors", 4, "--sweeps", 2),
        ("eval", "--run", run, *ROWS),
    ):
        assert (done := jaxrec(*command)).exit_code == 0, done.output
    return run


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "run")


def other_digit(content: str) -> str:
    """The same with one figure's first digit changed: the commonest damage that is still JSON."""
    found = list(re.finditer(r"(?<=: )[1-9]", content))[-1]
    return content[: found.start()] + str(10 - int(found[0])) + content[found.end() :]


DAMAGE = (
    lambda content: content[: len(content) // 2],
    lambda content: "{}",
    lambda content: "[" * 100_000,
    other_digit,
    lambda content: json.dumps(sealed(json.loads(content) | {"version": 99})),
)


@pytest.mark.parametrize("name", SEALED)
def test_damage_is_a_line_or_made_again(run: Path, name: str) -> None:
    """A report asks for what all of these say, and fits nothing."""
    content = (run / name).read_text()
    for damage in DAMAGE:
        (run / name).write_text(damage(content))
        done = jaxrec("report", "--run", run, "--out", run.parent / "report.html", "-q")
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code in (0, 2)
        if done.exit_code == 2:
            assert str(run) in done.output.splitlines()[-1]


@pytest.mark.parametrize("name", SEALED)
def test_another_digit_is_found(run: Path, name: str) -> None:
    path = run / name
    assert read_json(path) == sealed(read_json(path))
    path.write_text(other_digit(path.read_text()))
    assert read_json(path) != sealed(read_json(path))


@pytest.mark.parametrize(
    "changed", [{"winner": "nobody"}, {"convex": [1.0]}, {"weights": None}, {"signals": "ease"}]
)
def test_a_fusion_that_cannot_be_is_not_believed(run: Path, changed: dict) -> None:
    opened = open_run(run)
    assert learned_fusion(opened) is not None
    path = opened.hybrid_path
    write_json(path, {k: v for k, v in read_json(path).items() if k != SEAL} | changed)
    assert learned_fusion(opened) is None


@pytest.mark.parametrize(
    "content",
    [{}, {"settings": None}, {"settings": {"lambda_": "much"}}, {"settings": {}, "made_from": 1}],
)
def test_settings_that_cannot_be_say_how_to_search_again(run: Path, content: dict) -> None:
    opened = open_run(run)
    write_json(opened.tuned_path("ease"), content)
    with pytest.raises(InputError, match=r"ease\.json: .*remove it, and `jaxrec tune --run .*`"):
        settings_of(opened, "ease")


def test_figures_of_other_users_make_no_summary(run: Path) -> None:
    assert summarise([run, run]).rows
    figures = run / "per_user.parquet"
    figures.write_bytes(figures.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"per_user\.parquet: .*run `jaxrec eval --run"):
        summarise([run, run])


def test_what_is_sealed_says_its_version_and_is_read_without_either(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sealed(path, {"a": (1, 2), "b": {3: 0.1}}, version=2)
    assert read_json(path)["version"] == 2
    found = read_sealed(path, "mend it", {"a": list, "b": dict}, version=2)
    assert found == {"a": [1, 2], "b": {"3": 0.1}}
    with pytest.raises(InputError, match=r"of version 2, and this jaxrec reads version 3; mend it"):
        read_sealed(path, "mend it", {}, version=3)
    with pytest.raises(InputError, match=r"c is missing or not what it must be; mend it"):
        read_sealed(path, "mend it", {"c": int}, version=2)
