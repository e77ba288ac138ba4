"""What a command is asked to write is refused before its work, in one line, or can be written."""

import json
import os
import socket
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import cli
from jaxrec.console.options import json_option
from jaxrec.console.outputs import Output
from jaxrec.console.session import on_run_folder
from jaxrec.errors import InputError
from jaxrec.sources.library import load_dataset


@click.command()
@on_run_folder(lambda: (InputError,))
@json_option("it")
@click.option("--plot", type=Output(".png", ".svg"))
def command(session: object, json_path: Path | None, plot: Path | None) -> None:
    """Writes nothing: it is told that it may."""
    click.echo("done")


def ask(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    result = ask(*arguments)
    assert result.exit_code == 2, result.output
    (line,) = result.output.splitlines()
    return line


def test_every_option_that_writes_is_an_output() -> None:
    data = cli.main.commands["data"]
    assert isinstance(data, click.Group)
    commands = [*cli.main.commands.values(), *data.commands.values()]
    options = [option for of in commands for option in of.params]
    writing = [option for option in options if option.opts[0] in ("--json", "--out", "--plot")]
    for makes_a_folder in (cli.main.commands["fit"], data.commands["shard"]):
        writing.remove(next(of for of in makes_a_folder.params if of in writing))
    assert len(writing) == 12
    assert all(isinstance(option.type, Output) for option in writing)


def test_no_run_folder_of_several_is_written_into(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        cli.main,
        ["report", "--run", str(tmp_path / "a"), "--run", str(tmp_path / "b"),
         "--out", str(tmp_path / "b" / "page.html")],
    )  # fmt: skip
    assert result.exit_code == 2
    assert f"in the run folder {tmp_path / 'b'}" in result.output


def test_what_can_be_written_is_left_to_the_command(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_text("x")
    result = ask("--json", tmp_path / "new" / "deep" / "a.json", "--plot", tmp_path / "old.png")
    assert result.output == "done\n"
    assert [place.name for place in tmp_path.iterdir()] == ["old.png"]


@pytest.mark.parametrize("name", ["a.txt", "a", "a.json.gz", "-"])
def test_a_format_that_is_not_written_is_refused(tmp_path: Path, name: str) -> None:
    assert "--plot" in refused("--plot", tmp_path / name)
    assert refused("--json", tmp_path / name).endswith("give a name that ends in .json")


def test_capitals_make_no_other_format(tmp_path: Path) -> None:
    assert ask("--plot", tmp_path / "a.PNG").exit_code == 0


@pytest.mark.skipif(os.name == "nt", reason="POSIX devices")
def test_a_stream_needs_no_suffix_and_has_no_other_format(tmp_path: Path) -> None:
    assert ask("--json", "/dev/null", "--plot", "/dev/stdout").exit_code == 0
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.csv")
    assert ask("--json", tmp_path / "pipe").exit_code == 0
    assert "ends in .json" in refused("--json", tmp_path / "pipe.csv")


def test_what_is_no_place_for_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    assert "a folder; name a file in it" in refused("--json", tmp_path / "folder.json")
    (tmp_path / "file").write_text("x")
    assert "Not a directory" in refused("--json", tmp_path / "file" / "a.json")
    assert "File name too long" in refused("--json", tmp_path / f"{'a' * 300}.json")
    assert refused("--json", "/proc/a.json").startswith("jaxrec: --json /proc/a.json: cannot be")


@pytest.mark.skipif(os.name == "nt", reason="links and sockets")
def test_odd_things_are_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.json").symlink_to("loop.json")
    assert "symbolic links" in refused("--json", tmp_path / "loop.json")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(tmp_path)  # a socket's path is short
        try:
            listening.bind("s.json")
            assert "neither a file nor a pipe" in refused("--json", "s.json")
        finally:
            os.chdir(here)


@pytest.mark.parametrize("below", ["results.json", "embeddings/minilm.json", "new/a.json"])
def test_a_run_folder_is_not_written_into(tmp_path: Path, below: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "experiment.json").write_text("{}")
    line = refused("--json", run / below)
    assert f"in the run folder {run}, which only jaxrec writes; give a place outside it" in line
    (tmp_path / "link").symlink_to(run)
    (tmp_path / "a.json").symlink_to(tmp_path / "link" / below)
    assert f"in the run folder {run}" in refused("--json", tmp_path / "a.json")


def test_a_run_folder_to_be_made_is_not_written_into(tmp_path: Path) -> None:
    assert "in the run folder" in refused(
        "--run", tmp_path / "run", "--json", tmp_path / "run/a.json"
    )
    assert "in the run folder" in refused(
        "--run", tmp_path / "a.json", "--json", tmp_path / "a.json"
    )


def test_a_model_folder_is_not_written_into_and_another_s_is(tmp_path: Path) -> None:
    for content, status in ({"jaxrec": "1"}, 2), ({"keras": 3}, 0), ([], 0):
        (tmp_path / "model.json").write_text(json.dumps(content))
        result = ask("--json", tmp_path / "deep" / "a.json")
        assert (result.exit_code, "in the model folder" in result.output) == (status, status == 2)


def test_one_file_is_written_once(tmp_path: Path) -> None:
    (tmp_path / "link.svg").symlink_to("a.json")
    line = refused("--json", tmp_path / "a.json", "--plot", tmp_path / "link.svg")
    assert "link.svg: --json names the same file; give another" in line


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    line = refused("--data", tmp_path / "a.json", "--json", tmp_path / "a.json")
    assert "--data names the same file" in line
    result = CliRunner().invoke(
        cli.main, ["data", "inspect", str(tmp_path / "a.json"), "--json", str(tmp_path / "a.json")]
    )
    assert (result.exit_code, "PATH names the same file" in result.output) == (2, True)
    assert (tmp_path / "a.json").read_text() == "{}"


@pytest.mark.parametrize("name", ["events.csv", "items.csv"])
def test_no_table_of_the_data_is_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / "events.csv").write_text("user,item\na,x\na,y\nb,x\n")
    (tmp_path / "items.csv").write_text("item,title\nx,One\ny,Two\n")
    before = (tmp_path / name).read_text()
    result = CliRunner().invoke(
        cli.main,
        ["recommend", "--run", str(tmp_path / "run"), "--data", str(tmp_path), "--all",
         "--out", str(tmp_path / name)],
    )  # fmt: skip
    assert result.exit_code == 2
    assert f"--out {tmp_path / name}: is read as data; give another file" in result.output
    assert (tmp_path / name).read_text() == before
    assert not (tmp_path / "run").exists()
    assert load_dataset(tmp_path).users == 2  # no command is asked to write it any more
