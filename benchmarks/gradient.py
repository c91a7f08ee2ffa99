"""What the question about the score adds to short-calls, and whom it blames.

Count level: 120 agents, 61 days from 1 March, a bonus on calls handled per month. Each
centre is tested twice, with the scheme known and without. Writes
docs/accuracy-gradient.md; `--centres N` sets how many honest centres of each kind.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from calibration import short_calls as usual
from calibration.run import flagged
from calibration.tally import Share, percent
from calibration.worlds import names, table, tilt

from kpiaudit.detectors._incentives import CELLS, Scheme
from kpiaudit.detectors.short_calls import ShortCalls
from kpiaudit.stats import multiplicity

ROOT = Path(__file__).resolve().parent.parent

AGENTS, DAYS, HOURS, FIRST = 120, 61, 9, 20_513  # 2026-03-01, a Sunday
MONTHS = (0, 31, 61)
HONEST = {
    "habits": "agents differ by sd 0.2, days by 0.3 (log-odds)",
    "wide habits": "agents differ by sd 0.4",
    "novices": "a sixth starts slow, with 2.7 times the short calls, and learns",
    "bad seats": "a fifth sits for three weeks where the line drops",
    "hard queues": "every second fortnight in a queue with five times as many",
    "drifting": "habits drift by sd 0.4 over the period",
    "month's end": "everybody has 1.6 times as many in the last week",
}
STRENGTHS = (0.02, 0.03, 0.04, 0.05)
BONUSES = (700.0, 900.0, 1050.0)
GAMERS, LEVEL, DAY_SD = 30, 0.05, 0.3
COLUMNS = (
    "found without",
    "found with it",
    "gradient alone",
    "wrong without",
    "wrong with it",
)
PAGE = ROOT / "docs" / "accuracy-gradient.md"
TEXT = """# Does the pattern follow the score?

Where a table says what is paid for, `short-calls` asks a further question: has the same
agent more short calls while the month's threshold is in reach than once it is met, safe
or lost? This page says whom that question blames and what it adds. It is written by
`python benchmarks/gradient.py --centres {centres} --planted {planted} --write`:
simulated counts of {agents} agents over two months, a bonus on calls handled per month,
error rate 5 % within the rule.

## Honest centres with any agent found

{centres} centres of each kind; in brackets the upper end of the one-sided 95 %
interval.

{honest}

## Gamers who follow the score

{gamers} of {agents} agents hang up on a share of their callers, but only while the
bonus is in reach; {planted} centres a line. "Wrong" is the mean share of honest agents
among the agents found. The question's weight and its share of the error rate were
chosen on centres of this kind, five of the same among them, so these figures flatter
a little; the honest centres above played no part in that.

{following}

## Gamers who do not

The same, whatever the score is: the price of the question.

{always}

## What it can't see

Team and site bonuses are not asked about. An agent for whom the threshold is in reach
all the time, or never, shows no gradient. Agents who game with an eye on something else
show none either: for them the rule's other questions stay what they are, at two thirds
of the error rate.
"""


@dataclass(frozen=True, kw_only=True)
class World:
    """One centre: counts for the detector, and who games."""

    summaries: dict
    found: dict
    gamer: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What does not depend on the score: pace, queues, habits.

    Args:
        pace: Calls per worked day, shape (agents,).
        speed: Multiplier of it, shape (agents, days); 0 where nobody works.
        mix: Share of the queues in odd and even fortnights.
        queues: Multiplier of short calls per queue.
        habit: Log-odds of short calls, shape (agents, days).
    """

    pace: np.ndarray
    speed: np.ndarray
    mix: tuple[np.ndarray, np.ndarray]
    queues: np.ndarray
    habit: np.ndarray


def floor(kind: str, rng: np.random.Generator) -> Floor:
    """Draw a floor with one innocent reason for short calls that come and go."""
    sd = 0.4 if kind == "wide habits" else 0.2
    shape, day = (AGENTS, DAYS), np.arange(DAYS)
    pace = 45.0 * np.exp(0.12 * rng.standard_normal(AGENTS))
    pace = np.where(rng.random(AGENTS) < 0.2, 0.6, 1.0) * pace
    queues, mix = usual.QUEUES, rng.dirichlet(np.full(3, 3.0), AGENTS)
    other, speed = mix, np.ones(shape)
    habit = sd * rng.standard_normal((AGENTS, 1)) + DAY_SD * rng.standard_normal(shape)
    if kind == "novices":
        new = (rng.random(AGENTS) < 1 / 6)[:, None] * np.exp(-day / 25.0)
        habit, speed = habit + new, 1 - 0.3 * new
    if kind == "bad seats":
        start = rng.integers(0, DAYS, AGENTS)[:, None]
        sits = (rng.random(AGENTS) < 0.2)[:, None] & (day >= start) & (day < start + 21)
        habit = habit + 1.2 * sits
    if kind == "hard queues":
        queues, other = np.array([0.7, 1.0, 5.0]), rng.dirichlet(np.ones(3), AGENTS)
    if kind == "drifting":
        slope = 2 * sd * rng.standard_normal((AGENTS, 1))
        habit = habit + slope * np.linspace(-0.5, 0.5, DAYS)
    if kind == "month's end":
        habit = habit + 0.5 * np.isin(day, np.r_[24:31, 54:61])
    works = ((day + 6) % 7 < 5) & (rng.random(shape) < 0.95)
    return Floor(
        pace=pace, speed=speed * works, mix=(mix, other), queues=queues, habit=habit
    )


def make(
    kind: str,
    seed: int,
    *,
    bonus: float = 900.0,
    gamers: int = 0,
    strength: float = 0.0,
    follow: bool = True,
) -> World:
    """Simulate a centre hour by hour; gamers may look at the score before each."""
    rng = np.random.default_rng([seed, len(kind), gamers])
    of = floor(kind, rng)
    gamer = np.zeros(AGENTS, dtype=bool)
    gamer[rng.choice(AGENTS, gamers, replace=False)] = True
    calls = np.zeros((AGENTS, 3, DAYS, HOURS), dtype=np.int64)
    natural, cut = np.zeros_like(calls), np.zeros_like(calls)
    score = np.zeros(AGENTS)
    for d in range(DAYS):
        score *= d not in MONTHS
        end = next(month for month in MONTHS if month > d)
        rate = tilt(usual.SHORT * of.queues[None, :], of.habit[:, d, None])
        today = of.pace * of.speed[:, d]
        for h in range(HOURS):
            n = rng.poisson((today / HOURS)[:, None] * of.mix[d // 14 % 2])
            left = of.pace * 0.68 * (end - 1 - d) + today * (1 - h / HOURS)
            missing = bonus - score
            near = (missing > 0) & (missing > 0.5 * left) & (missing < 1.5 * left)
            on = gamer & (near | (not follow))
            k = rng.binomial(n, rate)
            calls[:, :, d, h], natural[:, :, d, h] = n, k
            cut[:, :, d, h] = rng.binomial(n - k, strength * on[:, None])
            score += n.sum(axis=1)
    scheme = Scheme(
        kpi="calls_handled",
        kind="agent",
        subject="",
        threshold=bonus,
        above=True,
        period="month",
        first=FIRST,
        last=FIRST + DAYS,
    )
    return World(
        summaries=summaries(calls, natural, cut, rng),
        found={"schemes": (scheme,)},
        gamer=gamer,
    )


def summaries(
    calls: np.ndarray, natural: np.ndarray, cut: np.ndarray, rng: np.random.Generator
) -> dict:
    """Return what the detector's test reads."""
    ids = names(AGENTS)
    per_day, short, dumped = (each.sum(axis=3) for each in (calls, natural, cut))

    def share(base: float) -> np.ndarray:
        own = 0.2 * rng.standard_normal((AGENTS, 1))
        return tilt(base, own + DAY_SD * rng.standard_normal((AGENTS, DAYS)))[:, None]

    known, told = rng.binomial(short, usual.KNOWN), rng.binomial(dumped, usual.KNOWN)
    long_known = rng.binomial(per_day - short - dumped, usual.KNOWN)
    counts = {
        "calls": per_day,
        "short": short + dumped,
        "next": rng.binomial(per_day - short - dumped, share(usual.NEXT)),
        "short_known": known + told,
        "short_redialled": rng.binomial(known, share(usual.REDIAL))
        + rng.binomial(told, usual.REDIAL_CUT),
        "long_known": long_known,
        "long_redialled": rng.binomial(long_known, share(usual.REDIAL_LONG)),
    }
    queue = np.array(["Q0", "Q1", "Q2"], dtype=object)
    some = np.nonzero(calls)
    days = {name: each.sum(axis=1).ravel() for name, each in counts.items()}
    return {
        "counts": usual.counts_of(ids, counts),
        "days": table(
            agent_id=np.repeat(ids, DAYS),
            day=np.tile(FIRST + np.arange(DAYS), AGENTS),
            **days,
        ),
        "density": usual.density_of(ids, counts, rng),
        CELLS: table(
            agent_id=ids[some[0]],
            queue=queue[some[1]],
            day=FIRST + some[2],
            hour=8 + some[3],
            contacts=calls[some],
            seconds=300 * calls[some],
            trials=calls[some],
            events=(natural + cut)[some],
        ),
    }


def tried(world: World) -> dict[str, np.ndarray]:
    """Return who is found without the scheme, with it, and by the gradient alone."""
    out = {}
    for name, found in (("without", {}), ("with", world.found)):
        verdicts = ShortCalls().test(
            world.summaries, found, min_effect=usual.MIN_EFFECT
        )
        hits = flagged(verdicts)
        out[name] = next(
            hit
            for hit, tested in zip(hits, verdicts.tested, strict=True)
            if tested.kind == "agent"
        )
    extra = verdicts.tested[-1].outcome.extra
    p = extra["gradient_p"]
    q = multiplicity.q_values(p, np.ones_like(p))
    return out | {"gradient": np.nan_to_num(q, nan=1.0) <= LEVEL}


NAMES = ("without", "with", "gradient")


def honest(centres: int) -> str:
    """Return the table of honest centres with any finding about an agent."""
    lines = [
        "| what comes and goes | rule without | rule with it | by the gradient alone |",
        "|---|---|---|---|",
    ]
    total = dict.fromkeys(NAMES, 0)
    for kind, words in HONEST.items():
        hits = dict.fromkeys(NAMES, 0)
        for seed in range(centres):
            bonus = BONUSES[seed % len(BONUSES)]
            for name, hit in tried(make(kind, seed, bonus=bonus)).items():
                hits[name] += int(hit.any())
        for name in NAMES:
            total[name] += hits[name]
        shares = (str(Share(k=hits[name], n=centres)) for name in NAMES)
        lines.append(f"| {kind}: {words} | {' | '.join(shares)} |")
    shares = (str(Share(k=total[name], n=centres * len(HONEST))) for name in NAMES)
    lines.append(f"| all | {' | '.join(shares)} |")
    return "\n".join(lines)


def planted(centres: int, *, follow: bool) -> str:
    """Return the table of gamers found, and of wrong ones among the findings."""
    lines = [
        f"| bonus at | share hung up on | {' | '.join(COLUMNS)} |",
        "|---|---|---|---|---|---|---|",
    ]
    for bonus in BONUSES if follow else BONUSES[1:2]:
        for strength in STRENGTHS:
            right, wrong = ({name: [] for name in NAMES} for _ in range(2))
            for seed in range(centres):
                world = make(
                    "habits",
                    1000 + seed,
                    bonus=bonus,
                    gamers=GAMERS,
                    strength=strength,
                    follow=follow,
                )
                for name, hit in tried(world).items():
                    right[name].append((hit & world.gamer).sum() / GAMERS)
                    false = (hit & ~world.gamer).sum()
                    wrong[name].append(false / max(int(hit.sum()), 1))
            cells = [percent(float(np.mean(right[name]))) for name in NAMES]
            cells += [percent(float(np.mean(wrong[name]))) for name in NAMES[:2]]
            lines.append(
                f"| {bonus:.0f} | {100 * strength:g} % | {' | '.join(cells)} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--centres", type=int, default=50, help="honest ones per kind")
    parser.add_argument("--planted", type=int, default=8, help="centres per strength")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    args = parser.parse_args()
    start = time.process_time()
    page = TEXT.format(
        agents=AGENTS,
        gamers=GAMERS,
        centres=args.centres,
        planted=args.planted,
        honest=honest(args.centres),
        following=planted(args.planted, follow=True),
        always=planted(args.planted, follow=False),
    )
    print(page)
    print(f"{time.process_time() - start:.0f} s of CPU time")
    if args.write:
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
