"""What a shell completes, and that it need not wait."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from jaxrec.console import completion
from jaxrec.models.registry import MODELS
from jaxrec.sources.library import RELEASES, SYNTHETIC
from torch_embed.names import HUB_IDS

ROOT = Path(__file__).parents[2]
ASK = """
import sys, cli
try:
    cli.main(prog_name="jaxrec")
finally:
    heavy = ("jax", "torch", "polars", "numpy", "rich")
    print([name for name in heavy if name in sys.modules])
"""


def completed(words: str, **environment: str) -> tuple[list[str], str]:
    """What bash is told of a line of which the last word is typed, and what was imported."""
    own = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    own |= {"_JAXREC_COMPLETE": "bash_complete"} | environment
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=ROOT, env=os.environ | own,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    *found, heavy = done.stdout.splitlines()
    return found, heavy


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("jaxrec do", ["plain,doctor"]),
        ("jaxrec eval --proto", ["plain,--protocol"]),
        ("jaxrec eval --protocol cold", ["plain,cold-items", "plain,cold-users"]),
        ("jaxrec tune --row pm", ["plain,pmf", "plain,pmf+text"]),
        ("jaxrec embed --model min", ["plain,minilm"]),
        ("jaxrec embed --model ./", ["dir,./"]),
        ("jaxrec run --data syn", ["plain,synthetic"]),
        ("jaxrec run --data fi", ["plain,films"]),
        ("jaxrec run --data ./x", ["file,./x"]),
    ],
)
def test_values_are_completed_without_waiting(tmp_path: Path, words: str, found: list[str]) -> None:
    (tmp_path / "films").mkdir()
    assert completed(words, JAXREC_DATA=str(tmp_path)) == (found, "[]")


def test_names_are_those_of_the_library() -> None:
    assert set(completion.ROWS) == {*MODELS, "hybrid", "mf", "mf+minilm"}
    assert tuple(HUB_IDS) == completion.MODELS
    assert (*RELEASES, SYNTHETIC) == completion.DATA


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell: str) -> None:
    made = CliRunner().invoke(cli.main, ["completion", shell], prog_name="jaxrec")
    assert made.exit_code == 0, made.output
    assert f"_JAXREC_COMPLETE={shell}_complete" in made.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_names_that_are_no_text_cost_no_other_its_completion(tmp_path: Path, shell: str) -> None:
    for name in (b"shop", b"shop\nplain,other", b"shop\xff", b"shop\x1b[31m"):
        (tmp_path / os.fsdecode(name)).mkdir()
    own = {"JAXREC_DATA": str(tmp_path), "_JAXREC_COMPLETE": f"{shell}_complete"}
    # bash and zsh tell the place of the word, fish the word
    own["COMP_CWORD"] = "sh" if shell == "fish" else "3"
    found, _ = completed("jaxrec run --data sh", **own)
    assert [line for line in found if "shop" in line or "other" in line] == {
        "bash": ["plain,shop"], "zsh": ["shop"], "fish": ["plain,shop"]
    }[shell]  # fmt: skip
    own["COMP_CWORD"] = "\udcff" if shell == "fish" else "3"
    assert "\udcff" not in "".join(completed("jaxrec run --data \udcff", **own)[0])
