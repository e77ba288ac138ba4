"""The score card: every row of a run folder that can be made, measured."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxrec.border.embeddings import Embeddings
from jaxrec.errors import InputError
from jaxrec.evaluation import card as scorecard
from jaxrec.evaluation.foreign_metrics import metrics_as
from jaxrec.evaluation.measure import Evaluation, evaluate
from jaxrec.evaluation.task import Task, evaluation_task, unseen_task, validation_tasks
from jaxrec.experiment.fitting import (
    SIGNALS,
    content_name,
    fitted,
    hybrid,
    learned_fusion,
    settings_of,
)
from jaxrec.experiment.folder import RunFolder
from jaxrec.experiment.pmf_rows import describe, settings_on, validation_factors
from jaxrec.files import whole_file, write_json
from jaxrec.fusion.published import ALPHA, content_profiles, published_fusion
from jaxrec.models.factorization import with_given
from jaxrec.models.registry import MODELS
from jaxrec.pmf.objective import PmfSettings
from jaxrec.pmf.sweeps import OnSweep
from jaxrec.topk.blocks import MEMORY
from jaxrec.topk.scorer import Scorer, product

GRID = 20
"""alpha is chosen among 0, 1/20, ..., 1."""


class Fusion(NamedTuple):
    """How collaborative and content scores are fused."""

    name: str
    alpha: float | None
    """Weight of the collaborative branch; None to choose it on validation."""


PUBLISHED_FUSION = Fusion("published", ALPHA)


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
        settings = settings_on(run.read_factors("mf")[1])
        embeddings = {name: run.read_embeddings(name) for name in names}
        curves = alpha_curves(run, settings, fusion.name, embeddings, on_sweep, memory)
    rows, evaluations = [], {}
    cards: dict[str, dict[str, Any]] = {}
    how: dict[str, dict[str, Any]] = {}
    for row in rows_of(run, only):
        rows.append(row)
        needed = lacking(run, row)
        if needed is not None:
            cards[row.name] = scorecard.absent(row, needed)
            continue
        on_row(row.name)
        of = (
            Fusion(fusion.name, best(curves[row.embeddings]))
            if row.embeddings in curves
            else fusion
        )
        scorer, how[row.name] = scorer_of(run, row, task, of, memory)
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
            card[row.factors] = describe(run.read_factors(row.factors)[1])
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
        scorecard.per_user_table(evaluations, run.dataset.user_ids.names).write_parquet(partial)
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


def lacking(run: RunFolder, row: scorecard.Row) -> str | None:
    """What would make a row that cannot be made yet."""
    if row.embeddings is not None and row.embeddings not in run.embedding_names():
        return _embed_command(run, row.embeddings)
    if row.factors is not None and row.factors not in run.factors_rows():
        return run.factors_command(row.factors)
    if row.learned and row.name in MODELS and (package := MODELS[row.name].lacks) is not None:
        return f"pip install {package}"
    return None


def scorer_of(
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
        split, ratings = run.protocol.split, run.dataset.interactions
        if len(split.given):
            rated = task.item_counts > 0
            factors = with_given(
                factors, ratings.at(split.given), run.dataset.feedback, settings_on(card), rated
            )
    if row.embeddings is None:
        assert factors is not None, "a row needs factors, embeddings or a model"
        return product(*factors), {}
    train = run.dataset.interactions.at(run.protocol.split.train)
    E = run.read_embeddings(row.embeddings).E
    profiles = content_profiles(fusion.name, train, run.dataset.feedback, E, run.dataset.users)
    if factors is None:
        return product(profiles, E), {"fusion": fusion.name}
    alpha = PUBLISHED_FUSION.alpha if fusion.alpha is None else fusion.alpha
    assert alpha is not None
    scorer = published_fusion(fusion.name, factors, profiles, E, task.catalogue, alpha)
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
    factors = validation_factors(run, split, settings, on_sweep)
    train = run.dataset.interactions.at(split.train)
    curves = {}
    for name, found in embeddings.items():
        profiles = content_profiles(fusion, train, run.dataset.feedback, found.E, run.dataset.users)

        def ndcg(
            alpha: float, profiles: Array = profiles, E: NDArray[np.float32] = found.E
        ) -> float:
            scorer = published_fusion(fusion, factors, profiles, E, task.catalogue, alpha)
            return evaluate(scorer, task, (25,), memory).metrics["ndcg@25"]

        curves[name] = [(step / GRID, ndcg(step / GRID)) for step in range(GRID + 1)]
    return curves


def best(curve: list[tuple[float, float]]) -> float:
    """The alpha of the highest point; of equal ones the largest."""
    return max(curve, key=lambda point: (point[1], point[0]))[0]


def _embed_command(run: RunFolder, name: str) -> str:
    model = name.removesuffix("-ft")
    return f"jaxrec embed --run {run.path} --model {model}" + (
        "" if model == name else " --finetune --preset published"
    )
