"""Peers as functions from ratings to factors, in our numbering."""

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from jaxrec import Factors, Interactions, PmfSettings

THREADS = len(os.sched_getaffinity(0))


class Racer(NamedTuple):
    """One program that minimises the objective."""

    name: str
    fit: Callable[[int], Factors]
    """From a number of sweeps."""
    most: int
    """Sweeps beyond which it is not followed."""


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep what a peer prints, from Python or from C, off standard output."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        kept = os.dup(1)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            os.close(nowhere)


def cornac_dataset(train: Interactions) -> Any:
    """The ratings as Cornac reads them."""
    from cornac.data import Dataset

    triples = list(zip(*(column.tolist() for column in train[:3]), strict=True))
    return Dataset.from_uir(triples, seed=42)


def cornac_pmf(train: Interactions, sweeps: int) -> Factors:
    """Cornac's PMF with the published settings."""
    from cornac.models import PMF

    return _cornac(
        PMF(
            k=100,
            max_iter=sweeps,
            learning_rate=0.005,
            lambda_reg=0.001,
            gamma=0.9,
            variant="non_linear",
            seed=42,
        ),
        train,
        cornac_dataset(train),
        ("U", "V"),
    )


def cornac_mf(train: Interactions, settings: PmfSettings, rate: float) -> Callable[[int], Factors]:
    """Cornac's MF (C++ SGD), biases off."""
    from cornac.models import MF

    data = cornac_dataset(train)

    def fit(sweeps: int) -> Factors:
        model = MF(
            k=settings.factors,
            max_iter=sweeps,
            learning_rate=rate,
            lambda_reg=settings.lambda_,
            use_bias=False,
            num_threads=THREADS,
        )
        return _cornac(model, train, data, ("u_factors", "i_factors"))

    return fit


def _cornac(model: Any, train: Interactions, data: Any, names: tuple[str, str]) -> Factors:
    model.fit(data)
    factors = []
    for name, ids, rows in zip(names, (data.uid_map, data.iid_map), train[:2], strict=True):
        theirs = getattr(model, name)
        ours = np.zeros((int(rows.max()) + 1, theirs.shape[1]), theirs.dtype)
        ours[list(ids)] = theirs[list(ids.values())]
        factors.append(ours)
    return Factors(*factors)


def libmf(train: Interactions, settings: PmfSettings, rate: float) -> Callable[[int], Factors]:
    """The PyPI build of LIBMF (C++ SGD)."""
    with silence():
        from libmf import mf

    table = np.stack(train[:3], axis=1).astype(np.float32)
    shape = int(train.users.max()) + 1, int(train.items.max()) + 1

    def fit(sweeps: int) -> Factors:
        with silence():
            model = mf.MF(
                fun=0,
                k=settings.factors,
                nr_threads=THREADS,
                nr_iters=sweeps,
                lambda_p2=settings.lambda_,
                lambda_q2=settings.lambda_,
                lambda_p1=0.0,
                lambda_q1=0.0,
                eta=rate,
                quiet=True,
            )
            model.fit(table)
        return Factors(
            *(
                np.nan_to_num(np.ctypeslib.as_array(pointer, (rows, settings.factors)).copy())
                for pointer, rows in zip((model.model.P, model.model.Q), shape, strict=True)
            )
        )

    return fit


def matrix(liked: Interactions, users: int, items: int) -> scipy.sparse.csr_matrix:
    """1 for every liked pair."""
    ones = np.ones(len(liked.users), np.float32)
    return scipy.sparse.csr_matrix((ones, (liked.users, liked.items)), (users, items))


def irspack(
    pairs: scipy.sparse.csr_matrix, settings: PmfSettings, solver: Any
) -> Callable[[int], Factors]:
    """Irspack's iALS; its objective is ours with alpha0 = w0."""
    from irspack.recommenders.ials import IALSRecommender

    def fit(sweeps: int) -> Factors:
        with silence(), contextlib.redirect_stderr(io.StringIO()):
            model = IALSRecommender(
                pairs,
                n_components=settings.factors,
                alpha0=settings.w0,
                reg=settings.lambda_,
                nu=settings.nu,
                solver_type=solver,
                loss_type="IALSPP",
                train_epochs=sweeps,
                n_threads=THREADS,
            )
            model.learn()
        assert model.trainer is not None
        trainer = model.trainer.core_trainer
        return Factors(np.asarray(trainer.user), np.asarray(trainer.item))

    return fit


def implicit_als(
    pairs: scipy.sparse.csr_matrix, settings: PmfSettings, cuda: bool = False
) -> Callable[[int], Factors]:
    """Implicit's ALS (3 CG steps), on cores or by CUDA (which needs `rmm-cu13`).

    Its confidence c is 1 + 1 / w0 for a liked pair; it has nu = 0 only, and targets of c / (c - 1),
    so it minimises our objective for `implicit_settings`, not for ours.
    """
    from implicit.als import AlternatingLeastSquares

    confidence = pairs * np.float32(1 + 1 / settings.w0)

    def fit(sweeps: int) -> Factors:
        model = AlternatingLeastSquares(
            factors=settings.factors,
            regularization=settings.lambda_ / settings.w0,
            iterations=sweeps,
            num_threads=THREADS,
            random_state=0,
            use_gpu=cuda,
        )
        model.fit(confidence, show_progress=False)
        model = model.to_cpu() if cuda else model
        return Factors(model.user_factors, model.item_factors)

    return fit


def rss() -> int:
    """Peak resident memory of this process, bytes."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
