"""The site is built without a warning, has every public name, and asks no other host."""

import ast
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_public_name_is_there(site: Path) -> None:
    stub = ast.parse((ROOT / "jaxrec" / "__init__.pyi").read_text())
    names = {
        alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    said = "".join(path.read_text() for path in (site / "api").glob("*.html"))
    assert names == set(re.findall(r'id="jaxrec\.(\w+)"', said))


class Loads(HTMLParser):
    """What a page makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Links that are only there to be followed are left out."""
        of = dict(attrs)
        if tag != "a" and of.get("rel") != "canonical":
            self.found += [value for name in ("src", "href") if (value := of.get(name))]


def test_no_other_host_is_asked(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert (site / "index.html") in pages
    for path in pages:
        loads = Loads()
        loads.feed(path.read_text())
        assert loads.found
        assert not [url for url in loads.found if re.match(r"(\w+:)?//", url)], path
    assert not [
        path for path in site.rglob("*.css") if re.search(r"url\(\W?http", path.read_text())
    ]
