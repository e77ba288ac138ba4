"""The rows of the score card that are learned from ratings and texts: how, from what, with what.

| row           | what it is                                                               |
|---------------|--------------------------------------------------------------------------|
| `popularity`  | the most liked items                                                     |
| `itemknn`     | cosine neighbours of items                                               |
| `rp3beta`     | random walks with a popularity penalty                                   |
| `ease`, `ease-graded` | linear item-item weights, of liked or of all ratings               |
| `ease+text`, `ease-graded+text` | the same with the item features as further rows          |
| `ials`        | irspack's iALS with item features, if irspack is installed               |
| `pmf`         | all-pairs PMF, no text                                                   |
| `text`        | U_u . W^T e_i: the factors of `pmf` and the ridge map of text to its V    |
| `pmf+text`    | all-pairs PMF whose item factors have the prior mean W^T e_i             |
"""

from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from jaxrec.data.dataset import Dataset, Ratings
from jaxrec.data.features import item_features
from jaxrec.evaluation.split import Split
from jaxrec.fusion.published import mf_scorer
from jaxrec.models.baselines import ease, interactions, item_neighbours, popularity, random_walks
from jaxrec.pmf.factors import Factors
from jaxrec.pmf.fit import PmfSettings, fit_pmf, fold_in
from jaxrec.topk.ranking import Product, Table

Settings = dict[str, Any]

KEPT = 8
"""Fits of PMF without text that are remembered: `text` and `pmf` share them, and so do the trials
of a search that moves other settings."""
_plain: dict[tuple, Factors] = {}


class Known(NamedTuple):
    """All that a model may learn from."""

    dataset: Dataset
    split: Split
    """Learned from `train`, asked by the users of `train` and `given`; `test` is not touched."""
    E: NDArray[np.float32] | None
    """[items, dim] embeddings of texts that hold nothing of the held-out part."""
    seed: int


class Range(NamedTuple):
    """Where a setting is searched."""

    low: float
    high: float
    log: bool = True

    @property
    def whole(self) -> bool:
        """Only whole numbers?"""
        return isinstance(self.low, int)


class Model(NamedTuple):
    """A row that is learned."""

    label: str
    fit: Callable[[Known, Settings], Product | Table]
    settings: Settings
    """Of the best that `jaxrec run --seeds 5 --trials 15` found on validation."""
    space: dict[str, Range | tuple]
    """Where `jaxrec tune` looks."""
    text: bool = False
    """Does it read texts?"""
    needs: str | None = None
    """A package that may be absent."""


def fit(name: str, known: Known, settings: Settings | None = None) -> Product | Table:
    """Fit a row; settings that are not given are the defaults."""
    model = MODELS[name]
    return model.fit(known, model.settings | (settings or {}))


def missing(name: str) -> str | None:
    """The package that a row lacks, if it lacks one."""
    package = MODELS[name].needs
    return package if package is not None and find_spec(package) is None else None


def pmf_settings(settings: Settings) -> PmfSettings:
    """Those among a row's settings that are PMF's."""
    return PmfSettings(
        **{key: value for key, value in settings.items() if key in PmfSettings._fields}
    )


def features(known: Known, settings: Settings) -> NDArray[np.float32]:
    """[items, features] of embeddings, year and genres, weighted by the row's settings."""
    return item_features(known.dataset, known.E, settings["metadata"])


def _pmf_factors(known: Known, settings: Settings, E: NDArray[np.float32] | None) -> Factors:
    """Factors learned from train; users who are given are folded in."""
    ratings, how = known.dataset.ratings, pmf_settings(settings)
    shape = known.dataset.users, known.dataset.items
    factors, _ = fit_pmf(
        ratings.at(known.split.train), *shape, how, seed=known.seed, item_features=E
    )
    rated = np.bincount(ratings.items[known.split.train], minlength=shape[1]) > 0
    return with_given(factors, ratings.at(known.split.given), how, rated)


def with_given(
    factors: Factors, given: Ratings, settings: PmfSettings, rated: NDArray[np.bool_]
) -> Factors:
    """Factors with the users of `given` ratings folded in; `rated` [items] were trained on."""
    new = np.unique(given.users)
    if not len(new):
        return factors
    U = factors.U.copy()
    U[new] = fold_in(given, len(U), factors, settings, paired=rated)[new]
    return Factors(U, factors.V)


def _plain_factors(known: Known, settings: Settings) -> Factors:
    """`_pmf_factors` without text; of the same data and settings fitted once."""
    data, split = known.dataset.sha256, known.split.sha256()
    key = data, split, known.seed, pmf_settings(settings)
    if key not in _plain:
        while len(_plain) >= KEPT:
            _plain.pop(next(iter(_plain)))
        _plain[key] = _pmf_factors(known, settings, None)
    return _plain[key]


def _pmf(known: Known, settings: Settings) -> Product:
    return mf_scorer(_plain_factors(known, settings))


def _pmf_with_text(known: Known, settings: Settings) -> Product:
    return mf_scorer(_pmf_factors(known, settings, features(known, settings)))


def _text(known: Known, settings: Settings) -> Product:
    """`pmf`, each item's factors replaced by what a ridge of all factors on features says."""
    U, V = _plain_factors(known, settings)
    E = features(known, settings).astype(np.float64)
    train = known.dataset.ratings.items[known.split.train]
    count = np.bincount(train, minlength=len(V))
    weights = np.sqrt(count)
    gram = (E.T * weights) @ E + settings["ridge"] * np.eye(E.shape[1])
    W = np.linalg.solve(gram, (E.T * weights) @ V)
    return mf_scorer(Factors(U, (E @ W).astype(np.float32)))


def _popularity(known: Known, settings: Settings) -> Product:
    ratings, (users, items) = known.dataset.ratings, (known.dataset.users, known.dataset.items)
    return popularity(ratings.at(known.split.train), users, items)


def _matrices(known: Known, target: str) -> tuple[Any, Any]:
    """X of train, and X of everybody who asks."""
    ratings, shape = known.dataset.ratings, (known.dataset.users, known.dataset.items)
    return (
        interactions(ratings.at(known.split.train), *shape, target),
        interactions(ratings.at(known.split.known), *shape, target),
    )


def _ease(known: Known, settings: Settings) -> Product:
    return ease(*_matrices(known, settings["target"]), settings["lambda_"])


def _ease_with_text(known: Known, settings: Settings) -> Product:
    X, asking = _matrices(known, settings["target"])
    E = features(known, settings)
    return ease(X, asking, settings["lambda_"], E, settings["text_weight"])


def _item_neighbours(known: Known, settings: Settings) -> Table:
    X, asking = _matrices(known, settings["target"])
    return item_neighbours(X, asking, settings["neighbours"], settings["shrinkage"])


def _random_walks(known: Known, settings: Settings) -> Table:
    X, asking = _matrices(known, settings["target"])
    return random_walks(X, asking, settings["alpha"], settings["beta"], settings["neighbours"])


def _ials(known: Known, settings: Settings) -> Product:
    """The iALS of irspack, of liked ratings, with item features as side information."""
    from irspack.recommenders import IALSRecommender

    X, asking = _matrices(known, "liked")
    model = IALSRecommender(
        csr_matrix(X),
        n_components=settings["factors"],
        alpha0=settings["w0"],
        reg=settings["lambda_"],
        nu=settings["nu"],
        item_features=features(known, settings),
        lambda_item_feature=settings["lambda_w"],
        train_epochs=settings["sweeps"],
        random_seed=known.seed,
    )
    with redirect_stdout(StringIO()):  # a progress bar that cannot be turned off
        model.learn()
    U = np.array(model.get_user_embedding())
    if len(known.split.given):
        new = np.unique(known.dataset.ratings.users[known.split.given])
        U[new] = model.compute_user_embedding(csr_matrix(asking)[new])
    return mf_scorer(Factors(U, np.asarray(model.get_item_embedding())))


PMF_SPACE: dict[str, Range | tuple] = {
    "factors": (64, 128, 192),
    "lambda_": Range(0.1, 1.0),
    "nu": Range(0.3, 0.8, log=False),
    "w0": Range(0.04, 0.3),
}
TEXT_SPACE: dict[str, Range | tuple] = {
    "metadata": Range(0.5, 4.0),
    "lambda_w": Range(0.3, 30.0),
    "item_lambda": Range(0.1, 1.0),
    "item_nu": Range(0.3, 0.8, log=False),
}
NEIGHBOURS: dict[str, Range | tuple] = {
    "target": ("liked", "graded"),
    "neighbours": Range(10, 1000),
}
EASE_SPACE: dict[str, Range | tuple] = {"lambda_": Range(10.0, 2000.0)}
EASE_TEXT_SPACE = EASE_SPACE | {"metadata": Range(0.3, 5.0), "text_weight": Range(0.5, 50.0)}
ALL_PAIRS = PmfSettings()._asdict()

MODELS = {
    "popularity": Model("most liked", _popularity, {}, {}),
    "itemknn": Model(
        "item neighbours",
        _item_neighbours,
        {"target": "graded", "neighbours": 84, "shrinkage": 0.65},
        NEIGHBOURS | {"shrinkage": Range(0.1, 1000.0)},
    ),
    "rp3beta": Model(
        "random walks",
        _random_walks,
        {"target": "liked", "neighbours": 128, "alpha": 0.5, "beta": 0.4},
        NEIGHBOURS | {"alpha": Range(0.3, 2.0), "beta": Range(0.0, 1.0, log=False)},
    ),
    "ease": Model("EASE, liked", _ease, {"target": "liked", "lambda_": 200.0}, EASE_SPACE),
    "ease-graded": Model("EASE, graded", _ease, {"target": "graded", "lambda_": 200.0}, EASE_SPACE),
    "ease+text": Model(
        "EASE, liked, with text",
        _ease_with_text,
        {"target": "liked", "lambda_": 180.0, "metadata": 1.0, "text_weight": 25.0},
        EASE_TEXT_SPACE,
        text=True,
    ),
    "ease-graded+text": Model(
        "EASE, graded, with text",
        _ease_with_text,
        {"target": "graded", "lambda_": 200.0, "metadata": 1.0, "text_weight": 5.0},
        EASE_TEXT_SPACE,
        text=True,
    ),
    "ials": Model(
        "irspack iALS with item features",
        _ials,
        {"factors": 192, "lambda_": 0.27, "nu": 0.5, "w0": 0.08, "metadata": 0.5, "lambda_w": 3.0}
        | {"sweeps": 15},
        PMF_SPACE | {"metadata": Range(0.3, 5.0), "lambda_w": Range(0.01, 100.0)},
        text=True,
        needs="irspack",
    ),
    "pmf": Model("PMF of train-pmf", _pmf, ALL_PAIRS, PMF_SPACE),
    "text": Model(
        "text mapped to factors",
        _text,
        ALL_PAIRS | {"metadata": 1.0, "ridge": 0.2},
        {"metadata": Range(0.3, 5.0), "ridge": Range(0.01, 100.0)},
        text=True,
    ),
    "pmf+text": Model(
        "PMF with text prior",
        _pmf_with_text,
        ALL_PAIRS | {"metadata": 1.0, "lambda_w": 3.0, "item_lambda": 0.3, "item_nu": 0.5},
        PMF_SPACE | TEXT_SPACE,
        text=True,
    ),
}
