"""Build the wheel, install it into an empty environment, and scan the sample data."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Stop with a non-zero status at the first step that fails."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation",
            "--outdir", str(place), str(ROOT))  # fmt: skip
        (wheel,) = place.glob("*.whl")
        venv.create(place / "env", with_pip=True)
        python = place / "env" / "bin" / "python"
        run(str(python), "-m", "pip", "install", "--quiet", str(wheel))
        command = str(place / "env" / "bin" / "kpiaudit")
        report = str(place / "report.json")
        sample = str(ROOT / "sample_data")
        options = ("--exit-zero", "--format", "json", "-o", report)
        run(command, "scan", sample, *options, cwd=place)
        print("wheel: built, installed into an empty environment, and it scans")


def run(*words: str, cwd: Path = ROOT) -> None:
    """Run one step, quietly unless it fails."""
    done = subprocess.run(  # noqa: S603 - our own words
        words, cwd=cwd, check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout}\n{done.stderr}")


if __name__ == "__main__":
    main()
