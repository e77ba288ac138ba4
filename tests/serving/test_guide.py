"""docs/nearest.md runs, and its lists are those of the model."""

import re
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from jaxrec.errors import InputError
from jaxrec.models.model import Asking
from jaxrec.serving.export import export_model
from jaxrec.serving.folder import write_model
from jaxrec.serving.model import FittedModel
from jaxrec.topk import nearest

GUIDE = Path(__file__).parent.parent.parent / "docs" / "nearest.md"


@pytest.fixture(scope="module")
def guide(model: FittedModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the blocks of the guide leave behind, one after the other."""
    folder, left = tmp_path_factory.mktemp("served"), dict[str, Any]()
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    with pytest.MonkeyPatch.context() as patch, chdir(folder):
        patch.setattr(nearest, "EXACT", 0)
        write_model(Path("model"), model)
        for format in ("faiss", "usearch"):
            export_model(model, Path("export"), format)
        exec("\n".join(blocks).replace("[400]", "[40]"), left)
    return left


def scores_of(model: FittedModel, asking: Asking) -> np.ndarray:
    """[items] of one user by `pmf+text`."""
    left, right = (np.asarray(side) for side in model.product_of("pmf+text", asking))
    return right @ left[0]


def test_a_known_user_gets_the_best_that_she_does_not_have(
    model: FittedModel, guide: dict[str, Any]
) -> None:
    asking = model.asking(model.user_ids.positions([40]))
    order = model.catalogue.ids[np.argsort(-scores_of(model, asking))].tolist()
    has = set(order[:7:2])
    expected = [item for item in order if item not in has][:10]
    assert guide["nearest"](guide["users"][40], has, 10) == expected


def test_both_libraries_agree(guide: dict[str, Any]) -> None:
    by_graph = guide["item_ids"][guide["found"].keys.astype(int)].tolist()
    assert by_graph == guide["nearest"](guide["users"][40], set(), 5)


def test_somebody_new_is_folded_in(model: FittedModel, guide: dict[str, Any]) -> None:
    assert np.allclose(
        model.product_of("pmf+text", guide["somebody"]).right @ guide["vector"],
        scores_of(model, model.somebody(model.catalogue.ids.positions([6, 16]))),
    )


def test_candidates_are_ranked_by_the_fusion(model: FittedModel, guide: dict[str, Any]) -> None:
    asking = model.asking(model.user_ids.positions([40]))
    everything = np.arange(len(model.catalogue.ids))
    order = np.argsort(-model.reranked(asking, everything[None])[0])
    free = order[~np.isin(order, asking.known.items)]
    best = guide["candidates"][np.argsort(-guide["scores"])]
    assert best[:10].tolist() == model.catalogue.ids[free[:10]].tolist()


def test_only_what_is_ranked_is_exported(model: FittedModel, tmp_path: Path) -> None:
    some = np.arange(len(model.catalogue.ids)) % 2 == 0
    lines = export_model(replace(model, candidates=some), tmp_path, "parquet")
    tables = [f"{row}-{side}.parquet" for row in model.vectors() for side in ("users", "items")]
    assert lines[: len(tables)] == [str(tmp_path / table) for table in tables]
    left = pl.read_parquet(tmp_path / "pmf+text-items.parquet")["item_id"].to_list()
    assert left == model.catalogue.ids.names[some].tolist()


def test_a_model_without_vectors_is_refused(model: FittedModel, tmp_path: Path) -> None:
    other = replace(model, row="itemknn", learned={"itemknn": {}}, fusion=None)
    with pytest.raises(
        InputError, match="itemknn: its scores are no product of short vectors; fit another"
    ):
        export_model(other, tmp_path / "to", "npz")
    assert not (tmp_path / "to").exists()
