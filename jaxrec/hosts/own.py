"""What one of several processes has of an experiment: its own users, and what is known of all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.console.session import Session
from jaxrec.data.dataset import Dataset, Interactions
from jaxrec.devices import Mesh, added_up
from jaxrec.errors import InputError
from jaxrec.evaluation.protocol import PROTOCOLS, Protocol
from jaxrec.evaluation.split import Split
from jaxrec.experiment.folder import SEED, RunFolder
from jaxrec.hosts.launch import Place
from jaxrec.locks import held, of_run
from jaxrec.sources.sharded.layout import Shard, read_card
from jaxrec.sources.sharded.reading import read_shard


class Own:
    """A process's part of an experiment of several."""

    def __init__(self, session: Session, place: Place):
        """Read the process's own users.

        Raises:
            InputError: `--data` is no folder that was cut, the run folder is that of one process,
                or the protocol does not cut each user by herself.
        """
        if session.core is not None or session.strict:
            option = "--core" if session.core is not None else "--strict-input"
            raise InputError(f"{option}: no process sees all data; give it where they are cut")
        if session.data is None:
            raise InputError(
                "several processes need --data, a folder that `jaxrec data shard` made"
            )
        if (session.path / "experiment.json").exists():
            raise InputError(
                f"{session.path} is the run folder of an experiment by one process; give another"
                " --run"
            )
        name = session.protocol or next(iter(PROTOCOLS))
        if not PROTOCOLS[name].by_user:
            alike = ", ".join(name for name, rules in PROTOCOLS.items() if rules.by_user)
            raise InputError(
                f"protocol {name} is cut by what all users have, and several processes have their"
                f" own users each; give one of {alike}"
            )
        self.place, self.mesh = place, Mesh.of()
        self.shard: Shard = read_card(Path(session.data))
        parts = self.shard.own(place.process, place.processes)
        self.dataset: Dataset = read_shard(Path(session.data), parts)
        seed = SEED if session.seed is None else session.seed
        nobody = Split(np.zeros(0, np.int64), np.zeros(0, np.int64))
        self.protocol = Protocol(name, seed, nobody, fold=0)
        if self.dataset.users:
            self.protocol = Protocol.of(name, self.dataset, seed, part=True)
        self.run = RunFolder(session.path, self.dataset, self.protocol)

    @contextmanager
    def writing(self, folder: Path) -> Iterator[None]:
        """Around what is written into a folder: the first process holds it for all."""
        with held(of_run(folder), folder) if self.place.speaks else nullcontext():
            yield

    @property
    def users(self) -> int:
        """Of all processes."""
        return sum(self.shard.users)

    def train(self, everything: bool = False) -> Interactions:
        """What is learned from: the train part, or everything."""
        interactions = self.dataset.interactions
        return interactions if everything else interactions.at(self.protocol.split.train)

    def density(self, train: Interactions) -> float:
        """Share of all pairs of user and item, of all processes, that is in such a part."""
        return added_up(len(train.users), self.mesh) / (self.users * self.dataset.items)

    def identity(self, everything: bool = False) -> dict[str, Any]:
        """What is learned from, alike in all processes and however many they are."""
        of = {"interactions": list(self.shard.interactions), "users": list(self.shard.users)}
        if everything:
            return of | {"checksum": self.checksum(self.train(everything))}
        cut = {"protocol": self.protocol.name, "seed": self.protocol.seed}
        return of | cut | {"checksum": self._train_checksum}

    @cached_property
    def _train_checksum(self) -> int:
        return self.checksum(self.train())

    def checksum(self, part: Interactions) -> int:
        """Of such a part of all processes': its values and their items, in any order."""
        values = part.values.astype(np.float64).view(np.uint64)
        each = (part.items.astype(np.uint64) + np.uint64(1)) * (values | np.uint64(1))
        (total,) = self.mesh.summed(np.array([each.sum(dtype=np.uint64) % 2**31], np.int64))
        return int(total) % 2**31
