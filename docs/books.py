"""Makes two small tables to try jaxrec on: ratings.csv and books.csv, of books that do not exist.

A reader likes some subjects, authors and genres; a title names its subject. So there is something
to be learned from who read what, and from the texts. The same files come out each time.
"""

import csv
import random
import sys
from pathlib import Path

SUBJECTS = (
    "Harbour", "Winter", "Orchard", "Detective", "Island", "Circus", "Comet", "Wedding", "Desert",
    "Ghost", "Chess", "Volcano", "Library", "Railway", "Wolf", "Painter",
)  # fmt: skip
TITLES = (
    "The {} Affair", "Return to the {}", "{} Nights", "The {} Story", "The Last {}", "My {} Year",
    "{} in the Rain", "Letters from the {}", "An Almanac of the {}", "The {} Thief",
)  # fmt: skip
AUTHORS = (
    "Ines Okafor", "Tomas Vik", "Mara Lind", "Joao Prado", "Edith Crane", "Piet Anders",
    "Noor Rahimi",
)  # fmt: skip
GENRES = ("crime", "romance", "travel", "history", "fantasy", "family")


def books_and_ratings(readers: int = 200, seed: int = 1) -> tuple[list[dict], list[dict]]:
    """A row for each book, and one for each rating."""
    rng = random.Random(seed)
    books: list[dict] = []
    for subject in SUBJECTS:
        for title in TITLES:
            book = {"item": f"b{len(books) + 1:03}", "title": title.format(subject)}
            book |= {"author": rng.choice(AUTHORS), "genres": "|".join(rng.sample(GENRES, 2))}
            books.append(book | {"year": rng.randint(1960, 2024)})
    fame = [rng.paretovariate(2) for _ in books]
    ratings = []
    for reader in range(1, readers + 1):
        taste = {word: rng.gauss(0, 0.7) for word in (*SUBJECTS, *AUTHORS, *GENRES)}
        likes = [sum(taste[word] for word in taste if word in str(book)) for book in books]
        # drawn without putting back, each book by its weight: who comes first in a race
        weights = [known * 3**like for known, like in zip(fame, likes, strict=True)]
        arrives = [rng.expovariate(weight) for weight in weights]
        read = sorted(range(len(books)), key=arrives.__getitem__)[: rng.randint(12, 40)]
        time = 1_700_000_000 + rng.randint(0, 20_000_000)
        for at in read:
            time += rng.randint(3_600, 300_000)
            stars = min(5, max(1, round(3.3 + 0.8 * likes[at] + rng.gauss(0, 0.6))))
            rating = {"user": f"reader{reader:03}", "item": books[at]["item"], "rating": stars}
            ratings.append(rating | {"timestamp": time})
    return books, ratings


def write(path: Path, rows: list[dict]) -> None:
    """As CSV with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    print(f"{path}: {len(rows):,} rows")


if __name__ == "__main__":
    books, ratings = books_and_ratings()
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    write(folder / "books.csv", books)
    write(folder / "ratings.csv", ratings)
