"""Everything that is found, and what of it is wrong, in words."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jaxrec.caches import COMPILED
from jaxrec.health import machine, packages, places

INSTALL = "pip install jaxrec"
"""Mends what lacks a package of the base install."""


def examine() -> tuple[dict[str, Any], list[str]]:
    """What is found, as JSON has it, and a line with its remedy for each thing that is wrong.

    Absent extras are not wrong. What cannot be found out is None, and wrong.
    """
    wrong: list[str] = []

    def known(what: str, find: Callable[[], Any], remedy: str = INSTALL) -> Any:
        try:
            return find()
        except Exception as error:  # whatever is missing or broken: saying so is what this is for
            wrong.append(f"{what}: {error}; {remedy}")
            return None

    there = [name for name in ("jax", "torch") if packages.version_of(name) is not None]
    compiled = [name for name in packages.COMPILED if packages.version_of(name) is not None]
    with ThreadPoolExecutor() as pool:  # JAX and torch take seconds each
        asked = {name: pool.submit(machine.devices, name) for name in there}
        loaded = {name: pool.submit(machine.load, name) for name in compiled}
    again = "pip install --force-reinstall"
    chosen = os.environ.get("JAX_PLATFORMS")
    remedies = {"jax": f"{again} jax jaxlib", "torch": f"{again} torch"}
    if chosen:
        remedies["jax"] = f"JAX_PLATFORMS={chosen} asks for others: unset it"
    seen = {
        name: known(f"{name} sees no device", result.result, remedies[name])
        for name, result in asked.items()
    }
    for name, result in loaded.items():
        known(f"{name} does not load", result.result, f"{again} {name}")
    found = {
        "versions": packages.versions(),
        "devices": {"jax": None, "torch": None} | seen,
        "processor": known("processor", machine.processor),
        "memory": known("memory", machine.memory),
        "caches": known("caches", places.caches),
        "extras": known("extras", packages.extras),
        "data": known("data", places.data, "name another folder in JAXREC_DATA"),
        "hub_offline": places.hub_is_offline(),
    }
    unmet = known("packages", packages.unmet) or {}
    wrong += [f"{why}; pip install '{asked}'" for asked, why in unmet.items()]
    for kind, cache in (found["caches"] or {}).items():
        if cache["refused"] is not None:
            mend = "make it writable, or name another in XDG_CACHE_HOME"
            wrong.append(f"cache of {kind} {cache['folder']}: {cache['refused']}; {mend}")
    data = found["data"] or {}
    if data.get("JAXREC_DATA") and data["holds"] is None:
        wrong.append(f"JAXREC_DATA: {data['JAXREC_DATA']} is no folder; name another, or unset it")
    return found | {"wrong": wrong}, wrong


def in_words(found: dict[str, Any]) -> list[str]:
    """What `examine` found, a line a thing."""
    lines = [f"{name}: {version or 'absent'}" for name, version in found["versions"].items()]
    for name, seen in found["devices"].items():
        lines.append(f"{name} sees: {'nothing' if seen is None else ', '.join(seen)}")
    if (own := found["processor"]) is not None:
        can = own["instructions"]
        told = (
            "unknown"
            if can is None
            else ", ".join(can) or f"none of {', '.join(machine.INSTRUCTIONS)}"
        )
        lines.append(f"processor: {own['model']}, {own['use']} of {own['cores']} cores")
        lines.append(f"instructions: {told}")
    if (memory := found["memory"]) is not None:
        limit = memory["container"]
        container = "" if limit is None else f", of the container {_bytes(limit)}"
        lines.append(
            f"memory: {_bytes(memory['machine'])}{container}; a row gets {_bytes(memory['budget'])}"
            " unless --memory says otherwise"
        )
    for kind, cache in (found["caches"] or {}).items():
        not_own = "" if cache["own"] else f" ({COMPILED} says so)"
        lines.append(f"cache of {kind}: {_bytes(cache['bytes'])} in {cache['folder']}{not_own}")
    for extra, of_it in (found["extras"] or {}).items():
        if of_it["lacks"]:
            lacks = "; ".join(of_it["lacks"])
            lines.append(f"{extra}: absent ({lacks}); {of_it['command']} adds {of_it['adds']}")
        else:
            lines.append(f"{extra}: installed")
    if (data := found["data"]) is not None:
        holds = ", ".join(data["holds"] or []) or "no data set"
        told = data["JAXREC_DATA"]
        lines.append(f"JAXREC_DATA: {f'{told}, which holds {holds}' if told else 'not set'}")
    offline = "offline, only what is on disk is read" if found["hub_offline"] else "online"
    return [*lines, f"Hugging Face hub: {offline}"]


def _bytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
