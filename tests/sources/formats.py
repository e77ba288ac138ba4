"""The same small data set in every format that people have; `python -m` prints which are read."""

import csv
import gzip
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
import zstandard

from jaxrec.data.dataset import Dataset
from jaxrec.sources.library import load_dataset


class Truth(NamedTuple):
    """What is to be read."""

    rows: list[tuple[Any, Any, float, int]]
    """User, item, value, seconds."""
    titles: dict[Any, str]
    """Of every item."""
    kind: str = "stars"
    times: bool = True


Writer = Callable[[Path], tuple[Path, Truth]]
FORMATS: dict[str, Writer] = {}
GENRES = ["Drama", "War", "Crime"]


def writes(name: str) -> Callable[[Writer], Writer]:
    def keep(writer: Writer) -> Writer:
        FORMATS[name] = writer
        return writer

    return keep


def made(
    user: Callable[[int], Any] = lambda n: n + 1,
    item: Callable[[int], Any] = lambda n: 3 * n + 1,
    stars: tuple[float, ...] = (1, 2, 3, 4, 4, 5, 5),
    kind: str = "stars",
    times: bool = True,
) -> Truth:
    """30 users with 8 to 20 of 50 items; titles with a comma, with quotes, with an accent."""
    rng = np.random.default_rng(5)
    rows = []
    for u in range(30):
        for i in rng.choice(49, rng.integers(8, 20), replace=False):
            value = 1.0 if kind == "likes" else float(rng.choice(stars))
            rows.append((user(u), item(int(i)), value, int(rng.integers(10**9, 15 * 10**8))))
    titles = {item(n): f"Story {n} (19{n + 10})" for n in range(50)}
    titles |= {item(3): "Heat, The (1995)", item(5): 'Ada "B" (1996)', item(7): "Amélie (2001)"}
    return Truth(rows, titles, kind, times)


def as_csv(rows: list[list[Any]], separator: str = ",", quoted: bool = False) -> str:
    text = io.StringIO()
    how: Literal[0, 1] = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    csv.writer(text, delimiter=separator, quoting=how, lineterminator="\n").writerows(rows)
    return text.getvalue()


def joined(rows: list[list[Any]], separator: str) -> str:
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


def ratings(truth: Truth, header: tuple[str, ...] | None = None) -> list[list[Any]]:
    return [
        *([list(header)] if header else []),
        *([u, i, f"{v:g}", t] for u, i, v, t in truth.rows),
    ]


def films(truth: Truth, header: tuple[str, ...] | None = None) -> list[list[Any]]:
    body = [[i, title, GENRES[n % 3]] for n, (i, title) in enumerate(truth.titles.items())]
    return [*([list(header)] if header else []), *body]


MOVIELENS = ("userId", "movieId", "rating", "timestamp")
HALVES = tuple(n / 2 for n in range(1, 11))


@writes("MovieLens small, 20M, 25M, 32M")
def movielens(folder: Path) -> tuple[Path, Truth]:
    truth = made(stars=HALVES)
    (folder / "ratings.csv").write_text(as_csv(ratings(truth, MOVIELENS)))
    (folder / "movies.csv").write_text(as_csv(films(truth, ("movieId", "title", "genres"))))
    (folder / "links.csv").write_text("movieId,imdbId,tmdbId\n1,0114709,862\n")
    return folder, truth


@writes("MovieLens 1M (::, latin-1)")
def movielens_1m(folder: Path) -> tuple[Path, Truth]:
    truth = made()
    (folder / "ratings.dat").write_text(joined(ratings(truth), "::"))
    (folder / "movies.dat").write_text(joined(films(truth), "::"), encoding="latin-1")
    (folder / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\n")
    (folder / "README").write_text("SUMMARY\n=======\n")
    return folder, truth


@writes("MovieLens 10M (::, tags)")
def movielens_10m(folder: Path) -> tuple[Path, Truth]:
    truth = made(stars=HALVES)
    (folder / "ratings.dat").write_text(joined(ratings(truth), "::"))
    (folder / "movies.dat").write_text(joined(films(truth), "::"))
    (folder / "tags.dat").write_text("1::1::slow::1139045764\n")
    return folder, truth


@writes("MovieLens 100K (u.data, u.item)")
def movielens_100k(folder: Path) -> tuple[Path, Truth]:
    truth = made()
    (folder / "u.data").write_text(joined(ratings(truth), "\t"))
    items = [
        [i, title, "01-Jan-1995", "", "http://x", *(int(n == at % 19) for n in range(19))]
        for at, (i, title) in enumerate(truth.titles.items())
    ]
    (folder / "u.item").write_text(joined(items, "|"), encoding="latin-1")
    (folder / "u.genre").write_text("unknown|0\nAction|1\n")
    (folder / "u.user").write_text("1|24|M|technician|85711\n")
    (folder / "u1.base").write_text("1\t1\t5\t874965758\n")
    return folder, truth


@writes("MovieLens in its zip")
def movielens_zip(folder: Path) -> tuple[Path, Truth]:
    inside = folder / "ml"
    inside.mkdir()
    _, truth = movielens_1m(inside)
    with zipfile.ZipFile(folder / "ml-1m.zip", "w") as archive:
        for path in inside.iterdir():
            archive.write(path, f"ml-1m/{path.name}")
    return folder / "ml-1m.zip", truth


@writes("RecBole atomic files")
def recbole(folder: Path) -> tuple[Path, Truth]:
    truth = made()
    header = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")
    (folder / "ml.inter").write_text(joined(ratings(truth, header), "\t"))
    items = films(truth, ("item_id:token", "movie_title:token_seq", "class:token_seq"))
    (folder / "ml.item").write_text(joined(items, "\t"))
    (folder / "ml.user").write_text("user_id:token\tage:token\n1\t24\n")
    return folder, truth


def asin(n: int) -> str:
    return f"{n:09d}X"


def amazon(
    folder: Path, keys: dict[str, str], meta: str, ms: bool = False, python: bool = False
) -> tuple[Path, Truth]:
    truth = made(lambda n: f"A{n:012d}QZ", asin)
    review = [
        {
            keys["user"]: u,
            keys["item"]: i,
            keys["value"]: v,
            keys["time"]: t * 1000 if ms else t,
            "helpful": [0, 1],
            "title" if ms else "summary": "Great, really",
        }
        for u, i, v, t in truth.rows
    ]
    (folder / "reviews.json").write_text("".join(json.dumps(line) + "\n" for line in review))
    lines = [
        {keys["item"]: i, "title": title, "categories": [["Books", "War"]], "price": 3.5}
        for i, title in truth.titles.items()
    ]
    text = "".join((repr(line) if python else json.dumps(line)) + "\n" for line in lines)
    (folder / meta).write_bytes(gzip.compress(text.encode()))
    return folder, truth


@writes("Amazon 2014 (metadata as Python)")
def amazon_2014(folder: Path) -> tuple[Path, Truth]:
    keys = {"user": "reviewerID", "item": "asin", "value": "overall", "time": "unixReviewTime"}
    return amazon(folder, keys, "meta_Books.json.gz", python=True)


@writes("Amazon 2018")
def amazon_2018(folder: Path) -> tuple[Path, Truth]:
    keys = {"user": "reviewerID", "item": "asin", "value": "overall", "time": "unixReviewTime"}
    return amazon(folder, keys, "meta_Books.json.gz")


@writes("Amazon 2023 (milliseconds)")
def amazon_2023(folder: Path) -> tuple[Path, Truth]:
    keys = {"user": "user_id", "item": "parent_asin", "value": "rating", "time": "timestamp"}
    return amazon(folder, keys, "meta_Books.jsonl.gz", ms=True)


@writes("Amazon interactions, item texts")
def amazon_likes(folder: Path) -> tuple[Path, Truth]:
    truth = made(lambda n: f"A{n:012d}QZ", asin, kind="likes", times=False)
    pairs = [["user_id", "asin"], *([u, i] for u, i, _, _ in truth.rows)]
    (folder / "interactions.tsv").write_text(joined(pairs, "\t"))
    texts = [["asin", "text"], *map(list, truth.titles.items())]
    (folder / "items.tsv").write_text(joined(texts, "\t"))
    return folder, truth


@writes("Last.fm 2K (user_artists.dat)")
def lastfm_2k(folder: Path) -> tuple[Path, Truth]:
    truth = made(stars=(1, 1, 1, 2, 5, 30, 400), kind="counts", times=False)
    plays = [["userID", "artistID", "weight"], *([u, i, f"{v:g}"] for u, i, v, _ in truth.rows)]
    (folder / "user_artists.dat").write_text(joined(plays, "\t"))
    artists = [[i, title, "http://a", "http://b"] for i, title in truth.titles.items()]
    head = ["id", "name", "url", "pictureURL"]
    (folder / "artists.dat").write_text(joined([head, *artists], "\t"))
    (folder / "user_friends.dat").write_text("userID\tfriendID\n1\t2\n")
    (folder / "user_taggedartists.dat").write_text(
        "userID\tartistID\ttagID\tday\tmonth\tyear\n1\t1\t13\t1\t4\t2009\n"
    )
    return folder, truth


@writes("Last.fm 360K (no header, names beside)")
def lastfm_360k(folder: Path) -> tuple[Path, Truth]:
    truth = made(
        lambda n: f"{n:040x}", lambda n: f"{n:08x}-0000-4000-8000-0000000000ab",
        (1, 1, 1, 2, 5, 30, 400), "counts", False,
    )  # fmt: skip
    plays = [[u, i, truth.titles[i], f"{v:g}"] for u, i, v, _ in truth.rows]
    path = folder / "usersha1-artmbid-artname-plays.tsv"
    path.write_text(joined(plays, "\t"))
    heard = {i for _, i, _, _ in truth.rows}
    return path, truth._replace(titles={i: t for i, t in truth.titles.items() if i in heard})


@writes("Goodbooks")
def goodbooks(folder: Path) -> tuple[Path, Truth]:
    truth = made(times=False)
    rows = [["user_id", "book_id", "rating"], *([u, i, f"{v:g}"] for u, i, v, _ in truth.rows)]
    (folder / "ratings.csv").write_text(as_csv(rows))
    head = ["id", "book_id", "authors", "original_publication_year", "title", "average_rating"]
    books = [
        [i, 90_000 + i, f"Author {i % 7}", 1950.0 + i % 9, title, 3.9 + i % 10 / 100]
        for i, title in truth.titles.items()
    ]
    (folder / "books.csv").write_text(as_csv([head, *books]))
    (folder / "to_read.csv").write_text("user_id,book_id\n1,4\n")
    (folder / "book_tags.csv").write_text("goodreads_book_id,tag_id,count\n1,30574,167697\n")
    return folder, truth


@writes("Book-Crossing (;, latin-1, 0 is implicit)")
def book_crossing(folder: Path) -> tuple[Path, Truth]:
    truth = made(lambda n: 276_000 + n, asin, (0, 0, 0, 5, 7, 8, 9, 10), times=False)
    rows = [["User-ID", "ISBN", "Book-Rating"], *([u, i, f"{v:g}"] for u, i, v, _ in truth.rows)]
    (folder / "BX-Book-Ratings.csv").write_text(as_csv(rows, ";", True), encoding="latin-1")
    head = ["ISBN", "Book-Title", "Book-Author", "Year-Of-Publication", "Publisher"]
    books = [[i, title, "Ann Author", 1999, "House"] for i, title in truth.titles.items()]
    text = as_csv([head, *books], ";", True).replace('""', '\\"')
    (folder / "BX-Books.csv").write_text(text, encoding="latin-1")
    (folder / "BX-Users.csv").write_text('"User-ID";"Location";"Age"\n"1";"nyc, usa";NULL\n')
    rows_read = [(u, i, v or 8.0, t) for u, i, v, t in truth.rows]  # as just liked: 8 of 10
    return folder, truth._replace(rows=rows_read)


def table(folder: Path, name: str, text: str | bytes, truth: Truth) -> tuple[Path, Truth]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    seen = {i for _, i, _, _ in truth.rows}
    return path, truth._replace(titles=dict.fromkeys(seen, ""))


SPELLINGS: dict[str, Callable[[Truth], str | bytes]] = {
    "quoted header": lambda t: as_csv(ratings(t, MOVIELENS), quoted=True),
    "columns in another order": lambda t: as_csv(
        [list(reversed(MOVIELENS)), *(list(reversed(row)) for row in ratings(t))]
    ),
    "a further column": lambda t: as_csv(
        [[*MOVIELENS, "device"], *([*row, "phone, small"] for row in ratings(t))]
    ),
    "an index column": lambda t: as_csv(
        [["", *MOVIELENS], *([n, *row] for n, row in enumerate(ratings(t)))]
    ),
    "other names and case": lambda t: as_csv(
        ratings(t, ("USER ID", "Product_ID", "Stars", "Date"))
    ),
    "no header": lambda t: as_csv(ratings(t)),
    "tabs": lambda t: joined(ratings(t, MOVIELENS), "\t"),
    "pipes": lambda t: joined(ratings(t, MOVIELENS), "|"),
    "two colons": lambda t: joined(ratings(t, MOVIELENS), "::"),
    "Windows line ends": lambda t: as_csv(ratings(t, MOVIELENS)).replace("\n", "\r\n"),
    "UTF-8 with a mark": lambda t: as_csv(ratings(t, MOVIELENS)).encode("utf-8-sig"),
    "UTF-16": lambda t: as_csv(ratings(t, MOVIELENS)).encode("utf-16"),
    "UTF-16 without a mark": lambda t: as_csv(ratings(t, MOVIELENS)).encode("utf-16-le"),
    "milliseconds": lambda t: as_csv(
        [list(MOVIELENS), *([u, i, v, s * 1000 + 7] for u, i, v, s in t.rows)]
    ),
    "gzip": lambda t: gzip.compress(as_csv(ratings(t, MOVIELENS)).encode()),
    "zstandard": lambda t: zstandard.compress(as_csv(ratings(t, MOVIELENS)).encode()),
}  # fmt: skip


def spelling(name: str) -> Writer:
    def write(folder: Path) -> tuple[Path, Truth]:
        truth = made()
        return table(folder, "shop.csv", SPELLINGS[name](truth), truth)

    return write


FORMATS |= {f"CSV: {name}": spelling(name) for name in SPELLINGS}


def dated(pattern: str) -> Writer:
    def write(folder: Path) -> tuple[Path, Truth]:
        truth = made()
        day = [(u, i, v, t - t % 86_400) for u, i, v, t in truth.rows]
        unit = "s" if pattern == "iso" else "D"
        rows = truth.rows if pattern == "iso" else day
        dates = [
            [u, i, f"{v:g}", str(np.datetime64(t, "s").astype(f"datetime64[{unit}]"))]
            for u, i, v, t in rows
        ]
        exact = truth if pattern == "iso" else truth._replace(rows=day)
        return table(folder, "shop.csv", as_csv([list(MOVIELENS), *dates]), exact)

    return write


FORMATS |= {"CSV: ISO times": dated("iso"), "CSV: dates": dated("day")}


@writes("zip of one table")
def zipped(folder: Path) -> tuple[Path, Truth]:
    truth = made()
    path, truth = table(folder, "shop.csv", as_csv(ratings(truth, MOVIELENS)), truth)
    with zipfile.ZipFile(folder / "shop.zip", "w") as archive:
        archive.write(path, "shop.csv")
    return folder / "shop.zip", truth


@writes("many files")
def many(folder: Path) -> tuple[Path, Truth]:
    truth = made()
    rows = ratings(truth)
    for part in range(3):
        text = as_csv([list(MOVIELENS), *rows[part * 140 : (part + 1) * 140 if part < 2 else None]])
        (folder / f"part-{part}.csv").write_text(text)
    seen = {i for _, i, _, _ in truth.rows}
    return folder, truth._replace(titles=dict.fromkeys(seen, ""))


@writes("Parquet (ids that are text)")
def parquet(folder: Path) -> tuple[Path, Truth]:
    truth = made(lambda n: f"{n:03d}", lambda n: f"item {n}")
    columns = dict(
        zip(("user", "item", "rating", "ts"), zip(*truth.rows, strict=True), strict=True)
    )
    pl.DataFrame(columns).write_parquet(folder / "events.parquet")
    seen = {i for _, i, _, _ in truth.rows}
    return folder / "events.parquet", truth._replace(titles=dict.fromkeys(seen, ""))


@writes("JSON lines")
def jsonl(folder: Path) -> tuple[Path, Truth]:
    truth = made()
    lines = [json.dumps({"user": u, "item": i, "rating": v, "ts": t}) for u, i, v, t in truth.rows]
    return table(folder, "events.jsonl", "\n".join(lines), truth)


@writes("pairs alone (likes)")
def pairs(folder: Path) -> tuple[Path, Truth]:
    truth = made(kind="likes", times=False)
    return table(folder, "liked.csv", as_csv([[u, i] for u, i, _, _ in truth.rows]), truth)


@writes("a log of plays, to be counted")
def log(folder: Path) -> tuple[Path, Truth]:
    truth = made(stars=(1, 1, 1, 2, 3, 8), kind="counts")
    played = [[u, i, t - n] for u, i, v, t in truth.rows for n in range(int(v))]
    text = as_csv([["listener", "track", "played_at"], *played])
    return table(folder, "log.csv", text, truth)


def differences(found: Dataset, truth: Truth) -> list[str]:
    """What was not read as it is, in words."""
    wrong = []
    read = found.interactions
    names = found.user_ids[read.users].tolist(), found.item_ids[read.items].tolist()
    rows = sorted(zip(*names, read.values.tolist(), strict=True))
    if rows != sorted((u, i, v) for u, i, v, _ in truth.rows):
        wrong.append("interactions")
    if found.users != len({u for u, _, _, _ in truth.rows}):
        wrong.append("users")
    if dict(zip(found.item_ids.names.tolist(), found.titles, strict=True)) != truth.titles:
        wrong.append("items")
    if found.feedback.kind != truth.kind:
        wrong.append(f"feedback {found.feedback.kind}")
    times = None if read.times is None else sorted(read.times.tolist())
    if times != (sorted(t for *_, t in truth.rows) if truth.times else None):
        wrong.append("times")
    return wrong


def main() -> None:
    """Print a line for each format."""
    print(f"{'format':45} users  items  interactions  feedback  right?")
    for name, write in FORMATS.items():
        with tempfile.TemporaryDirectory() as folder:
            path, truth = write(Path(folder))
            found = load_dataset(path)
            wrong = ", ".join(differences(found, truth)) or "yes"
        n = len(found.interactions.users)
        print(f"{name:45} {found.users:5} {found.items:6} {n:13} {found.feedback.kind:>9}  {wrong}")


if __name__ == "__main__":
    main()
