import re
from pathlib import Path

import pytest

from jaxrec.data.dataset import Dataset

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_ci_runs_the_readmes_second_command() -> None:
    commands = re.findall(r"```sh\n(.*)\n```", README)
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text()
    assert all("-c constraints.txt" in command for command in commands)


def test_every_package_is_in_the_layout() -> None:
    layout = README.split("## Layout")[1]
    for package in ("jaxrec", "torch_embed"):
        for path in (ROOT / package).glob("*/__init__.py"):
            assert f"      {path.parent.name}/ " in layout, path.parent


def test_the_python_example_runs(synthetic: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    example = example.replace('"ml-latest-small"', '"synthetic"').replace("[400]", "[40]")
    exec(example, {})
    printed = capsys.readouterr().out.splitlines()
    assert "'precision@25'" in printed[0]
    assert len(eval(printed[1])) == 5
