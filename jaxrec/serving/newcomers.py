"""Recommends to somebody new, who says what she likes."""

import numpy as np
from numpy.typing import NDArray

from jaxrec.data.dataset import Interactions
from jaxrec.errors import InputError
from jaxrec.evaluation.task import evaluation_task
from jaxrec.experiment.choices import settings_of
from jaxrec.experiment.fitting import fitted_factors, refresh_pmf, settings_on
from jaxrec.experiment.folder import RunFolder
from jaxrec.models.factorization import pmf_settings
from jaxrec.pmf.fit import fold_in
from jaxrec.pmf.objective import observe
from jaxrec.serving.recommend import made_up, ranked
from jaxrec.topk.blocks import MEMORY
from jaxrec.topk.item_sets import ItemSets
from jaxrec.topk.ranking import top_k
from jaxrec.topk.scorer import product

COLD_ROW = "pmf+text"
"""Into whose factors somebody new is folded."""


def recommend_liked(
    run: RunFolder, liked: list[int], k: int, row: str = COLD_ROW, memory: int = MEMORY
) -> tuple[NDArray[np.int32], NDArray[np.floating]]:
    """The `k` best other items for somebody who likes the items `liked`.

    The user is folded into the factors of `row` (`pmf+text` or `pmf`) in closed form, with the best
    value for each item.

    Returns:
        items: [k] positions in `dataset.item_ids`, -1 where nothing is left.
        scores: [k].
    """
    if row not in ("pmf", COLD_ROW):
        raise InputError(f"only rows pmf and {COLD_ROW} know new users, not {row}")
    if row == "pmf":
        refresh_pmf(run)
        factors, card = run.read_factors("pmf")
        settings = settings_on(card)
    else:
        factors, settings = fitted_factors(run, row), pmf_settings(settings_of(run, row))
    if settings.biases or settings.likelihood == "logistic":
        command = run.factors_command("pmf")
        raise InputError(f"fold-in takes factors without biases; run `{command}`")
    task = evaluation_task(run.dataset, run.protocol)
    feedback, distinct = run.dataset.feedback, np.unique(np.array(liked, np.int32))
    n = len(distinct)
    own = Interactions(np.zeros(n, np.int32), distinct, np.full(n, feedback.best))
    pairs = observe(own, feedback, settings)
    U = fold_in(pairs, 1, factors, settings, paired=task.item_counts > 0)
    nobody = np.zeros(1, np.int32)
    seen = ItemSets.of(own, 1)
    items, scores = top_k(
        product(U, factors.V), nobody, seen, task.catalogue, k, memory, task.tie_order
    )
    return items[0], scores[0]


def list_for_newcomer(
    run: RunFolder, liked: tuple[str, ...], k: int, row: str = COLD_ROW, memory: int = MEMORY
) -> list[str]:
    """`recommend_liked` in lines, items being asked for by id or title."""
    items = [run.dataset.catalogue.find(asked) for asked in liked]
    found = recommend_liked(run, items, k, row, memory)
    titles = "; ".join(run.dataset.catalogue.called(item) for item in dict.fromkeys(items))
    return [*made_up(run), f"For somebody who likes {titles}, by {row}:", *ranked(run, *found)]
