"""PMF beside its peers. Run: python benchmarks/pmf.py MEASURE (needs the `bench` extra).

A measure with peers gives the time until the objective, computed for all by one function, is within
a share of the lowest that anyone reaches. Each program runs with the fewest sweeps that get there;
the programs take turns, medians of five (three beside Cornac PMF); compilation is stated apart.
Times are those of a whole fit from ratings (ours), or from the sparse matrix or data set that the
peer's fit takes.

| measure                | what                                                                    |
|------------------------|-------------------------------------------------------------------------|
| gaussian-small         | Gaussian, nu 1, lambda 0.05, 100 factors, ml-latest-small, within 1 %   |
| logistic-small         | logistic, published setting: no higher than Cornac PMF ends             |
| allpairs-small-64      | all-pairs, liked, ml-latest-small, within 0.5 %; also -128              |
| allpairs-large-64      | the same, 138,493 x 26,744 power-law; also -128                         |
| cuda-large-64          | where JAX has a GPU: a mesh of one device beside the usual placement    |
|                        | and implicit's CUDA ALS (`pip install rmm-cu13`), within 0.5 %          |
| allpairs-large-memory  | its peak memory above that of a process that holds the ratings only     |
| cli-cold               | `jaxrec train-pmf` as a process, with an empty cache of programs        |
| growth                 | time per sweep from 1 M to 14 M interactions, fitted exponent           |
| limit                  | GFLOP/s and GB/s of a sweep beside a matrix product and a copy          |
| deadlock               | 200 fits of each likelihood, confined to one core, then on two          |
| published-training     | published fit, 200 sweeps: seconds, compilation included, beside Cornac |
| published-factors      | largest difference of any factor to Cornac's, after 3 and 200 sweeps    |
| gaussian-reference     | Gaussian objective beside a float64 L-BFGS minimiser on a small problem |
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import jax
import numpy as np
from harness import interleave, report, seconds
from large import ITEMS, USERS, power_law
from peers import (
    Racer,
    cornac_mf,
    cornac_pmf,
    implicit_als,
    irspack,
    libmf,
    matrix,
    rss,
)

from jaxrec import (
    Factors,
    Interactions,
    Observed,
    PmfSettings,
    fit_pmf,
    fit_sequential,
    load_dataset,
    published_split,
)
from jaxrec.devices import Mesh, Placement
from jaxrec.pmf.objective import observe, ridges
from jaxrec.sources.synthetic import STARS, synthetic_dataset

GAUSSIAN = PmfSettings("gaussian", factors=100, lambda_=0.05, nu=1.0, w0=0.0)
LOGISTIC = PmfSettings("logistic", factors=100, lambda_=0.001, nu=1.0, w0=0.0)
ALL_PAIRS = PmfSettings(target="liked")
HU = ALL_PAIRS._replace(nu=0.0, lambda_=3.0)
"""implicit has nu = 0 only."""


def published_train() -> tuple[Interactions, int, int]:
    data = load_dataset("ml-latest-small")
    train = data.interactions.at(published_split(data.interactions).train)
    _, items = np.unique(train.items, return_inverse=True)  # the 8,965 with a rating
    train = train._replace(items=items.astype(np.int32))
    return train, int(train.users.max()) + 1, int(items.max()) + 1


def objective(observed: Observed, settings: PmfSettings, factors: Factors) -> float:
    """The objective of jaxrec.pmf.fit in float64, for anyone's factors."""
    U, V = (np.asarray(X, np.float64) for X in factors)
    users, items, targets, weights = observed
    loss = 0.0
    for start in range(0, len(users), 2**18):
        cut = slice(start, start + 2**18)
        x = np.einsum("nk,nk->n", U[users[cut]], V[items[cut]])
        if settings.likelihood == "logistic":
            x = 1 / (1 + np.exp(-x))
        loss += float(weights[cut] @ (targets[cut] - x) ** 2)
    loss += settings.w0 * float(np.sum((U.T @ U) * (V.T @ V)))
    for X, of, others, side in ((U, users, len(V), "users"), (V, items, len(U), "items")):
        weight = ridges(np.bincount(of, minlength=len(X)), others, settings, side)
        loss += float(weight @ np.sum(X**2, axis=1))
    return loss


def objective_by_jax(observed: Observed, settings: PmfSettings, factors: Factors) -> float:
    """`objective` of all-pairs, also in float64, by the accelerator."""
    with jax.enable_x64(True):
        U, V = (jax.numpy.asarray(X, np.float64) for X in factors)
        loss = settings.w0 * jax.numpy.sum((U.T @ U) * (V.T @ V))
        for start in range(0, len(observed.users), 2**20):
            users, items, targets, weights = (part[start : start + 2**20] for part in observed)
            x = jax.numpy.sum(U[users] * V[items], axis=1)
            loss += jax.numpy.sum(weights * (targets - x) ** 2)
        for X, of, others, side in (
            (U, observed.users, len(V), "users"),
            (V, observed.items, len(U), "items"),
        ):
            weight = ridges(np.bincount(of, minlength=len(X)), others, settings, side)
            loss += weight @ jax.numpy.sum(X**2, axis=1)
        return float(loss)


def race(
    ours: Racer,
    peers: list[Racer],
    loss: Callable[[Factors], float],
    within: float,
    goal: float | None = None,
    repeats: int = 5,
) -> tuple[float, float, str]:
    """Seconds to `goal`, or to `within` of the lowest objective: ours and the best peer's."""
    compiled_in = seconds(lambda: ours.fit(1))
    ended = {racer.name: loss(racer.fit(racer.most)) for racer in (ours, *peers)}
    for racer in (ours, *peers):
        print(f"{racer.name}: objective {ended[racer.name]:.8g} after {racer.most} sweeps")
    goal = float(np.nanmin(list(ended.values()))) * (1 + within) if goal is None else goal
    works: dict[str, Callable[[], object]] = {}
    for racer in (ours, *peers):
        if not ended[racer.name] <= goal:
            print(f"{racer.name}: not at {goal:.8g} after {racer.most} sweeps")
            continue
        low, high = 0, racer.most
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if loss(racer.fit(middle)) <= goal else (middle, high)
        print(f"{racer.name}: {high} sweeps to {goal:.8g}")
        works[racer.name] = partial(racer.fit, high)
    medians = interleave(works, repeats)
    mine = medians.pop(ours.name)
    print(f"{ours.name}: the first fit, compilation included, took {compiled_in:.2f} s")
    best = min(medians, key=lambda name: medians[name], default="")
    return (mine, medians[best], best) if best else (mine, 0.0, "no peer got there")


def our_fit(
    observed: Observed,
    users: int,
    items: int,
    settings: PmfSettings,
    placement: Placement | None = None,
) -> Callable[[int], Factors]:
    def fit(sweeps: int) -> Factors:
        how = settings._replace(sweeps=sweeps)
        return fit_pmf(observed, users, items, how, placement=placement)[0]

    return fit


def gaussian_small() -> None:
    train, users, items = published_train()
    loss = partial(objective, observe(train, STARS, GAUSSIAN), GAUSSIAN)
    peers = []
    for name, make, rates in (
        ("Cornac MF", cornac_mf, (0.01, 0.02, 0.04, 0.08)),
        ("LIBMF", libmf, (0.02, 0.05, 0.1, 0.2)),
    ):
        peers += [Racer(f"{name}, rate {r}", make(train, GAUSSIAN, r), 400) for r in rates]
    ours = Racer("ours", our_fit(observe(train, STARS, GAUSSIAN), users, items, GAUSSIAN), 100)
    report("gaussian-small", *race(ours, peers, loss, 0.01), "s")


def logistic_small() -> None:
    train, users, items = published_train()
    loss = partial(objective, observe(train, STARS, LOGISTIC), LOGISTIC)
    goal = loss(cornac_pmf(train, 200))
    fit = our_fit(observe(train, STARS, LOGISTIC), users, items, LOGISTIC)
    sweeps = next(n for n in range(1, 100) if loss(fit(n)) <= goal)
    print(f"Cornac PMF ends at {goal:.6g}, ours reaches it in {sweeps} sweeps")
    works: dict[str, Callable[[], object]] = {
        "ours": partial(fit, sweeps),
        "Cornac PMF": partial(cornac_pmf, train, 200),
    }
    medians = interleave(works, repeats=3)  # the peer takes most of a minute
    report("logistic-small", medians["ours"], medians["Cornac PMF"], "Cornac PMF", "s")


def all_pairs(measure: str, train: Interactions, users: int, items: int, factors: int) -> None:
    """Beside irspack on its objective, beside implicit on its own; the worse ratio counts."""
    liked = train.liked(STARS)
    pairs = matrix(liked, users, items)
    settings = ALL_PAIRS._replace(factors=factors)
    observed = observe(train, STARS, settings)
    small = len(liked.users) < 10**6
    most = 30 if small else 12
    peers = [
        Racer(f"irspack {solver}", irspack(pairs, settings, solver), most)
        for solver in (("CG", "IALSPP") if small else ("CG",))
    ]
    ours = Racer("ours", our_fit(observed, users, items, settings), most)
    results = [race(ours, peers, partial(objective, observed, settings), 0.005)]
    hu = HU._replace(factors=factors)
    observed = observed._replace(targets=observed.targets * (1 + hu.w0))
    ours = Racer("ours, nu 0", our_fit(observed, users, items, hu), most)
    peers = [Racer("implicit", implicit_als(pairs, hu), most)]
    results.append(race(ours, peers, partial(objective, observed, hu), 0.005))
    results = [result for result in results if result[1] > 0] or results
    for mine, theirs, name in results:
        print(f"{mine:.4g} s, {name} {theirs:.4g} s")
    report(measure, *max(results, key=lambda r: r[0] / r[1] if r[1] else 0), "s")


def all_pairs_small(factors: int) -> None:
    all_pairs(f"allpairs-small-{factors}", *published_train(), factors)


def all_pairs_large(factors: int) -> None:
    train = power_law()
    print(f"{len(train.users):,} interactions, {np.bincount(train.items).max():,} of one item")
    all_pairs(f"allpairs-large-{factors}", train, USERS, ITEMS, factors)


def cuda_large() -> None:
    train = power_law()
    hu = HU._replace(factors=64)
    observed = observe(train, STARS, hu)
    observed = observed._replace(targets=observed.targets * (1 + hu.w0))
    of = observed, USERS, ITEMS, hu
    mesh = Racer("a mesh of one device", our_fit(*of, Mesh.of(jax.devices()[:1])), 12)
    usual = Racer("the usual placement", our_fit(*of), 12)
    fit = implicit_als(matrix(train.liked(STARS), USERS, ITEMS), hu, cuda=True)
    cuda = Racer("implicit, CUDA", fit, 12)
    loss = partial(objective_by_jax, observed, hu)
    result = race(mesh, [usual, cuda], loss, 0.005, repeats=3)
    sweeps: dict[str, Callable[[], object]] = {
        f"{racer.name}, {n}": partial(racer.fit, n) for racer in (mesh, cuda) for n in (2, 12)
    }
    spent = interleave(sweeps, repeats=3)
    for racer in (mesh, cuda):
        a_sweep = (spent[f"{racer.name}, 12"] - spent[f"{racer.name}, 2"]) / 10
        print(f"{racer.name}: {a_sweep:.4f} s a sweep")
    report("cuda-large-64", *result, "s")


def fit_alone(path: str) -> None:
    """Print the peak memory of a process that fits the ratings in `path`."""
    with np.load(path) as file:
        train = Interactions(*(file[name] for name in Interactions._fields))
    settings = ALL_PAIRS._replace(factors=64, sweeps=2)
    fit_pmf(observe(train, STARS, settings), USERS, ITEMS, settings)
    print(rss())


def all_pairs_large_memory() -> None:
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.npz"
        np.savez(path, **power_law()._asdict())
        # a process that only holds the ratings imports no JAX
        hold = f"import numpy as np; f = np.load({str(path)!r}); a = [f[n] for n in f]; "
        hold += "print([l.split()[1] for l in open('/proc/self/status') if 'VmHWM' in l][0])"
        held = subprocess.run([sys.executable, "-c", hold], capture_output=True, check=True)
        command = [sys.executable, __file__, "--fit-ratings", str(path)]
        fitted = subprocess.run(command, capture_output=True, check=True)
        peaks = [int(fitted.stdout.split()[-1]), int(held.stdout) * 1024]
    print(f"{peaks[0] / 2**30:.2f} GiB fitting, {peaks[1] / 2**30:.2f} GiB holding the ratings")
    report("allpairs-large-memory", (peaks[0] - peaks[1]) / 2**30, 1.5, "bar", "GiB")


def train_process() -> None:
    with tempfile.TemporaryDirectory() as folder:

        def train(number: int) -> None:
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "jaxrec.cli",
                    "train-pmf",
                    "-q",
                    "--run",
                    f"{folder}/{number}",
                ],
                env=os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache{number}"},
                check=True,
            )

        spent = [seconds(partial(train, number)) for number in range(5)]
    print(", ".join(f"{t:.2f}" for t in spent))
    report("cli-cold", statistics.median(spent), 6.0, "bar", "s")


def seconds_per_sweep(train: Interactions, users: int, items: int, settings: PmfSettings) -> float:
    """Of sweeps after the first, compiled."""
    import time

    ends: list[float] = []
    fit_pmf(
        observe(train, STARS, settings),
        users,
        items,
        settings._replace(sweeps=6),
        on_sweep=lambda *_: ends.append(time.perf_counter()),
    )
    return statistics.median(np.diff(ends))


def growth() -> None:
    sizes, times = [], []
    for share in (0.07, 0.15, 0.35, 1.0):
        users, items = int(USERS * share), int(ITEMS * share)
        train = power_law(users, items)
        sizes.append(len(train.users))
        times.append(seconds_per_sweep(train, users, items, ALL_PAIRS._replace(factors=64)))
        print(f"{users:,} x {items:,}, {sizes[-1]:,} interactions: {times[-1]:.3f} s a sweep")
    exponent = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
    report("growth", exponent, 1.0, "proportional", "exponent")


def limit() -> None:
    train = power_law()
    factors, steps, n = 64, 2, len(train.users)
    spent = seconds_per_sweep(train, USERS, ITEMS, ALL_PAIRS._replace(factors=factors))
    # a pass over a rating: f . x and e f, 4 flops a factor, one row of f read
    passes = 2 * n * (1 + steps)
    A = jax.numpy.ones((2048, 2048))
    product, copy = jax.jit(lambda A: A @ A), jax.jit(lambda x: x + 1)
    x = jax.numpy.ones(2**26)
    for work in (product, copy):
        jax.block_until_ready(work(A if work is product else x))
    flops = 2 * 2048**3 / min(seconds(lambda: product(A).block_until_ready()) for _ in range(5))
    moved = 2 * x.nbytes / min(seconds(lambda: copy(x).block_until_ready()) for _ in range(5))
    ours_flops, ours_moved = passes * 4 * factors / spent, passes * 4 * factors / spent
    print(f"a sweep: {spent:.3f} s, {ours_flops / 1e9:.1f} GFLOP/s, {ours_moved / 1e9:.1f} GB/s")
    print(f"matrix product {flops / 1e9:.1f} GFLOP/s, copy {moved / 1e9:.1f} GB/s")
    report("limit", ours_moved / 1e9, moved / 1e9, "copy of the same machine", "GB/s")


DEADLOCK = """
import sys
from jaxrec import fit_pmf, observe, PmfSettings
from jaxrec.sources.synthetic import synthetic_dataset
data = synthetic_dataset(users=60, items=120)
w0 = 0.1 if sys.argv[1] == "all-pairs" else 0.0
for seed in range(200):
    settings = PmfSettings(sys.argv[1], factors=16, sweeps=3, w0=w0)
    pairs = observe(data.interactions, data.feedback, settings)
    fit_pmf(pairs, data.users, data.items, settings, seed=seed)
"""


def deadlock() -> None:
    """A hang is killed after ten minutes and fails the benchmark."""
    done = 0
    for cores in ({0}, {0, 1}):
        for likelihood in ("gaussian", "logistic", "all-pairs"):
            spent = seconds(
                partial(
                    subprocess.run,
                    [sys.executable, "-c", DEADLOCK, likelihood],
                    preexec_fn=partial(os.sched_setaffinity, 0, cores),
                    check=True,
                    timeout=600,
                )
            )
            done += 200
            print(f"{likelihood}, {len(cores)} cores: 200 fits in {spent:.1f} s")
    report("deadlock", done, 1200, "asked for", "fits without a hang")


def published_training() -> None:
    train, users, items = published_train()

    def ours() -> None:
        jax.clear_caches()
        fit_sequential(train, STARS, users, items)

    medians = interleave({"ours": ours, "Cornac PMF": lambda: cornac_pmf(train, 200)}, repeats=3)
    report("published-training", medians["ours"], medians["Cornac PMF"], "Cornac PMF", "s")


def published_factors() -> None:
    train, users, items = published_train()
    for sweeps in (3, 200):
        (U, V), _ = fit_sequential(train, STARS, users, items, sweeps=sweeps)
        their_U, their_V = cornac_pmf(train, sweeps)
        gap = max(np.abs(U - their_U).max(), np.abs(V - their_V).max())
        print(f"after {sweeps} sweeps: largest difference {gap:.3g}")
    report("published-factors", float(gap), 0.0, "Cornac PMF", "largest absolute difference")


def gaussian_reference() -> None:
    import scipy.optimize

    data = synthetic_dataset(users=60, items=120)
    train = data.interactions.at(published_split(data.interactions).train)
    users, items, k, lambda_ = data.users, data.items, 6, 1.5

    def value_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        U, V = x[: users * k].reshape(users, k), x[users * k :].reshape(items, k)
        error = train.values - (U[train.users] * V[train.items]).sum(1)
        dU, dV = 2 * lambda_ * U, 2 * lambda_ * V
        np.add.at(dU, train.users, -2 * error[:, None] * V[train.items])
        np.add.at(dV, train.items, -2 * error[:, None] * U[train.users])
        value = (error**2).sum() + lambda_ * ((U**2).sum() + (V**2).sum())
        return float(value), np.concatenate([dU.ravel(), dV.ravel()])

    settings = PmfSettings("gaussian", factors=k, lambda_=lambda_, nu=0.0, w0=0.0, sweeps=60)
    factors, _ = fit_pmf(observe(train, STARS, settings), users, items, settings)
    ours = objective(observe(train, STARS, settings), settings, factors)
    starts = np.random.default_rng(0).normal(0, 0.1, (5, (users + items) * k))
    options = {"maxiter": 5000, "maxfun": 10000, "ftol": 1e-12}
    found = [
        scipy.optimize.minimize(
            value_and_gradient, start, jac=True, method="L-BFGS-B", options=options
        ).fun
        for start in starts
    ]
    report("gaussian-reference", ours, min(found), "L-BFGS, float64, best of 5", "objective")


MEASURES: dict[str, Callable[[], None]] = {
    "gaussian-small": gaussian_small,
    "logistic-small": logistic_small,
    "allpairs-small-64": partial(all_pairs_small, 64),
    "allpairs-small-128": partial(all_pairs_small, 128),
    "allpairs-large-64": partial(all_pairs_large, 64),
    "allpairs-large-128": partial(all_pairs_large, 128),
    "cuda-large-64": cuda_large,
    "allpairs-large-memory": all_pairs_large_memory,
    "cli-cold": train_process,
    "growth": growth,
    "limit": limit,
    "deadlock": deadlock,
    "published-training": published_training,
    "published-factors": published_factors,
    "gaussian-reference": gaussian_reference,
}


@click.command()
@click.argument("measure", type=click.Choice(list(MEASURES)))
def main(measure: str) -> None:
    MEASURES[measure]()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fit-ratings"]:  # the child process of allpairs-large-memory
        fit_alone(sys.argv[2])
    else:
        main()
