"""The program `jaxrec`, and `python -m jaxrec`: may be interrupted while it is still imported."""

import os
import sys
from pathlib import Path

from jaxrec.interruption import end_when_told, speak_apart, told_to_end


def main() -> None:
    """Do what the command line says."""
    speak_apart()
    end_when_told()
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8" and not all(map(str.isascii, [str(Path.cwd()), *sys.argv[1:]])):
        print(f"jaxrec: paths are {encoding} here, not UTF-8; set PYTHONUTF8=1", file=sys.stderr)
        sys.exit(2)
    try:
        with told_to_end():
            from jaxrec.cli import main as commands

            commands()
    except SystemExit as end:
        if end.code not in (130, 143):
            raise
        # threads of compiled code that nobody waits for crash as Python takes itself down
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code)


if __name__ == "__main__":
    main()
