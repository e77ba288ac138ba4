"""What comes to a model from outside: tables of interactions, items, wishes, segments."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from jaxrec.data.ids import Ids
from jaxrec.errors import InputError
from jaxrec.experiment.folder import RunFolder
from jaxrec.serving.additions import new_items, read_segments, wishes, with_interactions
from jaxrec.serving.lists import FORMATS, as_table, for_everybody, write_table
from jaxrec.serving.model import FittedModel, Lists
from jaxrec.serving.strangers import Segments, of_strangers
from jaxrec.sources.synthetic import films
from tests.serving.test_model import anything


def test_interactions_of_known_and_new_users_are_read(model: FittedModel, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("user,item,rating\n1,5,4.5\n900,5,5.0\n900,7,4.0\n901,424242,5.0\n")
    after, said = with_interactions(model, path)
    assert after.user_ids.find([900, 901]).tolist() == [100, -1]
    own = after.known.at(np.flatnonzero(after.known.users == 100))
    assert model.catalogue.ids[own.items].tolist() == [5, 7]
    assert own.values.tolist() == [5.0, 4.0]
    assert any("1 interactions with 1 items that the model does not know" in line for line in said)
    assert "3 interactions of 1 known and 1 new users, folded in" in said[-1]


def test_interactions_without_ratings_are_just_liked(model: FittedModel, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("user,item\n900,5\n900,7\n")
    after, said = with_interactions(model, path)
    own = after.known.at(np.flatnonzero(after.known.users == 100))
    assert own.values.tolist() == [model.feedback.liked_from] * 2
    assert any("every interaction counts as just liked" in line for line in said)


def test_the_core_of_a_description_is_of_what_was_fitted(
    model: FittedModel, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text("user,item,rating\n900,5,5.0\n900,7,4.0\n")
    table = '[interactions]\nfiles = "new.csv"\nuser = "user"\nitem = "item"\nvalue = "rating"\n'
    (tmp_path / "dataset.toml").write_text(f"core = 5\n{table}")
    _, said = with_interactions(model, tmp_path / "dataset.toml")
    assert "2 interactions of 0 known and 1 new users, folded in" in said[-1]


def test_interactions_with_items_of_another_shop_are_refused(
    model: FittedModel, tmp_path: Path
) -> None:
    path = tmp_path / "new.csv"
    path.write_text("user,item,rating\n1,a,4.5\n1,b,4.5\n")
    with pytest.raises(InputError, match="none of its items is one of the model's"):
        with_interactions(model, path)


def test_new_items_are_read_as_the_first_were(model: FittedModel, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text(
        "movieId,title,genres\n1,The First (1999),Drama\n9001,New Wolf (1999),Drama|Crime\n"
    )
    catalogue, said = new_items(model, path)
    assert catalogue.ids.names.tolist() == [9001]
    assert catalogue.table["genres"].to_list() == [["Drama", "Crime"]]
    assert catalogue.table["year"].to_list() == [1999.0]
    assert said == [f"{path}: 1 items are in the model already, and stay as they are"]


def test_items_that_are_all_there_stay_as_they_are(model: FittedModel, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("movieId,title,genres\n1,The First (1999),Drama\n")
    catalogue, said = new_items(model, path)
    assert len(catalogue.ids) == 0
    path.write_text("movieId,title,genres\n")
    with pytest.raises(InputError, match="has no rows"):
        new_items(model, path)
    assert said == [f"{path}: 1 items are in the model already, and stay as they are"]


@pytest.mark.parametrize("content", ["5\n7\n", "item\n5\n7\n", "shelf,movieId\na,5\nb,7\n"])
def test_only_names_items(model: FittedModel, tmp_path: Path, content: str) -> None:
    path = tmp_path / "only.csv"
    path.write_text(content)
    wanted, _ = wishes(model.user_ids, model.catalogue.ids, 5, path, None)
    assert model.catalogue.ids[np.flatnonzero(wanted.allowed)].tolist() == [5, 7]


def test_exclude_names_items_or_pairs(model: FittedModel, tmp_path: Path) -> None:
    path = tmp_path / "exclude.csv"
    path.write_text("item\n5\n")
    wanted, _ = wishes(model.user_ids, model.catalogue.ids, 5, None, path)
    assert model.catalogue.ids[np.flatnonzero(~wanted.allowed)].tolist() == [5]
    path.write_text("user_id,item_id\n2,5\n4711,6\n")
    wanted, said = wishes(model.user_ids, model.catalogue.ids, 5, None, path)
    assert wanted.allowed.all()
    assert (wanted.apart.users.tolist(), wanted.apart.items.tolist()) == ([1], [4])
    assert said == [f"{path}: 1 rows of nobody or nothing that is known"]
    path.write_text("2,5\n4711,6\n")  # without a header
    wanted, _ = wishes(model.user_ids, model.catalogue.ids, 5, None, path)
    assert (wanted.apart.users.tolist(), wanted.apart.items.tolist()) == ([1], [4])
    wanted, said = wishes(model.user_ids, model.catalogue.ids, 5, None, path, user="4711")
    assert (np.flatnonzero(~wanted.allowed).tolist(), said) == ([5], [])


def test_wishes_that_name_nothing_are_refused(model: FittedModel, tmp_path: Path) -> None:
    path = tmp_path / "only.csv"
    path.write_text("item\nx\ny\n")
    with pytest.raises(InputError, match="names no item that is known"):
        wishes(model.user_ids, model.catalogue.ids, 5, path, None)


def test_segments_are_users_and_one_more_column(tmp_path: Path) -> None:
    path, ids = tmp_path / "users.csv", Ids([1, 2, 3], "user")
    path.write_text("country,user_id\nDE,1\nFR,2\n")
    assert read_segments(path, ids) == Segments("country", {"1": "DE", "2": "FR"})
    path.write_text("country,user_id,age\nDE,1,30\nFR,2,20\n")
    with pytest.raises(InputError, match="3 columns; give a user and a segment"):
        read_segments(path, ids)


@pytest.mark.parametrize("again", ["DE", "FR"])
def test_a_user_in_two_rows_of_segments_is_refused(tmp_path: Path, again: str) -> None:
    path, ids = tmp_path / "users.csv", Ids([1, 2], "user")
    path.write_text(f"country,user_id\nDE,1\n\n,1\nFR,2\n{again},1\n")
    told = f"{path}, line 6: user '1' stands in {path}, line 2 already; give each user once"
    with pytest.raises(InputError, match=re.escape(told)):
        read_segments(path, ids)


def test_a_stranger_gets_what_her_segment_likes_where_validation_prefers_it(
    measured: RunFolder,
) -> None:
    """Users who share their segment with those of like taste, and users in segments at random."""
    data = measured.dataset
    liked = data.interactions.liked(data.feedback)
    even = np.bincount(liked.users[liked.items % 2 == 0], minlength=data.users)
    odd = np.bincount(liked.users[liked.items % 2 == 1], minlength=data.users)
    kept = liked.items % 2 == (odd > even)[liked.users]
    apart = data.interactions.at(
        np.flatnonzero(data.interactions.items % 2 == (odd > even)[data.interactions.users])
    )
    assert kept.any()
    divided = replace(data, interactions=apart)
    everything = np.arange(len(apart.users))
    names = [str(name) for name in data.user_ids.names]
    told = Segments("side", dict(zip(names, np.where(odd > even, "odd", "even"), strict=True)))
    found = of_strangers(divided, everything, everything, 1, told)
    assert found.liked.shape[1] == 3
    scores = found.scorer(1, "odd").right
    assert np.asarray(scores)[:, 0].argmax() % 2 == 1
    drawn = np.random.default_rng(0).permutation(list(told.of.values()))
    noise = Segments("noise", dict(zip(names, drawn.tolist(), strict=True)))
    assert of_strangers(divided, everything, everything, 1, noise).liked.shape[1] == 1
    assert found.in_words("odd").startswith("most liked in odd (NDCG@25")
    assert "of segment XX nothing is known" in found.in_words("XX")
    assert "of segment odd nothing is known" in found._replace(segments=None).in_words("odd")


def test_lists_are_written_as_the_suffix_says(model: FittedModel, tmp_path: Path) -> None:
    tables = list(for_everybody(model, anything(model, 3), memory=2**20))
    readers: list[Any] = [pl.read_csv, pl.read_parquet, pl.read_ndjson]
    for suffix, read in zip(FORMATS, readers, strict=True):
        out = tmp_path / f"recs{suffix}"
        told = write_table(out, tables, "synthetic")
        assert told == "291 rows for 97 users"  # three have every item there is
        found = read(out)
        assert found["item_id"].to_list() == pl.concat(tables)["item_id"].to_list()
        assert found.columns == ["user_id", "rank", "item_id", "title", "score"]
    with pytest.raises(InputError, match=r"the suffix says the format, one of \.csv"):
        write_table(tmp_path / "recs.xlsx", tables, "synthetic")


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", '=HYPERLINK("http://x.example","a, b")']


def test_titles_and_ids_that_a_spreadsheet_would_run_are_written_as_they_are(
    tmp_path: Path,
) -> None:
    """Escaped they would be other ids, which no join finds; see docs/kept.md."""
    catalogue = films(FORMULAS, FORMULAS, ["Drama"] * len(FORMULAS))
    found = Lists(np.arange(6, dtype=np.int32)[None], np.ones((1, 6)), np.zeros(1, bool))
    table = as_table(catalogue, np.array(["=me"]), found)
    for suffix, read in (
        (".csv", partial(pl.read_csv, infer_schema=False)),
        (".parquet", pl.read_parquet),
        (".jsonl", pl.read_ndjson),
    ):
        write_table(tmp_path / f"recs{suffix}", [table], "synthetic")
        back = read(tmp_path / f"recs{suffix}")
        assert back["item_id"].to_list() == back["title"].to_list() == FORMULAS
        assert back["user_id"].to_list() == ["=me"] * len(FORMULAS)


NAMED = Ids([f"SKU-{n}" for n in range(9)], "item"), Ids([f"c-{n}" for n in range(9)], "user")


@pytest.mark.parametrize("content", ["SKU-1\n", "SKU-1\nSKU-1\n", "thing\nSKU-1\n", "SKU-1,Pan\n"])
def test_a_name_that_is_known_is_no_header(tmp_path: Path, content: str) -> None:
    items, users = NAMED
    path = tmp_path / "exclude.csv"
    path.write_text(content)
    wanted, _ = wishes(users, items, 5, None, path)
    assert np.flatnonzero(~wanted.allowed).tolist() == [1]


@pytest.mark.parametrize("content", ["c-2,SKU-1\n", "a,b\nc-2,SKU-1\n", "b,a\nSKU-1,c-2\n"])
def test_pairs_are_told_by_what_they_hold(tmp_path: Path, content: str) -> None:
    items, users = NAMED
    path = tmp_path / "exclude.csv"
    path.write_text(content)
    wanted, _ = wishes(users, items, 5, None, path)
    assert wanted.allowed.all()
    assert (wanted.apart.users.tolist(), wanted.apart.items.tolist()) == ([2], [1])
    with pytest.raises(InputError, match="--only takes items, for everybody"):
        wishes(users, items, 5, path, None)


def test_columns_that_could_be_either_are_asked_for(tmp_path: Path) -> None:
    ids, path = Ids(range(9), "item"), tmp_path / "exclude.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="which column is the item"):
        wishes(Ids(range(9), "user"), ids, 5, None, path)


def test_a_list_of_nothing_excludes_nothing(tmp_path: Path) -> None:
    items, users = NAMED
    path = tmp_path / "exclude.csv"
    path.write_text("item\n")
    assert wishes(users, items, 5, None, path)[0].allowed.all()
    with pytest.raises(InputError, match="names no item that is known"):
        wishes(users, items, 5, path, None)


def test_no_list_is_longer_than_the_catalogue(model: FittedModel) -> None:
    wanted, _ = wishes(model.user_ids, model.catalogue.ids, 10**12, None, None)
    assert wanted.k == len(model.catalogue.ids)
    assert {found.items.shape[1] for found in model.similar(0, 10**12).values()} == {wanted.k}


def test_an_id_that_is_no_number_is_named(model: FittedModel, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("movieId,title,genres\n900,One,\n0901,Two,\n902,Three,\n")
    with pytest.raises(InputError, match="movieId holds text, as '0901', and the items of the"):
        new_items(model, path)
