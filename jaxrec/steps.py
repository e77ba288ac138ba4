"""The steps of an experiment, each from a run folder to a run folder."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrec import scorecard
from jaxrec.dataset import Ratings
from jaxrec.embeddings import Embeddings
from jaxrec.errors import InputError
from jaxrec.evaluation import evaluate
from jaxrec.factors import Factors, read_factors, write_factors
from jaxrec.files import read_json, write_json
from jaxrec.fusion import ALPHA
from jaxrec.gaussian import fit_gaussian
from jaxrec.logistic import fit_logistic
from jaxrec.protocol import Task, evaluation_task, validation_task
from jaxrec.run_folder import RunFolder
from jaxrec.scorers import content_profiles, hybrid_scorer, mf_scorer, text_scorer
from jaxrec.split import Split
from jaxrec.sweeps import Checkpoints, OnSweep
from jaxrec.topk import Scorer, top_k

GRID = 20
"""alpha is chosen among 0, 1/20, ..., 1."""


class PmfSettings(NamedTuple):
    """How factors are fitted."""

    likelihood: str = "logistic"
    factors: int = 100
    sweeps: int = 200
    lambda_: float = 0.001


DEFAULTS = {
    "logistic": PmfSettings(),
    "gaussian": PmfSettings("gaussian", sweeps=20, lambda_=3.0),
}
"""By likelihood; `logistic` has the published values."""


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
    card = settings._asdict() | {"seed": run.protocol.seed, "part": "train"} | run.identity()
    checkpoints = Checkpoints(run.path / "checkpoints", card)
    factors, losses = fit(run, run.protocol.split, settings, checkpoints, on_sweep)
    write_factors(run.factors_path, factors, card | {"losses": losses})
    checkpoints.clear()
    return read_json(run.factors_path.with_suffix(".json"))


def factors_are_fresh(run: RunFolder, settings: PmfSettings) -> bool:
    """Are there factors of this experiment and these settings?"""
    card_path = run.factors_path.with_suffix(".json")
    if not card_path.exists() or not run.factors_path.exists():
        return False
    wanted = settings._asdict() | run.identity()
    card = read_json(card_path)
    return all(card.get(key) == value for key, value in wanted.items())


def fit(
    run: RunFolder,
    split: Split,
    settings: PmfSettings,
    checkpoints: Checkpoints | None = None,
    on_sweep: OnSweep = lambda sweep, loss: None,
) -> tuple[Factors, list[float]]:
    """Fit factors on the train part of `split`; returns them and the loss of every sweep."""
    fit_likelihood = {"gaussian": fit_gaussian, "logistic": fit_logistic}[settings.likelihood]
    return fit_likelihood(
        run.dataset.ratings.at(split.train),
        run.dataset.users,
        run.dataset.items,
        factors=settings.factors,
        sweeps=settings.sweeps,
        lambda_=settings.lambda_,
        seed=run.protocol.seed,
        checkpoints=checkpoints,
        on_sweep=on_sweep,
    )


def score_card(
    run: RunFolder,
    ks: tuple[int, ...] = (25,),
    fusion: Fusion = PUBLISHED_FUSION,
    on_sweep: OnSweep = lambda sweep, loss: None,
) -> dict[str, Any]:
    """Measure every row that can be made, write `results.json` and return it.

    Args:
        run: has trained factors.
        ks: cut-offs.
        fusion: of the hybrid rows.
        on_sweep: told of the sweeps of the fit that choosing alpha needs.
    """
    factors, factors_card = run.read_factors()
    task = evaluation_task(run.dataset, run.protocol)
    train = run.dataset.ratings.at(run.protocol.split.train)
    names = run.embedding_names()
    embeddings = {name: run.read_embeddings(name) for name in names}
    curves = {}
    if fusion.alpha is None:
        settings = PmfSettings(*(factors_card[field] for field in PmfSettings._fields))
        curves = alpha_curves(run, settings, fusion.name, embeddings, on_sweep)
    rows: list[dict[str, Any]] = []
    for row in scorecard.rows_with(names):
        if row.embeddings is not None and row.embeddings not in names:
            rows.append(scorecard.absent(row, _embed_command(run, row.embeddings)))
            continue
        how: dict[str, Any] = {}
        if row.name.startswith("mf+"):
            how = {"fusion": fusion.name, "alpha": fusion.alpha}
            if row.embeddings in curves:
                curve = curves[row.embeddings]
                how |= {"alpha": best(curve), "alpha_curve": curve}
        elif row.embeddings is not None:
            how = {"fusion": fusion.name}
        found = embeddings[row.embeddings] if row.embeddings else None
        scorer = make_scorer(row.name, run, train, task, factors, found, how)
        evaluation = evaluate(scorer, task, ks)
        mf = rows[0]["metrics"] if rows else evaluation.metrics
        rows.append(scorecard.measured(row, evaluation, mf) | how)
    results = {"protocol": task.card, "rows": rows, "made_from": run.made_from()}
    write_json(run.results_path, results)
    return results


def make_scorer(
    row: str,
    run: RunFolder,
    train: Ratings,
    task: Task,
    factors: Factors,
    embeddings: Embeddings | None,
    how: dict[str, Any],
) -> Scorer:
    """The scorer of a row; `how` holds the fusion and alpha of rows with text."""
    if embeddings is None:
        return mf_scorer(factors)
    profiles = content_profiles(how["fusion"], train, embeddings.E, run.dataset.users)
    if row.startswith("text+"):
        return text_scorer(profiles, embeddings.E)
    return hybrid_scorer(
        how["fusion"], factors, profiles, embeddings.E, task.catalogue, how["alpha"]
    )


def alpha_curves(
    run: RunFolder,
    settings: PmfSettings,
    fusion: str,
    embeddings: dict[str, Embeddings],
    on_sweep: OnSweep = lambda sweep, loss: None,
) -> dict[str, list[tuple[float, float]]]:
    """Validation NDCG@25 over alpha = 0, 1/20, ..., 1, for each of `embeddings`.

    The factors are fitted anew on train without validation; the test part is not touched.
    """
    split, task = validation_task(run.dataset, run.protocol)
    factors = _validation_factors(run, split, settings, on_sweep)
    train = run.dataset.ratings.at(split.train)
    curves = {}
    for name, found in embeddings.items():
        curve = []
        for step in range(GRID + 1):
            how = {"fusion": fusion, "alpha": step / GRID}
            scorer = make_scorer(f"mf+{name}", run, train, task, factors, found, how)
            curve.append((step / GRID, evaluate(scorer, task, (25,)).metrics["ndcg@25"]))
        curves[name] = curve
    return curves


def best(curve: list[tuple[float, float]]) -> float:
    """The alpha of the highest point; of equal ones the largest."""
    return max(curve, key=lambda point: (point[1], point[0]))[0]


def recommend(
    run: RunFolder, users: NDArray[np.int32], k: int, row: str | None = None
) -> tuple[NDArray[np.int32], NDArray[np.floating], dict[str, Any]]:
    """The `k` best unseen items of each user by one row of the score card.

    Args:
        run: has trained factors.
        users: [n] positions in `dataset.user_ids`.
        k: how many.
        row: `mf`, `mf+NAME` or `text+NAME`; by default `mf+minilm` if it can be made, else `mf`.
            Fusion and alpha are those of the last score card, else the published ones.

    Returns:
        items: [n, k] positions in `dataset.item_ids`, -1 where nothing is left.
        scores: [n, k].
        how: row, and its fusion and alpha.
    """
    names = run.embedding_names()
    if row is None:
        row = "mf+minilm" if "minilm" in names else "mf"
    known = {known.name: known for known in scorecard.rows_with(names)}
    if row not in known:
        raise InputError(f"no row {row!r}; there are {', '.join(known)}")
    needed = known[row].embeddings
    if needed is not None and needed not in names:
        raise InputError(f"row {row} needs embeddings; run `{_embed_command(run, needed)}`")
    factors, _ = run.read_factors()
    task = evaluation_task(run.dataset, run.protocol)
    train = run.dataset.ratings.at(run.protocol.split.train)
    embeddings = run.read_embeddings(needed) if needed is not None else None
    how = _last_fusion(run, row) if needed is not None else {}
    scorer = make_scorer(row, run, train, task, factors, embeddings, how)
    items, scores = top_k(scorer, users, task.seen, task.catalogue, k)
    return items, scores, {"row": row} | how


def _last_fusion(run: RunFolder, row: str) -> dict[str, Any]:
    how = {"fusion": PUBLISHED_FUSION.name, "alpha": PUBLISHED_FUSION.alpha}
    if not run.results_path.exists() or run.set_stale_results_aside():
        return how
    for measured in read_json(run.results_path)["rows"]:
        if measured["name"] == row:
            how |= {key: measured[key] for key in how if key in measured}
    return how


def _validation_factors(
    run: RunFolder, split: Split, settings: PmfSettings, on_sweep: OnSweep
) -> Factors:
    path = run.path / "validation" / "factors.safetensors"
    card = settings._asdict() | {
        "seed": run.protocol.seed,
        "part": "train without validation",
        "data_sha256": run.data_sha256,
        "split_sha256": split.sha256(),
    }
    if path.exists():
        factors, found = read_factors(path)
        if all(found.get(key) == value for key, value in card.items()):
            return factors
    checkpoints = Checkpoints(path.parent / "checkpoints", card)
    factors, losses = fit(run, split, settings, checkpoints, on_sweep)
    write_factors(path, factors, card | {"losses": losses})
    checkpoints.clear()
    return factors


def _embed_command(run: RunFolder, name: str) -> str:
    finetune = " --finetune" if name.endswith("-ft") else ""
    return f"jaxrec embed --run {run.path} --model {name.removesuffix('-ft')}{finetune}"
