"""Kept: what lies in a run folder with its identity, all that it was made from.

Arrays are a safetensors file, and beside it a card (JSON) that states identity and hash. Whoever
wants them names the identity that they should have: where the card states another one they are
stale, and are made again; so are files that are absent, damaged or half written.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jaxrec.errors import InputError
from jaxrec.files import check_seal, file_sha256, read_json, sealed, whole_file, write_json

Identity = dict[str, Any]
"""JSON: data, split, seed, settings, embeddings, versions of what decides."""
Arrays = dict[str, NDArray[Any]]


def keep(
    path: Path, identity: Identity, make: Callable[[], Arrays], say: Callable[[str], None]
) -> Arrays:
    """The arrays kept in `path` if they have this identity, else made anew and kept.

    Args:
        path: the safetensors file; the card is the JSON file beside it.
        identity: what they must have been made from.
        make: makes them.
        say: told what is stale, or damaged.
    """
    try:
        arrays, card = read(path, None)
        if holds(card, identity):
            return arrays
        say(f"{path.stem}: was made from something else; made again")
    except InputError as error:
        if path.exists() and path.with_suffix(".json").exists():
            say(str(error))  # else absent, or half written
    arrays = make()
    write(path, arrays, identity)
    return arrays


def holds(card: Identity, identity: Identity) -> bool:
    """Does what a card states agree with an identity?"""
    return all(card.get(key) == as_json(value) for key, value in identity.items())


def differing(card: Identity, identity: Identity) -> str:
    """What a card states otherwise than an identity does, as the card has it; empty for nothing."""
    stated = {key: card[key] for key in identity if key in card}
    return ", ".join(f"{key} {v!r}" for key, v in stated.items() if v != as_json(identity[key]))


def write(path: Path, arrays: Arrays, card: Identity) -> None:
    """Write arrays and their card, which gets the hash of the file and its own seal too."""
    with whole_file(path) as partial:
        save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, partial)
        sha256 = file_sha256(partial)  # of these arrays, whoever else writes there
    write_json(path.with_suffix(".json"), sealed(card | {"sha256": sha256}))


def read(path: Path, command: str | None) -> tuple[Arrays, Identity]:
    """Read arrays and their card.

    Args:
        path: the safetensors file.
        command: what makes them, for the error; None where they are made again at once.

    Raises:
        InputError: a file is missing or damaged, or the two do not belong together.
    """
    card_path = path.with_suffix(".json")
    remedy = "made again" if command is None else f"run `{command}`"
    if not path.exists() or not card_path.exists():
        raise InputError(f"{path}: is not there; {remedy}")
    card = read_json(card_path, remedy)
    check_seal(card_path, card, remedy)
    if file_sha256(path) != card.get("sha256"):
        raise InputError(f"{path}: not the file that {card_path.name} describes; {remedy}")
    try:
        return load_file(path, backend="pread"), card  # mapped, it would count twice
    except SafetensorError as error:
        raise InputError(f"{path}: damaged ({error}); {remedy}") from None


def card_of(path: Path) -> Identity:
    """The card of a kept file; empty if there is none, or a damaged one."""
    place = path.with_suffix(".json")
    try:
        card = read_json(place) if place.exists() else {}
        check_seal(place, card, "")
    except InputError:
        return {}
    return card


def hash_on_card(path: Path) -> str | None:
    """The hash of a kept file that its card states, if there is a card."""
    return card_of(path).get("sha256")


def as_json(value: Any) -> Any:
    """A value as it comes back from JSON: tuples as lists."""
    return json.loads(json.dumps(value))
