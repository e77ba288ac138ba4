"""Lets items without interactions compete with the others."""

import numpy as np
from numpy.typing import NDArray

from jaxrec.evaluation.measure import evaluate
from jaxrec.evaluation.task import judges
from jaxrec.fusion.gate import UNRATED, Learned, fused_scorer
from jaxrec.fusion.learning import FOLDS, LEARNERS, K, Part
from jaxrec.topk.blocks import MEMORY

BONUSES = np.arange(-30, 31) / 10
"""What unrated items may get, in standard deviations of a user's scores."""
COST = 0.01
"""Share of the hits on rated items that the others may cost."""


def calibrate(learned: Learned, part: Part, seed: int, memory: int = MEMORY) -> Learned:
    """Give items without interactions a bonus.

    They get the largest bonus (`BONUSES`) that costs at most the share `COST` of the hits on rated
    items among every user's best K: the weight h of that feature. The figures are cross-fitted, the
    bonus of each fold of users being chosen on the other folds. At most `LEARNERS` users are asked.

    Args:
        learned: the fusion.
        part: whose task holds out ratings on items with and without other ratings.
        seed: of the users' folds.
        memory: bytes that the arrays of a block of users may take.
    """
    task, unrated = part.task, np.asarray(part.familiarity.items)[:, UNRATED] > 0
    some = judges(task, seed, LEARNERS)
    task = task._replace(relevant=task.relevant.only(some))
    owners = np.repeat(np.arange(len(task.relevant.lengths)), task.relevant.lengths)
    relevant = owners * len(unrated) + task.relevant.items

    def counts(bonus: float) -> NDArray[np.int64]:
        """[3, users] hits on rated items, hits on others, places of others."""
        scorer = fused_scorer(_with_bonus(learned, bonus), part.signals, part.familiarity)
        found = evaluate(scorer, task, (K,), memory)
        there, lists = found.lists >= 0, found.lists
        hits = there & np.isin(
            found.users.astype(np.int64)[:, None] * len(unrated) + lists, relevant
        )
        cold = there & unrated[lists]
        return np.stack([np.sum(of, axis=1) for of in (hits & ~cold, hits & cold, cold)])

    alone = counts(-1e3)
    curve = np.stack([counts(bonus) for bonus in BONUSES])  # [bonuses, 3, users]

    def best(users: NDArray[np.bool_]) -> int:
        warm = curve[:, 0, users].sum(axis=1)
        return int(np.flatnonzero(warm >= (1 - COST) * alone[0, users].sum()).max(initial=0))

    fold = np.random.default_rng(seed).integers(0, FOLDS, len(alone[0]))
    fitted = [curve[best(fold != held)][:, fold == held].sum(axis=1) for held in range(FOLDS)]
    warm_hits, cold_hits, cold_places = np.sum(fitted, axis=0).tolist()
    places, bonus = K * len(fold), float(BONUSES[best(np.ones(len(fold), bool))])
    figures = {
        "bonus": bonus,
        f"warm_precision@{K}": warm_hits / places,
        f"warm_precision_alone@{K}": float(alone[0].sum()) / places,
        f"cold_share@{K}": cold_places / places,
        f"precision_on_cold@{K}": cold_hits / max(cold_places, 1),
    }
    return _with_bonus(learned, bonus)._replace(calibration=figures)


def _with_bonus(learned: Learned, bonus: float) -> Learned:
    h = list(learned.weights["h"])
    h[UNRATED] += bonus
    return learned._replace(weights=learned.weights | {"h": h})
