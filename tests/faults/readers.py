"""What reads a run folder, a study and a model folder, each as a function of the folder.

A reader gives what one would see, as something that can be compared; what it says beside goes to
`say`. So damage either stops it by an InputError, or changes nothing that it gives.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import jaxrec.errors
import torch_embed.errors
from jaxrec.experiment.folder import RunFolder, open_run
from jaxrec.experiment.scoring import read_fresh_card
from jaxrec.experiment.study import runs_of, summarise
from jaxrec.files import SEAL, sealed
from jaxrec.pmf.sweeps import Checkpoints
from jaxrec.serving.evaluated import of_run
from jaxrec.serving.fit import model_of_train, servable
from jaxrec.serving.folder import read_model
from jaxrec.serving.model import Lists, Wanted

FOUND = (jaxrec.errors.InputError, torch_embed.errors.InputError)
LISTED = 5
Say = Callable[[str], None]
Reader = Callable[[Path, Say], Any]


def opened(run: Path, say: Say) -> RunFolder:
    return open_run(run, say=say)


def card(run: Path, say: Say) -> Any:
    return read_fresh_card(opened(run, say)).to_json()


def report(run: Path, say: Say) -> Any:
    """What a report says; it says, too, if it goes on without something."""
    from jaxrec.commands.cases import evidence

    there = opened(run, say)
    return repr(evidence(there, read_fresh_card(there), say))


def lists(run: Path, say: Say) -> Any:
    """What every row of the card recommends."""
    there = opened(run, say)
    users, wanted = np.arange(5, dtype=np.int32), Wanted.best(LISTED, there.dataset.items)
    rows = read_fresh_card(there).measured
    return {row: _told(of_run(there, users, wanted, row)[0]) for row in rows}


def similar(run: Path, say: Say) -> Any:
    there = opened(run, say)
    model = model_of_train(there, servable(there, "pmf"))
    return {row: _told(found) for row, found in model.similar(3, LISTED).items()}


def embeddings(run: Path, say: Say) -> Any:
    there = opened(run, say)
    kept = [there.read_embeddings(name) for name in there.embedding_names()]
    return [(found.E.tolist(), _without_seal(found.card)) for found in kept]


def split(run: Path, say: Say) -> Any:
    import polars as pl

    return pl.read_parquet(opened(run, say).split_path).rows()


def trials(run: Path, say: Say) -> Any:
    """What a search would go on from, of every row that was searched."""
    from jaxrec.experiment.tuning import FINISHED, _study

    there, found = opened(run, say), []
    for path in sorted((run / "tuned").glob("*.trials")):
        made = _study(there, path.stem).get_trials(states=FINISHED)
        found.append([(trial.params, trial.values, trial.state) for trial in made])
    return found


def texts(run: Path, say: Say) -> Any:
    from torch_embed.files import read_texts

    return read_texts(run / "texts.parquet")


def lessons(run: Path, say: Say) -> Any:
    from torch_embed.training.lesson import read_lesson

    found = [read_lesson(path.parent) for path in sorted(run.glob("training/*/*/card.json"))]
    return [repr(lesson._replace(card=_without_seal(lesson.card))) for lesson in found]


def checkpoints(run: Path, say: Say) -> Any:
    """What a fit would go on from, of any identity."""
    from orbax.checkpoint import PyTreeCheckpointer

    found = []
    for folder in sorted((run / "checkpoints").iterdir()):
        of = Checkpoints(folder, {})
        of.refuse_damaged()
        reached = of._card()
        arrays = PyTreeCheckpointer().restore(of.folder / reached["state"])
        found.append((reached, {name: np.asarray(a).tolist() for name, a in arrays.items()}))
    return found


def training(run: Path, say: Say) -> Any:
    """What a fine-tuning would go on from."""
    from torch_embed.training import state

    paths = sorted(run.glob("training/*/*/checkpoints/**/*.pt"))
    return [(path.name, _plain(state._load(path))) for path in paths]


def study(folder: Path, say: Say) -> Any:
    return summarise(runs_of(folder)).to_json(), [card(run, say) for run in runs_of(folder)]


def model(folder: Path, say: Say) -> Any:
    """Lists of users that it knows, what is similar, and what it says of itself."""
    found = read_model(folder)
    users, wanted = np.arange(5, dtype=np.int32), Wanted.best(LISTED, len(found.item_counts))
    alike = {row: _told(of) for row, of in found.similar(3, LISTED).items()}
    return _told(found.recommend(found.asking(users), wanted)), alike, found.card


def encoder(folder: Path, say: Say) -> Any:
    """What a model's, or a run's, fine-tuned encoders make of a text."""
    from torch_embed.encoding.encode import encode
    from torch_embed.encoding.encoder import load_encoder

    places = [path.parent for path in sorted(folder.rglob("torch_embed.json"))]
    loaded = [load_encoder(str(place)) for place in places]
    return [(of.card(), encode(of, ["a b c", "d e f g"]).tolist()) for of in loaded]


class Kind(NamedTuple):
    """Files that the same readers read."""

    under: str
    """How their paths begin, in the folder of all."""
    readers: tuple[Reader, ...]
    folder: str
    """What the readers read."""


KINDS = (
    Kind("run/encoders/", (encoder,), "run/encoders"),
    Kind("run/training/", (lessons, training), "run"),
    Kind("run/checkpoints/", (checkpoints,), "run"),
    Kind("run/tuned/", (trials, card), "run"),
    Kind("run/texts", (texts,), "run"),
    Kind("run/split", (split,), "run"),
    Kind("run/", (card, lists, similar, embeddings, report), "run"),
    Kind("study/", (study,), "study"),
    Kind("model/encoder/", (encoder,), "model"),
    Kind("model/", (model,), "model"),
)
"""The first that a path belongs to is its own."""


def _without_seal(content: dict[str, Any]) -> dict[str, Any]:
    """A card without its seal, by whatever name: then it is read as one that has none."""
    rest = {name: {of: content[of] for of in content if of != name} for name in content}
    return next((own for name, own in rest.items() if content[name] == sealed(own)[SEAL]), content)


def _plain(content: Any) -> Any:
    """Nested content that can be compared, tensors as their bytes."""
    if isinstance(content, dict):
        return {name: _plain(of) for name, of in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(of) for of in content]
    return content.numpy().tobytes() if hasattr(content, "numpy") else content


def _told(found: Lists) -> Any:
    return found.items.tolist(), np.asarray(found.scores).tolist()
