import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import polars as pl
import pytest

from jaxrec.errors import InputError
from jaxrec.files import beside, is_stream, read_json, whole_file, write_json


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    def interrupted() -> None:
        with whole_file(tmp_path / "a.txt") as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_damaged_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(InputError, match=r"card\.json: not valid JSON"):
        read_json(tmp_path / "card.json")


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 127)
    write_json(path, {})
    assert path.read_text() == "{}\n"


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path, there: bool) -> None:
    aim, link = tmp_path / "deep" / "aim.json", tmp_path / "link.json"
    link.symlink_to("deep/aim.json")
    if there:
        aim.parent.mkdir()
        aim.write_text("old")
        os.link(aim, tmp_path / "same")
    write_json(link, {"a": 1})
    assert link.is_symlink()
    assert read_json(aim) == {"a": 1}
    assert list(aim.parent.iterdir()) == [aim]
    if there:
        assert (tmp_path / "same").read_text() == "old"  # replaced whole, not written over


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_pipe_is_written_through_and_stays(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_json(pipe, {"a": 1})
    reader.join()
    assert read == ['{\n  "a": 1\n}\n']
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_reader_that_goes_away_is_an_error_that_names_the_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def read_little() -> None:
        with pipe.open("rb", buffering=0) as stream:
            stream.read(1)

    reader = threading.Thread(target=read_little)
    reader.start()
    with pytest.raises(BrokenPipeError) as found:
        write_json(pipe, {"a": "x" * 2**20})  # more than a pipe holds
    reader.join()
    assert found.value.filename == str(pipe)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a Linux device")
def test_what_does_not_fit_names_the_place() -> None:
    with pytest.raises(OSError, match="No space left") as found:
        write_json(Path("/dev/full"), {})
    assert (found.value.errno, found.value.filename) == (errno.ENOSPC, "/dev/full")
    assert Path("/dev/full").is_char_device()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a Linux device")
@pytest.mark.parametrize(
    ("place", "why"), [("/dev/full", "No space left"), ("/absent/a", "No such file")]
)
def test_what_polars_could_not_write_is_an_error_of_the_system(
    tmp_path: Path, place: str, why: str
) -> None:
    table, path = pl.DataFrame({"a": range(1000)}), tmp_path / "a.parquet"
    with pytest.raises(OSError, match=why) as found, whole_file(path):
        table.write_parquet(place)
    assert found.value.filename == str(path)


PRINTING = """
import sys
from pathlib import Path
from typing import IO
from jaxrec.files import write_json
print("before")
write_json(Path(sys.argv[1]), {})
print("after")
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX devices")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "printed"])
def test_standard_output_gets_it_in_its_turn(tmp_path: Path, name: str) -> None:
    """Into a file, too, by whatever name."""
    path = str(tmp_path / name)
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}

    def run(printed: IO[str] | int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", PRINTING, path], stdout=printed, text=True, check=True,
            cwd=Path(__file__).parent.parent, env=buffered,
        )  # fmt: skip

    with (tmp_path / "printed").open("w") as printed:
        run(printed)
    assert (tmp_path / "printed").read_text() == "before\n{}\nafter\n"
    piped = run(subprocess.PIPE)
    assert name == "printed" or piped.stdout == "before\n{}\nafter\n"


def test_a_file_is_no_stream(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    assert not is_stream(tmp_path / "a")
    assert not is_stream(tmp_path / "absent")


def test_what_a_killed_process_was_writing_goes_and_what_a_living_one_writes_stays(
    tmp_path: Path,
) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    own = beside(tmp_path / "a.json")
    for number in (done.pid, os.getppid()):
        own.with_name(own.name.replace(str(os.getpid()), str(number))).touch()
    write_json(tmp_path / "a.json", {})
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a.json", own.name.replace(str(os.getpid()), str(os.getppid()))}
