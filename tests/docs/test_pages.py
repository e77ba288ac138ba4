"""What stands in docs/ is run: commands and programs page by page, in order, and the notebooks.

A page begins in an empty folder with docs/books.py, or, where its front matter has `folder: PAGE`,
in what that page leaves. A block of `bash` or `python` runs, or its title says why not in CI; a
block of `text` holds lines that the block before it printed, but for their numbers, and lines of
README.md, to the digit, where nothing ran before it.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parent.parent.parent
DOCS, README = ROOT / "docs", ROOT / "README.md"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
FENCE = re.compile(r"^```(\w*) ?(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
WHY_NOT = re.compile(r'title="not run in CI[^:]*: .+"')
RUN = {"bash", "python"}
SHOWN = {"", "text", "toml", "json"}
PYTHON_OF = {"nearest.md": "tests/serving/test_guide.py"}
"""Whose programs another test runs."""
BETWEEN = "-- the end of block"


class Block(NamedTuple):
    language: str
    says: str
    text: str

    @property
    def runs(self) -> bool:
        return self.language in RUN and not self.says


class Left(NamedTuple):
    """What a page leaves behind."""

    folder: Path
    printed: list[str]
    """By each block that ran."""


Follow = Callable[[str], Left]


def blocks_of(page: str) -> list[Block]:
    blocks = [Block(*found) for found in FENCE.findall((DOCS / page).read_text())]
    return [block for block in blocks if block.language != "python" or page not in PYTHON_OF]


@pytest.fixture(scope="module")
def follow(tmp_path_factory: pytest.TempPathFactory) -> Follow:
    """Does what a page says, once."""
    done: dict[str, Left] = {}

    def follow(page: str) -> Left:
        if page not in done:
            before = re.match(r"---\nfolder: (.+)\n---\n", (DOCS / page).read_text())
            folder = tmp_path_factory.mktemp(page.removesuffix(".md")) / "folder"
            if before:
                shutil.copytree(follow(before[1]).folder, folder)
            else:
                (folder / "docs").mkdir(parents=True)
                shutil.copy(DOCS / "books.py", folder / "docs")
            done[page] = Left(folder, run([b for b in blocks_of(page) if b.runs], folder))
        return done[page]

    return follow


def run(blocks: list[Block], folder: Path) -> list[str]:
    """What each block prints, as they run one after the other in one shell."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    script = ["set -euo pipefail"]
    for block in blocks:
        text = f"python <<'EOF'\n{block.text}EOF\n" if block.language == "python" else block.text
        script.append(f"{text.replace('8000', port)}\necho '{BETWEEN}'")
    shell = subprocess.Popen(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        printed, _ = shell.communicate(timeout=900)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)  # a server that a block has left running
    assert shell.returncode == 0, printed
    return printed.split(BETWEEN)[:-1]


def environment() -> dict[str, str]:
    """This tree and this Python first; no data, and a network that answers nobody."""
    env = {name: value for name, value in os.environ.items() if name != "JAXREC_DATA"}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    return env | nowhere | {"PYTHONPATH": str(ROOT), "no_proxy": "localhost,127.0.0.1"}


def words(line: str) -> str:
    """A line without its figures and without what tables are drawn with."""
    return " ".join(re.sub(r"[-+]?\d[\d.,:]*|[─-╿\s]+", " # ", line).replace("#", " ").split())


@pytest.mark.parametrize("page", PAGES)
def test_a_block_runs_or_says_why_not(page: str) -> None:
    for block in blocks_of(page):
        assert block.language in RUN | SHOWN, block
        if block.language in RUN:
            assert not block.says or WHY_NOT.fullmatch(block.says), block


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_shows(page: str, follow: Follow) -> None:
    blocks = blocks_of(page)
    printed = iter(follow(page).printed if any(block.runs for block in blocks) else [])
    found = README.read_text().splitlines()
    told: Callable[[str], str] = str
    for block in blocks:
        if block.runs:
            found, told = [words(line) for line in next(printed).splitlines()], words
        elif block.language == "text":
            for line in block.text.splitlines():
                assert told(line) in found or line == "...", f"{line!r} is not in {found}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, follow: Follow, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    where = {"metadata": {"path": str(follow("own-data.md").folder)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=where).execute()


def test_there_are_three_notebooks() -> None:
    assert len(NOTEBOOKS) == 3
    assert all(
        f"notebooks/{path.name}" in (DOCS / "notebooks.md").read_text() for path in NOTEBOOKS
    )
