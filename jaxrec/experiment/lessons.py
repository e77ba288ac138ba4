"""What encoders learn in a run folder, and what those bring along that have learned elsewhere."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxrec.border import lesson
from jaxrec.border.lesson import LessonSettings
from jaxrec.errors import InputError
from jaxrec.experiment.fitting import settings_of
from jaxrec.experiment.folder import RunFolder
from jaxrec.files import read_json, whole_file
from jaxrec.models.factorization import pmf_settings


def write_lesson(
    run: RunFolder, folder: Path, kind: str, settings: LessonSettings
) -> dict[str, Any]:
    """Write into `folder` what an encoder of one of `run.kinds_of_texts` learns from.

    Only under `published` may `settings` let validation be learned from.

    Returns:
        The card (see `jaxrec.border.lesson`).

    Raises:
        InputError: the folds do not suit the protocol, or PMF was tuned on another split.
    """
    if run.protocol.name != "published":
        settings = settings._replace(validation=True)  # it judges what reads the embeddings
    pmf = pmf_settings(settings_of(run, "pmf"))
    texts = run.item_texts(kind)
    return lesson.write_lesson(
        folder, run.dataset, run.protocol, texts, settings, pmf, run.fit_seed
    )


def refuse_taught_elsewhere(run: RunFolder, model: str, card: dict[str, Any]) -> None:
    """Raise InputError if a lesson taught `model` what is held out here.

    Args:
        run: where its embeddings would be used.
        model: as the user calls it.
        card: of the lesson; empty for an encoder that has had none.
    """
    if lesson.taught_elsewhere(run.dataset, run.protocol, card):
        raise InputError(
            f"{model} was fine-tuned on another split of this data and may know what is held out"
            " here; give its base model, with --finetune"
        )


def adopt_taught(run: RunFolder, name: str, model_id: str, others: Sequence[Path]) -> Path | None:
    """Make sure of fine-tuned embeddings of the honest texts, if any run folder has made them.

    Initialisations of a split have its texts and ratings in common, and so share an encoder.

    Args:
        run: the run folder that wants them.
        name: of the embeddings.
        model_id: what was fine-tuned, as cards call it.
        others: run folders from which they may be copied.

    Returns:
        The run folder that had them, `run.path` first of all; None if they are to be made.
    """
    wanted = run.embeddings_path(name, "honest")
    for holder in (run.path, *others):
        made = holder / wanted.relative_to(run.path)
        if not _taught_the_same(run, made, model_id):
            continue
        if made != wanted:
            for suffix in (wanted.suffix, ".json"):
                with whole_file(wanted.with_suffix(suffix)) as partial:
                    shutil.copyfile(made.with_suffix(suffix), partial)
        run.read_embeddings(name, "honest")  # refuses what is damaged
        return holder
    return None


def encoded_elsewhere(run: RunFolder, name: str, others: Sequence[Path]) -> list[Path]:
    """Files, there or not, in which other run folders keep embeddings called `name`."""
    return [other / run.embeddings_path(name).relative_to(run.path) for other in others]


def _taught_the_same(run: RunFolder, made: Path, model_id: str) -> bool:
    """Are these embeddings there, of that model, and taught by this run's texts and split?"""
    card_path = made.with_suffix(".json")
    if not (made.exists() and card_path.exists()):
        return False
    card = read_json(card_path)
    if card.get("finetuned_from") != model_id:
        return False
    return lesson.taught_here(run.dataset, run.protocol, run.texts("honest"), card["training"])
