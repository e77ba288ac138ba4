"""What an encoder may learn from. Imports no JAX: whoever reads embeddings asks."""

from collections.abc import Set

from jaxrec.data.dataset import Dataset
from jaxrec.evaluation.protocol import Protocol
from jaxrec.evaluation.split import Split


def taught_split(dataset: Dataset, protocol: Protocol, validation: bool) -> Split:
    """The split that a lesson is made from; with `validation` that part is kept out too.

    Under `cold-items` the folds of the lesson keep it apart.
    """
    if validation and not protocol.rules.cold_items:
        return protocol.validation_splits(dataset)[0]
    return protocol.split


def taught_splits(dataset: Dataset, protocol: Protocol) -> Set[str]:
    """Hashes of the splits that lessons of one experiment are made from."""
    return {taught_split(dataset, protocol, kept_out).sha256() for kept_out in (True, False)}
