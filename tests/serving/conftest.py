"""A small experiment with embeddings, and the model that was fitted of it on everything."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxrec.border.texts import texts_sha256
from jaxrec.experiment import kept
from jaxrec.experiment.choices import evidence
from jaxrec.experiment.folder import RunFolder, open_run
from jaxrec.experiment.scoring import score_card
from jaxrec.files import write_json
from jaxrec.serving.fit import choose_row, fit_model, model_card
from jaxrec.serving.model import FittedModel
from tests.conftest import synthetic_of

QUICK = {"factors": 8, "sweeps": 5}


def quick(folder: Path, protocol: str = "strict", data: str = "synthetic") -> RunFolder:
    """An experiment whose rows are fitted in no time, with embeddings of its texts."""
    run = open_run(folder, data, protocol, seed=1)
    for row in ("pmf", "text", "pmf+text"):
        write_json(run.tuned_path(row), {"settings": QUICK})
    write_json(run.tuned_path("set"), {"settings": {"dim": 8, "epochs": 5, "rate": 0.01}})
    E = np.random.default_rng(0).normal(size=(run.dataset.items, 8)).astype(np.float32)
    E /= np.linalg.norm(E, axis=1, keepdims=True)
    for kind in run.kinds_of_texts:
        card: dict[str, Any] = {"texts_sha256": texts_sha256(run.dataset, run.texts(kind))}
        card |= {"model": "/somewhere/on/this/machine/some", "dim": 8, "weights_sha256": "0"}
        kept.write(run.embeddings_path("some", kind), {"embeddings": E}, card)
    return run


def fitted(run: RunFolder, row: str | None = None) -> FittedModel:
    """Of an experiment that was measured."""
    of_card, card = choose_row(run, row)
    embeddings = run.read_embeddings("some", "honest")
    says = model_card(run, of_card, card, embeddings.card)
    return fit_model(run, of_card, says, evidence(run, run.protocol.split).E)


@pytest.fixture(scope="package")
def small() -> Iterator[None]:
    with synthetic_of(users=100, items=200):
        yield


@pytest.fixture(scope="package")
def measured(tmp_path_factory: pytest.TempPathFactory, small: None) -> RunFolder:
    run = quick(tmp_path_factory.mktemp("serving") / "run")
    score_card(run, only=("popularity", "itemknn", "ease", "pmf+text", "set", "hybrid"))
    return run


@pytest.fixture(scope="package")
def model(measured: RunFolder) -> FittedModel:
    return fitted(measured)
