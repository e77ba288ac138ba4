"""What is similar to an item."""

import numpy as np
from numpy.typing import NDArray

from jaxrec.experiment.choices import chosen_embeddings
from jaxrec.experiment.fitting import fitted_factors
from jaxrec.experiment.folder import RunFolder
from jaxrec.serving.newcomers import COLD_ROW
from jaxrec.serving.recommend import ranked
from jaxrec.topk.blocks import MEMORY
from jaxrec.topk.item_sets import ItemSets
from jaxrec.topk.ranking import top_k
from jaxrec.topk.scorer import product


def similar(
    run: RunFolder, item: int, k: int, memory: int = MEMORY
) -> dict[str, tuple[NDArray[np.int32], NDArray[np.floating]]]:
    """The `k` items nearest to one by cosine, in the space of factors and in that of texts.

    Returns:
        By space, `factors` (of `pmf+text`) and, if there are embeddings, `text`: items [k] and
        cosines [k].
    """
    spaces = {"factors": fitted_factors(run, COLD_ROW).V}
    name = chosen_embeddings(run)
    if name is not None:
        spaces["text"] = run.read_embeddings(name, "honest").E
    itself = ItemSets(np.array([0, 1]), np.array([item], np.int32))
    everything = np.ones(run.dataset.items, bool)
    nearest = {}
    for space, vectors in spaces.items():
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
        scorer, nobody = product(unit[[item]], unit), np.zeros(1, np.int32)
        found = top_k(scorer, nobody, itself, everything, k, memory)
        nearest[space] = found[0][0], found[1][0]
    return nearest


def list_similar(run: RunFolder, asked: str, k: int, memory: int = MEMORY) -> list[str]:
    """`similar` in lines, the item being asked for by id or title."""
    item = run.dataset.catalogue.find(asked)
    lines, name = [], run.dataset.catalogue.called(item)
    for space, found in similar(run, item, k, memory).items():
        lines += [
            f"Most like {name} by {space}:",
            *ranked(run, *found),
        ]
    return lines
