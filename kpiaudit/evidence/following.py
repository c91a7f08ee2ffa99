"""What happened after flagged records, counted lazily in the other tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

from kpiaudit.detectors.sources import ENDS, MYSTERY, OTHERS, SOURCES
from kpiaudit.evidence.runs import limited
from kpiaudit.tables.contacts import CONTACT
from kpiaudit.tables.dataset import ROW
from kpiaudit.tables.neighbours import numbered
from kpiaudit.tables.order import marks
from kpiaudit.tables.sharing import settled
from kpiaudit.tables.windows import Along, upcoming

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kpiaudit.detectors.sources import Source
    from kpiaudit.evidence.runs import Run
    from kpiaudit.tables.dataset import Dataset, Frame

KEYS = ("agent_id", "queue", "hour", "control")
"""What the counts are told apart by; `control` is 1 for the detector's control rows."""

LOW_SCORE = 0.6
"""A score of this share of the highest one, or less, is low: 3 of 5, 6 of 10."""

_POOR = "poor shop"


def usable(run: Run, data: Dataset) -> tuple[tuple[Source, ...], tuple[str, ...]]:
    """Return the sources that can be asked about a rule, and what others lack.

    Args:
        run: The rule with findings.
        data: All tables.

    Returns:
        Sources; and what is missing for those that can't be asked.
    """
    detector = run.rule.detector
    table = detector.table
    out: list[Source] = []
    lacking: dict[str, list[str]] = {}
    timed = any(run.data.has(f"{table}.{c}") for c in ENDS.get(table, ()))
    for source in (*SOURCES, MYSTERY):
        if source.id in detector.alternative.selected_on:
            continue
        if source.table == table and source.id in {"reopened", "survey"}:
            continue
        missing = data.missing(source.needs)
        joins = [c for c in source.joins if run.data.has(f"{table}.{c}")]
        if source.id == "survey":
            joins = [c for c in joins if data.has(f"surveys.{c}")]
        absent = source.table if not data.has(source.table) else ""
        if absent or missing:
            what = f"table {absent}" if absent else ", ".join(missing)
            lacking.setdefault(what, []).append(source.word)
        elif not joins or (source.window_ms and not timed):
            need = f"{table}.{source.joins[0]}" if not joins else f"an end of {table}"
            lacking.setdefault(need, []).append(source.word)
        elif data.origin(source.written) not in {*OTHERS, "customer"}:
            who = data.origin(source.written)
            what = f"a {source.written} not written by: {who}"
            lacking.setdefault(what, []).append(source.word)
        else:
            out.append(source)
    said = (
        f"{what} (for: {', '.join(dict.fromkeys(words))})"
        for what, words in lacking.items()
    )
    return tuple(out), tuple(said)


def counts(run: Run, data: Dataset, sources: Iterable[Source]) -> Mapping[str, Frame]:
    """Count, per agent, queue and hour, the flagged records and what followed them.

    Args:
        run: The rule; its detector's `records` of the floor are everybody's.
        data: All tables, not limited to the rule's `where`.
        sources: Those to ask.

    Returns:
        Lazy summaries by name, each with `KEYS` and, per source, `n_<key>` (records
        that it can answer about) and `k_<key>` (records that were followed by it).
    """
    mine = limited(run.rule, data)
    asked = tuple(sources)
    parts = _marked(run, mine, asked)
    if not parts:
        return {}
    marked = _stacked(parts)
    timed = [s for s in asked if s.window_ms]
    out = {}
    if timed:
        told = run.rule.detector.table == "calls" and mine.has(f"calls.{CONTACT}")
        out["followed"] = (
            _told(parts, data, timed) if told else _followed(marked, data, timed)
        )
    for source in asked:
        if source.id == "survey":
            out["survey"] = _surveyed(marked, run, data, source)
        elif source.id == "reopened":
            out["reopened"] = _reopened(marked, data, source)
    return out


def _ends(run: Run) -> Any | None:
    """Return the instant at which a record was over, in milliseconds."""
    table = run.rule.detector.table
    there = []
    for name in ENDS.get(table, ()):
        if not run.data.has(f"{table}.{name}"):
            continue
        instant = nw.col(name)
        if name == "at_ms" and run.data.has("calls.talk_s") and table == "calls":
            talk = (nw.col("talk_s").fill_null(0.0) * 1000).cast(nw.Int64)
            instant = instant + talk
        there.append(instant)
    return nw.coalesce(*there) if there else None


def _marked(run: Run, data: Dataset, asked: Iterable[Source]) -> list[Frame]:
    """Return the flagged records, and those to hold them against, apart.

    They are few, and are computed here: several counts are made of them.
    """
    detector, table = run.rule.detector, run.rule.detector.table
    if not run.data.has(f"{table}.agent_id"):
        return []
    frames = detector.records(data, ("floor", "all"), run.found)
    labels = ["flagged", *(["control"] if detector.alternative.control else [])]
    joined = {c for source in asked for c in source.joins}
    wanted: list[str] = [
        c
        for c in ("customer_id", "call_id", "ticket_id", "order_id")
        if run.data.has(f"{table}.{c}") and c in joined
    ]
    if table == "calls" and data.has(f"calls.{CONTACT}"):
        wanted.append(CONTACT)
    order = data.orders.get(table)
    if order is not None and numbered(frames["flagged"]):
        wanted.append(ROW)
    queue = run.data.has(f"{table}.queue")
    hour = run.data.has(f"{table}.hour")
    end = _ends(run)
    none = nw.lit(None).cast(nw.Int64)
    parts = {
        label: frames[label].select(
            nw.col("agent_id").fill_null(""),
            *wanted,
            queue=nw.col("queue").fill_null("") if queue else nw.lit(""),
            hour=(nw.col("hour") if hour else nw.lit(0)).cast(nw.Int64),
            control=nw.lit(int(label == "control")).cast(nw.Int64),
            end_ms=none if end is None else end.cast(nw.Int64),
        )
        for label in labels
    }
    # What both are picked from says so itself, where it is worth sharing.
    height = data.rows.get(table, 0)
    found = settled(parts, rows=height, small=data.small, alike=False)
    if order is not None and ROW in wanted:
        rows = found["flagged"].select(ROW).to_native().collect()[ROW]
        run.flagged = marks(order, rows.to_numpy())
    return list(found.values())


def _stacked(parts: list[Frame]) -> Frame:
    return parts[0] if len(parts) == 1 else nw.concat(parts, how="vertical")


def _flag(condition: Any) -> Any:
    return nw.when(condition).then(nw.lit(1)).otherwise(nw.lit(0)).cast(nw.Int64)


def _followed(marked: Frame, data: Dataset, sources: Iterable[Source]) -> Frame:
    """Count records by what followed them."""
    return _summed(*_windows(_lasting(marked), data, tuple(sources)))


def _lasting(marked: Frame) -> Frame:
    return marked.filter(~nw.col("customer_id").is_null() & ~nw.col("end_ms").is_null())


def _told(parts: list[Frame], data: Dataset, sources: Iterable[Source]) -> Frame:
    """Count records by what followed them, where each call's next contact is known.

    The calls were sorted by customer then, and only the few customers with any other
    event are left to be looked at.
    """
    asked = tuple(sources)
    contacts = [s for s in asked if s.id == "contact"]
    others = [s for s in asked if s.id != "contact"]
    flags: dict[str, Any] = {}
    for source in asked:
        if source is MYSTERY:
            continue
        known = nw.col("end_ms") + source.window_ms <= _last(data, source)
        flags[f"n_{source.key}"] = _flag(known)
        if source in contacts:
            soon = nw.col(CONTACT) <= source.window_ms
            flags[f"k_{source.key}"] = _flag(known & soon)
    # Each part has its own `control`, so that no sum lies in two of them. One frame of
    # both would make polars keep the second part's rows until the first is read.
    whole = _stacked([_summed(_lasting(part), flags) for part in parts])
    if not others:
        return whole.sort(*KEYS)
    events = _events(data, {s.id for s in others})
    met = nw.concat([e.select("customer_id") for e in events], how="vertical").unique()
    few = _lasting(_stacked(parts)).join(met, on="customer_id", how="semi")
    frame, more = _windows(few, data, others)
    more = {name: flag for name, flag in more.items() if name not in flags}
    return (
        whole.join(_summed(frame, more), on=list(KEYS), how="left")
        .with_columns(nw.col(name).fill_null(0) for name in more)
        .sort(*KEYS)
    )


def _windows(
    base: Frame, data: Dataset, asked: Iterable[Source]
) -> tuple[Frame, dict[str, Any]]:
    """Look for the same customer's next event of each kind, in one pass."""
    base = base.select(
        "customer_id",
        *KEYS,
        at=nw.col("end_ms"),
        role=nw.lit(1).cast(nw.Int64),
        kind=nw.lit(""),
    )
    kinds = sorted({s.id for s in asked})
    columns = {kind: f"at_{kind}" for kind in kinds}
    if MYSTERY.id in kinds:
        columns[_POOR] = "at_poor"
    who = base.select("customer_id").unique()
    events = [
        part.join(who, on="customer_id", how="semi").select(
            "customer_id",
            agent_id=nw.lit(""),
            queue=nw.lit(""),
            hour=nw.lit(0).cast(nw.Int64),
            control=nw.lit(0).cast(nw.Int64),
            at=nw.col("at").cast(nw.Int64),
            role=nw.lit(0).cast(nw.Int64),
            kind=nw.col("kind"),
        )
        for part in _events(data, kinds)
    ]
    along = Along(per=("customer_id",), order=("at", "role"))
    wanted = {name: kind for kind, name in columns.items()}
    frame = nw.concat([base, *events], how="vertical")
    frame = upcoming(frame, along, "kind", wanted).filter(nw.col("role") == 1)
    flags: dict[str, Any] = {}
    for source in asked:
        known = nw.col("at") + source.window_ms <= _last(data, source)
        gap = nw.col(f"at_{source.id}") - nw.col("at")
        if source is MYSTERY:
            known = known & (gap <= source.window_ms)
            gap = nw.col("at_poor") - nw.col("at")
        flags[f"n_{source.key}"] = _flag(known)
        flags[f"k_{source.key}"] = _flag(known & (gap <= source.window_ms))
    return frame, flags


def _last(data: Dataset, source: Source) -> int:
    """Return the last instant up to which a table is complete."""
    span = data.period.get(source.table)
    return span[1] if span else -1


def _summed(frame: Frame, flags: Mapping[str, Any]) -> Frame:
    return (
        frame.with_columns(**flags)
        .group_by(*KEYS)
        .agg(**{name: nw.col(name).sum() for name in flags})
        .sort(*KEYS)
    )


def _events(data: Dataset, kinds: Iterable[str]) -> list[Frame]:
    """Return customer_id, at and kind of everything that can follow a record."""
    wanted = set(kinds)
    out = []
    if "contact" in wanted:
        calls = data.table("calls")
        if data.has("calls.direction"):
            way = nw.col("direction")
            calls = calls.filter(way.is_null() | (way != "outbound"))
        out.append(
            calls.filter(~nw.col("customer_id").is_null())
            # Legs of one call are one contact, and began when the first one did.
            .group_by("customer_id", "call_id")
            .agg(at=nw.col("at_ms").min())
            .select("customer_id", "at", kind=nw.lit("contact"))
        )
    if "ticket" in wanted:
        out.append(
            data.table("tickets").select(
                "customer_id", at=nw.col("opened_at"), kind=nw.lit("ticket")
            )
        )
    listed = sorted(wanted - {"contact", "ticket"})
    if listed:
        rows = data.table("outcomes").filter(nw.col("kind").is_in(listed))
        kind = nw.col("kind")
        if data.has("outcomes.agent_id"):
            # A refund that carries an agent's id was granted, and entered, by one.
            rows = rows.filter((kind != "refund") | nw.col("agent_id").is_null())
        out.append(rows.select("customer_id", "at", "kind"))
        if MYSTERY.id in listed:
            out.append(_poor_shops(rows))
    return [
        part.filter(~nw.col("customer_id").is_null() & ~nw.col("at").is_null())
        for part in out
    ]


def _poor_shops(outcomes: Frame) -> Frame:
    """Return the mystery shops below the average one."""
    shops = outcomes.filter((nw.col("kind") == MYSTERY.id) & ~nw.col("value").is_null())
    # Whole thousandths: a sum of floats depends on their order.
    milli = (nw.col("value") * 1000).round().cast(nw.Int64)
    shops = shops.with_columns(milli=milli, one=nw.lit(1).cast(nw.Int64))
    usual = shops.group_by("one").agg(total=nw.col("milli").sum(), shops=nw.len())
    return (
        shops.join(usual, on="one", how="inner")
        .filter(nw.col("milli") * nw.col("shops") < nw.col("total"))
        .select("customer_id", "at", kind=nw.lit(_POOR))
    )


def _surveyed(marked: Frame, run: Run, data: Dataset, source: Source) -> Frame:
    """Join scores that somebody other than the agent asked for."""
    table = run.rule.detector.table
    key = next(
        c
        for c in source.joins
        if run.data.has(f"{table}.{c}") and data.has(f"surveys.{c}")
    )
    low = nw.col("score") <= LOW_SCORE * nw.col("score_max")
    scores = (
        data.table("surveys")
        .filter(
            ~nw.col(key).is_null()
            & ~nw.col("score").is_null()
            & ~nw.col("score_max").is_null()
            & nw.col("administered_by").is_in(list(OTHERS))
        )
        .with_columns(low=_flag(low))
        .group_by(key)
        .agg(low=nw.col("low").max())
    )
    joined = marked.filter(~nw.col(key).is_null()).join(scores, on=key, how="inner")
    one = nw.lit(1).cast(nw.Int64)
    flags = {f"n_{source.key}": one, f"k_{source.key}": nw.col("low")}
    return _summed(joined, flags)


def _reopened(marked: Frame, data: Dataset, source: Source) -> Frame:
    """Join the tickets that the records belong to."""
    tickets = data.table("tickets").select(
        "ticket_id", again=_flag(~nw.col("reopened_at").is_null())
    )
    joined = marked.filter(~nw.col("ticket_id").is_null()).join(
        tickets, on="ticket_id", how="inner"
    )
    one = nw.lit(1).cast(nw.Int64)
    flags = {f"n_{source.key}": one, f"k_{source.key}": nw.col("again")}
    return _summed(joined, flags)
