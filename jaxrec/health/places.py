"""Where jaxrec finds and keeps things: its caches, the data, the hub of encoders."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from jaxrec.caches import COMPILED, cache, size

TRUE = {"1", "ON", "YES", "TRUE"}
"""How Hugging Face's libraries spell it."""


def caches() -> dict[str, dict[str, Any]]:
    """Of compiled programs and of data: the `folder`, its `bytes`, is it jaxrec's `own`.

    Where nothing can be kept, `refused` says why.
    """
    told = os.environ.get(COMPILED)
    folders = {"compiled": Path(told) if told else cache("compiled"), "data": cache("data")}
    return {
        kind: {
            "folder": str(folder),
            "bytes": size(folder),
            "own": folder == cache(kind),
            "refused": _refused(folder),
        }
        for kind, folder in folders.items()
    }


def data() -> dict[str, Any]:
    """What `JAXREC_DATA` is, and the folders that it `holds`; None where it is no folder."""
    told = os.environ.get("JAXREC_DATA")
    folder = Path(told or "")
    holds = None
    if told and folder.is_dir():
        holds = sorted(place.name for place in folder.iterdir() if place.is_dir())
    return {"JAXREC_DATA": told, "holds": holds}


def hub_is_offline() -> bool:
    """Do Hugging Face's libraries read what is on disk only?"""
    asked = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(value.upper() in TRUE for value in asked)


def _refused(folder: Path) -> str | None:
    """Why no file can be kept there, if so; it leaves no trace."""
    try:
        with suppress(FileNotFoundError):
            folder.stat()
        there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        return error.strerror or str(error)
    return None
