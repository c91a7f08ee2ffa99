"""Settings of a simulated centre, and what comes out of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kpiaudit.errors import guess
from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

PATTERNS: dict[str, str] = {
    "duration-cap": (
        "Share `strength` of the calls that would run past the cap (talk and hold "
        "together) is ended within the last 15 s before it; `how`: hangup, transfer, "
        "hold or mixed. Hidden: the system or the customer seems to have ended it, a "
        "blind transfer is entered as a warm one, the contact as resolved."
    ),
    "short-calls": (
        "Share `strength` of the calls offered to the agent is ended within 1 to 9 s; "
        "with `falsify` above 0 it stops while somebody listens. Hidden: the system "
        "seems to have ended it."
    ),
    "survey-selection": (
        "Share `strength` of the invitations due after contacts with trouble is never "
        "sent. Hidden: no complaint is noted, the contact is resolved."
    ),
    "perfect-scores": (
        "Share `strength` of the respondents gives the top score one to two minutes "
        "after the call, on one device or against a discount; `how`: device, gift or "
        "mixed. Hidden: no complaint is noted, the contact is resolved."
    ),
    "premature-ready": (
        "Share `strength` of the orders that would be late is stamped just before the "
        "promise; `how`: ready, or delivered (then the centre promises delivery). "
        "Hidden: the handover is stamped early as well."
    ),
    "early-closure": (
        "Share `strength` of the tickets still unfinished at `due_at` is marked "
        "resolved up to 30 minutes before; `how`: reopen, new or mixed. Hidden: work "
        "goes on without reopening, or the new ticket has another category."
    ),
}
"""What a planted pattern does, by its id."""

HOW: dict[str, tuple[str, ...]] = {
    "duration-cap": ("mixed", "hangup", "transfer", "hold"),
    "short-calls": ("hangup",),
    "survey-selection": ("suppress",),
    "perfect-scores": ("mixed", "device", "gift"),
    "premature-ready": ("ready", "delivered"),
    "early-closure": ("mixed", "reopen", "new"),
}
"""Variants of a pattern; the first one is what an empty `how` means."""

LOOKALIKES: dict[str, str] = {
    "peak-below-cap": (
        "The last queue's calls naturally last a little less than the cap, and a tenth "
        "of the agents work mostly there."
    ),
    "rounding-6s": "The first site's switch rounds calls up to units of six seconds.",
    "rounding-60s": "Three per cent of all calls are rounded to whole minutes.",
    "part-timers": "A fifth of the agents work half the hours.",
    "dropped-lines": (
        "One seat of the first site drops every eighth call, whoever sits there."
    ),
    "short-queue": (
        "The last queue but one has naturally short calls, and a tenth of the agents "
        "work mostly there."
    ),
    "outage": "During one hour half of everybody's calls break off at once.",
    "silent-callers": (
        "Three customer numbers call again and again and say nothing; two agents get "
        "half of them."
    ),
    "auto-cut-1800": "The switch ends every call at 1,800 seconds.",
    "angry-callers": (
        "One honest agent receives most of the callers whose last call failed "
        "elsewhere."
    ),
    "novices": (
        "A sixth of the agents were hired weeks ago and do everything a little worse."
    ),
    "auto-cut-cap": "The switch ends every call at exactly the cap.",
    "scripted-close": (
        "A reminder 15 seconds before the cap makes some of everybody's calls end soon "
        "after it."
    ),
    "simpson-queues": (
        "The first queue has more trouble and, by a system rule, fewer invitations."
    ),
    "contact-cap": "Nobody is invited twice within 30 days; the log says so.",
    "channel-scores": (
        "Chats bring higher scores and more invitations than calls, and agents differ "
        "in how many they take."
    ),
    "excellent-agents": (
        "A tenth of the agents are better at everything: scores, trouble, repeats; "
        "their customers answer at normal times."
    ),
    "team-satisfaction": "Satisfaction is correlated within teams.",
    "unhappy-leave": (
        "Customers with trouble hang up before the survey, whoever the agent is; on "
        "unless switched off."
    ),
    "round-5min": "Some clerks round every stamp to five minutes, early or late.",
    "batch-scan": "Some clerks scan finished orders in batches.",
    "late-couriers": "In some hours couriers come late and take several orders.",
    "offline-device": "Some clerks' stamps reach the server much later.",
    "business-hours": "The clock of the service level runs in business hours only.",
    "auto-close": "The system closes tickets five days after they were resolved.",
    "thank-you": "A customer's thanks reopen a ticket, and nobody works on it.",
    "hard-tickets": "A tenth of the agents get the hard ones: late, and reopened.",
    "month-end-cleanup": "Everybody clears old tickets on the last day of a month.",
}
"""Innocent mechanisms that resemble a pattern: name and one sentence."""

DEFAULT_ON: frozenset[str] = frozenset({"unhappy-leave"})
"""Look-alikes that are on unless `no-<name>` stands among the look-alikes."""

SPREADS: tuple[str, ...] = (
    "normal",
    "heavy",
    "skewed",
    "novices",
    "teams",
    "drifting",
)
"""Shapes of the honest differences between agents."""

TABLES: tuple[str, ...] = (
    "calls",
    "surveys",
    "tickets",
    "ticket_events",
    "handovers",
    "outcomes",
    "agents",
    "incentives",
)
"""Tables that a simulated centre can have."""


@frozen
class Plant:
    """A pattern planted into some agents.

    Args:
        pattern: Id of the pattern, one of `PATTERNS`.
        agents: Share of the agents (a float, at least one agent if above 0), their
            number (an int), or their ids.
        strength: Share of the eligible contacts that are gamed, in [0, 1]; what is
            eligible stands in `PATTERNS`.
        falsify: Probability that the agent-entered fields of a gamed contact hide it.
        how: Variant, one of `HOW[pattern]`; empty for the first of them.
        follows_score: Only while the month's bonus on calls handled is in reach: not
            yet earned, and what is missing is half to one and a half times what the
            agent usually does in the days left. Only for `short-calls` and
            `duration-cap`, in a centre with `calls_bonus`; customers who ring again
            are left alone.
    """

    pattern: str
    agents: float | int | tuple[str, ...] = 0.05
    strength: float = 0.3
    falsify: float = 0.0
    how: str = ""
    follows_score: bool = False

    def __post_init__(self) -> None:
        """Refuse names and shares that mean nothing.

        Raises:
            ValueError: A name is unknown or a share is outside [0, 1].
        """
        _known("pattern", (self.pattern,), PATTERNS)
        if self.how:
            _known("variant", (self.how,), HOW[self.pattern])
        for name in ("strength", "falsify"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Plant.{name} must be between 0 and 1.")
        if self.follows_score and self.pattern not in ("short-calls", "duration-cap"):
            raise ValueError("Plant.follows_score is for short-calls or duration-cap.")
        if isinstance(self.agents, float) and not 0 <= self.agents <= 1:
            raise ValueError("Plant.agents as a float is a share between 0 and 1.")

    @property
    def variant(self) -> str:
        """The variant that is meant, never empty."""
        return self.how or HOW[self.pattern][0]


@frozen
class Centre:
    """A customer-service centre to simulate; every setting has a default.

    Args:
        seed: Seed of all random numbers, >= 0; equal settings give equal tables.
        agents: Number of agents, >= 2.
        teams: Number of teams, >= 1.
        sites: Number of sites, >= 1.
        queues: Number of queues, >= 1.
        days: Length in calendar days, >= 1.
        start: First day, ISO date.
        calls_per_day: Calls per agent and calendar day, rest days included, on
            average over full-time agents; at most 80.
        orders_per_day: Orders per agent and worked day, on average over full-time
            agents; above 0.
        spread: Shape of honest differences, one of `SPREADS`.
        spread_sd: Their standard deviation on the log-odds scale, for every honest
            propensity, drawn independently for each; >= 0.
        day_clustering: Day-to-day variance of an agent's short calls, in multiples of
            the binomial one, >= 1.
        lookalikes: Innocent mechanisms, keys of `LOOKALIKES`; `no-unhappy-leave`
            switches that one off.
        plants: Planted patterns; none for an honest centre.
        tables: Tables to make, out of `TABLES`.
        cap_s: Cap or bonus limit on a call's length, in seconds.
        calls_bonus: Calls handled per month from which a bonus is paid; 0 for none.
    """

    seed: int = 0
    agents: int = 40
    teams: int = 4
    sites: int = 2
    queues: int = 4
    days: int = 42
    start: str = "2026-03-02"
    calls_per_day: float = 45
    orders_per_day: float = 16
    spread: str = "normal"
    spread_sd: float = 0.2
    day_clustering: float = 1.5
    lookalikes: tuple[str, ...] = ()
    plants: tuple[Plant, ...] = ()
    tables: tuple[str, ...] = TABLES
    cap_s: float = 420
    calls_bonus: float = 0

    def __post_init__(self) -> None:
        """Refuse names and sizes that mean nothing.

        Raises:
            ValueError: A name is unknown or a number is outside its domain.
        """
        off = {f"no-{name}" for name in DEFAULT_ON}
        _known("look-alike", self.lookalikes, set(LOOKALIKES) | off)
        _known("spread", (self.spread,), SPREADS)
        _known("table", self.tables, TABLES)
        for name in ("teams", "sites", "queues", "days"):
            if getattr(self, name) < 1:
                raise ValueError(f"Centre.{name} must be at least 1.")
        if self.agents < 2:
            raise ValueError("Centre.agents must be at least 2.")
        if not 0 < self.calls_per_day <= 80:
            raise ValueError("Centre.calls_per_day must be above 0 and at most 80.")
        if self.orders_per_day <= 0:
            raise ValueError("Centre.orders_per_day must be above 0.")
        if self.spread_sd < 0 or self.day_clustering < 1 or self.cap_s < 60:
            raise ValueError(
                "Centre.spread_sd must be >= 0, day_clustering >= 1, cap_s >= 60."
            )
        if self.calls_bonus < 0:
            raise ValueError("Centre.calls_bonus must be 0 or above.")
        if not self.calls_bonus and any(p.follows_score for p in self.plants):
            raise ValueError("Plant.follows_score needs Centre.calls_bonus.")

    def has(self, lookalike: str) -> bool:
        """Say whether an innocent mechanism is switched on."""
        default = lookalike in DEFAULT_ON and f"no-{lookalike}" not in self.lookalikes
        return default or lookalike in self.lookalikes

    @property
    def epoch_s(self) -> int:
        """The first day's midnight, in seconds since 1970-01-01T00:00Z."""
        day = datetime.fromisoformat(self.start).replace(tzinfo=UTC)
        return int(day.timestamp())

    @property
    def weekday(self) -> int:
        """Weekday of the first day; 0 is Monday."""
        return datetime.fromisoformat(self.start).weekday()


@frozen
class Simulated:
    """Canonical tables of a simulated centre, and what was planted into them.

    Args:
        tables: Data frame per table, canonical headers; ids are text, instants
            Datetime in UTC, durations Float64 seconds.
        truth: For every pattern of `PATTERNS`: `agents` (ids), `events` (gamed
            records), `eligible` (records that could have been gamed), `records` (ids
            of the gamed ones), `by_agent` (gamed records per agent) and `kpi`
            (reported value and the value without the pattern, for the floor and per
            agent). Under `lookalikes`: what each innocent mechanism touched.
    """

    tables: dict[str, pl.DataFrame]
    truth: dict[str, dict[str, Any]]


def _known(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise a ValueError for the first name that is not known."""
    for name in names:
        if name not in known:
            raise ValueError(f"There is no {what} '{name}'.{guess(name, known)}")
