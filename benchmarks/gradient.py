"""What the question about the score adds to two rules, and whom it blames.

Count level (gradient_calls.py, gradient_tickets.py): 120 agents; for short-calls 61
days from 1 March and a bonus on calls handled per month, for early-closure 122 days and
one on tickets closed or on the share in time. Each centre is tested twice, with the
scheme known and without. Writes docs/accuracy-gradient.md; `--centres N` sets how many
honest centres of each kind.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradient_calls as calls
import gradient_tickets as tickets
import numpy as np
from calibration.run import flagged
from calibration.tally import Share, percent

from kpiaudit.detectors.early_closure import EarlyClosure
from kpiaudit.detectors.short_calls import ShortCalls
from kpiaudit.stats import multiplicity

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpiaudit.detectors.base import Detector

ROOT = Path(__file__).resolve().parent.parent

GAMERS, LEVEL = 30, 0.05
COLUMNS = (
    "found without",
    "found with it",
    "gradient alone",
    "wrong without",
    "wrong with it",
)
PAGE = ROOT / "docs" / "accuracy-gradient.md"
TEXT = """# Does the pattern follow the score?

Where a table says what is paid for, `short-calls`, `duration-cap` and `early-closure`
ask a further question: does the same agent show more of the pattern while the period's
threshold is in reach than once it is met, safe or lost? This page says whom that
question blames and what it adds to two of them. It is written by
`python benchmarks/gradient.py --centres {centres} --planted {planted} --write`:
simulated counts of {agents} agents, error rate 5 % within the rule. In brackets is the
upper end of the one-sided 95 % interval. "Wrong" is the mean share of honest agents
among the agents found.

## short-calls

Two months, a bonus on calls handled per month.

### Honest centres with any agent found

{centres} centres of each kind.

{honest}

### Gamers who follow the score

{gamers} of {agents} agents hang up on a share of their callers, but only while the
bonus is in reach; {planted} centres a line. The question's weight and its share of the
error rate were chosen on centres of this kind, five of the same among them, so these
figures flatter a little; the honest centres above played no part in that.

{following}

### Gamers who do not

The same, whatever the score is: the price of the question.

{always}

## early-closure

Four months, 13 tickets an agent and working day, 73 % of them in time by themselves; a
bonus on tickets closed per month, or on the share resolved in time.

### Honest centres with any agent found

{centres} centres of each kind, the three bonuses in turn.

{ticket_honest}

### Gamers who follow the score

{gamers} of {agents} agents close a share of their late tickets just in time, half of
which come back, but only while the bonus is in reach; {planted} centres a line. The
score adds most where peers see a part of it only; by itself it sees little, since few
closures come back. The question's weight was chosen on other centres of this kind.

{ticket_following}

### Gamers who do not

The same, whatever the score is: the price of the question.

{ticket_always}

## What it can't see

Team and site bonuses are not asked about. An agent for whom the threshold is in reach
all the time, or never, shows no gradient. Agents who game with an eye on something else
show none either: for them the other questions of short-calls and duration-cap stay what
they are, at two thirds of the error rate, and a p-value of .01 of early-closure becomes
.018, one of .001 becomes .0023. Effort that follows the score and closes tickets just
in time, well done, is no gaming, and gives the first question of early-closure a clear
answer; how little that counts where many make an effort is in docs/accuracy.md.
"""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One rule on its centres.

    Args:
        make: Makes a centre, of a kind, with a seed.
        detector: The rule's.
        min_effect: Of the shipped rule.
        honest: Kinds of honest centres, with their words.
        bonuses: What is paid for.
        always: At which of them gamers are tried who don't look at the score.
        kinds: Kinds of centres with gamers.
        strengths: Of their gaming.
        doing: What a share of is gamed, in a heading.
    """

    make: Callable[..., Any]
    detector: Detector
    min_effect: float
    honest: dict[str, str]
    bonuses: tuple[Any, ...]
    always: Any
    kinds: tuple[str, ...] = ("habits",)
    strengths: tuple[float, ...]
    doing: str

    def tried(self, world: Any) -> dict[str, np.ndarray]:
        """Return who is found without the scheme, with it, and by it alone."""
        out = {}
        unpaid = {k: v for k, v in world.found.items() if k != "schemes"}
        for name, found in (("without", unpaid), ("with", world.found)):
            verdicts = self.detector.test(
                world.summaries, found, min_effect=self.min_effect
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


CALLS = Side(
    make=calls.make,
    detector=ShortCalls(),
    min_effect=calls.MIN_EFFECT,
    honest=calls.HONEST,
    bonuses=calls.BONUSES,
    always=900.0,
    strengths=calls.STRENGTHS,
    doing="hung up on",
)
TICKETS = Side(
    make=tickets.make,
    detector=EarlyClosure(),
    min_effect=tickets.MIN_EFFECT,
    honest=tickets.HONEST,
    bonuses=tickets.BONUSES,
    always=tickets.BONUSES[0],
    kinds=("habits", "wide habits"),
    strengths=tickets.STRENGTHS,
    doing="closed early",
)
NAMES = ("without", "with", "gradient")


def honest(side: Side, centres: int) -> str:
    """Return the table of honest centres with any finding about an agent."""
    lines = [
        "| what comes and goes | rule without | rule with it | by the gradient alone |",
        "|---|---|---|---|",
    ]
    total = dict.fromkeys(NAMES, 0)
    for kind, words in side.honest.items():
        hits = dict.fromkeys(NAMES, 0)
        for seed in range(centres):
            bonus = side.bonuses[seed % len(side.bonuses)]
            for name, hit in side.tried(side.make(kind, seed, bonus=bonus)).items():
                hits[name] += int(hit.any())
        shares = (str(Share(k=hits[name], n=centres)) for name in NAMES)
        lines.append(f"| {kind}: {words} | {' | '.join(shares)} |")
        for name in NAMES:
            total[name] += hits[name]
    number = centres * len(side.honest)
    shares = (str(Share(k=total[name], n=number)) for name in NAMES)
    lines.append(f"| all | {' | '.join(shares)} |")
    return "\n".join(lines)


def planted(side: Side, centres: int, *, follow: bool) -> str:
    """Return the table of gamers found, and of wrong ones among the findings."""
    lines = [
        f"| bonus at | share {side.doing} | {' | '.join(COLUMNS)} |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in side.kinds:
        for bonus in side.bonuses if follow else [side.always]:
            for strength in side.strengths:
                cells = _found(side, kind, bonus, strength, centres, follow=follow)
                named = bonus if isinstance(bonus, tuple) else (bonus,)
                first = " ".join(
                    f"{each:g}" if isinstance(each, float) else each.replace("_", " ")
                    for each in named
                )
                if len(side.kinds) > 1:
                    first += f", {kind}"
                lines.append(f"| {first} | {100 * strength:g} % | {cells} |")
    return "\n".join(lines)


def _found(
    side: Side, kind: str, bonus: Any, strength: float, centres: int, *, follow: bool
) -> str:
    right, wrong = ({name: [] for name in NAMES} for _ in range(2))
    for seed in range(centres):
        world = side.make(
            kind,
            1000 + seed,
            bonus=bonus,
            gamers=GAMERS,
            strength=strength,
            follow=follow,
        )
        for name, hit in side.tried(world).items():
            right[name].append((hit & world.gamer).sum() / GAMERS)
            false = (hit & ~world.gamer).sum()
            wrong[name].append(false / max(int(hit.sum()), 1))
    cells = [percent(float(np.mean(right[name]))) for name in NAMES]
    cells += [percent(float(np.mean(wrong[name]))) for name in NAMES[:2]]
    return " | ".join(cells)


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--centres", type=int, default=50, help="honest ones per kind")
    parser.add_argument("--planted", type=int, default=8, help="centres per strength")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    args = parser.parse_args()
    start = time.process_time()
    page = TEXT.format(
        agents=calls.AGENTS,
        gamers=GAMERS,
        centres=args.centres,
        planted=args.planted,
        honest=honest(CALLS, args.centres),
        following=planted(CALLS, args.planted, follow=True),
        always=planted(CALLS, args.planted, follow=False),
        ticket_honest=honest(TICKETS, args.centres),
        ticket_following=planted(TICKETS, args.planted, follow=True),
        ticket_always=planted(TICKETS, args.planted, follow=False),
    )
    print(page)
    print(f"{time.process_time() - start:.0f} s of CPU time")
    if args.write:
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
