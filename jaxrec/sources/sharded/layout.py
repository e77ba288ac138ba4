"""What lies where in a data set that was cut by user, by jaxrec or by anybody else.

    dataset.toml      what the columns are for, as for any data set, and what their values mean
    shard.json        {"parts": N, "hash": "crc32", "interactions": [N counts], "users": [N counts]}
    items.parquet     the [items] of dataset.toml: an item's number is that of its row
    part=0/*.parquet  the interactions of the users whose part is 0, and so on; empty ones may lack

The part of a user is the CRC-32 (that of zip, gzip and Spark) of the id's text in UTF-8, modulo N.
In Spark SQL it is `crc32(cast(user AS string)) % N`. A pair of user and item that is given twice
lies in one part, so each part is mended by itself.
"""

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.errors import InputError
from jaxrec.files import read_json, write_json

CARD, ITEMS = "shard.json", "items.parquet"
PART = "part"
"""The key of the folders' names."""
HASH = "crc32"


@dataclass(frozen=True)
class Shard:
    """How a data set was cut."""

    interactions: tuple[int, ...]
    """Rows of each part, before anything is mended."""
    users: tuple[int, ...]
    """Of each part."""

    @property
    def parts(self) -> int:
        """How many there are."""
        return len(self.users)

    def own(self, process: int, processes: int) -> range:
        """The parts that one of so many processes reads, all users in the order of the parts.

        Raises:
            InputError: there are fewer parts than processes.
        """
        if self.parts < processes:
            raise InputError(
                f"{self.parts} parts are too few for {processes} processes; cut the data anew:"
                f" `jaxrec data shard --parts {processes}`"
            )
        ends = (number * self.parts // processes for number in (process, process + 1))
        return range(*ends)


def part_of(users: pl.Series, parts: int) -> NDArray[np.int32]:
    """[n] the part of each user, of `parts`; see above."""
    texts = users.cast(pl.String).cast(pl.Binary).to_list()
    return (np.fromiter(map(zlib.crc32, texts), np.int64, len(texts)) % parts).astype(np.int32)


def files_of(parts: Sequence[int]) -> tuple[str, ...]:
    """Patterns of the files of some parts, in the folder of them all."""
    return tuple(f"{PART}={part}/*.parquet" for part in parts)


def write_card(folder: Path, shard: Shard) -> None:
    """Write `shard.json`."""
    write_json(folder / CARD, {"parts": shard.parts, "hash": HASH} | asdict(shard))


def read_card(folder: Path) -> Shard:
    """Read `shard.json`.

    Raises:
        InputError: it is absent, or says something else than the above.
    """
    path = folder / CARD
    if not path.exists():
        raise InputError(
            f"{path}: no such file; `jaxrec data shard --data DATA --out {folder} --parts N` writes"
            " it, with the parts beside it"
        )
    card = read_json(path, "cut the data anew")
    counts = [card.get("interactions"), card.get("users")]
    right = card.get("hash") == HASH and all(
        isinstance(each, list)
        and len(each) == card.get("parts")
        and all(isinstance(count, int) and count >= 0 for count in each)
        for each in counts
    )
    if not right or not card["parts"]:
        raise InputError(
            f'{path}: expected "parts" (N), "hash" ("{HASH}"), and "interactions" and "users" (N'
            " counts each)"
        )
    return Shard(tuple(card["interactions"]), tuple(card["users"]))
