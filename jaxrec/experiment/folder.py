"""One experiment in one folder: data, protocol and seed are fixed when it is made.

experiment.json          what the experiment is
split.parquet, .json     user, item and part of every rating used
texts.parquet, .json     what encoders read; under `published`, the published texts
texts-honest.parquet, .json   under `published` beside them: without tags on held-out pairs
mf.safetensors, .json    factors of the published fit
pmf.safetensors, .json   factors of any other fit
embeddings/NAME.safetensors, .json
embeddings/NAME/fold-K.safetensors   where items are cold, the same by one fold's model alone
embeddings/honest/NAME.safetensors, .json   of the honest texts, under `published`
training/KIND/NAME/      the lesson of a fine-tuned encoder, and its training under way
encoders/KIND/NAME/      a fine-tuned encoder; with folds a folder for each
                         (NAME is one model's, NAME-ft the same fine-tuned, and
                         NAME-ft-draw2 the same by another draw)
content.json             validation figures of the embeddings, if there are several
models/ROW.safetensors, .json   what a row that learns has learned
hybrid.json              the fusion that was learned, and its validation figures
tuned/                   trials of searches, and the best settings of each row
per_user.parquet         every user's figures behind the last score card
results.json             the last score card, and what it was made from
replaced/HASH/           a card that the last one lacks figures of, and per_user.parquet of it
checkpoints/             of a fit under way
validation/              factors fitted without the validation part, to choose alpha
"""

import shlex
from collections.abc import Callable, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from jaxrec.border.draws import Taught
from jaxrec.border.embeddings import Embeddings, read_embeddings
from jaxrec.border.taught import judging_splits, taught_splits
from jaxrec.border.texts import ItemTexts, texts_sha256, write_texts
from jaxrec.budget import Budget
from jaxrec.data.dataset import Dataset
from jaxrec.data.features import item_features, item_texts
from jaxrec.errors import InputError
from jaxrec.evaluation.protocol import PROTOCOLS, Protocol, readable_remarks
from jaxrec.evaluation.split import Split
from jaxrec.experiment.kept import card_of, hash_on_card, read
from jaxrec.files import (
    Form,
    check_form,
    check_seal,
    file_sha256,
    read_json,
    sealed,
    whole_file,
    write_json,
    write_sealed,
)
from jaxrec.models.cost import Size
from jaxrec.pmf.objective import Factors, PmfSettings
from jaxrec.sources.library import DEFAULT, AbsentError, load_dataset
from jaxrec.sources.tables import OnBytes
from jaxrec.sources.tables import nobody as no_bar

VERSION = 3
"""Of what lies in a run folder, and of the hash of data."""
CARD: Form = {
    "data": dict, "protocol": str, "seed": int, "split_sha256": str, "fold": int, "init": int,
    "core": int,
}  # fmt: skip
OF_DATA: Form = {"name": str, "source": str, "sha256": str}
"""What `experiment.json` must have, and what it must say of the data."""
SEED = 42
PER_USER = "per_user.parquet"
FACTORS_OPTIONS = {"mf": ("--solver", "sequential"), "pmf": ()}
"""Of `train-pmf`, to fit the factors of the published row and of our own."""


def nobody(line: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class RunFolder:
    """An opened run folder."""

    path: Path
    dataset: Dataset
    protocol: Protocol
    init: int = 0
    """Number of the initialisation."""
    say: Callable[[str], None] = field(default=nobody, compare=False)
    """Told what is stale and made again."""
    budget: Budget = field(default_factory=Budget.of, compare=False)
    """What may be spent on what is made here."""
    plain: dict[tuple, dict[PmfSettings, Factors]] = field(default_factory=dict, compare=False)
    """PMF without text, as long as the folder is open: by data, split and seed, then settings."""
    reads: str | None = field(default=None, compare=False)
    """The embeddings that text models read, while settings that they were chosen by are searched;
    None for those that were chosen."""

    @property
    def fit_seed(self) -> int:
        """Seed of initial factors: that of the split, and others for further initialisations."""
        return self.protocol.seed + 10_000 * self.init

    def draw_seed(self, draw: int) -> int:
        """Seed of a fine-tuning's dropout and order: the split's, and others for further draws."""
        return self.protocol.seed + 10_000 * (draw - 1)

    @property
    def title(self) -> str:
        """What experiment this is, in a line."""
        dataset, split = self.dataset, self.protocol.split
        return (
            f"{self.path}: {dataset.name}{' (SYNTHETIC DATA)' if dataset.synthetic else ''},"
            f" {dataset.users:,} users, {dataset.items:,} items,"
            f" {len(split.train):,} train and {len(split.test):,} test interactions"
            f" (protocol {self.protocol.name}, seed {self.protocol.seed})"
        )

    @property
    def split_path(self) -> Path:
        """Where the split is, for others to read: what is cut here is cut from the data."""
        return self.path / "split.parquet"

    def factors_path(self, row: str) -> Path:
        """Where the factors of row `mf` or `pmf` are."""
        return self.path / f"{row}.safetensors"

    @property
    def kinds_of_texts(self) -> tuple[str, ...]:
        """`published` and `honest` texts, or the honest ones alone: without held-out tags."""
        return self.protocol.rules.kinds_of_texts

    def texts(self, kind: str) -> list[str]:
        """[items] the texts of one of `kinds_of_texts`."""
        return self._texts[kind]

    def texts_sha256(self, kind: str) -> str:
        """Hash of the texts of one of `kinds_of_texts`, and of the items' ids."""
        return self._texts_sha256[kind]

    # made and hashed once: whoever reads embeddings asks
    @cached_property
    def _texts(self) -> dict[str, list[str]]:
        honest = item_texts(self.dataset, readable_remarks(self.dataset, self.protocol))
        each = {"honest": honest}
        if "published" in self.kinds_of_texts:
            each["published"] = item_texts(self.dataset, published=True)
        return each

    @cached_property
    def _texts_sha256(self) -> dict[str, str]:
        return {kind: texts_sha256(self.dataset, texts) for kind, texts in self._texts.items()}

    def item_texts(self, kind: str) -> ItemTexts:
        """The texts of one of `kinds_of_texts`, with and without remarks."""
        none = np.zeros(len(self.dataset.remarks.words), bool)
        plain = item_texts(self.dataset, none, published=kind == "published")
        return ItemTexts(kind, self.texts(kind), plain)

    @cached_property
    def written(self) -> dict[str, set[str]]:
        """The different texts that items have, of each of `kinds_of_texts`."""
        return {kind: set(self.texts(kind)) for kind in self.kinds_of_texts}

    @cached_property
    def _metadata(self) -> tuple[int, bool]:
        features = item_features(self.dataset.catalogue)
        return features.shape[1], bool(np.ptp(features, axis=0).any())

    @property
    def metadata_differ(self) -> bool:
        """Do numbers or categories tell any items apart?"""
        return self._metadata[1]

    @cached_property
    def _size(self) -> Size:
        train = self.dataset.interactions.at(self.protocol.split.train)
        return Size.of(train, self.dataset.users, self.dataset.items, self._metadata[0])

    @property
    def size(self) -> Size:
        """Of what is learned from; embeddings are as wide as the widest that are there."""
        names = self.embedding_names("honest")
        wide = [card_of(self.embeddings_path(name, "honest")).get("dim", 0) for name in names]
        return self._size._replace(features=max(wide, default=0) + self._size.features)

    def texts_path(self, kind: str) -> Path:
        """Where the texts of one of `kinds_of_texts` are."""
        first = kind == self.kinds_of_texts[0]
        return self.path / ("texts.parquet" if first else f"texts-{kind}.parquet")

    def model_path(self, row: str) -> Path:
        """Where a row that learns is kept."""
        return self.path / "models" / f"{row}.safetensors"

    @property
    def per_user_path(self) -> Path:
        """Where every user's figures of the last score card are."""
        return self.path / PER_USER

    @property
    def hybrid_path(self) -> Path:
        """Where the learned fusion is."""
        return self.path / "hybrid.json"

    def tuned_path(self, row: str) -> Path:
        """Where the settings are that a search chose for a row."""
        return self.path / "tuned" / f"{row}.json"

    @property
    def results_path(self) -> Path:
        """Where the last score card is."""
        return self.path / "results.json"

    def embeddings_path(self, name: str, kind: str | None = None) -> Path:
        """Where the embeddings called `name` are; of the first kind of texts by default."""
        folder = self.path / "embeddings"
        if kind is not None and kind != self.kinds_of_texts[0]:
            folder /= kind
        return folder / f"{name}.safetensors"

    def embedding_names(self, kind: str | None = None) -> list[str]:
        """Names of the embeddings that are there; of the first kind of texts by default."""
        folder = self.embeddings_path("any", kind).parent
        found = folder.glob("*.safetensors")
        return sorted(path.stem for path in found if path.with_suffix(".json").exists())

    def name_for(self, model: str, names: list[str]) -> str:
        """The first of some names by which nothing of another model is called here.

        Args:
            model: as cards call it.
            names: what it may be called; fine-tuned it gets `-ft` after that (`Taught`).

        Raises:
            InputError: they are all of others.
        """
        for name in names:
            finetuned = [origin for of in self._taught(name) for origin in self._origins(of)]
            if {*self._origins(name)} <= {(model, False)} and {*finetuned} <= {(model, True)}:
                return name
        raise InputError(
            f"{self.path} has other encoders, or fine-tuned ones, called {' and '.join(names)};"
            f" give another --run for {model}"
        )

    def _taught(self, base: str) -> set[str]:
        """Names of all that was fine-tuned here from what is called `base`."""
        found = [path.stem for path in (self.path / "embeddings").rglob("*-ft*.json")]
        for kept in ("training", "encoders"):
            found += [path.name for path in (self.path / kept).glob("*/*-ft*")]
        return {name for name in found if (of := Taught.read(name)) and of.base == base}

    def _origins(self, name: str) -> list[tuple[str | None, bool]]:
        """The models of all that is called `name`, None if nobody says; were they fine-tuned?"""
        found: list[tuple[str | None, bool]] = []
        for kind in self.kinds_of_texts:
            made = card_of(self.embeddings_path(name, kind))
            lesson = card_of(self.lesson_path(name, kind) / "card")
            if made:
                found.append((made.get("model"), "finetuned_from" in made))
            if lesson.get("model") is not None:
                found.append((lesson["model"], True))
            elif not made and self.encoder_path(name, kind).exists():
                found.append((None, True))
        return found

    def lesson_path(self, name: str, kind: str) -> Path:
        """Where the lesson is that teaches a fine-tuned encoder of one kind of texts."""
        return self.path / "training" / kind / name

    def encoder_path(self, name: str, kind: str) -> Path:
        """Where a fine-tuned encoder of one kind of texts is saved."""
        return self.path / "encoders" / kind / name

    @property
    def content_path(self) -> Path:
        """Where the validation figures of several embeddings are."""
        return self.path / "content.json"

    def identity(self) -> dict[str, str]:
        """What factors must have been fitted on."""
        return dict(self._identity)

    @cached_property
    def _identity(self) -> dict[str, str]:
        # hashed once: every row asks for it
        return {
            "data": self.dataset.name,
            "data_sha256": self.dataset.sha256,
            "split_sha256": self.protocol.split.sha256(),
        }

    def factors_rows(self) -> list[str]:
        """For which of the rows `mf` and `pmf` factors are there."""
        return [row for row in FACTORS_OPTIONS if self.factors_path(row).exists()]

    @property
    def data_options(self) -> tuple[str, ...]:
        """What names the data to make the run folder again."""
        source = "synthetic" if self.dataset.synthetic else self.dataset.source
        core = ("--core", str(self.dataset.core)) if self.dataset.core else ()
        return ("--data", source, *core)

    def command(self, name: str, *options: str) -> str:
        """A command on this run folder, as a shell reads it."""
        return shlex.join(["jaxrec", name, "--run", str(self.path), *options])

    def factors_command(self, row: str) -> str:
        """What fits the factors of row `mf` or `pmf`."""
        return self.command("train-pmf", *FACTORS_OPTIONS[row])

    def embed_command(self, name: str, kind: str | None = None) -> str:
        """What makes the embeddings called `name`; of the first kind of texts by default.

        Those that are there, damaged or not, are made again from the model that their card names.
        """
        kind = self.kinds_of_texts[0] if kind is None else kind
        card = card_of(self.embeddings_path(name, kind))
        found = Taught.read(name) or Taught(name)
        taught = "finetuned_from" in card if card else name != found.base
        called = found.base if taught else name
        made_from = str(card.get("finetuned_from" if taught else "model", called))
        # a folder or hub id is in what is called by it; a short name stands for another one
        model = made_from if Path(made_from).name.lower() in called else called
        options = ["--finetune"] if taught else []
        if taught and kind == "published":
            options += ["--preset", "published"]
        if taught and found.draw > 1:
            options += ["--draw", str(found.draw)]
        return self.command("embed", "--model", model, *options)

    def read_factors(self, row: str) -> tuple[Factors, dict[str, Any]]:
        """The factors of row `mf` or `pmf` and their card.

        Raises:
            InputError: they are absent or of another experiment.
        """
        path, command = self.factors_path(row), self.factors_command(row)
        arrays, card = read(path, command)
        for key, what in (("data_sha256", "data set"), ("split_sha256", "split")):
            if card.get(key) != self.identity()[key]:
                raise InputError(f"{path}: fitted on another {what}; run `{command}`")
        if lacks := [name for name in PmfSettings._fields if name not in card]:
            raise InputError(f"{path}: its card lacks {', '.join(lacks)}; run `{command}`")
        return Factors(arrays["U"], arrays["V"]), card

    def taught_here(self, lesson: dict[str, Any]) -> bool:
        """Was the lesson of this card made from this data, and what may be learned from here?"""
        same_data = lesson.get("data_sha256") == self.dataset.sha256
        return same_data and lesson.get("split_sha256") in self._taught_splits

    def taught_elsewhere(self, lesson: dict[str, Any]) -> bool:
        """Was it made from another split of this data, and so perhaps from what is tested here?"""
        return lesson.get("data_sha256") == self.dataset.sha256 and not self.taught_here(lesson)

    def taught_what_judges(self, card: dict[str, Any]) -> bool:
        """Has validation reached all that there is of the embeddings with this card?

        Where items are cold no lesson keeps it out, but what each fold's model alone has embedded
        is there too, and one of them has not seen what a choice is made on.
        """
        lesson = card.get("training", {})
        if not self.taught_here(lesson) or lesson["split_sha256"] != self._whole_train:
            return False
        blind = lesson.get("blind", {}) if "folds_sha256" in card else {}
        return not self._judging_splits <= blind.keys()

    # cut and hashed once: whoever reads embeddings asks
    @cached_property
    def _taught_splits(self) -> Set[str]:
        return taught_splits(self.dataset, self.protocol)

    @cached_property
    def _whole_train(self) -> str:
        return self.protocol.split.sha256()

    @cached_property
    def _judging_splits(self) -> Set[str]:
        return {split.sha256() for split in judging_splits(self.dataset, self.protocol)}

    def read_embeddings(
        self, name: str, kind: str | None = None, split: Split | None = None
    ) -> Embeddings:
        """The embeddings called `name`; of the first kind of texts by default.

        Args:
            name: of the embeddings.
            kind: of texts.
            split: inside train, for what is chosen on it: where encoders have learned from what it
                holds out, all items are embedded by one that has not.

        Raises:
            InputError: they are not of this run's texts, or their encoder was fine-tuned on another
                split of this data or on what is chosen on here.
        """
        kind = self.kinds_of_texts[0] if kind is None else kind
        path = self.embeddings_path(name, kind)
        card, command = card_of(path), self.embed_command(name, kind)
        if self.taught_elsewhere(card.get("training", {})):
            again = f"run `{command}`, or " if "finetuned_from" in card else ""
            raise InputError(
                f"{path}: its encoder was fine-tuned on another split of this data and may know"
                f" what is held out here; {again}remove it and {path.stem}.json"
            )
        if kind == "honest" and self.taught_what_judges(card):
            raise InputError(
                f"{path}: its encoder has learned from the ratings on which this run chooses; run"
                f" `{command}`, or remove it and {path.stem}.json"
            )
        blind = card.get("training", {}).get("blind", {})
        fold = None if split is None else blind.get(split.sha256())
        return read_embeddings(path, self.dataset.items, self.texts_sha256(kind), command, fold)

    def write_texts(self, kind: str) -> None:
        """Write the item texts for the encoder."""
        write_texts(self.texts_path(kind), self.dataset, self.texts(kind))


def open_run(
    path: Path,
    data: str | None = None,
    protocol: str | None = None,
    seed: int | None = None,
    progress: bool = False,
    fold: int | None = None,
    init: int | None = None,
    say: Callable[[str], None] = nobody,
    strict: bool = False,
    on_bytes: OnBytes = no_bar,
    core: int | None = None,
) -> RunFolder:
    """Open a run folder, or make one.

    Args:
        path: the folder.
        data: name, description, folder or table of the data set; by default the folder's, or
            ml-latest-small.
        protocol: name of the protocol; by default the folder's, or `strict`.
        seed: of split and initial factors; by default the folder's, or 42.
        progress: show a bar if the data set is downloaded.
        fold: of the protocol `cold-items`; by default the folder's, or 0.
        init: number of the initialisation of factors; by default the folder's, or 0.
        say: told what is stale and made again, and what was mended in the data.
        strict: refuse data of which something is to be mended.
        on_bytes: told how much of the data has been read.
        core: to which the data are cut (`Dataset.to_core`); by default the folder's, or what their
            description says.

    Raises:
        InputError: an argument contradicts the folder, or the data set is absent, malformed or
            not the one the folder was made with.
    """
    card_path = path / "experiment.json"

    def load(named: str | Path, core: int) -> Dataset:
        dataset = load_dataset(named, progress, strict, on_bytes, core)
        for line in dataset.mended:
            say(line)
        return dataset

    if not card_path.exists():
        if path.exists() and any(not entry.name.startswith(".") for entry in path.iterdir()):
            raise InputError(f"{path} is not empty and no run folder; give another --run")
        new = _make(
            path,
            load(DEFAULT if data is None else data, core or 0),
            next(iter(PROTOCOLS)) if protocol is None else protocol,
            SEED if seed is None else seed,
            0 if fold is None else fold,
            0 if init is None else init,
        )
        return replace(new, say=say)

    card = read_json(card_path, "give another --run")
    check_seal(card_path, card, "give another --run")
    asked = {"protocol": protocol, "seed": seed, "fold": fold, "init": init, "core": core}
    _check_asked(card_path, card, asked)
    try:
        place = _place_of(card["data"]) if data is None else data
        dataset = load(place, card.get("core", 0))
    except AbsentError:
        if data is not None:
            raise
        source = card["data"]["source"]
        raise InputError(f"{path} was made of {source}, which is gone; give --data") from None
    made = card["protocol"], card["seed"], card.get("fold", 0), card.get("init", 0)
    run = _cut(path, dataset, *made)
    if dataset.sha256 != card["data"]["sha256"]:
        remedy = "restore them" if data is None else "leave --data out"
        raise InputError(
            f"{path} was made with other data ({card['data']['source']}, SHA-256"
            f" {card['data']['sha256'][:12]}); {remedy} or give another --run"
        )
    if run.protocol.split.sha256() != card["split_sha256"]:
        raise InputError(
            f"{path} holds a split that this version of jaxrec cuts otherwise; give another --run"
        )
    if not run.split_path.exists():
        _write_split(run)
    elif hash_on_card(run.split_path) not in (None, file_sha256(run.split_path)):
        say(f"{run.split_path}: not as it was written; written again")
        _write_split(run)
    return replace(run, say=say)


def check_run(path: Path) -> None:
    """Raise InputError unless `path` is a run folder that is there."""
    if (path / "experiment.json").exists():
        return
    cells = sorted(card.parent for card in path.glob("*/experiment.json"))
    if cells:
        one = shlex.quote(str(cells[0]))
        raise InputError(f"{path} holds several run folders; give one of them: --run {one}")
    command = shlex.join(["jaxrec", "run", "--run", str(path)])
    beside = sorted(str(card.parent) for card in path.parent.glob("*/experiment.json"))
    others = f"; beside it there is {', '.join(map(shlex.quote, beside[:3]))}" if beside else ""
    raise InputError(f"{path} is no run folder; `{command}` makes one{others}")


def _check_asked(card_path: Path, card: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raise InputError if the card is damaged or old, or contradicts what is asked for."""
    later = {"fold": 0, "init": 0, "core": 0}  # of versions that knew none it is the first
    check_form(card_path, later | card, CARD, "give another --run")
    check_form(card_path, card["data"], OF_DATA, "give another --run")
    if card.get("version") != VERSION:
        raise InputError(
            f"{card_path.parent} was made by another version of jaxrec; give another --run"
        )
    for option, value in asked.items():
        made_with = card.get(option, 0)
        if value is not None and value != made_with:
            # fold and initialisation come from what `jaxrec run` calls the folders of a study
            named = option in ("protocol", "seed", "core")
            leave = f"leave --{option} out or " if named else ""
            raise InputError(
                f"{card_path.parent} was made with {option} {made_with}, not {value}; {leave}give"
                " another --run"
            )


def _place_of(card: dict[str, Any]) -> str | Path:
    """Where the card's data set was read from, or else its name."""
    place = Path(card["source"])
    return place if place.exists() else str(card["name"])


def _make(
    path: Path, dataset: Dataset, protocol: str, seed: int, fold: int, init: int
) -> RunFolder:
    run = _cut(path, dataset, protocol, seed, fold, init)
    card = {
        "data": {
            "name": dataset.name,
            "source": dataset.source,
            "sha256": dataset.sha256,
            "synthetic": dataset.synthetic,
        },
        "version": VERSION,
        "protocol": protocol,
        "seed": seed,
        "fold": fold,
        "init": init,
        "core": dataset.core,
        "split_sha256": run.protocol.split.sha256(),
    }
    write_json(path / "experiment.json", sealed(card))
    _write_split(run)
    return run


def _cut(path: Path, dataset: Dataset, protocol: str, seed: int, fold: int, init: int) -> RunFolder:
    return RunFolder(path, dataset, Protocol.of(protocol, dataset, seed, fold), init)


def _write_split(run: RunFolder) -> None:
    ratings, split = run.dataset.interactions, run.protocol.split
    parts = []
    for name, positions in split._asdict().items():
        part = ratings.at(positions)
        parts.append(
            pl.DataFrame(
                {
                    "user_id": run.dataset.user_ids[part.users],
                    "item_id": run.dataset.item_ids[part.items],
                    "value": part.values,
                }
                | ({} if part.times is None else {"time": part.times})
            ).with_columns(part=pl.lit(name))
        )
    with whole_file(run.split_path) as partial:
        pl.concat(parts).write_parquet(partial, metadata={"data": run.dataset.name})
        # first: a split without a card is of an earlier version, and believed
        write_sealed(run.split_path.with_suffix(".json"), {"sha256": file_sha256(partial)})
