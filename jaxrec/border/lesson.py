"""The border with torch_embed's fine-tuning: a folder of texts, pairs, likes and targets.

texts.parquet         item_id, text, plain (without tags), fold (-1 for an item without ratings)
pairs.parquet         fold, user_id, anchors (list of item_id), positive, negative (null if none)
likes.parquet         user_id, item_id: what each user likes, to tell false negatives
targets.safetensors   fold, item_ids, weights [n], targets [n, factors]; features [items, m]
card.json             counts, seeds and hashes

ItemSets of fold k are for the model of fold k and are drawn, or fitted, without any rating of its
items: that model knows nothing of them, not even what their ratings say of users.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import save_file

from jaxrec.border.alignment import alignment_targets
from jaxrec.border.pairs import NONE, draw_pairs
from jaxrec.data.dataset import Interactions
from jaxrec.data.features import item_features
from jaxrec.data.texts import texts_sha256
from jaxrec.errors import InputError
from jaxrec.evaluation.split import Split
from jaxrec.experiment.fitting import settings_of
from jaxrec.experiment.folder import RunFolder
from jaxrec.files import file_sha256, whole_file, write_json
from jaxrec.models.factorization import pmf_settings
from jaxrec.pmf.fit import fit_pmf
from jaxrec.pmf.objective import training_pairs


class Learning(NamedTuple):
    """What an encoder is to learn from."""

    kind: str | None
    """Of pairs (see `jaxrec.border.pairs`), or None for the targets of alignment."""
    per_user: int = 10
    popularity: float = 0.0
    folds: int = 1
    """Of items, for cross-fitting."""
    validation: bool = True
    """Is validation kept out?"""


def write_training_data(
    run: RunFolder, folder: Path, texts: str, learning: Learning
) -> dict[str, Any]:
    """Write what an encoder learns from; nothing that is held out reaches it.

    Args:
        run: the experiment.
        folder: where the files go.
        texts: one of `run.kinds_of_texts`.
        learning: what of.

    Validation is kept out; not under `cold-items`, for there the inner cold folds are the folds,
    and a cold item's text is embedded by a model that has seen none of its ratings.

    Returns:
        The card.

    Raises:
        InputError: under `cold-items`, folds that do not keep the inner folds apart.
    """
    dataset, seed = run.dataset, run.protocol.seed
    inner = run.protocol.validation_splits(dataset)
    cold_folds = run.protocol.rules.cold_items
    if cold_folds and not 2 <= learning.folds <= len(inner):
        raise InputError(f"cold-items is validated on its folds; give --folds 2 to {len(inner)}")
    split = _taught(run, learning.validation)
    train = dataset.interactions.at(split.train)
    counts = np.bincount(train.items, minlength=dataset.items)
    fold = _folds(counts, learning.folds, seed)
    if cold_folds:
        for number, one in enumerate(inner):
            fold[np.unique(dataset.interactions.items[one.test])] = number % learning.folds
    own = run.texts(texts)
    with whole_file(folder / "texts.parquet") as partial:
        pl.DataFrame(
            {
                "item_id": dataset.item_ids.names,
                "text": own,
                "plain": run.plain_texts(texts),
                "fold": fold,
            }
        ).write_parquet(partial)
    card: dict[str, Any] = {
        "data": dataset.name,
        "data_sha256": dataset.sha256,
        "synthetic": dataset.synthetic,
        "texts_sha256": texts_sha256(dataset, own),
        "split_sha256": split.sha256(),
        "train_ratings": len(split.train),
        "seed": seed,
        "texts": texts,
        **learning._asdict(),
    }
    of_fold = [
        train.at(np.flatnonzero(fold[train.items] != number)) if learning.folds > 1 else train
        for number in range(learning.folds)
    ]
    if learning.kind is None:
        path, written = folder / "targets.safetensors", _write_targets(run, of_fold, folder)
    else:
        path, written = folder / "pairs.parquet", _write_pairs(run, of_fold, learning, folder)
        likes = train.liked(dataset.feedback)
        with whole_file(folder / "likes.parquet") as partial:
            pl.DataFrame(
                {
                    "user_id": dataset.user_ids[likes.users],
                    "item_id": dataset.item_ids[likes.items],
                }
            ).write_parquet(partial)
    card |= {"examples": written, "examples_sha256": file_sha256(path)}
    write_json(folder / "card.json", card)
    return card


def taught_here(run: RunFolder, card: dict[str, Any]) -> bool:
    """Were training data of this card made from this run's honest texts and split?

    So they are for the other initialisations of a split, which then share an encoder.
    """
    texts = texts_sha256(run.dataset, run.texts("honest"))
    return card.get("texts_sha256") == texts and _is_of(run, card)


def taught_elsewhere(run: RunFolder, card: dict[str, Any]) -> bool:
    """Were they made from another split of this run's data, whose train part is tested here?"""
    return card.get("data_sha256") == run.dataset.sha256 and not _is_of(run, card)


def _is_of(run: RunFolder, card: dict[str, Any]) -> bool:
    own = {_taught(run, validation).sha256() for validation in (True, False)}
    return card.get("data_sha256") == run.dataset.sha256 and card.get("split_sha256") in own


def _taught(run: RunFolder, validation: bool) -> Split:
    """What an encoder may learn from; under `cold-items` its folds keep validation apart."""
    if validation and not run.protocol.rules.cold_items:
        return run.protocol.validation_splits(run.dataset)[0]
    return run.protocol.split


def _write_targets(run: RunFolder, of_fold: list[Interactions], folder: Path) -> int:
    dataset, settings = run.dataset, pmf_settings(settings_of(run, "pmf"))
    shape, parts = (dataset.users, dataset.items), []
    for number, ratings in enumerate(of_fold):
        pairs = training_pairs(ratings, dataset.feedback, settings)
        factors, _ = fit_pmf(pairs, *shape, settings, seed=run.fit_seed)
        counts = np.bincount(ratings.items, minlength=dataset.items)
        parts.append((number, alignment_targets(factors, counts)))
    arrays = {
        "fold": np.concatenate([np.full(len(part.items), k, np.int32) for k, part in parts]),
        "item_ids": np.concatenate([dataset.item_ids[part.items] for _, part in parts]),
        "weights": np.concatenate([part.weights for _, part in parts]),
        "targets": np.concatenate([part.targets for _, part in parts]),
        "features": item_features(dataset.catalogue),
    }
    with whole_file(folder / "targets.safetensors") as partial:
        save_file(arrays, partial)
    return len(arrays["fold"])


def _write_pairs(
    run: RunFolder, of_fold: list[Interactions], learning: Learning, folder: Path
) -> int:
    ids, users, tables = run.dataset.item_ids.names, run.dataset.user_ids.names, []
    assert learning.kind is not None
    for number, ratings in enumerate(of_fold):
        seed = run.protocol.seed + 1000 * number
        pairs = draw_pairs(
            ratings,
            run.dataset.feedback,
            learning.kind,
            learning.per_user,
            seed,
            learning.popularity,
        )
        anchors = [ids[row[row != NONE]].tolist() for row in pairs.anchors]
        negatives = pl.Series(ids[pairs.negatives])
        tables.append(
            pl.DataFrame(
                {
                    "fold": np.full(len(pairs.users), number, np.int32),
                    "user_id": users[pairs.users],
                    "anchors": pl.Series(anchors, dtype=pl.List(pl.Int64)),
                    "positive": ids[pairs.positives],
                    "negative": negatives.set(pl.Series(pairs.negatives == NONE), None),
                }
            )
        )
    with whole_file(folder / "pairs.parquet") as partial:
        pl.concat(tables).write_parquet(partial)
    return sum(map(len, tables))


def _folds(counts: NDArray[np.integer], folds: int, seed: int) -> NDArray[np.int32]:
    """[items] the fold of each item that has ratings, -1 for the others."""
    rated = np.flatnonzero(counts)
    fold = np.full(len(counts), -1, np.int32)
    fold[rated] = np.random.default_rng(seed).permutation(len(rated)) % folds
    return fold
