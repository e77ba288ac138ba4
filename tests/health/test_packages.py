"""What is installed, against what is asked for."""

import pytest

from jaxrec.health import packages

ASKED = {
    "jaxrec": [
        "numpy>=2.0", "lost>=1", 'never>=1; sys_platform == "nowhere"',
        'torch>=2; extra == "embed"', 'jax[cuda]>=1; extra == "cuda"',
    ],
    "jax": ["numpy", 'plugin>=3; extra == "cuda"'],
}  # fmt: skip
THERE = {"numpy": "1.26", "jax": "1.5", "plugin": "3.0"}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "requires", ASKED.get)
    monkeypatch.setattr(packages, "version_of", THERE.get)


def test_the_base_install_lacks_what_is_absent_or_another_version() -> None:
    assert packages.unmet() == {
        "numpy>=2.0": "numpy 1.26 is installed, >=2.0 is needed",
        "lost>=1": "lost is not installed",
    }


def test_an_extra_is_what_it_adds() -> None:
    assert packages.unmet("embed") == {"torch>=2": "torch is not installed"}
    assert packages.unmet("cuda") == {}


def test_an_extra_of_another_package_is_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "version_of", (THERE | {"plugin": "2.9"}).get)
    why = "plugin 2.9 is installed, >=3 is needed"
    assert packages.unmet("cuda") == {"jax[cuda]>=1": why}
