"""What lies in run folders and model folders, damaged or edited, and read again."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch_embed.errors
from jaxrec.border.embeddings import read_embeddings
from jaxrec.border.lesson import LessonSettings
from jaxrec.border.texts import texts_sha256
from jaxrec.errors import InputError
from jaxrec.evaluation.card import read_card, write_card
from jaxrec.experiment import kept
from jaxrec.experiment.choices import _fusion_identity, learned_fusion, signals_of
from jaxrec.experiment.fitting import write_lesson
from jaxrec.experiment.folder import RunFolder, open_run
from jaxrec.experiment.rows import settings_of
from jaxrec.experiment.study import runs_of
from jaxrec.experiment.tuning import _study
from jaxrec.files import SEAL, sealed, write_json, write_sealed
from jaxrec.fusion.gate import Learned
from jaxrec.locks import _in_words
from jaxrec.pmf.sweeps import Checkpoints
from jaxrec.report.tables import first_parts, further_parts
from jaxrec.serving.folder import CARD, read_model, write_model
from jaxrec.serving.model import FittedModel
from jaxrec.sources.sharded import layout
from tests.fuzz.drawing import READ, Attempt, as_json, changed, damaged, nested, refused
from tests.report.test_page import full
from tests.serving.conftest import quick
from torch_embed.files import read_encoded, read_texts
from torch_embed.training.lesson import read_lesson

MISTAKES = (InputError, torch_embed.errors.InputError)


class Artefact(NamedTuple):
    """A file, what reads it and says what it has read, and may nothing but that be believed?"""

    path: Path
    read: Callable[[], Any]
    sealed: bool = True


@contextmanager
def of_model(folder: Path, model: FittedModel) -> Iterator[Attempt]:
    """Of a run folder and the folder of a model."""
    run = quick(folder / "run")
    artefacts = [*of_run_folder(run), *of_model_folder(folder / "model", model)]
    contents = [artefact.path.read_bytes() for artefact in artefacts]
    whole = [repr(artefact.read()) for artefact in artefacts]

    def attempt(draw: Random) -> str:
        number = draw.randrange(len(artefacts))
        artefact, content = artefacts[number], contents[number]
        broken, edited = content, False
        if draw.random() < 0.5 or artefact.path.suffix not in (".json", ".trials"):
            broken = damaged(draw, content)
        elif artefact.path.suffix == ".trials":
            broken = edited_lines(draw, content)
            edited = True
        elif draw.random() < 0.02:
            broken = nested(draw).encode()
        else:
            broken, edited = edited_json(draw, content)
        artefact.path.write_bytes(broken)
        try:
            found = artefact.read()
        except MISTAKES as error:
            return refused(error)
        finally:
            for path in [artefact.path.with_suffix(".damaged"), artefact.path]:
                path.unlink(missing_ok=True)
            artefact.path.parent.mkdir(exist_ok=True)  # a checkpoint of something else is cleared
            artefact.path.write_bytes(content)
        if artefact.sealed and not edited:
            assert repr(found) in (whole[number], "None"), "believed, and not as it was"
        return READ

    yield attempt


def edited_json(draw: Random, content: bytes) -> tuple[bytes, bool]:
    """Another value under the seal that was there, under its own, or under none."""
    found = changed(draw, json.loads(content))
    if draw.random() < 0.3 or not isinstance(found, dict):
        return as_json(found), not isinstance(found, dict) or SEAL not in found
    without = {name: of for name, of in found.items() if name != SEAL}
    if draw.random() < 0.5:
        return as_json(without), True
    if "sha256" in without and "files" in without:  # a model's
        own = {name: of for name, of in without.items() if name != "sha256"}
        return as_json(own | {"sha256": kept_sha256(own)}), True
    return as_json(sealed(without)), True


def kept_sha256(content: dict[str, Any]) -> str:
    from jaxrec.files import json_sha256

    return json_sha256(json.loads(as_json(content)))


def edited_lines(draw: Random, content: bytes) -> bytes:
    lines = content.splitlines()
    place = draw.randrange(len(lines))
    lines[place] = json.dumps(changed(draw, json.loads(lines[place]))).encode()
    return b"\n".join(lines) + b"\n"


def of_run_folder(run: RunFolder) -> Iterator[Artefact]:
    """What an experiment keeps, but for what optuna and orbax write."""
    path = run.path
    yield Artefact(path / "experiment.json", lambda: open_run(path).identity())

    write_card(run.results_path, full())
    yield Artefact(run.results_path, lambda: told(run.results_path))

    write_sealed(run.tuned_path("ease"), {"settings": {"lambda_": 300.0}, "made_from": {}})
    yield Artefact(run.tuned_path("ease"), lambda: settings_of(run, "ease"))
    yield Artefact(run.tuned_path("pmf"), lambda: settings_of(run, "pmf"), sealed=False)

    signals = signals_of(run).rows
    n = len(signals)
    learned = Learned("convex", {}, [1 / n] * n, [0.0] * n, [0.1] * n, {"convex": 0.3}, {})
    how: dict[str, Any] = {"signals": signals, "left_out": {}, "failed": {}}
    how["made_from"] = kept.as_json(_fusion_identity(run, signals))
    write_sealed(run.hybrid_path, learned._asdict() | how)
    yield Artefact(run.hybrid_path, lambda: learned_fusion(run))

    some = run.embeddings_path("some", "honest")
    sha256 = texts_sha256(run.dataset, run.texts("honest"))

    def embeddings() -> Any:
        return read_embeddings(some, run.dataset.items, sha256, "make it").E.sum()

    yield Artefact(some, embeddings)
    yield Artefact(some.with_suffix(".json"), embeddings)
    yield Artefact(some.with_suffix(".json"), lambda: run.read_embeddings("some").E.sum())
    yield Artefact(some.with_suffix(".json"), lambda: read_encoded(some, {"dim": 8}), sealed=False)

    model = run.model_path("ease")
    kept.write(model, {"B": run.read_embeddings("some").E}, {"row": "ease"})

    def arrays() -> Any:
        found, card = kept.read(model, "make it")
        return found["B"].sum(), card.get("row")

    yield Artefact(model, arrays)
    yield Artefact(model.with_suffix(".json"), arrays)

    checkpoints = Checkpoints(path / "checkpoints", {"row": "pmf"})
    checkpoint = checkpoints.folder / "checkpoint.json"
    write_sealed(checkpoint, {"identity": {"row": "pmf"}, "state": "sweep-1", "losses": [1.0]})
    yield Artefact(checkpoint, checkpoints.saved)

    study = _study(run, "ease")
    study.tell(study.ask(), 0.5)
    trials = run.tuned_path("ease").with_suffix(".trials")
    yield Artefact(trials, lambda: len(_study(run, "ease").trials), sealed=False)

    write_sealed(path / "summary.json", {"runs": ["a", "b"]})
    yield Artefact(path / "summary.json", lambda: runs_of(path))

    lock = path / ".lock.json"
    write_json(lock, {"process": 1, "host": "h", "since": "s", "command": "c"})
    yield Artefact(lock, lambda: _in_words(lock), sealed=False)

    layout.write_card(path, layout.Shard((3, 4), (1, 2)))
    yield Artefact(path / layout.CARD, lambda: asdict(layout.read_card(path)), sealed=False)

    run.write_texts("honest")
    texts = run.texts_path("honest")
    for file in (texts, texts.with_suffix(".json")):
        yield Artefact(file, lambda: read_texts(texts).sha256, sealed=False)

    lesson = path / "training" / "honest" / "some-ft"
    write_lesson(run, lesson, "honest", LessonSettings("liked", per_user=1))
    for file in sorted(lesson.iterdir()):
        yield Artefact(file, lambda: len(read_lesson(lesson).texts), sealed=False)


def told(path: Path) -> Any:
    """A score card, with the tables that are made of it."""
    card = read_card(path)
    list(first_parts(card, "run", ("--data", "data")))
    list(further_parts(card))
    return card.to_json()


def of_model_folder(path: Path, model: FittedModel) -> Iterator[Artefact]:
    """What `jaxrec fit` writes."""
    figures = {"metrics": {}, "ci95": {}}  # type: dict[str, dict[str, Any]]
    for metric in ("precision", "recall", "ndcg"):
        figures["metrics"][f"{metric}@5"] = 0.5
        figures["ci95"][f"{metric}@5"] = (0.4, 0.6)
    data = {"interactions": 9, "users": 3, "items": 3, "name": "n", "synthetic": True}
    protocol = {"train_interactions": 7, "test_interactions": 2, "protocol": "strict", "seed": 1}
    card = {
        "jaxrec": "1", "row": model.row, "label": "l", "encoder": None,
        "data": data | {"licence": None},
        "experiment": {"figures": {model.row: figures}, "protocol": protocol},
    }  # fmt: skip
    write_model(path, replace(model, card=card))

    def read() -> Any:
        found = read_model(path)
        return found.row, found.user_ids.sha256, found.catalogue.ids.sha256, found.feedback

    for file in sorted(path.rglob("*.*")):
        yield Artefact(file, read)
    yield Artefact(path / CARD, read)
    yield Artefact(path / CARD, read)
