"""What reaches an encoder's training, and what must not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from jaxrec.files import write_json
from jaxrec.protocol import validation_splits
from jaxrec.run_folder import RunFolder, open_run
from jaxrec.training_data import Learning, write_training_data
from torch_embed.errors import InputError
from torch_embed.training_files import read_training

pytestmark = pytest.mark.timeout(180)

CASES = [
    (protocol, kind, folds)
    for protocol in ("strict", "temporal", "cold-items", "cold-users")
    for kind, folds in (("liked", 1), ("profile", 3), (None, 3), (None, 1))
]


def opened(path: Path, protocol: str) -> RunFolder:
    run = open_run(path, "synthetic", protocol, seed=1)
    write_json(run.tuned_path("pmf"), {"settings": {"factors": 8, "sweeps": 5}})
    return run


@pytest.mark.parametrize(("protocol", "kind", "folds"), CASES)
def test_no_held_out_rating_reaches_the_training(
    tmp_path: Path, protocol: str, kind: str | None, folds: int
) -> None:
    """Shuffle the stars of what is held out: the files stay byte by byte."""
    run = opened(tmp_path / "run", protocol)
    learning = Learning(kind, per_user=3, popularity=0.5, folds=folds)

    def written(run: RunFolder, name: str) -> dict[str, bytes]:
        folder = tmp_path / name
        write_training_data(run, folder, "honest", learning)
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    before = written(run, "before")
    held = [run.protocol.split.test]
    if not (protocol == "cold-items" and folds > 1):  # there the folds keep validation apart
        held.append(validation_splits(run.dataset, run.protocol)[0].test)
    positions = np.concatenate(held)
    ratings = run.dataset.ratings
    ratings = ratings._replace(stars=ratings.stars.copy())
    ratings.stars[positions] = np.random.default_rng(0).permutation(ratings.stars[positions])
    assert (ratings.stars != run.dataset.ratings.stars).any()
    assert written(replace(run, dataset=replace(run.dataset, ratings=ratings)), "after") == before


def test_no_pair_holds_a_rating_that_is_held_out(tmp_path: Path) -> None:
    run = opened(tmp_path / "run", "strict")
    write_training_data(run, tmp_path / "data", "honest", Learning("disliked", per_user=5))
    dataset, inner = run.dataset, validation_splits(run.dataset, run.protocol)[0]
    known = dataset.ratings.at(inner.train)
    rated = set(
        zip(
            dataset.user_ids[known.users].tolist(),
            dataset.item_ids[known.items].tolist(),
            strict=True,
        )
    )
    pairs = pl.read_parquet(tmp_path / "data" / "pairs.parquet")
    likes = pl.read_parquet(tmp_path / "data" / "likes.parquet")
    assert len(pairs)
    for user, anchors, positive, negative in pairs.iter_rows():
        assert {(user, item) for item in (*anchors, positive, negative)} <= rated
    assert set(likes.iter_rows()) <= rated


def test_folds_of_cold_items_are_the_inner_folds(tmp_path: Path) -> None:
    """So an inner cold item is embedded by a model that knows nothing of it."""
    run = opened(tmp_path / "run", "cold-items")
    write_training_data(run, tmp_path / "data", "honest", Learning(None, folds=3))
    training = read_training(tmp_path / "data")
    for number, inner in enumerate(validation_splits(run.dataset, run.protocol)):
        cold = np.unique(run.dataset.ratings.items[inner.test])
        assert set(training.fold[cold]) == {number % 3}
    assert (training.fold[np.unique(run.dataset.ratings.items[run.protocol.split.test])] < 0).all()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    run = opened(tmp_path / "run", "strict")
    card = write_training_data(run, tmp_path / "data", "honest", Learning("profile", per_user=2))
    training = read_training(tmp_path / "data")
    assert training.texts == run.texts("honest")
    assert training.pairs is not None
    assert card["pairs"] == len(training.pairs.users)
    table = pl.read_parquet(tmp_path / "data" / "pairs.parquet")
    ids = run.dataset.item_ids
    for row in range(5):
        own = training.pairs.anchors[row]
        assert ids[own[own >= 0]].tolist() == table["anchors"][row].to_list()
        assert ids[training.pairs.negatives[row]] == table["negative"][row]


def test_damaged_training_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"card\.json: no such file; `jaxrec embed --finetune`"):
        read_training(tmp_path)
    run = opened(tmp_path / "run", "strict")
    write_training_data(run, tmp_path, "honest", Learning("liked", per_user=2))
    texts = pl.read_parquet(tmp_path / "texts.parquet")
    texts[: len(texts) // 2].write_parquet(tmp_path / "texts.parquet")
    with pytest.raises(InputError, match="which has no text"):
        read_training(tmp_path)
    (tmp_path / "pairs.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="damaged"):
        read_training(tmp_path)
