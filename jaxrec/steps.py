"""The steps of an experiment, each from a run folder to a run folder."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import polars as pl
from jax import Array
from numpy.typing import NDArray

from jaxrec import __version__, scorecard
from jaxrec.dataset import Dataset, Ratings
from jaxrec.embeddings import Embeddings
from jaxrec.errors import InputError
from jaxrec.evaluation import Evaluation, evaluate
from jaxrec.factors import Factors, read_factors, write_factors
from jaxrec.files import read_json, whole_file, write_json
from jaxrec.fitting import (
    SIGNALS,
    content_name,
    fitted,
    fitted_factors,
    hybrid,
    learned_fusion,
    settings_of,
)
from jaxrec.foreign_metrics import metrics_as
from jaxrec.fusion import ALPHA, FUSIONS
from jaxrec.models import MODELS, missing, pmf_settings, with_given
from jaxrec.pmf import PmfSettings, fit_pmf, fold_in
from jaxrec.protocol import Task, evaluation_task, unseen_task, validation_tasks
from jaxrec.run_folder import RunFolder
from jaxrec.scorers import content_profiles, hybrid_scorer, mf_scorer, text_scorer
from jaxrec.sequential import fit_sequential
from jaxrec.sparse_rows import Rows
from jaxrec.split import Split
from jaxrec.sweeps import Checkpoints, OnSweep
from jaxrec.topk import MEMORY, Scorer, top_k

GRID = 20
"""alpha is chosen among 0, 1/20, ..., 1."""


PUBLISHED = PmfSettings(
    "logistic", factors=100, lambda_=0.001, nu=1.0, w0=0.0, sweeps=200, solver="sequential"
)
"""The published fit, by a solver of its own (`jaxrec.sequential`)."""
DEFAULTS = {
    "all-pairs": PmfSettings(),
    "gaussian": PmfSettings("gaussian", factors=100, lambda_=10.0, nu=0.0, w0=0.0, sweeps=20),
    "logistic": PmfSettings("logistic", factors=100, lambda_=0.3, nu=0.0, w0=0.0, sweeps=20),
}
"""By likelihood; the best of a few on validation inside seed 42's train (benchmarks/LOG.md)."""
GRADIENT_SWEEPS = 200
"""Steps along the gradient are smaller than sweeps of least squares."""


class Fusion(NamedTuple):
    """How collaborative and content scores are fused."""

    name: str
    alpha: float | None
    """Weight of the collaborative branch; None to choose it on validation."""


DEFAULT_ROW = "hybrid"
COLD_ROW = "pmf+text"
"""Into whose factors somebody new is folded."""
SHOWN = 10
"""Items that an ambiguous title lists."""
PUBLISHED_FUSION = Fusion("published", ALPHA)


def train_pmf(
    run: RunFolder, settings: PmfSettings, on_sweep: OnSweep = lambda sweep, loss: None
) -> dict[str, Any]:
    """Fit factors on the train part and write them; resumes a fit that was interrupted.

    Returns:
        The card of the factors.
    """
    row = row_of(settings)
    card = _factors_card(run, settings, "train") | run.identity()
    checkpoints = Checkpoints(run.path / "checkpoints" / row, card)
    factors, losses = fit(run, run.protocol.split, settings, checkpoints, on_sweep)
    write_factors(run.factors_path(row), factors, card | {"losses": losses})
    checkpoints.clear()
    return run.read_factors(row)[1]


def fitted_by(run: RunFolder, settings: PmfSettings) -> bool:
    """Were the factors that are there fitted with these settings?"""
    return _settings(run.read_factors(row_of(settings))[1]) == settings


def pmf_settings_of(run: RunFolder) -> PmfSettings:
    """What `train-pmf` fits by default: what was tuned in this run folder, else the defaults."""
    return PmfSettings(**settings_of(run, "pmf"))


def row_of(settings: PmfSettings) -> str:
    """The row of the score card that factors fitted by `settings` make."""
    return "mf" if settings.solver == "sequential" else "pmf"


def fit(
    run: RunFolder,
    split: Split,
    settings: PmfSettings,
    checkpoints: Checkpoints | None = None,
    on_sweep: OnSweep = lambda sweep, loss: None,
) -> tuple[Factors, list[float]]:
    """Fit factors on the train part of `split`; returns them and the loss of every sweep."""
    train, seed = run.dataset.ratings.at(split.train), run.fit_seed
    shape = run.dataset.users, run.dataset.items
    if settings.solver != "sequential":
        return fit_pmf(
            train, *shape, settings, seed=seed, checkpoints=checkpoints, on_sweep=on_sweep
        )
    for name, value in PUBLISHED._asdict().items():
        if name not in ("factors", "sweeps", "lambda_") and getattr(settings, name) != value:
            raise InputError(f"the sequential solver has {name} {value} only; leave it out")
    return fit_sequential(
        train,
        *shape,
        factors=settings.factors,
        sweeps=settings.sweeps,
        lambda_=settings.lambda_,
        seed=seed,
        checkpoints=checkpoints,
        on_sweep=on_sweep,
    )


def score_card(
    run: RunFolder,
    ks: tuple[int, ...] = (25,),
    fusion: Fusion = PUBLISHED_FUSION,
    on_sweep: OnSweep = lambda sweep, loss: None,
    memory: int = MEMORY,
    on_row: Callable[[str], None] = lambda row: None,
    only: tuple[str, ...] = (),
    library: str | None = None,
) -> dict[str, Any]:
    """Measure every row that can be made, write `results.json` and return it.

    Args:
        run: where models are kept; those that are absent are fitted, but for the factors of `mf`
            and `pmf`.
        ks: cut-offs.
        fusion: of the hybrid rows.
        on_sweep: told of the sweeps of the fit that choosing alpha needs.
        memory: bytes that the arrays of ranking may take.
        on_row: told of every row before it is fitted and measured.
        only: names of rows; all by default.
        library: one whose definitions of metrics are computed from the same lists too.
    """
    task = evaluation_task(run.dataset, run.protocol)
    names = run.embedding_names()
    card, curves = dict(task.card), {}
    if fusion.alpha is None and names and "mf" in run.factors_rows():
        card["alpha"] = (
            f"of 0, 1/{GRID}, ..., 1 the best NDCG@25 on validation, a part of train; texts hold"
            " the tags of validation pairs too"
        )
        settings = _settings(run.read_factors("mf")[1])
        embeddings = {name: run.read_embeddings(name) for name in names}
        curves = alpha_curves(run, settings, fusion.name, embeddings, on_sweep, memory)
    rows, evaluations = [], {}
    cards: dict[str, dict[str, Any]] = {}
    how: dict[str, dict[str, Any]] = {}
    for row in rows_of(run, only):
        rows.append(row)
        lacking = _lacking(run, row)
        if lacking is not None:
            cards[row.name] = scorecard.absent(row, lacking)
            continue
        on_row(row.name)
        of = (
            Fusion(fusion.name, best(curves[row.embeddings]))
            if row.embeddings in curves
            else fusion
        )
        scorer, how[row.name] = _scorer(run, row, task, of, memory)
        if row.embeddings in curves and row.factors is not None:
            how[row.name]["alpha_curve"] = curves[row.embeddings]
        if run.protocol.name == "cold-items" and not _tells_apart(scorer, task):
            cards[row.name] = scorecard.absent(row, "it scores every cold item alike")
            continue
        evaluations[row.name] = evaluate(scorer, task, ks, memory)
        if library is not None:
            definitions = {k: metrics_as(library, evaluations[row.name], task, k) for k in ks}
            how[row.name]["metrics_as"] = {library: definitions}
        if run.protocol.name == "cold-items":
            how[row.name]["all_unseen"] = _unseen(run, scorer, task, ks, memory)
        if row.factors is not None:
            card[row.factors] = _describe(run.read_factors(row.factors)[1])
    if not evaluations:
        lines = "; ".join(f"{row.name}: {cards[row.name]['absent']}" for row in rows)
        raise InputError(f"nothing can be measured yet ({lines})")
    card |= _how_chosen(run, rows)
    for measured in scorecard.measured(rows, evaluations, task.seen.lengths):
        cards[measured["name"]] = measured | how[measured["name"]]
    results = {
        "protocol": card,
        "rows": [cards[row.name] for row in rows],
        "made_from": run.made_from(),
    }
    if "hybrid" in evaluations:
        results["hybrid"] = _hybrid_card(run, evaluations)
    with whole_file(run.per_user_path) as partial:
        scorecard.per_user_table(evaluations, run.dataset.user_ids).write_parquet(partial)
    write_json(run.results_path, results)
    return results


def rows_of(run: RunFolder, only: tuple[str, ...] = ()) -> list[scorecard.Row]:
    """The rows of this run's score card, or those named; InputError for a name that is none."""
    rows = scorecard.rows_with(run.embedding_names(), run.protocol.name)
    names = [row.name for row in rows]
    for name in only:
        if name not in names:
            raise InputError(f"no row {name!r}; there are {', '.join(names)}")
    return [row for row in rows if not only or row.name in only]


def _how_chosen(run: RunFolder, rows: list[scorecard.Row]) -> dict[str, str]:
    """For the protocol card: whose settings were tuned here, and what the texts were read by."""
    learned = [row.name for row in rows if row.name in MODELS and MODELS[row.name].space]
    tuned = [name for name in learned if run.tuned_path(name).exists()]
    texts = content_name(run)
    return {
        "tuned_on_validation": ", ".join(tuned) or "none (defaults)",
        "text_rows_read": f"{texts or 'no embeddings'}, year and genres",
    }


def _hybrid_card(run: RunFolder, evaluations: dict[str, Evaluation]) -> dict[str, Any]:
    """How the fusion was chosen, how it stands, and how far text changed its lists."""
    learned, found = learned_fusion(run), evaluations["hybrid"]
    card: dict[str, Any] = {
        "signals": SIGNALS,
        "winner": learned.winner,
        "alpha": learned.alpha,
        "alpha_curve": learned.alpha_curve,
        "validation_ndcg@25": learned.ndcg,
        "calibration": learned.calibration,
        "against": {
            name: scorecard.against(
                {row: other.per_user[name] for row, other in evaluations.items()}
            )
            for name in found.per_user
            if name.partition("@")[0] in ("precision", "recall", "ndcg")
        },
    }
    if "pmf" in evaluations:
        k = min(25, found.lists.shape[1])
        pairs = zip(found.lists[:, :k], evaluations["pmf"].lists[:, :k], strict=True)
        same = np.mean([len(np.intersect1d(mine, theirs)) for mine, theirs in pairs])
        card[f"places_differing_from_pmf@{k}"] = 1 - float(same) / k
    return card


def _unseen(
    run: RunFolder, scorer: Scorer, task: Task, ks: tuple[int, ...], memory: int
) -> dict[str, float]:
    """Cold items among all unseen ones: their share of the lists, and P@K on them."""
    everything = unseen_task(run.dataset, run.protocol)
    found = evaluate(scorer, everything, ks, memory)
    k = max(ks)
    cold = task.catalogue[np.maximum(found.lists, 0)] & (found.lists >= 0)
    return found.metrics | {
        f"cold_share@{k}": float(cold.mean()),
        f"precision_on_cold@{k}": found.hits / max(int(cold.sum()), 1),
    }


def _tells_apart(scorer: Scorer, task: Task) -> bool:
    """Does it rank the candidates at all? Else the order would be that of the items' numbers."""
    some = np.flatnonzero(task.relevant.lengths)[:16].astype(np.int32)
    candidates = jnp.broadcast_to(task.catalogue, (len(some), len(task.catalogue)))
    scores = np.asarray(scorer(jnp.asarray(some), candidates))[:, task.catalogue]
    return bool(np.ptp(scores, axis=1).any())


def _lacking(run: RunFolder, row: scorecard.Row) -> str | None:
    """What would make a row that cannot be made yet."""
    if row.embeddings is not None and row.embeddings not in run.embedding_names():
        return _embed_command(run, row.embeddings)
    if row.factors is not None and row.factors not in run.factors_rows():
        return run.factors_command(row.factors)
    if row.learned and row.name in MODELS and (package := missing(row.name)) is not None:
        return f"pip install {package}"
    return None


def _scorer(
    run: RunFolder, row: scorecard.Row, task: Task, fusion: Fusion, memory: int
) -> tuple[Scorer, dict[str, Any]]:
    """The scorer of a row that lacks nothing, and its fusion and alpha if it has one."""
    if row.name == "hybrid":
        scorer, learned = hybrid(run, memory)
        return scorer, {"fusion": learned.winner}
    if row.learned:
        return fitted(run, row.name), {"settings": settings_of(run, row.name)}
    factors = None
    if row.factors is not None:
        factors, card = run.read_factors(row.factors)
        split, ratings = run.protocol.split, run.dataset.ratings
        if len(split.given):
            rated = task.item_counts > 0
            factors = with_given(factors, ratings.at(split.given), _settings(card), rated)
    if row.embeddings is None:
        assert factors is not None, "a row needs factors, embeddings or a model"
        return mf_scorer(factors), {}
    train = run.dataset.ratings.at(run.protocol.split.train)
    E = run.read_embeddings(row.embeddings).E
    profiles = content_profiles(fusion.name, train, E, run.dataset.users)
    if factors is None:
        return text_scorer(profiles, E), {"fusion": fusion.name}
    alpha = PUBLISHED_FUSION.alpha if fusion.alpha is None else fusion.alpha
    assert alpha is not None
    scorer = hybrid_scorer(fusion.name, factors, profiles, E, task.catalogue, alpha)
    return scorer, {"fusion": fusion.name, "alpha": alpha}


def alpha_curves(
    run: RunFolder,
    settings: PmfSettings,
    fusion: str,
    embeddings: dict[str, Embeddings],
    on_sweep: OnSweep = lambda sweep, loss: None,
    memory: int = MEMORY,
) -> dict[str, list[tuple[float, float]]]:
    """Validation NDCG@25 over alpha = 0, 1/20, ..., 1, for each of `embeddings`.

    The factors are fitted anew on train without validation; the test part is not touched.
    """
    split, task = validation_tasks(run.dataset, run.protocol)[0]
    factors = _validation_factors(run, split, settings, on_sweep)
    train = run.dataset.ratings.at(split.train)
    curves = {}
    for name, found in embeddings.items():
        profiles = content_profiles(fusion, train, found.E, run.dataset.users)

        def ndcg(
            alpha: float, profiles: Array = profiles, E: NDArray[np.float32] = found.E
        ) -> float:
            scorer = hybrid_scorer(fusion, factors, profiles, E, task.catalogue, alpha)
            return evaluate(scorer, task, (25,), memory).metrics["ndcg@25"]

        curves[name] = [(step / GRID, ndcg(step / GRID)) for step in range(GRID + 1)]
    return curves


def best(curve: list[tuple[float, float]]) -> float:
    """The alpha of the highest point; of equal ones the largest."""
    return max(curve, key=lambda point: (point[1], point[0]))[0]


def recommend(
    run: RunFolder,
    users: NDArray[np.int32],
    k: int,
    row: str = DEFAULT_ROW,
    memory: int = MEMORY,
) -> tuple[NDArray[np.int32], NDArray[np.floating], dict[str, Any]]:
    """The `k` best unseen items of each user by one row of the score card.

    Args:
        run: has trained factors.
        users: [n] positions in `dataset.user_ids`.
        k: how many.
        row: a row of the score card. Fusion and alpha of the published rows are those of the last
            score card, or the published ones if there is none or it is stale.
        memory: bytes that the arrays of ranking may take.

    Returns:
        items: [n, k] positions in `dataset.item_ids`, -1 where nothing is left.
        scores: [n, k].
        how: the row, its fusion and alpha.

    Raises:
        InputError: the row cannot be made, or a user has no train rating.
    """
    (wanted,) = rows_of(run, (row,))
    lacking = _lacking(run, wanted)
    if lacking is not None:
        raise InputError(f"row {row} needs something first: {lacking}")
    task = evaluation_task(run.dataset, run.protocol)
    for user in users[task.seen.lengths[users] == 0]:
        raise InputError(
            f"user {run.dataset.user_ids[user]} has no train rating to recommend from; the"
            f" {run.protocol.name} split leaves users with few ratings out"
        )
    scorer, how = _scorer(run, wanted, task, _last_fusion(run, row), memory)
    how.pop("settings", None)
    items, scores = top_k(scorer, users, task.seen, task.catalogue, k, memory)
    return items, scores, {"row": row} | how


def find_item(dataset: Dataset, asked: str) -> int:
    """Position of the item with an id, a title or a part of a title, case aside.

    Raises:
        InputError: there is none, or there are several; their ids are listed.
    """
    if asked.isdecimal():
        found = np.flatnonzero(dataset.item_ids == int(asked))
        if len(found):
            return int(found[0])
    titles = [title.casefold() for title in dataset.titles]
    wanted = asked.casefold()
    matches = [item for item, title in enumerate(titles) if title == wanted]
    matches = matches or [item for item, title in enumerate(titles) if wanted in title]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise InputError(f"no item {asked!r} in {dataset.name}; give an id or a part of a title")
    shown = [f"{dataset.item_ids[item]} {dataset.titles[item]}" for item in matches[:SHOWN]]
    more = f" and {len(matches) - SHOWN} more" if len(matches) > SHOWN else ""
    raise InputError(f"{asked!r} is ambiguous, give an id: {'; '.join(shown)}{more}")


def recommend_liked(
    run: RunFolder, liked: list[int], k: int, row: str = COLD_ROW, memory: int = MEMORY
) -> tuple[NDArray[np.int32], NDArray[np.floating]]:
    """The `k` best other items for somebody who likes the items `liked`.

    The user is folded into the factors of `row` (`pmf+text` or `pmf`) in closed form, five stars
    for each item.

    Returns:
        items: [k] positions in `dataset.item_ids`, -1 where nothing is left.
        scores: [k].
    """
    ratings = _ratings_of_one(liked)
    if row not in ("pmf", COLD_ROW):
        raise InputError(f"only rows pmf and {COLD_ROW} know new users, not {row}")
    if row == "pmf":
        factors, card = run.read_factors("pmf")
        settings = _settings(card)
    else:
        factors, settings = fitted_factors(run, row), pmf_settings(settings_of(run, row))
    if settings.biases or settings.likelihood == "logistic":
        raise InputError("fold-in takes factors without biases; run `jaxrec train-pmf`")
    task = evaluation_task(run.dataset, run.protocol)
    U = fold_in(ratings, 1, factors, settings, paired=task.item_counts > 0)
    scorer = mf_scorer(Factors(U, factors.V))
    nobody = np.zeros(1, np.int32)
    items, scores = top_k(scorer, nobody, Rows.of(ratings, 1), task.catalogue, k, memory)
    return items[0], scores[0]


def similar(
    run: RunFolder, item: int, k: int, memory: int = MEMORY
) -> dict[str, tuple[NDArray[np.int32], NDArray[np.floating]]]:
    """The `k` items nearest to one by cosine, in the space of factors and in that of texts.

    Returns:
        By space, `factors` (of `pmf+text`) and, if there are embeddings, `text`: items [k] and
        cosines [k].
    """
    spaces = {"factors": fitted_factors(run, COLD_ROW).V}
    name = content_name(run)
    if name is not None:
        spaces["text"] = run.read_embeddings(name, "honest").E
    others, everything = _ratings_of_one([item]), np.ones(run.dataset.items, bool)
    nearest = {}
    for space, vectors in spaces.items():
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
        scorer = mf_scorer(Factors(unit[[item]], unit))
        found = top_k(scorer, np.zeros(1, np.int32), Rows.of(others, 1), everything, k, memory)
        nearest[space] = found[0][0], found[1][0]
    return nearest


def _ratings_of_one(items: list[int]) -> Ratings:
    """Five stars each, of a user numbered 0."""
    distinct = np.unique(np.array(items, np.int32))
    n = len(distinct)
    return Ratings(np.zeros(n, np.int32), distinct, np.full(n, 5.0), np.zeros(n, np.int64))


def recommend_all(
    run: RunFolder, k: int, row: str = DEFAULT_ROW, memory: int = MEMORY
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The `k` best unseen items of every user with train ratings, and how (see `recommend`).

    Returns:
        A table of external `user_id`, `rank` from 1, `item_id`, `title` and `score`.
    """
    dataset = run.dataset
    known = np.unique(dataset.ratings.users[run.protocol.split.known])
    items, scores, how = recommend(run, known, k, row, memory)
    place, rank = np.nonzero(items >= 0)
    item = items[place, rank]
    table = pl.DataFrame(
        {
            "user_id": dataset.user_ids[known[place]],
            "rank": rank + 1,
            "item_id": dataset.item_ids[item],
            "title": [dataset.titles[position] for position in item],
            "score": scores[place, rank],
        }
    )
    return table, how


def _last_fusion(run: RunFolder, row: str) -> Fusion:
    if not run.results_path.exists() or run.results_are_stale():
        return PUBLISHED_FUSION
    for measured in read_json(run.results_path)["rows"]:
        if measured["name"] == row and measured.get("fusion") in FUSIONS:
            return Fusion(measured["fusion"], measured.get("alpha", PUBLISHED_FUSION.alpha))
    return PUBLISHED_FUSION


def _validation_factors(
    run: RunFolder, split: Split, settings: PmfSettings, on_sweep: OnSweep
) -> Factors:
    path = run.path / "validation" / "factors.safetensors"
    card = _factors_card(run, settings, "train without validation") | run.identity()
    card["split_sha256"] = split.sha256()
    try:
        factors, found = read_factors(path, "")
        if all(found.get(key) == value for key, value in card.items()):
            return factors
    except InputError:
        pass  # absent or half written: fitted anew
    checkpoints = Checkpoints(path.parent / "checkpoints", card)
    factors, losses = fit(run, split, settings, checkpoints, on_sweep)
    write_factors(path, factors, card | {"losses": losses})
    checkpoints.clear()
    return factors


def _factors_card(run: RunFolder, settings: PmfSettings, part: str) -> dict[str, Any]:
    """All that decides a fit, beside the data."""
    return settings._asdict() | {
        "seed": run.fit_seed,
        "part": part,
        "jaxrec": __version__,
        "synthetic": run.dataset.synthetic,
    }


def _settings(factors_card: dict[str, Any]) -> PmfSettings:
    missing = [name for name in PmfSettings._fields if name not in factors_card]
    if missing:
        raise InputError(f"a card of factors lacks {', '.join(missing)}; run `jaxrec train-pmf`")
    return PmfSettings(*(factors_card[name] for name in PmfSettings._fields))


def _describe(factors_card: dict[str, Any]) -> str:
    settings = _settings(factors_card)
    likelihood = settings.likelihood
    if likelihood == "all-pairs":
        likelihood += f" ({settings.target}, w0 {settings.w0:g})"
    return (
        f"{likelihood} PMF, {settings.factors} factors{' and biases' if settings.biases else ''},"
        f" lambda {settings.lambda_:g}, nu {settings.nu:g}, at most {settings.sweeps} sweeps,"
        f" solver {settings.solver}"
    )


def _embed_command(run: RunFolder, name: str) -> str:
    model = name.removesuffix("-ft")
    return f"jaxrec embed --run {run.path} --model {model}" + (
        "" if model == name else " --finetune --preset published"
    )
