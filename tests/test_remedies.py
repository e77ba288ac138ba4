"""What an error says to do mends it: the command is taken from the line, and run."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import cli
from tests.conftest import synthetic_of
from tests.sources.formats import FORMATS
from tests.tiny_models import tiny_bert, write_json

pytestmark = pytest.mark.usefixtures("tiny_synthetic", "one_thread")

BERT = "a bert"


@pytest.fixture(scope="module")
def tiny_synthetic() -> Iterator[None]:
    with synthetic_of(users=40, items=60):
        yield


def jaxrec(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


def done(*arguments: object) -> Result:
    result = jaxrec(*arguments)
    assert result.exit_code == 0, result.output
    return result


def told(*arguments: object) -> list[str]:
    """The arguments of the command that an error names."""
    result = jaxrec(*arguments, "-q")
    assert result.exit_code == 2, result.output
    (line,) = result.output.splitlines()
    return command_in(line)


def command_in(line: str) -> list[str]:
    quoted, last = re.findall(r"`(jaxrec .*?)`|: (jaxrec .*)$", line.strip())[-1]
    return shlex.split(quoted or last)[1:]


@pytest.fixture(scope="module")
def made(tiny_synthetic: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Factors and embeddings of all kinds, in a path with a blank."""
    folder = tmp_path_factory.mktemp("remedies")
    run, bert = folder / "a run", tiny_bert(folder / BERT)
    common = ("--run", run, "--data", "synthetic", "--protocol", "published")
    done("train-pmf", *common, "--factors", 4, "--sweeps", 3)
    for model in ("minilm", bert):
        done("embed", *common, "--model", model)
    taught = ("--finetune", "--preset", "published", "--epochs", 1)
    done("embed", *common, "--model", bert, *taught)
    return run


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "a run")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damaged", "row"),
    [
        ("embeddings/minilm.safetensors", "text+minilm"),
        ("embeddings/minilm.json", "text+minilm"),
        ("embeddings/honest/minilm.safetensors", "text"),
        (f"embeddings/{BERT}.safetensors", f"text+{BERT}"),
        (f"embeddings/honest/{BERT}.safetensors", "text"),
        (f"embeddings/{BERT}-ft.safetensors", f"text+{BERT}-ft"),
        ("pmf.safetensors", "pmf"),
        ("pmf.json", "pmf"),
    ],
)
def test_what_is_cut_is_made_again(run: Path, damaged: str, row: str) -> None:
    command = ("eval", "--run", run, "--row", row, "-k", 5)
    cut(run / damaged)
    done(*told(*command))
    assert "absent" not in done(*command).output


def test_a_row_that_lacks_its_embeddings_says_how_to_make_them(run: Path) -> None:
    for path in (run / "embeddings").glob("minilm.*"):
        path.unlink()
    command = ("recommend", "--run", run, "--user", 1, "--row", "mf+minilm", "-q")
    made = [command_in(jaxrec(*command).output)]
    done(*made[0])
    made.append(command_in(jaxrec(*command).output))
    done(*made[1])
    assert [name for name, *_ in made] == ["embed", "train-pmf"]
    done(*command)


def test_a_damaged_score_card_is_made_anew(run: Path) -> None:
    done("eval", "--run", run, "--row", "text+minilm", "-k", 5)
    command = ("recommend", "--run", run, "--user", 1, "--row", "text+minilm")
    for content in ("{", "{}"):
        (run / "results.json").write_text(content)
        done(*told(*command), "--row", "text+minilm", "-k", 5)
        done(*command)


def test_embeddings_that_were_not_chosen_among_are_chosen(run: Path) -> None:
    command = ("recommend", "--run", run, "--user", 1, "--row", "text")
    done(*told(*command), "--row", "text", "-k", 5)
    done(*command)


def test_settings_that_are_to_be_removed_are_searched_again(run: Path) -> None:
    tuned = run / "tuned" / "pmf.json"
    tuned.parent.mkdir()
    tuned.write_text("{")
    search = told("train-pmf", "--run", run, "--factors", 3, "--sweeps", 2)
    tuned.unlink()
    done(*search, "--trials", 1)
    assert tuned.exists()


def test_what_is_to_be_deleted_is_made_again(run: Path) -> None:
    name = "checkpoints/pmf/checkpoint.json"
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_text("{")
    command = ("train-pmf", "--run", run, "--factors", 3, "--sweeps", 2)
    result = jaxrec(*command)
    assert f"{run / name}: not valid JSON" in result.output
    folder = (run / name).parent
    assert result.output.endswith(f"; delete {folder}, and the fit begins anew\n")
    shutil.rmtree(folder)
    done(*command)


def test_what_was_tuned_elsewhere_is_to_be_removed(run: Path) -> None:
    tuned = run / "tuned" / "pmf.json"
    tuned.parent.mkdir()
    write_json(tuned, {"settings": {}, "made_from": {"split_sha256": "another"}})
    command = ("train-pmf", "--run", run, "--factors", 3, "--sweeps", 2)
    assert jaxrec(*command).output.endswith(
        f"{tuned} was tuned on another split or other data; remove it\n"
    )
    tuned.unlink()
    done(*command)


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_run_folder_without_its_card_is_given_up(run: Path, tmp_path: Path, content: str) -> None:
    """To delete it would leave a folder that is no run folder."""
    (run / "experiment.json").write_text(content)
    command = ("train-pmf", "--data", "synthetic", "--factors", 3, "--sweeps", 2, "--run")
    assert jaxrec(*command, run).output.endswith("; give another --run\n")
    done(*command, tmp_path / "another run")


def test_what_comes_next_is_a_command(run: Path, tmp_path: Path) -> None:
    """It is quoted where a shell would take a path for two."""
    done("eval", "--run", run, "--row", "popularity", "-k", 5)
    stale = done("tune", "--run", run, "--row", "itemknn", "--trials", 1)
    commands = [shlex.split(found) for found in re.findall(r"`(jaxrec .*?)`", stale.output)]
    assert commands == [["jaxrec", name, "--run", str(run)] for name in ("train-pmf", "eval")]
    path, _ = FORMATS["JSON lines"](tmp_path)
    out = tmp_path / "a folder" / "dataset.toml"
    then = command_in(done("data", "inspect", path, "--out", out).output)
    assert then == ["run", "--data", str(out)]
    done("eval", *then[1:], "--run", tmp_path / "new", "--row", "popularity", "-k", 5)


def test_columns_that_are_not_guessed_are_described_and_then_read(tmp_path: Path) -> None:
    loans = [f"{user},{user * n % 7}\n" for user in range(9) for n in range(1, 7)]
    (tmp_path / "loans.csv").write_text("".join(["who,which\n", *loans]))
    command = ("eval", "--run", tmp_path / "run", "--row", "popularity", "-k", 5, "--data")
    said = jaxrec(*command, tmp_path / "loans.csv").output
    assert "say --columns user=NAME,item=NAME (of `jaxrec data inspect`)" in said
    out = tmp_path / "dataset.toml"
    columns = ("--columns", "user=who,item=which")
    done("data", "inspect", tmp_path / "loans.csv", *columns, "--out", out)
    done(*command, out)
