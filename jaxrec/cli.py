"""The commands: in a wheel `cli.py` lies here in place of this file; a clone has it beside jaxrec/.

A link would do, but Windows checks out none.
"""

from pathlib import Path

import click

main: click.Group
_beside = Path(__file__).parent.parent / "cli.py"
exec(compile(_beside.read_text("utf-8"), _beside, "exec"))
