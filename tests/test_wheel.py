import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "cli.py" not in names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "jaxrec",
        "torch_embed",
    }
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", site, wheel], check=True, capture_output=True)
    code = f"import sys; sys.path.insert(0, {str(site)!r}); import jaxrec.cli as c; c.main()"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, "train-pmf", "--data", "synthetic", "--sweeps", "1"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "jaxrec-run" / "pmf.safetensors").exists()
