"""Planting withheld invitations and coached answers into counts of surveys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors._plant import Rows, part, taken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kpiaudit.detectors.base import Summaries, Summary
    from kpiaudit.stats.outcome import IntArray


def survey_selection(
    summaries: Summaries,
    agents: Mapping[str, float],
    seed: int,
    *,
    signs: Sequence[str],
) -> Summaries:
    """Withhold a share of the invitations that contacts with trouble would get.

    Signs overlap in a way that counts don't tell: the commonest one among the invited
    contacts of a row stands for all trouble.
    """
    rows = Rows.of(summaries["cells"], agents, np.random.default_rng([seed, 3]))
    most = np.zeros(len(rows.at), dtype=np.int64)
    for sign in signs:
        gone = rows.gamed(rows[f"{sign}_invited"])
        rows.add(f"{sign}_invited", -gone)
        most = np.maximum(most, gone)
    rows.add("invited", -np.minimum(most, rows["invited"]))
    return {**summaries, "cells": rows.done()}


def perfect_scores(
    summaries: Summaries, agents: Mapping[str, float], seed: int
) -> Summaries:
    """Have a share of an agent's respondents give the top score, at once."""
    rng = np.random.default_rng([seed, 4])
    out = dict(summaries)
    for name in ("counts", "days"):
        if name in summaries:
            out[name] = _coached(Rows.of(summaries[name], agents, rng))
    return out


def _coached(rows: Rows) -> Summary:
    """Move answers to the top score and mark them as fast, or as from one device."""
    top, others = rows["top"], rows["answers"] - rows["top"]
    lower, upper = rows.gamed(others), rows.gamed(top)
    _signs(rows, lower, upper)
    trouble = rows["troubled"] - rows["troubled_top"]
    rows.add("top", lower)
    low = rows["asked"] - rows["known_top"]
    known = np.minimum(lower, low)
    rows.add("known_top", known)
    rows.add("troubled_top", taken(rows, known, trouble, low))
    if rows.has("milli", "top_milli"):
        best = rows.summary.ints("top_milli").sum() / max(
            rows.summary.ints("top").sum(), 1
        )
        mean = (rows["milli"] - rows["top_milli"]) / np.maximum(others, 1)
        gain = np.round(np.maximum(best - mean, 0) * lower).astype(np.int64)
        rows.add("milli", gain)
        rows.add("top_milli", np.round(best * lower).astype(np.int64))
    return rows.done()


def _signs(rows: Rows, lower: IntArray, upper: IntArray) -> None:
    """Let coached answers show one sign: fast if times are known, else the device."""
    top, others = rows["top"], rows["answers"] - rows["top"]
    timed = rows.has("timed_top") and rows.summary.ints("timed_top").sum() > 0
    columns = {
        "timed": ("timed_top", "timed_other"),
        "placed": ("placed_top", ""),
        "followed": ("followed_top", "followed_other"),
    }
    came: dict[str, IntArray] = {}
    for name, (high, low) in columns.items():
        known = (
            part(rows[low], others) if low and rows.has(low) else part(rows[high], top)
        )
        came[name] = rows.drawn(lower, known)
        rows.add(high, came[name])
        if low:
            rows.add(low, -np.minimum(came[name], rows[low]))
    sign, base, known_top = (
        ("fast_top", "timed", "timed_top") if timed else ("owned_top", "placed", "")
    )
    already = part(rows[sign], np.maximum(top, 1))
    raised = rows.drawn(
        rows.drawn(upper, part(rows[known_top], top) if known_top else 1.0),
        1.0 - already,
    )
    new = came[base] + np.minimum(raised, rows[f"{base}_top"] - came[base] - rows[sign])
    rows.add(sign, np.maximum(new, 0))
    if timed and rows.has("fast_other"):
        rows.add("fast_other", -rows.drawn(lower, part(rows["fast_other"], others)))
    new = np.maximum(new, 0)
    _mark(rows, ("signed", "signed_top"), new, lower)
    # Coached answers are fast ones where times are known; a rare sign stays with them.
    _mark(rows, ("rare", "rare_top"), 0 * new if timed else new, lower)


def _mark(rows: Rows, names: tuple[str, str], new: IntArray, lower: IntArray) -> None:
    """Let top scores bear a mark: new ones, and what coached answers had before."""
    marked, high = names
    if not rows.has(marked, high):
        return
    # Tops grow by the coached answers after this.
    top, others = rows["top"], rows["answers"] - rows["top"]
    had = taken(rows, lower, rows[marked] - rows[high], others)
    more = np.minimum(np.maximum(new, had), top + lower - rows[high])
    rows.add(high, more)
    rows.add(marked, more - had)
