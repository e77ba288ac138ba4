"""Two commands from an experiment to recommendations, and what comes after."""

import re
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

import cli
from jaxrec.experiment.folder import RunFolder
from jaxrec.files import read_json
from jaxrec.serving.folder import read_model
from tests.tiny_models import tiny_bert


def jaxrec(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


def done(*arguments: object) -> str:
    result = jaxrec(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, small: None) -> Path:
    """Of an experiment with a real, if tiny, encoder."""
    folder = tmp_path_factory.mktemp("commands")
    encoder, run = tiny_bert(folder / "tiny"), folder / "run"
    done("embed", "--run", run, "--data", "synthetic", "--model", encoder)
    done("eval", "--run", run, "--row", "popularity", "--row", "hybrid")
    output = done("fit", "--run", run, "--out", folder / "model")
    assert "hybrid (learned fusion), fitted on all" in output
    assert "Of this model there are none" in output
    assert "texts hold remarks that the experiment could not read" in output
    return folder / "model"


def test_a_known_user_somebody_new_and_everybody_are_served(model: Path, tmp_path: Path) -> None:
    lines = done("recommend", "--model", model, "--user", 7, "-k", 3).splitlines()
    assert lines[-4] == "Recommended by hybrid:"
    assert "For somebody who likes" in done("recommend", "--model", model, "--liked", 3)
    told = done("recommend", "--model", model, "--user", "nobody-knows")
    assert "Nothing is known of user nobody-knows: most liked" in told
    out = tmp_path / "recs.csv"
    done("recommend", "--model", model, "--all", "--out", out, "-k", 4)
    known = pl.read_parquet(model / "interactions.parquet")
    users = pl.read_parquet(model / "users.parquet")["user_id"].gather(known["user"])
    items = pl.read_parquet(model / "items.parquet")["item_id"].gather(known["item"])
    had = pl.DataFrame({"user_id": users, "item_id": items})
    assert pl.read_csv(out).join(had, on=["user_id", "item_id"]).is_empty()


def test_what_has_been_done_since_counts(model: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    new.write_text("user,item,rating\nanna,3,5\nanna,8,4.5\n")
    told = done("recommend", "--model", model, "--user", "anna", "--interactions", new, "-k", 2)
    assert "Recommended by hybrid (folded in):" in told


def test_a_score_is_explained_to_known_users_and_to_new_ones(model: Path, tmp_path: Path) -> None:
    listed = done("recommend", "--model", model, "--user", 7, "-k", 1).splitlines()[-1].split()
    parts = tmp_path / "parts.json"
    asked = ("explain", "--model", model, "--item", listed[2])
    told = done(*asked, "--user", 7, "-k", 2, "--json", parts)
    assert "For user 7:" in told
    found = read_json(parts)
    known = len(found["known"])
    assert f"rank 1 of {200 - known} by hybrid, score {listed[1]}" in told
    assert f"... and {known - 2} others" in told
    assert (found["user"], str(found["item_id"]), found["rank"]) == ("7", listed[2], 1)
    assert sum(of["part"] for of in found["signals"]) + found["of_familiarity"] == pytest.approx(
        float(listed[1]), abs=1e-4
    )
    assert "For somebody who likes" in done(*asked, "--liked", 3, "--liked", 8)
    new = tmp_path / "new.csv"
    new.write_text("user,item,rating\nanna,3,5\nanna,8,4.5\n")
    told = done(*asked, "--user", "anna", "--interactions", new)
    assert "For user anna:" in told


def test_what_a_user_has_is_explained_and_said(model: Path) -> None:
    known = pl.read_parquet(model / "interactions.parquet")
    users = pl.read_parquet(model / "users.parquet")["user_id"]
    items = pl.read_parquet(model / "items.parquet")["item_id"]
    user, item, value, *_ = known.row(0)
    told = done("explain", "--model", model, "--user", users[user], "--item", items[item])
    said = (
        f"For user {users[user]}, who has it {value:.1f} and is scored as if that were not known:"
    )
    assert said in told.splitlines()


def test_a_list_says_what_speaks_for_each_item(model: Path) -> None:
    asked = ("recommend", "--model", model, "-k", 3)
    plain = done(*asked, "--user", 7).splitlines()
    told = done(*asked, "--user", 7, "--explain").splitlines()
    assert told[-6::2] == plain[-3:]
    assert all(" of it; " in line for line in told[-5::2])
    assert len(done(*asked, "--liked", 3, "--explain").splitlines()) == 8
    assert "nothing that is known" in done(*asked, "--user", "nobody-knows", "--explain")


def test_an_experiment_explains_what_it_measured(measured: RunFolder) -> None:
    asked = ("recommend", "--run", measured.path, "--user", 7, "-k", 1, "--as-evaluated")
    _, score, item, *_ = done(*asked).splitlines()[-1].split()
    told = done("explain", "--run", measured.path, "--user", 7, "--item", item)
    assert f"by hybrid, score {score}" in told
    told = done("explain", "--run", measured.path, "--user", 7, "--item", item, "--row", "ease")
    assert "by ease, score" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["explain", "--user", 9999, "--item", 3],
            "no user 9999; there are 1 to 100; --liked ITEM",
        ),
        (
            ["explain", "--user", 7, "--item", "nix"],
            "no item 'nix'; give an id or a part of a title",
        ),
        (["explain", "--liked", "nix", "--item", 3], "no item 'nix'; give an id"),
        (["explain", "--user", 7, "--liked", 3, "--item", 3], "--user ID or --liked ITEM, one of"),
        (["explain", "--item", 3], "--user ID or --liked ITEM, one of"),
        (["explain", "--user", 7, "--item", 3, "--row", "ease"], "--row is not for --model"),
        (["recommend", "--all", "--out", "x.csv", "--explain"], "--explain goes with one user"),
    ],
)
def test_what_cannot_be_explained_is_one_line(
    model: Path, arguments: list[object], message: str
) -> None:
    result = jaxrec(*arguments, "--model", model)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "command", [("similar", "--item"), ("explain", "--user", 7, "--item"), ("recommend", "--liked")]
)
def test_a_misspelt_item_has_close_titles(model: Path, command: tuple[object, ...]) -> None:
    catalogue = read_model(model).catalogue
    title = catalogue.titles[3]
    refused = jaxrec(command[0], "--model", model, *command[1:], f"{title} x")
    assert refused.exit_code == 2
    assert f"; close to it: {catalogue.ids[3]} {title}" in " ".join(refused.output.split())


@pytest.mark.parametrize("how", [("--user", 7), ("--user", 7, "--as-evaluated"), ("--liked", 3)])
def test_a_list_of_an_experiment_says_why(measured: RunFolder, how: tuple[object, ...]) -> None:
    asked = ("recommend", "--run", measured.path, "--row", "ease", "-k", 2, *how)
    plain, told = done(*asked).splitlines(), done(*asked, "--explain").splitlines()
    assert told[-4::2] == plain[-2:]
    assert all(re.search(r" -?\d\.\d{4}", line) for line in told[-3::2])


def test_new_items_are_placed_by_the_encoder_of_the_others(model: Path, tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text("movieId,title,genres\n9001,The Wolf Affair (1999),Drama|Crime\n")
    encoder = model.parent / "tiny"
    lost = jaxrec("model", "add-items", "--model", model, items)
    assert lost.exit_code == 2  # the folder it was in is not named in the model
    assert "--encoder" in lost.output
    told = done("model", "add-items", "--model", model, items, "--encoder", encoder)
    assert "1 placed" in told
    assert "The Wolf Affair (1999)" in done("similar", "--model", model, "--item", 9001)[:60]
    only = tmp_path / "only.csv"
    only.write_text("item\n9001\n")
    listed = done("recommend", "--model", model, "--user", 7, "--only", only)
    assert listed.splitlines()[-1].endswith("9001  The Wolf Affair (1999)")


def test_an_encoder_that_is_another_is_refused(model: Path, tmp_path: Path) -> None:
    import torch

    items = tmp_path / "items.csv"
    items.write_text("movieId,title,genres\n9002,The Wolf Affair (1999),Drama|Crime\n")
    other = tiny_bert(tmp_path / "other")
    from safetensors.torch import load_file, save_file

    weights = load_file(other / "model.safetensors")
    first = next(iter(weights))
    save_file(weights | {first: weights[first] + torch.ones(1)}, other / "model.safetensors")
    refused = jaxrec("model", "add-items", "--model", model, items, "--encoder", other)
    assert refused.exit_code == 2
    assert "is not what encoded the model's items" in refused.output


def test_an_encoder_out_of_reach_costs_the_new_remarks_alone(
    measured: RunFolder, tmp_path: Path
) -> None:
    told = done("fit", "--run", measured.path, "--out", tmp_path / "model")
    assert "texts keep to what the experiment could read" in told
    assert "Recommended by hybrid:" in done("recommend", "--model", tmp_path / "model", "--user", 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "--run", "RUN", "--out", "FILE"], "is a file"),
        (["fit", "--run", "RUN", "--out", "RUN"], "is not empty and no model folder"),
        (["fit", "--run", "RUN", "--out", "new", "--row", "bpr"], "no row 'bpr'"),
        (["fit", "--run", "nowhere", "--out", "new"], "is no run folder; `jaxrec run --run"),
        (["recommend", "--model", "RUN", "--user", "1"], "is no model folder; `jaxrec fit"),
    ],
)
def test_bad_input_is_one_line(
    measured: RunFolder, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "file").touch()
    named = {"RUN": measured.path, "FILE": tmp_path / "file", "new": tmp_path / "new"}
    named["nowhere"] = tmp_path / "nowhere"
    result = jaxrec(*(named.get(argument, argument) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("row", ["itemknn", "popularity"])
def test_similar_by_a_row_without_vectors(measured: RunFolder, tmp_path: Path, row: str) -> None:
    done("fit", "--run", measured.path, "--out", tmp_path / "model", "--row", row)
    result = jaxrec("similar", "--model", tmp_path / "model", "--item", 3)
    if row == "itemknn":
        assert "by itemknn:" in result.output
    else:
        assert result.exit_code == 2
        assert "row popularity does not say what" in result.output
