"""The parts of every row's scores add up to what was ranked, whoever asks."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from jaxrec.data.dataset import Interactions
from jaxrec.errors import InputError
from jaxrec.evaluation.split import Split
from jaxrec.experiment.choices import evidence, settings_of
from jaxrec.experiment.folder import RunFolder
from jaxrec.explanation.parts import Explanation
from jaxrec.models.model import Asking
from jaxrec.models.registry import MODELS, learn
from jaxrec.serving.evaluated import of_run
from jaxrec.serving.fit import model_of_train, servable
from jaxrec.serving.model import FittedModel, Wanted
from jaxrec.serving.strangers import Segments
from tests.serving.test_model import new_item

FACTORS = ("ials", "pmf", "text", "pmf+text")
ROWS = list(MODELS)
PLACED = [name for name in ROWS if MODELS[name].text and MODELS[name].place is not None]
QUICK = {"ials": {"factors": 8, "sweeps": 8}}
"""Fewer sweeps leave users further from where their items would have them than `slack` allows."""


@pytest.fixture(scope="module")
def fused(model: FittedModel) -> FittedModel:
    """With a gate that weighs everything, whatever validation preferred."""
    assert model.fusion is not None
    rng, signals = np.random.default_rng(2), len(model.learned)
    shapes = {"b": (signals, 1), "d": (signals, 3), "h": (3,), "H": (1, 3)}
    weights = {name: rng.normal(0, 0.1, shape).tolist() for name, shape in shapes.items()}
    weights["a"] = rng.uniform(0.2, 1, signals).tolist()
    return replace(model, fusion=model.fusion._replace(weights=weights))


@pytest.fixture(scope="module", params=["hybrid", *ROWS])
def any_model(
    request: pytest.FixtureRequest, measured: RunFolder, fused: FittedModel
) -> FittedModel:
    """Of each row, fitted on everything."""
    row = request.param
    if row == "hybrid":
        return fused
    if (lacks := MODELS[row].lacks) is not None:
        pytest.skip(f"{lacks} is not installed")
    n = len(measured.dataset.interactions.users)
    own = evidence(measured, Split(np.arange(n), np.zeros(0, np.int64)), row)
    settings = settings_of(measured, row) | QUICK.get(row, {})
    learned = {row: learn(row, own, settings)}
    return replace(fused, row=row, settings={row: settings}, learned=learned, fusion=None)


def parts_of(explanation: Explanation, rest: bool) -> NDArray[np.floating]:
    parts = [explanation.of_familiarity]
    for of in explanation.signals:
        parts += [*of.of_known, of.of_item, of.of_mean, *([of.rest] if rest else [])]
    return np.array(parts)


def check(
    model: FittedModel,
    asking: Asking,
    users: NDArray[np.int32] | None = None,
    rest: float = 1e-4,
    segment: str | None = None,
) -> list[Explanation]:
    """Explain the best items of one user; `rest` is what may be unexplained, as a share."""
    lists = model.recommend(asking, Wanted.best(5, len(model.catalogue.ids)), users, segment)
    found = model.explain(asking, lists.items[0], segment)
    assert [of.rank for of in found] == [1, 2, 3, 4, 5]
    assert [of.strange for of in found] == [lists.strange[0]] * 5
    for explanation, score in zip(found, lists.scores[0], strict=True):
        parts = parts_of(explanation, rest=True)
        size = np.abs(parts).sum()
        assert explanation.score == pytest.approx(score, rel=1e-5)
        assert parts.sum() == pytest.approx(score, rel=1e-4, abs=1e-6 * size)
        assert parts_of(explanation, rest=False).sum() == pytest.approx(score, abs=rest * size)
    return found


def slack(model: FittedModel, folded: bool) -> float:
    """Factors are folded in to single precision, and learned in the five sweeps of `quick`."""
    if not set(model.learned) & set(FACTORS):
        return 1e-4
    return 2e-4 if folded else 0.1


def test_of_who_was_trained(any_model: FittedModel) -> None:
    for user in (0, 3, 57):
        one = np.array([user], np.int32)
        check(any_model, any_model.asking(one), one, slack(any_model, False))


def test_of_somebody_new(any_model: FittedModel) -> None:
    found = check(any_model, any_model.somebody(np.array([3, 8, 20])), None, slack(any_model, True))
    assert found[0].known.items.tolist() == [3, 8, 20]


def test_of_who_has_done_more_since(any_model: FittedModel) -> None:
    more = Interactions(
        np.array([0, 0, 1], np.int32), np.array([5, 6, 7], np.int32), np.array([5.0, 4.5, 5.0])
    )
    names = np.array([any_model.user_ids.names[3], 7777])
    after = any_model.with_interactions(names, more)
    for user in after.user_ids.positions(names):
        one = np.array([user], np.int32)
        check(after, after.asking(one), one, slack(after, True))


@pytest.mark.parametrize("any_model", ["hybrid", *PLACED], indirect=True)
def test_of_items_placed_later_and_of_who_has_them(any_model: FittedModel) -> None:
    after = new_item(any_model, int(np.argmax(any_model.item_counts)), 99_999)
    new = np.array([len(after.catalogue.ids) - 1])
    one = np.array([3], np.int32)
    asking = after.asking(one)
    everything = after.recommend(asking, Wanted.best(999, len(after.catalogue.ids)), one)
    place = everything.items[0].tolist().index(new[0])
    (found,) = after.explain(asking, new)
    assert found.rank == 1 + place
    assert found.score == pytest.approx(everything.scores[0, place], rel=1e-4, abs=1e-5)
    whole, size = (of(parts_of(found, rest=False)) for of in (np.sum, lambda p: np.abs(p).sum()))
    assert whole == pytest.approx(found.score, abs=slack(after, False) * size + 1e-6)
    check(after, after.somebody(np.array([3, new[0]])), None, slack(after, True))


def test_an_item_that_a_user_has_is_scored_as_if_that_were_not_known(fused: FittedModel) -> None:
    one = np.array([3], np.int32)
    asking = fused.asking(one)
    has = asking.known.items[:2]
    without = fused.somebody(np.zeros(0, np.int32))._replace(
        known=asking.known.at(np.arange(1, len(asking.known.items)))
    )
    found, _ = fused.explain(asking, has)
    assert has[0] not in found.known.items
    assert found.score == pytest.approx(fused.explain(without, has[:1])[0].score, rel=1e-5)


def test_nothing_known_is_explained_by_what_strangers_get(fused: FittedModel) -> None:
    liked = np.stack([fused.strangers.liked[:, 0], np.arange(200.0)], axis=1).astype(np.float32)
    segments = Segments("country", {"anna": "DE"})
    model = replace(fused, strangers=fused.strangers._replace(liked=liked, segments=segments))
    nobody = model.somebody(np.zeros(0, np.int32))
    found = check(model, nobody)
    assert found[0].row == model.strangers.kind
    (best, *_) = check(model, nobody, segment="DE")
    assert (best.item, best.row, best.signals[0].of_item) == (199, "most liked in DE", 199)


def test_a_user_whose_row_hears_nothing_is_a_stranger(measured: RunFolder) -> None:
    model = model_of_train(measured, servable(measured, "ease"))
    disliked = Interactions(np.zeros(1, np.int32), np.array([3], np.int32), np.array([0.5]))
    asking = model.somebody(np.zeros(0, np.int32))._replace(known=disliked)
    (found,) = model.explain(asking, np.array([7]))
    assert found.strange
    assert found.of_known.tolist() == [0.0]


@pytest.mark.parametrize("row", ["hybrid", "pmf+text", "set", "itemknn"])
def test_an_experiment_s_lists_as_they_were_measured(measured: RunFolder, row: str) -> None:
    model, users = model_of_train(measured, servable(measured, row)), np.array([5], np.int32)
    wanted = Wanted.best(5, measured.dataset.items)
    lists, _ = of_run(measured, users, wanted, row, as_evaluated=True)
    found = model.explain(model.asking(users), lists.items[0])
    assert [of.rank for of in found] == [1, 2, 3, 4, 5]
    assert [of.score for of in found] == pytest.approx(lists.scores[0].tolist(), rel=1e-4)


def test_what_is_not_ranked_is_refused(fused: FittedModel) -> None:
    candidates = fused.candidates.copy()
    candidates[7] = False
    model = replace(fused, candidates=candidates)
    with pytest.raises(InputError, match="is none of the items that are ranked"):
        model.explain(model.somebody(np.array([3])), np.array([7]))
