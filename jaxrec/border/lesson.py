"""Writes a lesson: the folder from which torch_embed teaches an encoder who liked what.

texts.parquet         item, text, plain (without tags), fold (-1 for an item without ratings)
pairs.parquet         fold, user, anchors (a list of items), positive, negative (null if none)
likes.parquet         user, item: what each user likes, to tell false negatives
targets.safetensors   fold, items, weights [n], targets [n, factors]; features [items, m]
card.json             counts, seeds and hashes, those of the other files among them; sealed

Users and items are positions. What is of fold k is for the model of fold k and is drawn, or
fitted, without any rating of its items: that model knows nothing of them, not even what their
ratings say of users. Where items are cold the card names, by hash, the splits inside train that
something is chosen on, and the model that has seen nothing of what each holds out (`blind`).
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import save_file

from jaxrec.border.alignment import alignment_targets
from jaxrec.border.pairs import NONE, draw_pairs
from jaxrec.border.taught import blind_models, taught_split
from jaxrec.border.texts import ItemTexts, texts_sha256
from jaxrec.data.dataset import Dataset, Interactions
from jaxrec.data.features import item_features
from jaxrec.data.feedback import Feedback
from jaxrec.errors import InputError
from jaxrec.evaluation.protocol import Protocol
from jaxrec.files import file_sha256, sealed, whole_file, write_json
from jaxrec.pmf.fit import fit_pmf
from jaxrec.pmf.objective import PmfSettings, training_pairs


class LessonSettings(NamedTuple):
    """What a lesson is to hold."""

    kind: str | None
    """Of pairs (see `jaxrec.border.pairs`), or None for the targets of alignment."""
    per_user: int = 10
    popularity: float = 0.0
    folds: int = 1
    """Of items, for cross-fitting."""
    validation: bool = True
    """Is validation kept out?"""


def write_lesson(
    folder: Path,
    dataset: Dataset,
    protocol: Protocol,
    texts: ItemTexts,
    settings: LessonSettings,
    pmf: PmfSettings,
    fit_seed: int,
    model: str | None = None,
) -> dict[str, Any]:
    """Write what an encoder learns from; nothing that is held out reaches it.

    Args:
        folder: where the files go.
        dataset: ratings and catalogue.
        protocol: what is held out.
        texts: what the encoder reads.
        settings: what of.
        pmf: how the factors are fitted that alignment regresses.
        fit_seed: of these factors.
        model: whom it is to teach, as cards call it.

    Returns:
        The card.

    Raises:
        InputError: under `cold-items`, folds that do not keep the inner folds apart.
    """
    split = taught_split(dataset, protocol, settings.validation)
    train = dataset.interactions.at(split.train)
    blind = blind_models(dataset, protocol, settings.folds)
    fold = _folds(dataset, protocol, train, settings.folds)
    _write_texts(folder / "texts.parquet", texts, fold)

    def known_to(model: int) -> Interactions:
        known = (settings.folds == 1) | (fold[train.items] != model)
        for apart, of_model in blind:
            known &= (model != of_model) | ~np.isin(split.train, apart.test)
        return train.at(np.flatnonzero(known))

    of_fold = [known_to(model) for model in range(settings.folds)]
    if settings.kind is None:
        names = ["texts.parquet", "targets.safetensors"]
        examples = _write_targets(folder / names[1], dataset, of_fold, pmf, fit_seed)
    else:
        names = ["texts.parquet", "pairs.parquet", "likes.parquet"]
        examples = _write_pairs(
            folder / names[1], of_fold, dataset.feedback, settings.kind, settings, protocol.seed
        )
        with whole_file(folder / "likes.parquet") as partial:
            liked = train.liked(dataset.feedback)
            pl.DataFrame({"user": liked.users, "item": liked.items}).write_parquet(partial)
    card = {
        "model": model,
        "data": dataset.name,
        "data_sha256": dataset.sha256,
        "synthetic": dataset.synthetic,
        "texts_sha256": texts_sha256(dataset, texts.full),
        "split_sha256": split.sha256(),
        "train_ratings": len(split.train),
        "seed": protocol.seed,
        "texts": texts.kind,
        **settings._asdict(),
        **({"blind": {apart.sha256(): model for apart, model in blind}} if blind else {}),
        "examples": examples,
        "files": {name: file_sha256(folder / name) for name in names},
    }
    write_json(folder / "card.json", sealed(card))
    return card


def _folds(
    dataset: Dataset, protocol: Protocol, train: Interactions, folds: int
) -> NDArray[np.int32]:
    """[items] the fold of each item that has ratings, -1 for the others.

    Where items are cold the inner cold folds are the folds: a cold item's text is embedded by a
    model that has seen none of its ratings, and so validation need not be kept out.
    """
    fold = np.full(dataset.items, -1, np.int32)
    if protocol.rules.cold_items:
        inner = protocol.validation_splits(dataset)
        if not 2 <= folds <= len(inner):
            raise InputError(
                f"cold-items is validated on its folds; give --folds 2 to {len(inner)}"
            )
        for number, one in enumerate(inner):
            fold[np.unique(dataset.interactions.items[one.test])] = number % folds
        return fold
    rated = np.unique(train.items)
    fold[rated] = np.random.default_rng(protocol.seed).permutation(len(rated)) % folds
    return fold


def _write_texts(path: Path, texts: ItemTexts, fold: NDArray[np.int32]) -> None:
    items = np.arange(len(fold), dtype=np.int32)
    columns = {"item": items, "text": texts.full, "plain": texts.plain, "fold": fold}
    with whole_file(path) as partial:
        pl.DataFrame(columns).write_parquet(partial)


def _write_targets(
    path: Path, dataset: Dataset, of_fold: list[Interactions], settings: PmfSettings, seed: int
) -> int:
    """Write the targets of each fold's model; returns how many."""
    parts = []
    for ratings in of_fold:
        pairs = training_pairs(ratings, dataset.feedback, settings)
        factors, _ = fit_pmf(pairs, dataset.users, dataset.items, settings, seed=seed)
        counts = np.bincount(ratings.items, minlength=dataset.items)
        parts.append(alignment_targets(factors, counts))
    numbered = enumerate(parts)
    arrays = {
        "fold": np.concatenate([np.full(len(part.items), k, np.int32) for k, part in numbered]),
        "items": np.concatenate([part.items for part in parts]),
        "weights": np.concatenate([part.weights for part in parts]),
        "targets": np.concatenate([part.targets for part in parts]),
        "features": item_features(dataset.catalogue),
    }
    with whole_file(path) as partial:
        save_file(arrays, partial)
    return len(arrays["fold"])


def _write_pairs(
    path: Path,
    of_fold: list[Interactions],
    feedback: Feedback,
    kind: str,
    settings: LessonSettings,
    seed: int,
) -> int:
    """Write the pairs of each fold's model; returns how many."""
    tables = []
    for number, ratings in enumerate(of_fold):
        drawn = draw_pairs(
            ratings,
            feedback,
            kind,
            settings.per_user,
            seed + 1000 * number,
            settings.popularity,
        )
        anchors = [own[own != NONE].tolist() for own in drawn.anchors]
        negatives = pl.Series(drawn.negatives)
        tables.append(
            pl.DataFrame(
                {
                    "fold": np.full(len(drawn.users), number, np.int32),
                    "user": drawn.users,
                    "anchors": pl.Series(anchors, dtype=pl.List(pl.Int32)),
                    "positive": drawn.positives,
                    "negative": negatives.set(negatives == NONE, None),
                }
            )
        )
    with whole_file(path) as partial:
        pl.concat(tables).write_parquet(partial)
    return sum(map(len, tables))
