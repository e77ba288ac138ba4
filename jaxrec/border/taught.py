"""What an encoder may learn from. Imports no JAX: whoever reads embeddings asks."""

from collections.abc import Set

from jaxrec.data.dataset import Dataset
from jaxrec.evaluation.protocol import Protocol
from jaxrec.evaluation.split import Split


def taught_split(dataset: Dataset, protocol: Protocol, validation: bool) -> Split:
    """The split that a lesson is made from; with `validation` that part is kept out too.

    Under `cold-items` the folds of the lesson keep it apart: see `blind_models`.
    """
    if validation and not protocol.rules.cold_items:
        return protocol.validation_splits(dataset)[0]
    return protocol.split


def judging_splits(dataset: Dataset, protocol: Protocol) -> list[Split]:
    """The splits inside train that something is chosen on; of `cold-items` the last calibrates."""
    inner = protocol.validation_splits(dataset)
    cold = protocol.rules.cold_items
    return [*inner, protocol.calibration_split(dataset)] if cold else inner


def blind_models(dataset: Dataset, protocol: Protocol, folds: int) -> list[tuple[Split, int]]:
    """Under `cold-items` what is chosen on, and which fold's model has seen nothing of it.

    The inner cold folds are the lesson's, several to a model perhaps. Calibration holds out the
    first of them and a tenth of what is warm, which the first model does without, too. Empty where
    validation is kept out of the whole lesson.
    """
    if not protocol.rules.cold_items:
        return []
    *inner, calibrating = judging_splits(dataset, protocol)
    return [*((split, k % folds) for k, split in enumerate(inner)), (calibrating, 0)]


def taught_splits(dataset: Dataset, protocol: Protocol) -> Set[str]:
    """Hashes of the splits that lessons of one experiment are made from."""
    return {taught_split(dataset, protocol, kept_out).sha256() for kept_out in (True, False)}
