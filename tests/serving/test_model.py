"""A fitted model: what it never names, what it says of newcomers, new items and strangers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from jaxrec.data.dataset import Interactions
from jaxrec.data.features import item_features
from jaxrec.data.ids import Ids
from jaxrec.errors import InputError
from jaxrec.evaluation.split import Split
from jaxrec.experiment.choices import evidence, settings_of
from jaxrec.experiment.fitting import learned, missing_factors, train_pmf
from jaxrec.experiment.folder import RunFolder
from jaxrec.experiment.rows import lacking, pmf_settings_of, rows_of
from jaxrec.experiment.scoring import score_card
from jaxrec.files import write_json
from jaxrec.models.factorization import user_factors
from jaxrec.models.model import NOBODY, Asking
from jaxrec.models.registry import MODELS, learn
from jaxrec.serving.evaluated import of_run
from jaxrec.serving.fit import choose_row
from jaxrec.serving.model import FittedModel, Pairs, Wanted
from jaxrec.serving.strangers import LATELY, LIKED, of_strangers
from tests.scored import scores_by
from tests.serving.conftest import QUICK, fitted, quick


def anything(model: FittedModel, k: int = 10) -> Wanted:
    return Wanted.best(k, len(model.catalogue.ids))


def named(items: NDArray, users: NDArray, owned: Interactions) -> int:
    """How many places of lists hold what the user has."""
    n = 1 + max(int(items.max()), int(owned.items.max()))
    pairs = users[:, None].astype(np.int64) * n + items
    return int(np.isin(pairs[items >= 0], owned.users.astype(np.int64) * n + owned.items).sum())


@pytest.mark.parametrize(
    "protocol",
    [
        "strict",
        "published",
        "temporal",
        "temporal-user",
        "leave-one-out",
        "cold-items",
        "cold-users",
    ],
)
def test_no_row_of_any_protocol_names_what_a_user_has(
    tmp_path: Path, small: None, protocol: str
) -> None:
    run = quick(tmp_path / "run", protocol)
    for settings in missing_factors(run, {"mf", "pmf"}).values():
        if protocol == "published" or settings.solver != "sequential":
            train_pmf(run, settings._replace(factors=4, sweeps=3))
    users = np.arange(run.dataset.users, dtype=np.int32)
    wanted = Wanted.best(25, run.dataset.items)
    served = 0
    for row in rows_of(run):
        if lacking(run, row) is None:
            found, _ = of_run(run, users, wanted, row.name)
            assert named(found.items, users, run.dataset.interactions) == 0, row.name
            assert (found.items >= 0).any(), row.name
            served += 1
    assert served >= 10


def test_lists_as_evaluated_name_what_was_held_out(measured: RunFolder) -> None:
    users = np.arange(measured.dataset.users, dtype=np.int32)
    wanted = Wanted.best(25, measured.dataset.items)
    found, _ = of_run(measured, users, wanted, "ease", as_evaluated=True)
    split, interactions = measured.protocol.split, measured.dataset.interactions
    assert named(found.items, users, interactions.at(split.train)) == 0
    assert named(found.items, users, interactions.at(split.test)) > 0


@pytest.mark.parametrize("row", ["popularity", "itemknn", "ease", "pmf+text", "set", "hybrid"])
def test_a_model_of_any_row_names_nothing_that_a_user_has(measured: RunFolder, row: str) -> None:
    model = fitted(measured, row)
    assert len(model.known.users) == len(measured.dataset.interactions.users)
    users = np.arange(len(model.user_ids), dtype=np.int32)
    found = model.recommend(model.asking(users), anything(model), users)
    assert named(found.items, users, measured.dataset.interactions) == 0
    assert not found.strange.any()


def test_who_comes_back_is_served_as_trained_and_who_has_done_more_is_folded_in(
    model: FittedModel,
) -> None:
    one = np.array([3], np.int32)
    before = model.recommend(model.asking(one), anything(model), one)
    disliked = before.items[0, 0]
    more = Interactions(np.zeros(1, np.int32), np.array([disliked], np.int32), np.array([1.0]))
    after = model.with_interactions(model.user_ids.names[one], more)
    assert after.trained[3] == NOBODY
    lists = after.recommend(after.asking(one), anything(after), one)
    assert disliked not in lists.items[0]
    others = np.array([4], np.int32)
    np.testing.assert_array_equal(
        model.recommend(model.asking(others), anything(model), others).items,
        after.recommend(after.asking(others), anything(after), others).items,
    )


def test_somebody_new_with_a_user_s_interactions_gets_nearly_that_user_s_list(
    model: FittedModel,
) -> None:
    users = np.arange(20, dtype=np.int32)
    own = model.asking(users)
    trained = model.recommend(own, anything(model), users).items
    newcomer = own._replace(trained=np.full(20, NOBODY, np.int32))
    folded = model.recommend(newcomer, anything(model)).items
    agree = np.mean([np.isin(a, b).mean() for a, b in zip(trained, folded, strict=True)])
    assert agree > 0.9


def test_new_users_are_known_by_what_they_have_done(model: FittedModel) -> None:
    more = Interactions(
        np.array([0, 0, 1], np.int32), np.array([5, 6, 7], np.int32), np.array([5.0, 4.5, 5.0])
    )
    after = model.with_interactions(np.array([7777, 8888]), more)
    users = after.user_ids.positions([7777, 8888])
    found = after.recommend(after.asking(users), anything(after), users)
    assert not found.strange.any()
    assert not np.isin(found.items[0], [5, 6]).any()
    assert (found.items[0] != found.items[1]).any()


def test_a_pair_given_again_has_the_new_value_and_counts_add_up(model: FittedModel) -> None:
    user, item = model.known.users[0], model.known.items[0]
    name = model.user_ids.names[[user]]
    more = Interactions(np.zeros(1, np.int32), np.array([item]), np.array([0.5]))
    for kind, expected in (("stars", 0.5), ("counts", 0.5 + model.known.values[0])):
        feedback = replace(model.feedback, kind=kind)
        known = replace(model, feedback=feedback).with_interactions(name, more).known
        own = (known.users == user) & (known.items == item)
        assert known.values[own].tolist() == [expected]


def test_nothing_known_gives_what_validation_prefers(model: FittedModel) -> None:
    nobody = model.somebody(np.zeros(0, np.int32))
    found = model.recommend(nobody, anything(model))
    assert found.strange.tolist() == [True]
    liked = model.strangers.liked[:, 0]
    assert liked[found.items[0]].tolist() == sorted(liked, reverse=True)[:10]
    assert set(model.strangers.ndcg) == {"most liked", "most liked lately"}
    assert model.strangers.kind == max(model.strangers.ndcg, key=lambda k: model.strangers.ndcg[k])


def test_filters_move_no_score(model: FittedModel) -> None:
    one = np.array([3], np.int32)
    items = len(model.catalogue.ids)
    whole = model.recommend(model.asking(one), anything(model, items), one)
    allowed = np.zeros(items, bool)
    allowed[::3] = True
    some = model.recommend(model.asking(one), anything(model, items)._replace(allowed=allowed), one)
    kept = np.isin(whole.items[0], np.flatnonzero(allowed))
    n = int(kept.sum())
    np.testing.assert_array_equal(some.items[0, :n], whole.items[0][kept])
    np.testing.assert_allclose(some.scores[0, :n], whole.scores[0][kept], rtol=1e-5)
    assert (some.items[0, n:] == NOBODY).all()


def test_a_pair_set_apart_is_named_to_nobody_but_others_and_moves_no_score(
    model: FittedModel,
) -> None:
    users = np.array([3, 4], np.int32)
    asking = model.asking(users)
    items, scores, _ = model.recommend(asking, anything(model), users)
    apart = Pairs(np.array([3, 3], np.int32), items[0, [0, 2]])
    found = model.recommend(asking, anything(model)._replace(apart=apart), users)
    np.testing.assert_array_equal(found.items[1], items[1])
    np.testing.assert_array_equal(found.items[0, :8], items[0, [1, *range(3, 10)]])
    np.testing.assert_allclose(found.scores[0, :8], scores[0, [1, *range(3, 10)]], rtol=1e-6)
    assert (found.items[0] >= 0).all()


def new_item(model: FittedModel, like: int, name: int) -> FittedModel:
    """With one item more, described as another one is."""
    assert model.E is not None
    table = model.catalogue.table[[like]]
    catalogue = replace(model.catalogue, ids=Ids([name], "item"), table=table)
    return model.with_items(catalogue, model.E[[like]])


def test_a_new_item_goes_where_its_features_say(model: FittedModel) -> None:
    """Two new items that are described alike score alike, and there is a place for them."""
    first = int(np.argmax(model.item_counts))
    twice = new_item(new_item(model, first, 99_998), first, 99_999)
    users = np.arange(30, dtype=np.int32)
    scores = scores_by(twice.scorer(twice.asking(users)), users, len(twice.catalogue.ids))
    np.testing.assert_allclose(scores[:, -1], scores[:, -2], rtol=1e-4, atol=1e-4)
    assert np.ptp(scores[:, -1]) > 0
    ranked = twice.recommend(twice.asking(users), anything(twice, 202), users).items
    assert (ranked == 201).any(axis=1).all()


def test_an_item_of_which_pmf_knew_only_the_features_is_placed_where_it_was(
    tmp_path: Path, small: None
) -> None:
    """V of an item without interactions is W^T e, whether it was there or comes later."""
    run = quick(tmp_path / "run", "cold-items")
    arrays, settings = learned(run, "pmf+text"), MODELS["pmf+text"].settings | QUICK
    cold = np.flatnonzero(arrays["rated"] == 0)
    E, place = run.read_embeddings("some").E, MODELS["pmf+text"].place
    assert place is not None
    features = item_features(run.dataset.catalogue, E, settings["metadata"])
    placed = place(arrays, features[cold], settings)["V"][-len(cold) :]
    np.testing.assert_allclose(placed, arrays["V"][cold], rtol=1e-3, atol=1e-4)


def test_an_item_nobody_has_is_where_the_set_model_would_place_it_later(
    tmp_path: Path, small: None
) -> None:
    run = quick(tmp_path / "run", "cold-items")
    arrays, place = learned(run, "set"), MODELS["set"].place
    train = run.dataset.interactions.at(run.protocol.split.train)
    cold = np.setdiff1d(np.arange(run.dataset.items), train.items)
    assert place is not None
    features = item_features(run.dataset.catalogue, run.read_embeddings("some").E, 1.0)
    placed = place(arrays, features[cold], MODELS["set"].settings)
    for name in ("inward", "right"):
        np.testing.assert_allclose(
            placed[name][-len(cold) :], arrays[name][cold], rtol=1e-3, atol=1e-4
        )
    assert np.ptp(arrays["right"][cold], axis=0).all()


def test_a_row_without_texts_places_no_item(measured: RunFolder) -> None:
    model = fitted(measured, "itemknn")
    with pytest.raises(InputError, match="row itemknn reads no texts, and cannot place items"):
        model.with_items(model.catalogue, None)


def test_similar_items_are_near_in_every_space(model: FittedModel) -> None:
    found = model.similar(3, 5)
    assert {"pmf+text", "texts"} <= set(found)
    assert model.E is not None
    cosines = model.E @ model.E[3]
    cosines[3] = -2
    assert found["texts"].items[0].tolist() == np.argsort(-cosines)[:5].tolist()


def test_what_an_index_finds_is_ranked_as_the_whole_would_be(model: FittedModel) -> None:
    users = np.arange(30, dtype=np.int32)
    asking = model.asking(users)
    lists = model.recommend(asking, anything(model, 50), users)
    there = lists.items >= 0
    found = model.reranked(asking, np.maximum(lists.items, 0))
    np.testing.assert_allclose(found[there], lists.scores[there], rtol=1e-3, atol=1e-3)


def test_a_row_that_was_not_measured_is_refused_with_the_command(measured: RunFolder) -> None:
    with pytest.raises(InputError, match="no figures of row rp3beta; run `jaxrec eval --run"):
        choose_row(measured, "rp3beta")


def test_the_command_names_a_row_that_is_there_when_named(measured: RunFolder) -> None:
    with pytest.raises(InputError, match=r"no figures of row sparse-ease; .* --row sparse-ease`"):
        choose_row(measured, "sparse-ease")


def test_figures_of_other_settings_are_refused(tmp_path: Path, small: None) -> None:
    run = quick(tmp_path / "run")
    with pytest.raises(InputError, match="has measured nothing that a model is chosen by"):
        choose_row(run, None)
    score_card(run, only=("popularity", "ease"))
    assert choose_row(run, None)[0].name == "ease"
    write_json(run.tuned_path("ease"), {"settings": {"lambda_": 3.0}})
    with pytest.raises(InputError, match="the figures of row ease are of other settings"):
        choose_row(run, "ease")


def test_a_model_has_learned_of_everything(measured: RunFolder) -> None:
    """And so otherwise than the experiment has, of its train part."""
    n = len(measured.dataset.interactions.users)
    everything = Split(np.arange(n), np.zeros(0, np.int64))
    for row in ("ease", "pmf+text"):
        own = evidence(measured, everything, row)
        settings = settings_of(measured, row)
        expected, found = learn(row, own, settings), fitted(measured, row).learned[row]
        of_train = learned(measured, row)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
        name = "V" if row == "pmf+text" else next(iter(expected))
        assert np.abs(found[name] - of_train[name]).max() > 1e-3


def test_who_is_folded_in_is_at_the_minimum_over_the_items_that_were_rated(
    measured: RunFolder,
) -> None:
    arrays, settings = learned(measured, "pmf"), pmf_settings_of(measured)
    items = len(arrays["V"])
    V, rated = arrays["V"].astype(np.float64), np.arange(items) % 3 > 0
    known = Interactions(np.zeros(2, np.int32), np.array([4, 7], np.int32), np.array([5.0, 2.0]))
    asking = Asking(known, np.array([NOBODY], np.int32), measured.dataset.feedback)
    found = user_factors(arrays | {"rated": rated.astype(np.uint8)}, asking, settings)[0]
    t = measured.dataset.feedback.graded(known.values)
    ridge = settings.lambda_ * (2 + settings.w0 * items) ** settings.nu
    own, all_pairs = V[[4, 7]], settings.w0 * V[rated].T @ V[rated]
    system = own.T @ own + all_pairs + ridge * np.eye(V.shape[1])
    np.testing.assert_allclose(found, np.linalg.solve(system, own.T @ t), rtol=1e-3, atol=1e-5)


def test_who_is_known_by_nothing_that_a_row_hears_is_a_stranger_to_it(
    measured: RunFolder,
) -> None:
    """Row ease learns what is liked; somebody who dislikes one film says nothing to it."""
    model = fitted(measured, "ease")
    disliked = Interactions(np.zeros(1, np.int32), np.array([3], np.int32), np.array([0.5]))
    asking = Asking(disliked, np.array([NOBODY], np.int32), model.feedback)
    found = model.recommend(asking, anything(model))
    assert found.strange.tolist() == [True]
    assert (found.scores[0] > 0).all()
    assert 3 not in found.items[0]


def test_times_stay_where_new_interactions_have_none(model: FittedModel) -> None:
    more = Interactions(np.zeros(2, np.int32), np.array([3, 3], np.int32), np.array([5.0, 4.0]))
    after = model.with_interactions(np.array([7777]), more)
    assert after.known.times is not None
    assert model.known.times is not None
    assert after.known.times[:-1].tolist() == model.known.times.tolist()
    assert after.known.times[-1] == model.known.times.max()
    assert after.known.values[-1] == 4.0  # of a pair given twice the last
    assert len(after.known.users) == len(model.known.users) + 1


def test_strangers_are_judged_on_train_and_served_of_everything(measured: RunFolder) -> None:
    data, split = measured.dataset, measured.protocol.split
    everything = np.arange(len(data.interactions.users))
    found = of_strangers(data, split.train, everything, 1)
    times = data.interactions.times
    assert times is not None
    late = np.flatnonzero(times >= np.quantile(times.astype(float), 0.8))
    counted = {LIKED: everything, LATELY: late}[found.kind]
    likes = data.interactions.at(counted).liked(data.feedback).items
    np.testing.assert_array_equal(found.liked[:, 0], np.bincount(likes, minlength=data.items))
    values = data.interactions.values.copy()
    values[split.test] = np.random.default_rng(0).permutation(values[split.test])
    scrambled = replace(data, interactions=data.interactions._replace(values=values))
    assert of_strangers(scrambled, split.train, everything, 1).ndcg == found.ndcg


def test_rows_are_judged_with_the_settings_they_are_fitted_with(
    tmp_path: Path, small: None
) -> None:
    run = quick(tmp_path / "run")
    train_pmf(run, pmf_settings_of(run)._replace(factors=1, sweeps=1))
    score_card(run, only=("popularity", "pmf"))
    row, _ = choose_row(run, None)
    model = fitted(run, row.name)
    assert row.name == "popularity" or model.settings["pmf"]["factors"] == 1
    write_json(run.tuned_path("pmf"), {"settings": QUICK | {"factors": 3}})
    before = run.factors_path("pmf").read_bytes()
    fitted(run, "pmf")  # factors that were asked for stay, with their figures
    assert run.factors_path("pmf").read_bytes() == before


def test_figures_of_factors_that_are_stale_are_refused(tmp_path: Path, small: None) -> None:
    run = quick(tmp_path / "run")
    train_pmf(run, pmf_settings_of(run))
    score_card(run, only=("popularity", "pmf"))
    write_json(run.tuned_path("pmf"), {"settings": QUICK | {"factors": 3}})
    before = run.factors_path("pmf").read_bytes()
    with pytest.raises(InputError, match="the figures of row pmf are of other settings"):
        choose_row(run, "pmf")
    assert run.factors_path("pmf").read_bytes() == before
