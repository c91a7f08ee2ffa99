"""A year of scans against a baseline, as a scheduler would run them.

Nothing happens in July and November, which are left out.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kpiaudit.cli.run import _status_of
from kpiaudit.tables.simulate import Centre, Plant, simulate, write

STEADY, GROWING, SHRINKING, VANISHING, COMING, ACCEPTED = (
    "A0003",
    "A0007",
    "A0011",
    "A0015",
    "A0019",
    "A0023",
)
CONFIGURATION = """\
select: [short-calls]
fail_on: low
baseline: {baseline}
new_only: true
suppress:
  - finding: {accepted}
    reason: faulty headset, ticket 4711
    until: {until}
"""


def _strength(month: int) -> dict[str, float]:
    """Share of calls that each agent ends at once, by month of the year."""
    return {
        STEADY: 0.15,
        GROWING: 0.10 if month < 3 else 0.30,
        SHRINKING: 0.30 if month < 5 else 0.10,
        VANISHING: 0.15 if month < 6 else 0.0,
        COMING: 0.0 if month < 4 else 0.15,
        ACCEPTED: 0.15,
    }


def _export(month: int, folder: Path) -> None:
    plants = tuple(
        Plant(pattern="short-calls", agents=(agent,), strength=share)
        for agent, share in _strength(month).items()
        if share
    )
    centre = Centre(
        seed=100 + month, agents=40, teams=3, sites=1, queues=1, days=21,
        calls_per_day=24, spread_sd=0.1, start=f"2026-{month:02}-02",
        tables=("calls",), plants=plants,
    )  # fmt: skip
    write(simulate(centre), folder)


@dataclass(frozen=True, kw_only=True)
class Month:
    """What one run said."""

    status: int
    said: str
    report: dict[str, Any]

    @property
    def states(self) -> dict[str, str]:
        return {f["subject"]["id"]: f["state"] for f in self.report["findings"]}

    @property
    def accepted(self) -> set[str]:
        found = self.report["findings"]
        return {f["subject"]["id"] for f in found if f["suppressed"] is not None}

    @property
    def gone(self) -> list[str]:
        return [gone["subject"] for gone in self.report["compared"]["gone"]]

    @property
    def notes(self) -> set[str]:
        return {note["kind"] for note in self.report["notes"]}


def _run(month: int) -> Month:
    name = f"2026-{month:02}"
    status, said = _status_of(
        ["scan", f"exports/{name}", "--format", f"json=reports/{name}.json", "-q"]
    )
    report = json.loads(Path(f"reports/{name}.json").read_text(encoding="utf-8"))
    return Month(status=status, said=said, report=report)


def _configure(accepted: str, *, until: str) -> None:
    Path("kpiaudit.yaml").write_text(
        CONFIGURATION.format(baseline="known.json", accepted=accepted, until=until)
    )


def _update(month: int) -> bytes:
    assert _status_of(
        ["baseline", "update", f"reports/2026-{month:02}.json", "-o", "known.json"]
    ) == (0, "")
    return Path("known.json").read_bytes()


def _known(*agents: str) -> dict[str, str]:
    return dict.fromkeys(agents, "known")


def _january() -> dict[str, str]:
    """Nothing is known yet; one finding is then accepted until August."""
    Path("kpiaudit.yaml").write_text("select: [short-calls]\n")
    first = _run(1)
    assert first.status == 1
    assert set(first.states.values()) == {None}
    ids = {f["subject"]["id"]: f["id"] for f in first.report["findings"]}
    assert set(ids) == {STEADY, GROWING, SHRINKING, VANISHING, ACCEPTED}
    _update(1)
    _configure(ids[ACCEPTED], until="2026-08-31")
    return ids


def _first_half(ids: dict[str, str]) -> None:
    """Compare with January."""
    february = _run(2)
    assert february.status == 0
    assert february.states == _known(*ids)
    assert february.accepted == {ACCEPTED}
    assert february.gone == []

    grows = _run(3)
    assert grows.status == 1
    assert "1 new or worsened finding at" in grows.said
    assert grows.states == _known(*ids) | {GROWING: "worsened"}

    comes = _run(4)
    assert comes.status == 1
    assert "2 new or worsened findings at" in comes.said
    assert comes.states[COMING] == "new"
    assert "stale-baseline" not in comes.notes

    assert _run(5).states[SHRINKING] == "improved"

    goes = _run(6)
    assert goes.gone == [f"agent {VANISHING}"]
    assert goes.report["compared"]["gone"][0]["tested"]
    assert "stale-baseline" in goes.notes
    assert "expired-suppression" not in goes.notes


def _second_half(ids: dict[str, str], everybody: set[str]) -> None:
    """Compare with June, which somebody has looked at."""
    quiet = _run(8)
    assert quiet.status == 0
    assert quiet.states == _known(*everybody)
    assert quiet.accepted == {ACCEPTED}
    assert quiet.gone == []

    # The acceptance has ended, and the finding is still there.
    back = _run(9)
    assert back.status == 1
    assert "1 new or worsened finding at" in back.said
    assert back.states == _known(*everybody) | {ACCEPTED: "new"}
    assert "expired-suppression" in back.notes
    _configure(ids[ACCEPTED], until="2027-03-31")


def _october_in_two_files(everybody: set[str]) -> None:
    """The second file is late, and the month is run again."""
    whole = Path("exports/2026-10/calls.csv")
    header, *rows = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    early = whole.with_name("calls-2026-10-a.csv")
    early.write_text("".join([header, *rows[: len(rows) * 4 // 5]]), encoding="utf-8")
    whole.unlink()
    half = _run(10)
    assert half.status == 0
    assert set(half.states.values()) == {"known"}
    late = whole.with_name("calls-2026-10-b.csv")
    late.write_text("".join([header, *rows[len(rows) * 4 // 5 :]]), encoding="utf-8")
    october = _run(10)
    assert october.status == 0
    assert october.states == _known(*everybody)
    assert len(october.report["inputs"]) == len(half.report["inputs"]) + 1
    before = Path("reports/2026-10.json").read_bytes()
    _run(10)
    assert Path("reports/2026-10.json").read_bytes() == before


@pytest.mark.slow
def test_a_year_of_runs_says_what_is_new_and_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("reports").mkdir()
    for month in (1, 2, 3, 4, 5, 6, 8, 9, 10, 12):
        _export(month, Path(f"exports/2026-{month:02}"))
    everybody = {STEADY, GROWING, SHRINKING, COMING, ACCEPTED}

    ids = _january()
    _first_half(ids)
    reviewed = _update(6)
    assert _update(6) == reviewed
    _second_half(ids, everybody)
    _october_in_two_files(everybody)
    last = _run(12)
    assert last.status == 0
    assert last.states == _known(*everybody)
    assert "stale-baseline" in last.notes
    assert Path("known.json").read_bytes() == reviewed
