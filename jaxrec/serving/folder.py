"""A model folder: all that serving needs, whole or absent, on any machine.

model.json               row, settings, fusion, feedback, columns; the figures it was chosen by; the
                         hash of every other file
README.md                the same for people
users.parquet            user_id; its order is that of positions
items.parquet            item_id, interactions it was fitted on, rank among equals
catalogue.parquet        what is known of the items, a row each
interactions.parquet     user, item (positions), value, time: what every user has
rows/ROW.safetensors     what each row has learned
strangers.safetensors    what those get of whom nothing is known
segments.parquet         user_id, segment, where these were given
embeddings.safetensors   of the items' texts
encoder/                 a fine-tuned encoder, for the texts of further items

Nothing of it names a path of the machine it was made on, and nothing is a pickle.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from jaxrec.data.columns import ItemColumns
from jaxrec.data.dataset import Catalogue, Interactions
from jaxrec.data.features import FeatureSpace
from jaxrec.data.feedback import Feedback
from jaxrec.data.ids import Ids
from jaxrec.errors import InputError
from jaxrec.evaluation.card import as_json
from jaxrec.files import (
    SEAL,
    beside,
    check_form,
    check_seal,
    file_sha256,
    json_sha256,
    owner_of,
    read_json,
    real,
    refused_as,
    sealed,
    write_json,
)
from jaxrec.fusion.gate import Learned
from jaxrec.models.model import Arrays
from jaxrec.models.registry import MODELS
from jaxrec.serving.model import FittedModel
from jaxrec.serving.strangers import Segments, Strangers

VERSION = 2
"""Of what a model folder holds."""
CARD = "model.json"


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder beside `path`, which takes its place if the block succeeds.

    A model that is there is set aside for a moment; if all ends between the two renamings, whoever
    asks for the model next puts it back.

    Raises:
        InputError: see `check_place`.
    """
    check_place(path)
    place = real(path)
    made, before = beside(place), place.with_name(f".{place.name}.before")
    shutil.rmtree(made, ignore_errors=True)
    try:
        with refused_as(path, made):
            made.mkdir(parents=True)
            yield made
        if place.exists():
            place.rename(before)
        try:
            made.rename(place)
        except OSError:
            before.rename(place)
            raise
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _put_back(path: Path) -> None:
    """What was set aside by who was killed before the new model took its place."""
    place = real(path)
    before = place.with_name(f".{place.name}.before")
    if before.exists():
        if place.exists():
            shutil.rmtree(before)
        else:
            before.rename(place)


def check_place(path: Path) -> None:
    """Refuse what cannot become a model folder, before the work.

    Raises:
        InputError: there is something in `path` that is no model, or not the model's; or it lies in
            a folder of jaxrec, is where the process is, or cannot be written.
    """
    if not real(path).name:
        raise InputError(f"{path} is where all folders are, and cannot be replaced; give another")
    _put_back(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; give a folder")
    if real(path).is_symlink():
        raise InputError(f"{path} is a link that leads in a circle; give another")
    if real(path) == Path.cwd():
        raise InputError(f"{path} is where you are, and cannot be replaced; give it from outside")
    if (owner := owner_of(real(path).parent)) is not None:
        raise InputError(f"{path} lies in {owner}; give a place outside it")
    try:
        folder = next(folder for folder in real(path).parents if folder.exists())
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); give another") from None
    if not path.exists() or not any(path.iterdir()):
        return
    if not (path / CARD).exists():
        raise InputError(f"{path} is not empty and no model folder; give another")
    card = read_json(path / CARD, f"remove {path}, or give another place")
    if not {"jaxrec", "version", "files"} <= set(card):
        raise InputError(f"{path} is not empty and no model folder; give another")
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_file() and name not in (CARD, *card["files"]):
            raise InputError(f"{file} is not of the model that is to be replaced; move it away")


def write_model(path: Path, model: FittedModel, encoder: Path | None = None) -> None:
    """Write a model folder; `encoder` is a folder of what embeds its texts, if that is to go along.

    Raises:
        InputError: there is something in `path` that is no model folder.
    """
    with new_folder(path) as folder:
        _write_tables(folder, model)
        _write_arrays(folder, model)
        if encoder is not None:
            _copy_encoder(encoder, folder / "encoder")
        (folder / "README.md").write_text(_readme(model.card), encoding="utf-8")
        written = sorted(file for file in folder.rglob("*") if file.is_file())
        files = {file.relative_to(folder).as_posix(): file_sha256(file) for file in written}
        card = as_json(_card(model) | {"files": files})
        write_json(folder / CARD, card | {"sha256": json_sha256(card)})


def without_paths(value: Any) -> Any:
    """JSON in which a path of this machine is but the name at its end."""
    if isinstance(value, Mapping):
        return {name: without_paths(own) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(own) for own in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _copy_encoder(encoder: Path, to: Path) -> None:
    """A fine-tuned encoder without the paths on its cards, which decide nothing."""
    shutil.copytree(encoder, to, ignore=shutil.ignore_patterns("README.md"))
    for path in to.rglob("torch_embed.json"):
        content = read_json(path)
        check_seal(path, content, "fine-tune it again")
        plain = without_paths(content)
        write_json(path, sealed(plain) if SEAL in plain else plain)


def _write_tables(folder: Path, model: FittedModel) -> None:
    pl.DataFrame({"user_id": model.user_ids.names}).write_parquet(folder / "users.parquet")
    items = {"item_id": model.catalogue.ids.names, "interactions": model.item_counts}
    if model.tie_order is not None:
        items["rank"] = np.argsort(model.tie_order).astype(np.int32)
    pl.DataFrame(items).write_parquet(folder / "items.parquet")
    model.catalogue.table.write_parquet(folder / "catalogue.parquet")
    known = {"user": model.known.users, "item": model.known.items, "value": model.known.values}
    if model.known.times is not None:
        known["time"] = model.known.times
    pl.DataFrame(known).write_parquet(folder / "interactions.parquet")
    segments = model.strangers.segments
    if segments is not None:
        table = {"user_id": list(segments.of), "segment": list(segments.of.values())}
        pl.DataFrame(table).write_parquet(folder / "segments.parquet")


def _write_arrays(folder: Path, model: FittedModel) -> None:
    (folder / "rows").mkdir()
    for row, arrays in model.learned.items():
        _save(folder / "rows" / f"{row}.safetensors", arrays)
    liked = {"liked": model.strangers.liked, "trained": model.trained}
    _save(folder / "strangers.safetensors", liked)
    if model.E is not None:
        _save(folder / "embeddings.safetensors", {"embeddings": model.E})


def _save(path: Path, arrays: Arrays) -> None:
    path.write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def _card(model: FittedModel) -> dict[str, Any]:
    catalogue, strangers = model.catalogue, model.strangers
    columns = catalogue.columns
    return model.card | {
        "encoder": without_paths(model.card["encoder"]),
        "version": VERSION,
        "signals": list(model.learned),
        "settings": model.settings,
        "fusion": None if model.fusion is None else model.fusion._asdict(),
        "feedback": asdict(model.feedback),
        "catalogue": {
            "title": catalogue.title,
            "text": catalogue.text,
            "categories": catalogue.categories,
            "numbers": catalogue.numbers,
            "nameless": catalogue.nameless,
            "columns": None if columns is None else asdict(columns),
        },
        "features": {
            "centres": {name: list(map(float, of)) for name, of in model.space.centres.items()},
            "words": model.space.words,
        },
        "strangers": {
            "kind": strangers.kind,
            "validation_ndcg@25": strangers.ndcg,
            "segment": None if strangers.segments is None else strangers.segments.column,
        },
    }


def read_model(path: Path) -> FittedModel:
    """Read a model folder.

    Raises:
        InputError: it is none, of another version, or a file is not as it was written.
    """
    _put_back(path)
    command = f"`jaxrec fit --run RUN --out {quote(str(path))}`"
    again = f"make it again: {command}"
    if not (path / CARD).exists():
        raise InputError(f"{path} is no model folder; {command} makes one")
    card = read_json(path / CARD, f"remove {path}, and {again}")
    if card.get("version") != VERSION:
        raise InputError(f"{path} is of another version of jaxrec; {again}")
    own = {name: value for name, value in card.items() if name != "sha256"}
    if card.get("sha256") != json_sha256(own):
        raise InputError(f"{path / CARD} is not as it was written; {again}")
    check_form(path / CARD, card, {"files": dict}, again)
    for name, sha256 in card["files"].items():
        if name.startswith("encoder/"):
            continue  # checked by its own hash when it is used
        if not (path / name).exists() or file_sha256(path / name) != sha256:
            raise InputError(f"{path / name} is gone, or not as it was written; {again}")
    try:
        return _read(path, own)
    except (
        SafetensorError,
        pl.exceptions.PolarsError,
        AttributeError,
        FileNotFoundError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is damaged ({reason}); {again}") from None


def _read(path: Path, card: dict[str, Any]) -> FittedModel:
    items, known = (
        pl.read_parquet(path / f"{name}.parquet", glob=False) for name in ("items", "interactions")
    )
    arrays = load_file(path / "strangers.safetensors")
    embeddings = path / "embeddings.safetensors"
    feedback = card["feedback"] | {"scale": tuple(card["feedback"]["scale"])}
    fusion = card["fusion"]
    space = card["features"]
    tie_order = None
    if "rank" in items.columns:
        tie_order = np.argsort(items["rank"].to_numpy()).astype(np.int32)
    return FittedModel(
        row=card["row"],
        settings={row: _settings(row, card["settings"][row]) for row in card["signals"]},
        learned={row: load_file(path / "rows" / f"{row}.safetensors") for row in card["signals"]},
        fusion=None if fusion is None else Learned(**fusion),
        feedback=Feedback(**feedback),
        user_ids=Ids(
            pl.read_parquet(path / "users.parquet", glob=False)["user_id"].to_numpy(), "user"
        ),
        catalogue=_catalogue(path, card["catalogue"], items["item_id"].to_numpy()),
        known=Interactions(
            known["user"].to_numpy(),
            known["item"].to_numpy(),
            known["value"].to_numpy(),
            known["time"].to_numpy() if "time" in known.columns else None,
        ),
        trained=arrays["trained"],
        item_counts=items["interactions"].to_numpy(),
        candidates=np.ones(len(items), bool),
        tie_order=tie_order,
        strangers=_strangers(path, card["strangers"], arrays["liked"]),
        space=FeatureSpace(
            {name: np.array(of) for name, of in space["centres"].items()}, space["words"]
        ),
        E=load_file(embeddings)["embeddings"] if embeddings.exists() else None,
        card=card,
    )


def _settings(row: str, settings: dict[str, Any]) -> dict[str, Any]:
    return MODELS[row].settings | settings


def _catalogue(path: Path, of: dict[str, Any], names: NDArray[Any]) -> Catalogue:
    columns = of["columns"]
    if columns is not None:
        pairs = {
            key: {n: tuple(v) for n, v in columns[key].items()} for key in ("flags", "extract")
        }
        columns = ItemColumns(**columns | pairs | {"missing": tuple(columns["missing"])})
    return Catalogue(
        Ids(names, "item"),
        pl.read_parquet(path / "catalogue.parquet", glob=False),
        title=of["title"],
        text=of["text"],
        categories=tuple(of["categories"]),
        numbers=of["numbers"],
        nameless=of["nameless"],
        columns=columns,
    )


def _strangers(path: Path, of: dict[str, Any], liked: NDArray[np.float32]) -> Strangers:
    segments = None
    if of["segment"] is not None:
        table = pl.read_parquet(path / "segments.parquet", glob=False)
        segments = Segments(of["segment"], dict(table.select("user_id", "segment").iter_rows()))
    return Strangers(of["kind"], of["validation_ndcg@25"], liked, segments)


def _readme(card: dict[str, Any]) -> str:
    """What the folder is, for whoever finds it."""
    told = "\n\n".join(in_words(card))
    licence = card["data"]["licence"]
    return f"""# A recommender made by jaxrec {card["jaxrec"]}

{told}

Licence of the data: {licence or "not stated; ask whoever gave the data"}. The folder holds what
every user has interacted with.

    jaxrec recommend --model THIS-FOLDER --user ID
"""


def in_words(card: dict[str, Any]) -> list[str]:
    """What a model was chosen by, and whose figures these are."""
    data, of = card["data"], card["experiment"]
    figures = of["figures"][card["row"]]
    k = max(int(name.partition("@")[2]) for name in figures["metrics"])
    named = {"P": "precision", "R": "recall", "NDCG": "ndcg"}

    def told(short: str, metric: str) -> str:
        low, high = figures["ci95"][f"{metric}@{k}"]
        return f"{short}@{k} {figures['metrics'][f'{metric}@{k}']:.4f} ± {(high - low) / 2:.3f}"

    protocol = of["protocol"]
    train, test = protocol["train_interactions"], protocol["test_interactions"]
    return [
        f"{card['row']} ({card['label']}), fitted on all {data['interactions']:,} interactions of"
        f" {data['users']:,} users with {data['items']:,} items of {data['name']}"
        + (" (SYNTHETIC DATA)" if data["synthetic"] else ""),
        f"chosen by {', '.join(told(*pair) for pair in named.items())} under protocol"
        f" {protocol['protocol']}, seed {protocol['seed']}: figures of the experiment, in which it"
        f" was fitted on {train:,} interactions and measured on {test:,} others. Of this model"
        " there are none: it has seen all of them.",
    ]
