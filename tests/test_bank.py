"""Four months of a real bank's calls: what `short-calls` must and must not say.

The data were collected by I. Guedj and A. Mandelbaum (Technion). They are beside the
project, not part of it; servers are told by hashes only.
"""

import gzip
import hashlib
import re
import subprocess
from pathlib import Path

import pytest

import kpiaudit
from kpiaudit.outputs import text

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"
MONTHS = sorted(DATA.glob("anonymous_bank_1999_0[1-4]_*.csv.gz"))
MANY = ("4300b8", "28df71", "39063f", "1f9e17")
"""The servers with 18, 15, 10 and 15 % of their calls under ten seconds."""
AN_ENGLISH_WORD = "eaf3da"
"""One of the names is a word that licences use."""
NO_SERVER = hashlib.sha256(b"NO_SERVER").hexdigest()[:6]

pytestmark = pytest.mark.skipif(len(MONTHS) != 4, reason="no ../shared/data here")


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:6]


@pytest.fixture(scope="module")
def report() -> kpiaudit.Report:
    return kpiaudit.scan(
        *MONTHS,
        mapping=ROOT / "docs" / "examples" / "anonymous_bank.yaml",
        select=["short-calls"],
    )


@pytest.mark.slow
def test_the_floor_is_not_accused_and_the_servers_with_most_rank_first(
    report: kpiaudit.Report,
) -> None:
    kinds = {finding.subject.kind for finding in report.findings}
    assert "floor" not in kinds
    named = [_hash(f.subject.id) for f in report.findings if f.subject.kind == "agent"]
    assert named[0] == MANY[0]
    assert set(named[: len(MANY)]) <= set(MANY)
    assert NO_SERVER not in named


@pytest.mark.slow
def test_the_spread_between_servers_is_reported(report: kpiaudit.Report) -> None:
    (rule,) = report.rules
    assert rule.spread is not None
    assert 0.3 < rule.spread < 1.5
    assert rule.tested >= 25


@pytest.mark.slow
def test_both_ratios_of_repeat_calls_are_told(report: kpiaudit.Report) -> None:
    told = {
        evidence.name.rpartition(" after ")[2]: evidence
        for evidence in report.findings[0].evidence
        if evidence.name.startswith("redial") and "times as often" in evidence.name
    }
    own, peers = told["the agent's own longer calls"], told["peers' short calls"]
    assert own.value is not None
    assert peers.value is not None
    assert 6 < own.value < 12
    assert 1.7 < peers.value < 2.6
    assert "95% interval" in own.text
    assert "95% interval" in peers.text
    assert "does not count" in own.text
    assert "the one that counts" in peers.text
    said = " ".join(text.render(report, verbose=0).split())
    assert "times as often as after the agent's own longer calls (95%" in said
    assert "counts for nothing, since short calls fail whoever ends them" in said
    assert re.search(r"after peers' short calls \(95% [^)]*\): this one counts", said)


@pytest.mark.slow
def test_calls_handled_are_restated_and_repeats_are_weighed_against_short_calls(
    report: kpiaudit.Report,
) -> None:
    first = report.findings[0]
    assert first.restated is not None
    assert first.restated.kpi == "calls_handled"
    assert first.restated.restated < first.restated.reported  # type: ignore[operator]
    again = [c for c in first.corroboration if c.source.startswith("repeat contact")]
    assert [c.source.rpartition("within ")[2] for c in again] == [
        "15 minutes",
        "24 h",
        "7 days",
    ]
    assert all("peers' short calls" in c.detail for c in again)
    assert all(c.e_value is None for c in again)


def test_no_committed_file_holds_a_servers_name() -> None:
    names: set[str] = set()
    for month in MONTHS:
        with gzip.open(month, "rt", encoding="latin-1") as file:
            header = next(file).strip().split(",")
            at = header.index("server")
            names |= {line.strip().split(",")[at].strip() for line in file}
    names = {name for name in names if len(name) > 2} - {"NO_SERVER", "NONE"}
    names = {name for name in names if _hash(name) != AN_ENGLISH_WORD}
    word = re.compile(rf"\b({'|'.join(map(re.escape, sorted(names)))})\b")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    for name in listed:
        path = ROOT / name
        if path.suffix not in {".gz", ".parquet", ".png"} and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            assert not word.search(text), name
