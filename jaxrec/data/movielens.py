"""Reads a folder in the MovieLens format: `ratings.csv`, `movies.csv` and, if there, `tags.csv`.

polars reads the files at full speed; only when something is wrong does a second, slow reading
find the line to name.
"""

import csv
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from jaxrec.data.dataset import Catalogue, Dataset, Interactions, Remarks
from jaxrec.data.feedback import Feedback
from jaxrec.data.ids import NONE, Ids
from jaxrec.errors import InputError

STARS = Feedback("stars", (0.5, 5.0), liked_from=4.0, disliked_below=3.0, neutral=1.5)
"""Ratings in half stars."""
NO_GENRES = "(no genres listed)"
YEAR = re.compile(r"\((\d{4})[^()]*\)\s*$")
"""Of `Heat (1995)` and `Doctor Who (2005-2010)`: the last bracket, its first year."""

Schema = dict[str, type[pl.DataType]]

RATINGS: Schema = {
    "userId": pl.Int64,
    "movieId": pl.Int64,
    "rating": pl.Float64,
    "timestamp": pl.Int64,
}
MOVIES: Schema = {"movieId": pl.Int64, "title": pl.String, "genres": pl.String}
TAGS: Schema = {
    "userId": pl.Int64,
    "movieId": pl.Int64,
    "tag": pl.String,
    "timestamp": pl.Int64,
}


def read_movielens(folder: Path, name: str | None = None) -> Dataset:
    """Read a MovieLens folder.

    Args:
        folder: holds `ratings.csv` (userId, movieId, rating in stars, timestamp in seconds),
            `movies.csv` (movieId, title, genres joined by `|`) and perhaps `tags.csv`
            (userId, movieId, tag, timestamp).
        name: what to call the data set; the folder's name by default.

    Returns:
        The data set: users in ascending id, items in the order of `movies.csv`, ratings and tags
        in file order.

    Raises:
        InputError: a file is missing, empty, not UTF-8 or malformed, an id is unknown, a rating
            lies outside the scale or is given twice. The message names file and line.
    """
    movies_path, ratings_path, tags_path = (
        folder / f"{stem}.csv" for stem in ("movies", "ratings", "tags")
    )
    movies = _read(movies_path, MOVIES)
    ratings = _read(ratings_path, RATINGS)
    tags = _read(tags_path, TAGS, may_be_empty=True) if tags_path.exists() else _no_tags()

    _refuse_repeats(movies_path, movies, ["movieId"], "movie id")
    _refuse_off_scale(ratings_path, ratings)
    _refuse_repeats(ratings_path, ratings, ["userId", "movieId"], "rating of one movie by one user")

    item_ids = Ids(movies["movieId"].to_numpy(), "item")
    user_ids = Ids(ratings["userId"].unique().sort().to_numpy(), "user")
    return Dataset(
        name=name or folder.resolve().name,
        source=str(folder.resolve()),
        user_ids=user_ids,
        catalogue=films(item_ids, movies["title"].to_list(), movies["genres"].to_list()),
        interactions=Interactions(
            users=user_ids.find(ratings["userId"].to_numpy()),
            items=_movie_positions(ratings_path, ratings["movieId"], item_ids),
            values=ratings["rating"].to_numpy(),
            times=ratings["timestamp"].to_numpy(),
        ),
        feedback=STARS,
        remarks=Remarks(
            users=user_ids.find(tags["userId"].to_numpy()),
            items=_movie_positions(tags_path, tags["movieId"], item_ids),
            words=tags["tag"].to_list(),
            times=tags["timestamp"].to_numpy(),
        ),
    )


def films(ids: Ids, titles: list[str], genres: list[str]) -> Catalogue:
    """A catalogue of films from their titles, `Heat (1995)`, and genres joined by `|`.

    Its table has the columns `title`, `name` (the title cut at its last bracket), `genres` (as
    lists) and `year` (that of the last bracket).
    """
    years = [YEAR.search(title) for title in titles]
    table = pl.DataFrame(
        {
            "title": titles,
            "name": [title.rsplit("(", 1)[0].strip() for title in titles],
            "genres": [
                [] if joined == NO_GENRES else [word for word in joined.split("|") if word]
                for joined in genres
            ],
            "year": [None if found is None else float(found[1]) for found in years],
        },
        schema={
            "title": pl.String,
            "name": pl.String,
            "genres": pl.List(pl.String),
            "year": pl.Float64,
        },
    )
    return Catalogue(
        ids,
        table,
        title="title",
        text="{title} {genres}",
        published_text="{name} {genres}",
        categories=("genres",),
        numbers={"year": 10.0},
        nameless="movie",
    )


def _no_tags() -> pl.DataFrame:
    return pl.DataFrame(schema=TAGS)


def _read(path: Path, schema: Schema, may_be_empty: bool = False) -> pl.DataFrame:
    """Read `path` by `schema`; text may be empty, numbers may not be missing."""
    if not path.exists():
        raise InputError(f"{path}: no such file; a MovieLens folder has ratings.csv and movies.csv")
    _check_header(path, schema)
    try:
        table = pl.read_csv(path, schema=schema, glob=False)
    except pl.exceptions.PolarsError as error:
        _name_the_line(path, schema)
        raise InputError(f"{path}: {str(error).splitlines()[0]}") from None
    if table.null_count().sum_horizontal().item():
        _name_the_line(path, schema)  # a short row or a missing number; an empty text is neither
        table = table.filter(~pl.all_horizontal(pl.all().is_null()))  # blank lines
        table = table.with_columns(pl.col(pl.String).fill_null(""))
    if table.is_empty() and not may_be_empty:
        raise InputError(f"{path}: no rows below the header; is the file truncated?")
    return table


def _check_header(path: Path, schema: Schema) -> None:
    with path.open("rb") as file:
        first = file.readline().decode("utf-8-sig", errors="replace").strip()
    if not first:
        raise InputError(f"{path}, line 1: the file is empty; expected {','.join(schema)}")
    if first.split(",") != list(schema):
        raise InputError(f"{path}, line 1: columns {first!r}; expected {','.join(schema)}")


def _name_the_line(path: Path, schema: Schema) -> None:
    """Raise InputError for the first line of `path` that does not fit `schema`."""
    kinds: dict[type[pl.DataType], tuple[str, Callable[[str], object]]] = {
        pl.Int64: ("a whole number", np.int64),
        pl.Float64: ("a number", float),
    }
    rows = csv.reader(_decoded_lines(path), strict=True)
    try:
        next(rows)
        for row in filter(None, rows):
            if len(row) != len(schema):
                raise InputError(
                    f"{path}, line {rows.line_num}: {len(row)} fields; expected {len(schema)}"
                    f" ({','.join(schema)})"
                )
            for field, (column, dtype) in zip(row, schema.items(), strict=True):
                kind, parse = kinds.get(dtype, ("text", str))
                try:
                    parse(field)
                except (ValueError, OverflowError):
                    raise InputError(
                        f"{path}, line {rows.line_num}: {column} is {field!r}; expected {kind}"
                    ) from None
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: {error}") from None


def _decoded_lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise InputError(
                    f"{path}, line {number}: not UTF-8 text; save the file as UTF-8"
                ) from None


def _line(path: Path, row: int) -> int:
    """Line on which data row `row` ends: blank lines and lines within quotes count."""
    rows = csv.reader(_decoded_lines(path))
    for number, _ in enumerate(filter(None, rows), start=-1):
        if number == row:
            break
    return rows.line_num


def _refuse_repeats(path: Path, table: pl.DataFrame, columns: list[str], what: str) -> None:
    repeated = table.select(columns).is_duplicated()
    if not repeated.any():
        return
    first = repeated.arg_true()[0]
    key = table.select(columns).row(first)
    matches = [pl.col(column) == value for column, value in zip(columns, key, strict=True)]
    second = table.select(pl.all_horizontal(matches)).to_series().arg_true()[1]
    raise InputError(
        f"{path}, line {_line(path, second)}: second {what} ({', '.join(map(str, key))}),"
        f" first on line {_line(path, first)}; keep one"
    )


def _refuse_off_scale(path: Path, ratings: pl.DataFrame) -> None:
    low, high = STARS.scale
    outside = (~ratings["rating"].is_between(low, high) | ratings["rating"].is_nan()).arg_true()
    if len(outside):
        value = ratings["rating"][outside[0]]
        shown = "not a number" if math.isnan(value) else f"{value:g} stars"
        raise InputError(
            f"{path}, line {_line(path, outside[0])}: rating is {shown}; the scale is {low:g} to"
            f" {high:g}"
        )


def _movie_positions(path: Path, ids: pl.Series, item_ids: Ids) -> np.ndarray:
    positions = item_ids.find(ids.to_numpy())
    unknown = np.flatnonzero(positions == NONE)
    if len(unknown):
        raise InputError(
            f"{path}, line {_line(path, int(unknown[0]))}: movieId {ids[int(unknown[0])]} is not in"
            " movies.csv; add the movie or drop the row"
        )
    return positions
