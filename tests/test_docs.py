import re
import subprocess
import sys
from pathlib import Path

import pytest

from kpiaudit.cli.run import COMMANDS

ROOT = Path(__file__).parent.parent
FORBIDDEN = re.compile(
    r"\b(fraud\w*|cheat\w*|culprits?|guilty|guilt|offenders?|suspects?|perpetrators?|"
    r"misconduct|lie|lies|liar|liars|lied)\b",
    re.IGNORECASE,
)
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("rules/*"),
    *ROOT.glob("kpiaudit/**/presets/*.yaml"),
]


def test_the_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "write_docs.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_no_page_uses_a_word_that_accuses(page: Path) -> None:
    found = FORBIDDEN.findall(page.read_text(encoding="utf-8"))
    assert not found


def test_links_between_pages_lead_somewhere() -> None:
    for page in ROOT.glob("**/*.md"):
        if ".venv" in page.parts:
            continue
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_command_in_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    used = set(re.findall(r"^\s*(?:\$ )?kpiaudit ([a-z-]+)", text, re.MULTILINE))
    assert used <= set(COMMANDS)
    assert {"make demo", "make test"} <= set(re.findall(r"make \w+", text))
