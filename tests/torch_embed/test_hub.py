"""Where models are looked for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants, is_offline_mode

from torch_embed import hub


class Asked:
    """A hub that answers, or does not, and counts how often it is asked."""

    def __init__(self, error: Exception | None = None):
        self.error, self.times = error, 0

    def head(self, url: str, **_: Any) -> None:
        assert url == constants.ENDPOINT
        self.times += 1
        if self.error is not None:
            raise self.error


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """As if nobody had said that the hub is out of reach."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.look_for_hub.cache_clear()
    yield monkeypatch
    hub.look_for_hub.cache_clear()


def test_a_hub_out_of_reach_is_asked_once(online: pytest.MonkeyPatch) -> None:
    """Not for each file of each model, again and again."""
    asked = Asked(OSError("Name or service not known"))
    online.setattr(hub, "get_session", lambda: asked)
    assert hub.hub_source("some/model") == "some/model"
    assert hub.hub_source("qwen3-0.6b") == "Qwen/Qwen3-Embedding-0.6B"
    assert is_offline_mode()
    assert asked.times == 1


def test_a_hub_in_reach_is_used(online: pytest.MonkeyPatch) -> None:
    asked = Asked()
    online.setattr(hub, "get_session", lambda: asked)
    hub.hub_source("some/model")
    assert not is_offline_mode()
    assert asked.times == 1


def test_a_folder_needs_no_hub(online: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    asked = Asked(OSError())
    online.setattr(hub, "get_session", lambda: asked)
    assert hub.hub_source(str(tmp_path)) == str(tmp_path)
    assert not is_offline_mode()
    assert asked.times == 0
