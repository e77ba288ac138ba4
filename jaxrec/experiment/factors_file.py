"""The file that holds factors of users and items."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from jaxrec.errors import InputError
from jaxrec.files import file_sha256, read_json, whole_file, write_json
from jaxrec.pmf.objective import Factors


def write_factors(path: Path, factors: Factors, card: dict[str, Any]) -> None:
    """Write `path` (safetensors: U, V) and its card (JSON beside it, with the file's hash)."""
    with whole_file(path) as partial:
        partial.write_bytes(save({"U": factors.U, "V": factors.V}))
    write_json(path.with_suffix(".json"), card | {"sha256": file_sha256(path)})


def read_factors(path: Path, remedy: str) -> tuple[Factors, dict[str, Any]]:
    """Read factors and their card.

    Args:
        path: the safetensors file; the card is the JSON file beside it.
        remedy: the command that makes them, for the error.

    Raises:
        InputError: a file is missing or damaged, or the two do not belong together.
    """
    card_path = path.with_suffix(".json")
    if not path.exists() or not card_path.exists():
        raise InputError(f"{path}: no trained factors; run `{remedy}`")
    card = read_json(card_path)
    if file_sha256(path) != card.get("sha256"):
        raise InputError(f"{path}: not the file that {card_path.name} describes; run `{remedy}`")
    try:
        arrays = load_file(path)
        return Factors(arrays["U"], arrays["V"]), card
    except (SafetensorError, KeyError) as error:
        raise InputError(f"{path}: damaged ({error}); run `{remedy}`") from None
