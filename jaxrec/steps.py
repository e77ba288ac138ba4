"""The steps of an experiment, each from a run folder to a run folder."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jax import Array
from numpy.typing import NDArray

from jaxrec import __version__, scorecard
from jaxrec.embeddings import Embeddings
from jaxrec.errors import InputError
from jaxrec.evaluation import evaluate
from jaxrec.factors import Factors, read_factors, write_factors
from jaxrec.files import read_json, write_json
from jaxrec.fusion import ALPHA
from jaxrec.pmf import PmfSettings, fit_pmf
from jaxrec.protocol import Task, evaluation_task, validation_task
from jaxrec.run_folder import RunFolder
from jaxrec.scorers import content_profiles, hybrid_scorer, mf_scorer, text_scorer
from jaxrec.sequential import fit_sequential
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
    train, seed = run.dataset.ratings.at(split.train), run.protocol.seed
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
) -> dict[str, Any]:
    """Measure every row that can be made, write `results.json` and return it.

    Args:
        run: has trained factors of row `mf`, `pmf` or both.
        ks: cut-offs.
        fusion: of the hybrid rows.
        on_sweep: told of the sweeps of the fit that choosing alpha needs.
        memory: bytes that the arrays of ranking may take.
    """
    there = run.factors_rows()
    if not there:
        raise InputError(f"{run.path} has no trained factors; run `{run.factors_command('pmf')}`")
    fitted = {row: run.read_factors(row) for row in there}
    task = evaluation_task(run.dataset, run.protocol)
    train = run.dataset.ratings.at(run.protocol.split.train)
    names = run.embedding_names()
    embeddings = {name: run.read_embeddings(name) for name in names}
    profiles = {
        name: content_profiles(fusion.name, train, found.E, run.dataset.users)
        for name, found in embeddings.items()
    }
    card = task.card | {row: _describe(factors_card) for row, (_, factors_card) in fitted.items()}
    curves = {}
    if fusion.alpha is None and embeddings and "mf" in fitted:
        card["alpha"] = (
            f"of 0, 1/{GRID}, ..., 1 the best NDCG@25 on validation, a part of train; texts hold"
            " the tags of validation pairs too"
        )
        settings = _settings(fitted["mf"][1])
        curves = alpha_curves(run, settings, fusion.name, embeddings, on_sweep, memory)
    rows: list[dict[str, Any]] = []
    mf: dict[str, float] | None = None
    for row in scorecard.rows_with(names):
        if row.embeddings is not None and row.embeddings not in names:
            rows.append(scorecard.absent(row, _embed_command(run, row.embeddings)))
            continue
        if row.factors is not None and row.factors not in fitted:
            rows.append(scorecard.absent(row, run.factors_command(row.factors)))
            continue
        how: dict[str, Any] = {}
        if row.name.startswith("mf+"):
            how = {"fusion": fusion.name, "alpha": fusion.alpha}
            if row.embeddings in curves:
                curve = curves[row.embeddings]
                how |= {"alpha": best(curve), "alpha_curve": curve}
        elif row.embeddings is not None:
            how = {"fusion": fusion.name}
        factors = None if row.factors is None else fitted[row.factors][0]
        content = None
        if row.embeddings is not None:
            content = profiles[row.embeddings], embeddings[row.embeddings].E
        evaluation = evaluate(_scorer(factors, content, task, how), task, ks, memory)
        if row.name == "mf":
            mf = evaluation.metrics
        rows.append(scorecard.measured(row, evaluation, mf) | how)
    results = {"protocol": card, "rows": rows, "made_from": run.made_from()}
    write_json(run.results_path, results)
    return results


def _scorer(
    factors: Factors | None,
    content: tuple[Array, NDArray[np.float32]] | None,
    task: Task,
    how: dict[str, Any],
) -> Scorer:
    """The scorer of a row from what it needs; `how` holds its fusion and alpha."""
    if content is None:
        assert factors is not None, "a row needs factors, embeddings or both"
        return mf_scorer(factors)
    if factors is None:
        return text_scorer(*content)
    return hybrid_scorer(how["fusion"], factors, *content, task.catalogue, how["alpha"])


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
    split, task = validation_task(run.dataset, run.protocol)
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
    row: str | None = None,
    memory: int = MEMORY,
) -> tuple[NDArray[np.int32], NDArray[np.floating], dict[str, Any]]:
    """The `k` best unseen items of each user by one row of the score card.

    Args:
        run: has trained factors.
        users: [n] positions in `dataset.user_ids`.
        k: how many.
        row: a row of the score card; by default the first of `pmf`, `mf+minilm` and `mf` that
            can be made. Fusion and alpha are those of the last score card, or the published
            ones if there is none or it is stale.
        memory: bytes that the arrays of ranking may take.

    Returns:
        items: [n, k] positions in `dataset.item_ids`, -1 where nothing is left.
        scores: [n, k].
        how: the row, its fusion and alpha.

    Raises:
        InputError: the row cannot be made, or a user has no train rating.
    """
    names, there = run.embedding_names(), run.factors_rows()
    if row is None:
        row = "pmf"
        if "mf" in there and "pmf" not in there:
            row = "mf+minilm" if "minilm" in names else "mf"
    known = {known.name: known for known in scorecard.rows_with(names)}
    if row not in known:
        raise InputError(f"no row {row!r}; there are {', '.join(known)}")
    needed = known[row].embeddings
    if needed is not None and needed not in names:
        raise InputError(f"row {row} needs embeddings: {_embed_command(run, needed)}")
    of = known[row].factors
    factors = None if of is None else run.read_factors(of)[0]
    task = evaluation_task(run.dataset, run.protocol)
    train = run.dataset.ratings.at(run.protocol.split.train)
    for user in users[task.seen.lengths[users] == 0]:
        raise InputError(
            f"user {run.dataset.user_ids[user]} has no train rating to recommend from; the"
            f" {run.protocol.name} split leaves users with few ratings out"
        )
    how: dict[str, Any] = {}
    content = None
    if needed is not None:
        E, how = run.read_embeddings(needed).E, _last_fusion(run, row)
        content = content_profiles(how["fusion"], train, E, run.dataset.users), E
    scorer = _scorer(factors, content, task, how)
    items, scores = top_k(scorer, users, task.seen, task.catalogue, k, memory)
    return items, scores, {"row": row} | how


def recommend_all(
    run: RunFolder, k: int, row: str | None = None, memory: int = MEMORY
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The `k` best unseen items of every user with train ratings, and how (see `recommend`).

    Returns:
        A table of external `user_id`, `rank` from 1, `item_id`, `title` and `score`.
    """
    dataset = run.dataset
    known = np.unique(dataset.ratings.users[run.protocol.split.train])
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


def _last_fusion(run: RunFolder, row: str) -> dict[str, Any]:
    how = {"fusion": PUBLISHED_FUSION.name, "alpha": PUBLISHED_FUSION.alpha}
    if not run.results_path.exists() or run.results_are_stale():
        return how
    for measured in read_json(run.results_path)["rows"]:
        if measured["name"] == row:
            how |= {key: measured[key] for key in how if key in measured}
    return how


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
        "seed": run.protocol.seed,
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
    if name.endswith("-ft"):
        return "(fine-tuning is not in this version)"
    return f"jaxrec embed --run {run.path} --model {name}"
