"""PMF beside Spark MLlib's ALS. Run: python benchmarks/spark.py [--users N] [--iterations N].

Needs `pip install pyspark` beside the `bench` extra and a Java runtime from 17 on (Debian's
openjdk-17-jre-headless; libopenblas0-pthread gives Spark a native BLAS). Both minimise

    sum over the ratings of (r - U_u . V_i)^2 + lambda (sum_u n_u |U_u|^2 + sum_i n_i |V_i|^2)

(Zhou et al. 2008; Spark's explicit ALS, our Gaussian likelihood with nu 1), each in a process of
its own on this machine's cores, Spark in local mode with its ratings cached. Spark runs its
iterations; ours runs the fewest sweeps that end no higher by the same function. The processes take
turns; each fits once before, so that programs are compiled, and prints the seconds of a second fit
and the peak memory of its process and of those that it started.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import polars as pl
import psutil
from harness import report
from large import ITEMS, USERS, power_law

FACTORS, LAMBDA = 64, 0.05


def write_ratings(path: Path, users: int) -> None:
    """Ratings of 0.5 to 5 by a taste of 8 dimensions and noise; who has what goes by popularity."""
    found, rng = power_law(users=users), np.random.default_rng(0)
    tastes = (rng.normal(0, 8**-0.25, (count, 8)).astype(np.float32) for count in (users, ITEMS))
    U, V = tastes
    score = np.empty(len(found.users), np.float32)
    for start in range(0, len(score), 2**20):
        cut = slice(start, start + 2**20)
        score[cut] = np.einsum("nk,nk->n", U[found.users[cut]], V[found.items[cut]])
    score += rng.normal(0, 0.5, len(score)).astype(np.float32)
    stars = np.clip(np.round(2 * (3.5 + score)) / 2, 0.5, 5).astype(np.float32)
    columns = {"user": found.users, "item": found.items, "rating": stars}
    pl.DataFrame(columns).write_parquet(path)


def of_ours(path: Path, users: int, sweeps: int) -> tuple[np.ndarray, np.ndarray, float]:
    """U, V and the seconds of a fit."""
    from jaxrec import Observed, PmfSettings, fit_pmf

    table = pl.read_parquet(path)
    ratings = table["rating"].to_numpy()
    pairs = table["user"].to_numpy(), table["item"].to_numpy()
    observed = Observed(*pairs, ratings, np.broadcast_to(np.float32(1), ratings.shape))
    del table
    how = PmfSettings("gaussian", FACTORS, LAMBDA, nu=1.0, w0=0.0)
    fit_pmf(observed, users, ITEMS, how._replace(sweeps=1))
    start = time.perf_counter()
    factors, _ = fit_pmf(observed, users, ITEMS, how._replace(sweeps=sweeps))
    return factors.U, factors.V, time.perf_counter() - start


def of_spark(path: Path, users: int, iterations: int) -> tuple[np.ndarray, np.ndarray, float]:
    """U, V and the seconds of a fit."""
    from pyspark.ml.recommendation import ALS
    from pyspark.sql import SparkSession

    cores = len(os.sched_getaffinity(0))
    session = (
        SparkSession.builder.master(f"local[{cores}]")
        .config("spark.driver.memory", "10g")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    ratings = session.read.parquet(str(path)).repartition(2 * cores).cache()
    ratings.count()
    als = ALS(
        rank=FACTORS,
        regParam=LAMBDA,
        numUserBlocks=2 * cores,
        numItemBlocks=2 * cores,
        userCol="user",
        itemCol="item",
        ratingCol="rating",
        seed=42,
    )
    als.setMaxIter(1).fit(ratings)
    start = time.perf_counter()
    model = als.setMaxIter(iterations).fit(ratings)
    spent = time.perf_counter() - start
    found: list[np.ndarray] = []
    for factors, count in ((model.userFactors, users), (model.itemFactors, ITEMS)):
        own = f"{path}.{len(found)}"
        factors.write.mode("overwrite").parquet(own)
        table = pl.read_parquet(f"{own}/*.parquet")
        X = np.zeros((count, FACTORS), np.float32)
        X[table["id"].to_numpy()] = np.stack(list(table["features"].to_numpy()))
        found.append(X)
    return found[0], found[1], spent


def objective(path: Path, U: np.ndarray, V: np.ndarray) -> float:
    """The objective above, in double precision."""
    table = pl.read_parquet(path)
    users, items = table["user"].to_numpy(), table["item"].to_numpy()
    ratings = table["rating"].to_numpy().astype(np.float64)
    total = 0.0
    for start in range(0, len(users), 2**18):
        cut = slice(start, start + 2**18)
        pairs = U[users[cut]].astype(np.float64), V[items[cut]].astype(np.float64)
        total += float(np.sum((ratings[cut] - np.einsum("nk,nk->n", *pairs)) ** 2))
    for X, of in ((U, users), (V, items)):
        lengths = np.bincount(of, minlength=len(X))
        total += LAMBDA * float(lengths @ np.sum(X.astype(np.float64) ** 2, axis=1))
    return total


def peak_memory() -> int:
    """Of this process and of those it started, bytes, each at its own peak."""
    pids = [os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))]
    peak = 0
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        peak += sum(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line) * 1024
    return peak


def fit_here(program: str, path: Path, users: int, sweeps: int) -> None:
    U, V, spent = {"ours": of_ours, "spark": of_spark}[program](path, users, sweeps)
    peak = peak_memory()
    print(json.dumps({"seconds": spent, "bytes": peak, "objective": objective(path, U, V)}))


def fit_apart(program: str, path: Path, users: int, sweeps: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--fit", program, str(path), str(users), str(sweeps)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{program}, {sweeps} sweeps: {found}", flush=True)
    return found


@click.command()
@click.option("--users", default=USERS, show_default=True, help="Of the made-up matrix.")
@click.option("--iterations", default=10, show_default=True, help="Of Spark.")
@click.option("--repeats", default=3, show_default=True)
def main(users: int, iterations: int, repeats: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.parquet"
        write_ratings(path, users)
        spark = [fit_apart("spark", path, users, iterations)]
        low, high = 0, 15
        while high - low > 1:
            middle = (low + high) // 2
            reached = fit_apart("ours", path, users, middle)["objective"]
            low, high = (low, middle) if reached <= spark[0]["objective"] else (middle, high)
        ours = [fit_apart("ours", path, users, high)]
        if ours[0]["objective"] > spark[0]["objective"]:
            print(f"not at Spark's objective after {high} sweeps")
        for _ in range(repeats - 1):
            spark.append(fit_apart("spark", path, users, iterations))
            ours.append(fit_apart("ours", path, users, high))
    for what, unit, scale in (("bytes", "GiB", 2**30), ("seconds", "s", 1)):
        us, peer = (statistics.median(run[what] for run in runs) / scale for runs in (ours, spark))
        report(f"{what} to equal objective", us, peer, "Spark MLlib ALS", unit)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fit"]:
        name, of, count, number = sys.argv[2:]
        fit_here(name, Path(of), int(count), int(number))
    else:
        main()
