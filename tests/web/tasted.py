"""A made model that fuses by a gate, made without an experiment."""

from dataclasses import replace

import numpy as np
import polars as pl

from jaxrec.data.dataset import Catalogue, Dataset
from jaxrec.data.features import FeatureSpace
from jaxrec.evaluation.split import Split
from jaxrec.fusion.gate import Learned
from jaxrec.models.model import Evidence, Settings
from jaxrec.models.registry import MODELS, learn
from jaxrec.serving.model import FittedModel
from jaxrec.serving.strangers import of_strangers
from jaxrec.sources.synthetic import synthetic_dataset

QUICK: dict[str, Settings] = {
    "pmf+text": MODELS["pmf+text"].settings | {"factors": 8, "sweeps": 5},
    "pmf": MODELS["pmf"].settings | {"factors": 8, "sweeps": 5},
    "text": MODELS["text"].settings | {"factors": 8, "sweeps": 5},
}
FUSED = ("pmf+text", "text", "rp3beta")
MARKUP = 5
"""Position of the item whose title is markup."""
GATE = {
    "a": [0.6, 0.3, 0.2],
    "b": [[-0.1], [0.05], [0.0]],
    "d": [[0.1, -0.05, 0.02], [-0.2, 0.1, 0.0], [0.05, 0.0, -0.1]],
    "h": [0.3, -0.1, 0.4],
    "H": [[0.02, 0.01, 0.03]],
}


def made(rows: tuple[str, ...] = FUSED) -> FittedModel:
    """Of these rows, fused by `GATE`; or of one alone."""
    dataset = synthetic_dataset(users=100, items=200)
    E = np.random.default_rng(0).normal(size=(dataset.items, 8)).astype(np.float32)
    everything = Split(np.arange(len(dataset.interactions.users)), np.zeros(0, np.int64))
    evidence = Evidence(dataset, everything, E, 1, {})
    settings = {row: QUICK.get(row, MODELS[row].settings) for row in rows}
    known, fused = dataset.interactions, len(rows) > 1
    return FittedModel(
        row="hybrid" if fused else rows[0],
        settings=settings,
        learned={row: learn(row, evidence, settings[row]) for row in rows},
        fusion=Learned("gate", GATE, [0.6, 0.3, 0.1], [], [], {}, {}) if fused else None,
        feedback=dataset.feedback,
        user_ids=dataset.user_ids,
        catalogue=_titled(dataset),
        known=known,
        trained=evidence.asking.trained,
        item_counts=np.bincount(known.items, minlength=dataset.items),
        candidates=np.ones(dataset.items, bool),
        tie_order=None,
        strangers=of_strangers(dataset, everything.train, everything.train, 1),
        space=FeatureSpace.of(dataset.catalogue),
        E=E if any(MODELS[row].text for row in rows) else None,
        card={"data": {"synthetic": True}},
    )


def _titled(dataset: Dataset) -> Catalogue:
    """With one title that is markup."""
    catalogue = dataset.catalogue
    titles = list(catalogue.titles)
    titles[MARKUP] = '<img src="nowhere" onerror="window.hurt = 1"><b>Markup</b>'
    table = catalogue.table.with_columns(pl.Series(catalogue.title, titles))
    return replace(catalogue, table=table)
