"""What is said before anything is loaded."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from torch_embed.encoding.shapes import shape_of
from torch_embed.errors import InputError
from torch_embed.training.preflight import Plan, bytes_needed, check_fits, plan_of
from torch_embed.training.recipe import BEST, resolve

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_what_does_not_fit_is_refused_in_one_line() -> None:
    plan = Plan("qwen3-4b", nf4=False, lora_rank=16, micro_tokens=8192, tokens=1e6)
    with pytest.raises(InputError) as refused:
        check_fits(plan, free=8 * 2**30)
    line = str(refused.value)
    assert "\n" not in line
    assert "GiB, 8.0 are free; would fit: " in line
    assert "--nf4" in line
    assert "--model qwen3-0.6b" in line
    assert "of 80.0 free" in check_fits(plan, free=80 * 2**30)


def test_the_estimate_holds_the_weights() -> None:
    config = shape_of("qwen3-4b")
    small = Plan("qwen3-4b", nf4=True, lora_rank=16, micro_tokens=1024, tokens=1.0)
    needed = bytes_needed(config, small) / 2**30
    # 3.63e9 linear weights at half a byte, 0.39e9 others in bfloat16
    # twice: in the end a second process loads what was saved
    assert 4.8 < needed < 5.3
    assert bytes_needed(config, replace(small, nf4=False)) > 15 * 2**30


def test_the_plan_counts_what_the_steps_read(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["one two", "one two three four"]}).write_parquet(
        tmp_path / "texts.parquet"
    )
    (tmp_path / "card.json").write_text(json.dumps({"examples": 10}))
    plan = plan_of("minilm", BEST, tmp_path)
    # two epochs of ten examples, a text each of 5 or 8 tokens, as is estimated
    assert plan == Plan("minilm", False, None, round(32 * 7.85), 2 * 10 * 6.5)
    recipe = resolve("qwen3-0.6b", loss="contrastive", epochs=1)
    assert plan_of("qwen3-0.6b", recipe, tmp_path) == Plan(
        "qwen3-0.6b", True, 16, round(32 * 3 * 7.85), 10 * 3 * 6.5
    )
