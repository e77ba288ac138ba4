"""The border with torch_embed's fine-tuning: a folder of texts, pairs, likes and targets.

texts.parquet    item_id, text, plain (the text without tags), fold (-1 for an item without ratings)
pairs.parquet    user_id, anchors (list of item_id), positive, negative (null where there is none)
likes.parquet    user_id, item_id: what each user likes, to tell false negatives
targets.safetensors   item_ids [n], targets [n, factors], weights [n]; features [items, m]
card.json        counts, seeds and hashes
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import save_file

from jaxrec.alignment import alignment_targets
from jaxrec.factors import Factors
from jaxrec.features import item_features
from jaxrec.files import whole_file, write_json
from jaxrec.fitting import known, settings_of
from jaxrec.models import fit
from jaxrec.pairs import NONE, draw_pairs
from jaxrec.protocol import validation_splits
from jaxrec.run_folder import RunFolder
from jaxrec.texts import texts_sha256
from jaxrec.topk import Product


class Learning(NamedTuple):
    """What an encoder is to learn from."""

    kind: str | None
    """Of pairs (see `jaxrec.pairs`), or None for the targets of alignment."""
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

    Validation is kept out; not under `cold-items` with folds, for there the inner cold folds are
    the folds: an item's text is embedded by a model that has seen none of its ratings.

    Returns:
        The card.
    """
    dataset, seed = run.dataset, run.protocol.seed
    inner = validation_splits(dataset, run.protocol)
    cold_folds = run.protocol.name == "cold-items" and learning.folds > 1
    split = inner[0] if learning.validation and not cold_folds else run.protocol.split
    train = dataset.ratings.at(split.train)
    counts = np.bincount(train.items, minlength=dataset.items)
    fold = _folds(counts, learning.folds, seed)
    if cold_folds:
        for number, one in enumerate(inner):
            fold[np.unique(dataset.ratings.items[one.test])] = number % learning.folds
    own = run.texts(texts)
    with whole_file(folder / "texts.parquet") as partial:
        pl.DataFrame(
            {
                "item_id": dataset.item_ids,
                "text": own,
                "plain": run.plain_texts(texts),
                "fold": fold,
            }
        ).write_parquet(partial)
    card: dict[str, Any] = {
        "data": dataset.name,
        "synthetic": dataset.synthetic,
        "texts_sha256": texts_sha256(dataset, own),
        "split_sha256": split.sha256(),
        "train_ratings": len(split.train),
        "seed": seed,
        "texts": texts,
        **learning._asdict(),
    }
    if learning.kind is None:
        model = fit("pmf", known(run, split)._replace(E=None), settings_of(run, "pmf"))
        assert isinstance(model, Product)
        found = alignment_targets(Factors(np.asarray(model.left), np.asarray(model.right)), counts)
        with whole_file(folder / "targets.safetensors") as partial:
            save_file(
                {
                    "item_ids": dataset.item_ids[found.items],
                    "targets": found.targets,
                    "weights": found.weights,
                    "features": item_features(dataset),
                },
                partial,
            )
        card |= {"targets": len(found.items)}
    else:
        pairs = draw_pairs(train, learning.kind, learning.per_user, seed, learning.popularity)
        anchors = [dataset.item_ids[row[row != NONE]].tolist() for row in pairs.anchors]
        negatives = pl.Series(dataset.item_ids[pairs.negatives])
        with whole_file(folder / "pairs.parquet") as partial:
            pl.DataFrame(
                {
                    "user_id": dataset.user_ids[pairs.users],
                    "anchors": pl.Series(anchors, dtype=pl.List(pl.Int64)),
                    "positive": dataset.item_ids[pairs.positives],
                    "negative": negatives.set(pl.Series(pairs.negatives == NONE), None),
                }
            ).write_parquet(partial)
        likes = train.liked
        with whole_file(folder / "likes.parquet") as partial:
            pl.DataFrame(
                {
                    "user_id": dataset.user_ids[likes.users],
                    "item_id": dataset.item_ids[likes.items],
                }
            ).write_parquet(partial)
        card |= {"pairs": len(pairs.users), "users": len(np.unique(pairs.users))}
    write_json(folder / "card.json", card)
    return card


def _folds(counts: NDArray[np.integer], folds: int, seed: int) -> NDArray[np.int32]:
    """[items] the fold of each item that has ratings, -1 for the others."""
    rated = np.flatnonzero(counts)
    fold = np.full(len(counts), -1, np.int32)
    fold[rated] = np.random.default_rng(seed).permutation(len(rated)) % folds
    return fold
