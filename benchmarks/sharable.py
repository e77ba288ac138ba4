"""Two made-up data sets that anyone may share. Run: python benchmarks/sharable.py FOLDER

| folder | what                                                                          |
|--------|-------------------------------------------------------------------------------|
| likes  | who borrowed which book, no values and no times, text ids; titles and genres  |
| counts | a log of plays, a line each time with its date; titles and genres             |

Both come from the planted tastes of `synthetic`. Then: jaxrec run --data FOLDER/likes --run likes
"""

from pathlib import Path

import click
import numpy as np
import polars as pl

from jaxrec import load_dataset


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder: Path) -> None:
    """Write both."""
    made = load_dataset("synthetic")
    table = made.catalogue.table.select("title", pl.col("genres").list.join("|"))
    books = pl.DataFrame({"isbn": [f"{item:09d}X" for item in made.item_ids.names]})
    for kind in ("likes", "counts"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        books.hstack(table).write_csv(folder / kind / "items.csv")
    found, isbn = made.interactions, books["isbn"].to_numpy()
    liked = found.liked(made.feedback)
    pl.DataFrame(
        {"patron": [f"P{user:04d}" for user in liked.users], "isbn": isbn[liked.items]}
    ).write_csv(folder / "likes" / "loans.tsv", separator="\t")
    rng = np.random.default_rng(0)
    assert found.times is not None
    plays = 1 + rng.poisson(np.exp(1.2 * (found.values - 2.5)))
    once = np.repeat(np.arange(len(plays)), plays)
    minutes = np.arange(len(once)) - np.repeat(np.cumsum(plays) - plays, plays)
    when = pl.Series(found.times[once] + 60 * minutes).cast(pl.Int64) * 1000
    pl.DataFrame(
        {
            "listener": [f"L{user:04d}" for user in found.users[once]],
            "isbn": isbn[found.items[once]],
            "played_at": when.cast(pl.Datetime("ms")).dt.strftime("%Y-%m-%d %H:%M:%S"),
        }
    ).write_csv(folder / "counts" / "plays.csv")


if __name__ == "__main__":
    main()
