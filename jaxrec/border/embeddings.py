"""Reads item embeddings as torch_embed (or anyone) wrote them, and checks that they belong here.

NAME.safetensors, .json   of all items, and their card
NAME/fold-K.safetensors   by the model of fold K alone; the card has their hashes (`folds_sha256`)
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from jaxrec.errors import InputError
from jaxrec.files import check_seal, file_sha256, read_json


class Embeddings(NamedTuple):
    """Unit embeddings of all items of a catalogue."""

    E: NDArray[np.float32]
    """[items, dim] unit rows."""
    card: dict[str, Any]
    """Model, weights' hash, pooling, dim, texts' hash, this file's hash."""


def read_embeddings(
    path: Path, items: int, texts_sha256: str, remedy: str, fold: int | None = None
) -> Embeddings:
    """Read `path` (safetensors: `embeddings` [items, dim] in catalogue order) and its card.

    Args:
        path: the safetensors file; the card is the JSON file beside it.
        items: how many the catalogue has.
        texts_sha256: hash of ids and texts that the embeddings must be of.
        remedy: the command that makes them again, for the error.
        fold: whose model alone, in place of each item by the model that has not learned from it.

    Raises:
        InputError: damaged, of other texts or items, not finite or not of unit length. A card
            without a seal is another tool's, or of an earlier version, and is read as it is.
    """
    card_path = path.with_suffix(".json")
    if fold is not None:
        path = of_fold(path, fold)
    for needed in (path, card_path):
        if not needed.exists():
            raise InputError(f"{needed} is not there; run `{remedy}`")
    card = read_json(card_path, f"run `{remedy}`")
    check_seal(card_path, card, f"run `{remedy}`")
    if card.get("texts_sha256") != texts_sha256:
        raise InputError(f"{path}: embeddings of other item texts; run `{remedy}`")
    sha256 = file_sha256(path)
    stated = [card.get("sha256")] if fold is None else card.get("folds_sha256", [])[fold : fold + 1]
    if stated != [sha256]:
        raise InputError(f"{path}: not the file that {card_path.name} describes; run `{remedy}`")
    try:
        E = load_file(path)["embeddings"]
    except (SafetensorError, KeyError) as error:
        raise InputError(f"{path}: damaged ({error}); run `{remedy}`") from None
    if len(E) != items:
        raise InputError(
            f"{path}: its items are not those of the catalogue ({len(E):,}, not {items:,});"
            f" run `{remedy}`"
        )
    if not np.isfinite(E).all():
        place = int(np.flatnonzero(~np.isfinite(E).all(1))[0])
        raise InputError(
            f"{path}: embedding {place} has a value that is not finite; run `{remedy}`"
        )
    norms = np.linalg.norm(E, axis=1)
    if np.abs(norms - 1).max() > 1e-3:
        place = int(np.abs(norms - 1).argmax())
        raise InputError(
            f"{path}: embedding {place} has norm {norms[place]:.4f}, not 1; run `{remedy}`"
        )
    return Embeddings(E.astype(np.float32), card)


def of_fold(path: Path, fold: int) -> Path:
    """Where the embeddings by one fold's model alone are, beside those in `path`."""
    return path.with_suffix("") / f"fold-{fold}.safetensors"
