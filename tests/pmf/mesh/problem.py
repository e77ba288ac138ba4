"""One small matrix of uneven users and items, and what is fitted to it on cores and on meshes.

Run as a program it is a process of several; see `main`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxrec.pmf.objective import Observed, PmfSettings

USERS, ITEMS, K = 53, 31, 4
ALL_PAIRS = PmfSettings(factors=K, sweeps=15, float64=True)
CASES: dict[str, tuple[PmfSettings, tuple[str, ...]]] = {
    "all-pairs": (ALL_PAIRS, ()),
    "biases and means": (ALL_PAIRS._replace(biases=True), ("user_means", "item_means")),
    "text": (ALL_PAIRS, ("item_features",)),
    "gaussian": (ALL_PAIRS._replace(likelihood="gaussian", w0=0.0), ()),
    "logistic": (
        ALL_PAIRS._replace(likelihood="logistic", w0=0.0, lambda_=0.02, biases=True),
        (),
    ),
}
"""Settings, and what else is given."""


def pairs() -> Observed:
    """Some users rate much and some nothing, some items are never rated."""
    rng = np.random.default_rng(0)
    user, item = np.nonzero(
        rng.random((USERS, ITEMS)) < np.linspace(0.9, 0, USERS)[:, None] * np.linspace(1, 0, ITEMS)
    )
    order = rng.permutation(len(user))
    stars = rng.integers(1, 11, len(user)) / 10
    weights = rng.random(len(user)) + 0.5
    return Observed(user[order].astype(np.int32), item[order].astype(np.int32), stars, weights)


def given(case: str) -> dict[str, NDArray[np.floating]]:
    """Means and features of a case."""
    rng = np.random.default_rng(1)
    of: dict[str, NDArray[np.floating]] = {
        "user_means": rng.normal(size=(USERS, K)),
        "item_means": rng.normal(size=(ITEMS, K)),
        "item_features": rng.normal(size=(ITEMS, 3)),
    }
    return {name: of[name] for name in CASES[case][1]}


def gap(found: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    """Relative difference."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def main() -> None:
    """One of several processes, each with some devices and with users from one number on.

    Given port, processes, its own number, where users are cut, a folder and what to fit (see
    `wanted` in the tests): writes what `fit_pmf` gives to the folder.
    """
    port, processes, process, cuts, folder, wanted = json.loads(sys.argv[1])
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", processes, process)
    from jaxrec.devices import Mesh
    from jaxrec.pmf.fit import fit_pmf
    from jaxrec.pmf.sweeps import Checkpoints

    first, end = cuts[process : process + 2]
    users, items, targets, weights = pairs()
    mine = (users >= first) & (users < end)
    own = Observed(users[mine] - first, items[mine], targets[mine], weights[mine])
    for name, case, sweeps, kept in wanted:
        of: dict[str, Any] = given(case)
        if "user_means" in of:
            of["user_means"] = of["user_means"][first:end]
        checkpoints = Checkpoints(Path(folder) / "kept", {}, every=0.0) if kept else None
        told: list[int] = []
        (U, V), losses = fit_pmf(
            own,
            end - first,
            ITEMS,
            CASES[case][0]._replace(sweeps=sweeps),
            checkpoints=checkpoints,
            on_sweep=lambda sweep, _, told=told: told.append(sweep),  # type: ignore[misc]
            placement=Mesh.of(),
            **of,
        )
        np.savez(Path(folder) / f"{name}-{process}.npz", U=U, V=V, losses=losses, told=told)


if __name__ == "__main__":
    main()
