"""Which packages are installed, and whether they are the ones that jaxrec asks for."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from packaging.requirements import Requirement

COMPILED = "matplotlib", "polars", "psutil", "safetensors", "scipy", "zstandard"
"""Packages of the base install, beside JAX, that may be installed and not load: they are made for
one kind of machine."""
TOLD = (
    "jaxrec", "jax", "jaxlib", "torch", "transformers", "peft", "bitsandbytes", "numpy", "polars",
)  # fmt: skip
"""Packages whose versions decide figures."""
ADDS = {
    "embed": "encoders of item texts, and their fine-tuning; without it no row reads texts",
    "cuda": "JAX on NVIDIA GPUs",
    "index": "`jaxrec export --format faiss` and `usearch`",
    "serve": "`jaxrec serve`",
    "docs": "what builds the pages of docs/",
    "bench": "the libraries that the benchmarks run beside",
    "dev": "tests and checks",
}


def versions() -> dict[str, str | None]:
    """Of Python and of each package `TOLD`; None where it is not installed."""
    return {"python": platform.python_version()} | {name: version_of(name) for name in TOLD}


def version_of(package: str) -> str | None:
    """What is installed, if anything."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def unmet(extra: str = "") -> dict[str, str]:
    """By what is asked for, as pip reads it, why it is not met; of the base install or an extra.

    Raises:
        ModuleNotFoundError: jaxrec itself is not installed, or `packaging` is not.
    """
    found = {asked: _unmet(asked) for asked in _asked("jaxrec", extra)}
    return {_for_pip(asked): why for asked, why in found.items() if why is not None}


def extras() -> dict[str, dict[str, Any]]:
    """By extra: what it `adds`, what it `lacks`, the `command` that installs that."""
    offered = metadata("jaxrec").get_all("Provides-Extra") or []
    return {
        extra: {
            "adds": ADDS.get(extra, ""),
            "lacks": list(unmet(extra).values()),
            "command": f"pip install 'jaxrec[{extra}]'",
        }
        for extra in offered
    }


def _asked(package: str, extra: str) -> list[Requirement]:
    """What a package, or an extra of it alone, asks for on this machine."""
    from packaging.requirements import Requirement

    found = []
    for asked in map(Requirement, requires(package) or []):
        of_base, of_extra = (
            asked.marker is None or asked.marker.evaluate({"extra": name}) for name in ("", extra)
        )
        if of_extra and (not extra or not of_base):
            found.append(asked)
    return found


def _for_pip(asked: Requirement) -> str:
    return str(asked).partition(";")[0].strip()


def _unmet(asked: Requirement) -> str | None:
    there = version_of(asked.name)
    if there is None:
        return f"{asked.name} is not installed"
    if not asked.specifier.contains(there, prereleases=True):
        return f"{asked.name} {there} is installed, {asked.specifier} is needed"
    of_it = [inner for extra in asked.extras for inner in _asked(asked.name, extra)]
    return next((why for inner in of_it if (why := _unmet(inner)) is not None), None)
