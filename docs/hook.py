"""Takes the repository's own pages into the site, so that each fact is written down once."""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

OF_REPOSITORY = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "benchmarks/LOG.md",
)
BELOW = "repository/"


def on_files(files: Files, config: Any) -> Files:
    """Those of the repository stand below `repository/` as they stand there."""
    root = Path(config.config_file_path).parent
    for name in OF_REPOSITORY:
        files.append(File.generated(config, BELOW + name, abs_src_path=str(root / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links between the two, written as they hold in the repository, made to hold here."""
    depth = "../" * page.file.src_uri.count("/")
    if page.file.src_uri.startswith(BELOW):
        up = depth.removeprefix("../")
        return markdown.replace(f"]({up}docs/", f"]({depth}")
    return markdown.replace(f"]({depth}../", f"]({depth}{BELOW}")
