"""The commands: in a wheel `cli.py` lies here in place of this file; a clone has it beside jaxrec/.

A link would do, but Windows checks out none.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli import main as main

_beside = Path(__file__).parent.parent / "cli.py"
exec(compile(_beside.read_text("utf-8"), _beside, "exec"))
