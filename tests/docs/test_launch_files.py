"""The files of docs/launch can be read by what they are for, and ask for options there are."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

import cli

FILES = sorted((Path(__file__).parent.parent.parent / "docs" / "launch").iterdir())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_to_copy_asks_for_options_there_are(path: Path) -> None:
    if path.suffix == ".yaml":
        (job,) = yaml.safe_load(path.read_text())["spec"]["replicatedJobs"]
        pod = job["template"]["spec"]["template"]["spec"]
        (text,) = pod["containers"][0]["args"]
        assert f"--processes {job['template']['spec']['completions']} " in text
    else:
        text = path.read_text()
        subprocess.run(["bash", "-n", path], check=True)
    known = {name for option in cli.main.commands["run"].params for name in option.opts}
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    asked = set(re.findall(r"--[a-z]+", "\n".join(lines)))
    assert {"--data", "--run"} <= asked <= known
