"""What a fine-tuning leaves on disk as it goes, in whole files, so that a killed run goes on.

Tensors and figures are in torch's zip files, whose checksums are compared on reading.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_embed import processes
from torch_embed.errors import InputError
from torch_embed.files import into


class TrainingState:
    """What one run has reached. Every process reads; the first one writes, the others wait."""

    def __init__(self, folder: Path, identity: dict[str, Any]):
        """Begin anew if what is in `folder` is of a run with another `identity` (JSON)."""
        self.folder = folder
        text, path = json.dumps(identity, indent=2), folder / "run.json"
        if processes.is_first() and not (
            path.exists() and path.read_text(encoding="utf-8") == text
        ):
            clear(folder)
            with into(folder.parent):
                folder.mkdir(exist_ok=True)
            _whole(path, lambda place: place.write_text(text, encoding="utf-8"))
        processes.wait()

    def base(self, make: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        """What `make` gave at the run's beginning: embeddings of the untouched encoder."""
        path = self.folder / "base.pt"
        if not path.exists():
            E = make()
            if processes.is_first():
                _write_embeddings(path, E)
            processes.wait()
        return _read_embeddings(path)

    def history(self) -> list[dict[str, float]]:
        """Of the epochs so far."""
        path = self.folder / "history.pt"
        return processes.share(_load(path)["history"] if path.exists() else [])

    def write_history(self, history: list[dict[str, float]]) -> None:
        if processes.is_first():
            _whole(self.folder / "history.pt", partial(torch.save, {"history": history}))
        processes.wait()

    def of_fold(self, fold: int) -> dict[str, Any] | None:
        """What was saved last of a fold's model."""
        path = self._path(fold)
        return _load(path) if path.exists() else None

    def weights(self, fold: int) -> dict[str, Tensor]:
        """Of a fold's model, as they were saved last."""
        with into(self.folder):
            return _load(self._path(fold))["weights"]

    def save(self, fold: int, reached: dict[str, Any]) -> None:
        if processes.is_first():
            _whole(self._path(fold), partial(torch.save, reached))
        processes.wait()

    def write_embeddings(self, E: NDArray[np.float32], fold: int | None = None) -> None:
        """What the folds' models give: of one alone, or None for each item by that of its fold."""
        if processes.is_first():
            _write_embeddings(self.folder / _embeddings(fold), E)
        processes.wait()

    def read(self, fold: int | None) -> NDArray[np.float32]:
        """What was written of the epoch that ended last."""
        return _read_embeddings(self.folder / _embeddings(fold))

    def keep(self, folds: int) -> None:
        """Put the folds' weights, and the embeddings they give, aside as the best."""
        if processes.is_first():
            with into(self.folder):
                self._kept.mkdir(exist_ok=True)
            for fold in range(folds):
                weights = {"weights": _load(self._path(fold))["weights"]}
                _whole(self._kept / self._path(fold).name, partial(torch.save, weights))
            for made in self.folder.glob("embeddings*.pt"):
                _whole(self._kept / made.name, partial(shutil.copyfile, made))
        processes.wait()

    def best(
        self, folds: int
    ) -> tuple[Callable[[int | None], NDArray[np.float32]], list[dict[str, Tensor]]]:
        """What was put aside: what reads the embeddings, and the weights of each fold."""
        weights = [_load(self._kept / self._path(fold).name)["weights"] for fold in range(folds)]
        return lambda fold: _read_embeddings(self._kept / _embeddings(fold)), weights

    @property
    def _kept(self) -> Path:
        return self.folder / "best"

    def _path(self, fold: int) -> Path:
        return self.folder / f"fold-{fold}.pt"


def clear(folder: Path) -> None:
    """Remove a state, first of all what says whose it is: half a state is nobody's."""
    (folder / "run.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _embeddings(fold: int | None) -> str:
    return "embeddings.pt" if fold is None else f"embeddings-{fold}.pt"


def _load(path: Path) -> dict[str, Any]:
    """Of a file that is as it was written: torch compares no checksums."""
    with _refused(path):
        with ZipFile(path) as packed:
            if (damaged := packed.testzip()) is not None:
                raise BadZipFile(f"{damaged} has another checksum")
        return dict(torch.load(path, map_location="cpu", weights_only=True))


def _read_embeddings(path: Path) -> NDArray[np.float32]:
    with _refused(path):
        return _load(path)["embeddings"].numpy()


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Around what reads a file that may be damaged, which can raise anything."""
    try:
        yield
    except (OSError, InputError):
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        again = f"delete {path.parent}, and fine-tuning begins anew"
        raise InputError(f"{path}: damaged ({reason}); {again}") from None


def _write_embeddings(path: Path, E: NDArray[np.float32]) -> None:
    _whole(path, partial(torch.save, {"embeddings": torch.from_numpy(E)}))


def _whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside the place, then rename: whole or absent."""
    beside = path.with_name(f".{path.name}.partial")
    with into(path.parent):
        write(beside)
        beside.replace(path)
