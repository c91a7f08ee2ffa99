"""Claims about the detector of tickets closed early and opened again."""

from collections.abc import Callable
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from kpiaudit.detectors.base import Summary, Verdicts
from kpiaudit.detectors.early_closure import EarlyClosure
from kpiaudit.stats import multiplicity
from kpiaudit.tables.dataset import Dataset
from kpiaudit.tables.engine import collect

HOUR, DAY = 3_600_000, 86_400_000
START = 20_000 * DAY
ORIGINS = {
    "tickets.due_at": "system",
    "tickets.opened_at": "system",
    "tickets.reopened_at": "system",
    "tickets.customer_id": "system",
    "tickets.resolved_at": "agent",
    "ticket_events.actor_id": "system",
}


def centre(
    seed: int,
    *,
    agents: int = 30,
    tickets: int = 500,
    days: int = 120,
    gaming: dict[int, float] | None = None,
    bounce_if_gamed: float = 0.5,
    hard: tuple[int, ...] = (),
) -> pl.DataFrame:
    """Make tickets: late ones hurried a little everywhere, gamed by some agents."""
    rng = np.random.default_rng(seed)
    n = agents * tickets
    agent = np.repeat(np.arange(agents), tickets)
    clock = rng.choice([4, 8, 24, 72], n, p=[0.1, 0.3, 0.4, 0.2]) * HOUR
    opened = START + rng.integers(0, days * DAY, n)
    trouble = rng.normal(0.0, 0.6, n) + np.where(np.isin(agent, hard), 0.9, 0.0)
    pace = rng.normal(0.0, 0.15, agents)[agent]
    place = np.exp(-0.6 + 0.7 * trouble + pace + rng.normal(0.0, 0.6, n))
    # Honest effort: some of what would be a little late is brought in on time.
    habit = np.clip(rng.normal(0.25, 0.1, agents), 0, 1)[agent]
    hurried = (place > 1.0) & (place < 1.4) & (rng.random(n) < habit)
    place = np.where(hurried, rng.uniform(0.9, 1.0, n), place)
    share = np.zeros(agents)
    for who, strength in (gaming or {}).items():
        share[who] = strength
    gamed = (place > 0.93) & (rng.random(n) < share[agent])
    place = np.where(gamed, rng.uniform(0.93, 0.999, n), place)
    base = 1.0 / (1.0 + np.exp(3.2 - 0.6 * trouble - rng.normal(0, 0.2, agents)[agent]))
    bounced = rng.random(n) < np.where(gamed, bounce_if_gamed, base)
    resolved = opened + (place * clock).astype(np.int64)
    back = resolved + rng.integers(HOUR, 60 * HOUR, n)
    by_ticket = rng.random(n) < 0.3
    main = pl.DataFrame(
        {
            "ticket_id": [f"T{i:06d}" for i in range(n)],
            "agent_id": [f"A{a:04d}" for a in agent],
            "customer_id": [f"C{c:06d}" for c in range(n)],
            "category": rng.choice(["billing", "line", "order"], n).tolist(),
            "opened_at": opened,
            "due_at": opened + clock,
            "resolved_at": resolved,
            "reopened_at": pl.Series(np.where(bounced & ~by_ticket, back, -1)),
            "closed_at": np.where(bounced, back + 30 * HOUR, resolved + 120 * HOUR),
        },
    ).with_columns(pl.when(pl.col("reopened_at") >= 0).then("reopened_at"))
    again = main.filter(pl.Series(bounced & by_ticket)).with_columns(
        ticket_id=pl.col("ticket_id") + "b",
        opened_at=pl.Series(back[bounced & by_ticket]),
        agent_id=pl.lit(None, dtype=pl.String),
        due_at=pl.lit(None, dtype=pl.Int64),
        resolved_at=pl.lit(None, dtype=pl.Int64),
        reopened_at=pl.lit(None, dtype=pl.Int64),
        closed_at=pl.lit(None, dtype=pl.Int64),
    )
    return pl.concat([main, again.select(main.columns)])


def dataset(
    tickets: pl.DataFrame,
    events: pl.DataFrame | None = None,
    engine: Callable[[pl.DataFrame], Any] = pl.DataFrame.lazy,
) -> Dataset:
    """Wrap frames as the loader would, with the derived columns."""
    tickets = tickets.with_columns(
        at_ms=pl.col("opened_at"),
        day=pl.col("opened_at") // DAY,
        hour=pl.col("opened_at") % DAY // HOUR,
    )
    tables = {"tickets": tickets}
    if events is not None:
        tables["ticket_events"] = events
    return Dataset(
        frames={k: nw.from_native(engine(v)) for k, v in tables.items()},
        columns={k: frozenset(v.columns) for k, v in tables.items()},
        origins=ORIGINS,
    )


def gather(frames: Any) -> dict[str, Summary]:
    return {k: Summary.of(v) for k, v in collect(frames).items()}


def run(
    data: Dataset, detector: EarlyClosure | None = None
) -> tuple[Verdicts, dict[str, Summary], Any]:
    detector = detector or EarlyClosure()
    found = detector.find(gather(detector.discover(data)))
    summaries = gather(detector.summarize(data, found))
    return detector.test(summaries, found, min_effect=None), summaries, found


def flagged(verdicts: Verdicts, level: float = 0.05) -> set[str]:
    sizes = [int(t.outcome.testable.sum()) for t in verdicts.tested]
    weight = multiplicity.kind_weights(sizes, [t.share for t in verdicts.tested])
    p = np.concatenate([t.outcome.p_value for t in verdicts.tested])
    spread = np.ones_like(p)
    spread[~np.isnan(p)] = weight
    q = multiplicity.q_values(p, spread)
    ids = np.concatenate([t.ids for t in verdicts.tested])
    return {str(i) for i in ids[~np.isnan(q) & (q <= level)]}


def test_closures_before_the_deadline_that_come_back_are_found() -> None:
    data = dataset(centre(1, gaming={3: 0.6, 7: 0.6}))
    verdicts, _, _ = run(data)
    assert flagged(verdicts) == {"A0003", "A0007"}
