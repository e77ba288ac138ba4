import gc
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jaxrec.sources import library
from jaxrec.sources.library import AbsentError, Release, download, load_dataset

# pooch leaves the socket of a refused answer to the garbage collector: see `collected`
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a test leaves behind is complained of here, not in the middle of a later one."""
    yield
    gc.collect()


FILES = {
    "ratings.csv": b"userId,movieId,rating,timestamp\n1,1,4.0,1\n",
    "movies.csv": b"movieId,title,genres\n1,Up (2009),Drama\n",
    "tags.csv": b"userId,movieId,tag,timestamp\n",
}


def zipped(files: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"ml/{name}", content)
    return memory.getvalue()


ARCHIVE = zipped(FILES)


class Publisher(BaseHTTPRequestHandler):
    """Answers /good, /truncated, /corrupt; anything else is missing."""

    def do_GET(self) -> None:
        body = {
            "/good": ARCHIVE,
            "/truncated": ARCHIVE[:-20],
            "/corrupt": ARCHIVE.replace(b"4.0", b"5.0"),
        }.get(self.path)
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(ARCHIVE) if body else 0))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Publisher) as publisher:
        thread = threading.Thread(target=publisher.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{publisher.server_address[1]}"
        publisher.shutdown()
        thread.join()


def release(url: str, archive: bytes = ARCHIVE, files: dict[str, bytes] = FILES) -> Release:
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return Release(url, hashlib.sha256(archive).hexdigest(), hashes, "anybody's")


def test_a_download_is_unpacked_whole(server: str, tmp_path: Path) -> None:
    folder = download(release(f"{server}/good"), tmp_path / "cache" / "ml")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("truncated", "no answer|not the published archive"),
        ("corrupt", "not the published archive"),
        ("missing", "HTTP status 404"),
    ],
)
def test_a_bad_answer_leaves_nothing_behind(
    server: str, tmp_path: Path, page: str, reason: str
) -> None:
    with pytest.raises(AbsentError, match=reason) as raised:
        download(release(f"{server}/{page}"), tmp_path / "cache" / "ml")
    assert list((tmp_path / "cache").iterdir()) == []
    assert "\n" not in str(raised.value)


def test_an_archive_with_another_file_leaves_nothing_behind(server: str, tmp_path: Path) -> None:
    expected = FILES | {"tags.csv": b"other"}
    with pytest.raises(AbsentError, match=r"tags\.csv is not the published one"):
        download(release(f"{server}/good", files=expected), tmp_path / "cache" / "ml")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_one_line(server: str, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(AbsentError, match="cannot be kept"):
        download(release(f"{server}/good"), tmp_path / "cache" / "ml")


def test_no_server_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AbsentError, match="no answer"):
        download(release("http://127.0.0.1:9/ml.zip"), tmp_path / "cache" / "ml")


def place(folder: Path, stars: str) -> None:
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content.replace(b"4.0", stars.encode()))


def test_places_are_searched_in_order(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAXREC_DATA", str(tmp_path / "env"))
    monkeypatch.setattr(library, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setitem(library.RELEASES, "ml", release(f"{server}/good"))
    assert load_dataset("ml").interactions.values.tolist() == [4.0]  # downloaded into the cache
    place(tmp_path / "env" / "ml", "3.0")
    assert load_dataset("ml").interactions.values.tolist() == [3.0]
    place(tmp_path / "explicit", "2.0")
    assert load_dataset(str(tmp_path / "explicit")).interactions.values.tolist() == [2.0]


def test_an_unknown_name_lists_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAXREC_DATA", raising=False)
    with pytest.raises(AbsentError, match="ml-latest-small, synthetic"):
        load_dataset("ml-1b")


def test_synthetic_is_always_the_same_and_says_what_it_is() -> None:
    first, second = load_dataset("synthetic"), load_dataset("synthetic")
    assert first.sha256 == second.sha256
    assert first.synthetic
    assert first.name == "synthetic"
