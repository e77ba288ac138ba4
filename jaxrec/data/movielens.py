"""Reads a folder in the MovieLens format: `ratings.csv`, `movies.csv` and, if there, `tags.csv`.

polars reads the files at full speed; only when something is wrong does a second, slow reading
find the line to name.
"""

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from jaxrec.data.dataset import RATING_SCALE, Dataset, Ratings, Tags
from jaxrec.errors import InputError

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

    item_ids = movies["movieId"].to_numpy()
    user_ids = ratings["userId"].unique().sort().to_numpy()
    return Dataset(
        name=name or folder.resolve().name,
        source=str(folder.resolve()),
        user_ids=user_ids,
        item_ids=item_ids,
        titles=movies["title"].to_list(),
        genres=movies["genres"].to_list(),
        ratings=Ratings(
            users=_positions(ratings["userId"], user_ids),
            items=_movie_positions(ratings_path, ratings["movieId"], item_ids),
            stars=ratings["rating"].to_numpy(),
            times=ratings["timestamp"].to_numpy(),
        ),
        tags=Tags(
            users=_positions(tags["userId"], user_ids),
            items=_movie_positions(tags_path, tags["movieId"], item_ids),
            words=tags["tag"].to_list(),
            times=tags["timestamp"].to_numpy(),
        ),
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
    low, high = RATING_SCALE
    outside = (~ratings["rating"].is_between(low, high) | ratings["rating"].is_nan()).arg_true()
    if len(outside):
        value = ratings["rating"][outside[0]]
        shown = "not a number" if math.isnan(value) else f"{value:g} stars"
        raise InputError(
            f"{path}, line {_line(path, outside[0])}: rating is {shown}; the scale is {low:g} to"
            f" {high:g}"
        )


def _positions(ids: pl.Series, known: np.ndarray) -> np.ndarray:
    """Position of each id in `known`, -1 where it is not there."""
    if not len(known):
        return np.full(len(ids), -1, np.int32)
    order = np.argsort(known, kind="stable")
    place = order[np.searchsorted(known, ids.to_numpy(), sorter=order).clip(max=len(known) - 1)]
    return np.where(known[place] == ids.to_numpy(), place, -1).astype(np.int32)


def _movie_positions(path: Path, ids: pl.Series, item_ids: np.ndarray) -> np.ndarray:
    positions = _positions(ids, item_ids)
    unknown = np.flatnonzero(positions < 0)
    if len(unknown):
        raise InputError(
            f"{path}, line {_line(path, int(unknown[0]))}: movieId {ids[int(unknown[0])]} is not in"
            " movies.csv; add the movie or drop the row"
        )
    return positions
