"""Texts to instants: which format a column is in, decided over the whole column."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import polars as pl

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

Order: TypeAlias = Literal["dmy", "mdy"]

_CLOCK = (
    r"(?P<gap>T|\s+|,\s*)(?P<h>\d{1,2}):\d{2}(?P<s>:\d{2}(?P<f>[.,]\d+)?)?"
    r"(?P<ampm>\s*[AaPp]\.?[Mm]\.?)?"
)
_ZONE = r"(?P<zone>\s*(?:Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?"
_YMD = r"\d{4}(?P<ymd>[-/.])\d{1,2}[-/.]\d{1,2}"
_DMY = r"\d{1,2}(?P<dmy>[-/.])\d{1,2}[-/.](?P<dyear>\d{4}|\d{2})"
_NAMED = (
    r"(?P<day>[A-Za-z]{3,9},?\s+)?\d{1,2}(?P<ngap>[-\s/])(?P<month>[A-Za-z]{3,9})"
    r"[-\s/](?P<nyear>\d{4}|\d{2})"
)
_LED = r"(?P<lmonth>[A-Za-z]{3,9})\s+\d{1,2}(?P<comma>,?)\s+\d{4}"
_BASIC = re.compile(r"\d{8}T(\d{6}|\d{4})(Z|[+-]\d{2}:?\d{2})?")
_MONTH = re.compile(r"\d{4}-\d{2}")
_TEXT = re.compile(rf"(?:{_YMD}|{_DMY}|{_NAMED}|{_LED})(?:{_CLOCK}{_ZONE})?")
_DIGITS = re.compile(r"-?\d+(?:[.,]\d+)?(?:[eE]\+?\d+)?")

_ORDERED = r"^\s*(\d{1,2})[-/.](\d{1,2})[-/.]\d{2,4}\b"
_SLASHED = r"^\s*(\d{1,2})[-/](\d{1,2})[-/]\d{2,4}\b"
_OFFSET = r"(:\d{2}(?:[.,]\d+)?|T\d{4,6})\s*(Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)\s*$"
_PLACEHOLDER = (
    r"^\s*(0000-00-00|0001-01-01|1900-01-01|9999-12-31|1970-01-01[T ]00:00:00"
    r"|31[./-]12[./-]9999|12[./-]31[./-]9999|01[./-]01[./-](0001|1900)|0(\.0+)?\s*$)"
)

_ZONED_FORMAT = re.compile(r"%#?:?z|[^%]Z$")

FIRST_MS = 0
LAST_MS = 4_102_444_800_000  # 2100-01-01: later dates mean "never"


@frozen
class Shape:
    """How a cell is written.

    Args:
        format: strptime format, with `{order}` where day and month stand in an order
            that has to be decided; empty for a number.
        zoned: Whether an offset follows.
        comma: Whether the fraction of a second follows a comma.
        dotted: Whether a.m. and p.m. have dots or stand close.
    """

    format: str
    zoned: bool = False
    comma: bool = False
    dotted: bool = False


@dataclass(kw_only=True)
class InstantPlan:
    """How a column of instants is to be read; `shapes` grows with what is met.

    Args:
        timezone: Zone of cells without an offset.
        order: Whether day or month comes first, where that matters.
        formats: Formats that the mapping names; nothing else is tried then.
        unit: Unit that the mapping names, for numbers.
        shapes: Shapes met up to now.
    """

    timezone: str
    order: Order | None = None
    formats: tuple[str, ...] = ()
    unit: str | None = None
    shapes: list[Shape] = field(default_factory=list)


def shape_of(text: str) -> Shape | None:
    """Return how a text is written, or None if it is no instant.

    >>> shape_of("2026-03-02T10:00:00Z").format
    '%Y-%m-%dT%H:%M:%S'
    >>> shape_of("02/03/26 1:04 PM").format
    '{order}/%y %I:%M %p'
    """
    text = text.strip()
    if _DIGITS.fullmatch(text):
        return Shape(format="")
    if match := _BASIC.fullmatch(text):
        seconds = "%S" if len(match[1]) == 6 else ""
        return Shape(format=f"%Y%m%dT%H%M{seconds}", zoned=bool(match[2]))
    if _MONTH.fullmatch(text):
        return Shape(format="%Y-%m")
    match = _TEXT.fullmatch(text)
    if not match:
        return None
    part = match.groupdict()
    date = _date_format(part)
    if part["h"] is None:
        return Shape(format=date)
    gap = "T" if part["gap"] == "T" else ("," if "," in part["gap"] else "") + " "
    seconds = (":%S" if part["s"] else "") + ("%.f" if part["f"] else "")
    hour = "%I" if part["ampm"] else "%H"
    return Shape(
        format=f"{date}{gap}{hour}:%M{seconds}{' %p' if part['ampm'] else ''}",
        zoned=bool(part["zone"]),
        comma=bool(part["f"] and part["f"].startswith(",")),
        dotted=bool(
            part["ampm"] and ("." in part["ampm"] or not part["ampm"][0].isspace())
        ),
    )


def sampled(cells: pl.Series, *, step: int = 200) -> list[Shape]:
    """Return how some of a column's texts are written, each way once.

    Args:
        cells: Texts without nulls.
        step: How many are looked at, spread over the column.
    """
    some = cells.gather_every(max(len(cells) // step, 1))
    return list(dict.fromkeys(filter(None, map(shape_of, some.to_list()))))


def _date_format(part: dict[str, str | None]) -> str:
    if part["ymd"]:
        return "%Y{0}%m{0}%d".format(part["ymd"])
    if part["dmy"]:
        year = "%Y" if len(part["dyear"] or "") == 4 else "%y"
        mark = part["dmy"]
        # With dots the day comes first everywhere; only slashes and dashes differ.
        return f"%d.%m.{year}" if mark == "." else f"{{order}}{mark}{year}"
    if part["month"]:
        gap = " " if (part["ngap"] or "").isspace() else part["ngap"]
        month = "%b" if len(part["month"]) == 3 else "%B"
        year = "%Y" if len(part["nyear"] or "") == 4 else "%y"
        # The weekday is taken off before the cell is read: names of days differ.
        return f"%d{gap}{month}{gap}{year}"
    month = "%b" if len(part["lmonth"] or "") == 3 else "%B"
    return f"{month} %d{part['comma'] or ''} %Y"


def order_facts(text: pl.Expr) -> dict[str, pl.Expr]:
    """Count what says whether the day or the month comes first in a column.

    Returns:
        Counts: `ordered` cells, cells whose `first` or `second` number exceeds 12,
        and cells with two `different` numbers of at most 12.
    """
    ordered = text.str.contains(_SLASHED)
    first = text.str.extract(_SLASHED, 1).cast(pl.Int32, strict=False)
    second = text.str.extract(_SLASHED, 2).cast(pl.Int32, strict=False)
    return {
        "ordered": ordered.sum(),
        "first": (first > 12).sum(),
        "second": (second > 12).sum(),
        "different": ((first != second) & (first <= 12) & (second <= 12)).sum(),
    }


def has_order(text: pl.Series) -> bool:
    """Say whether any cell is written with slashes or dashes and the year last."""
    # Where every cell begins with four digits none is: no pattern has to be tried.
    years = text.str.head(4).cast(pl.UInt16, strict=False)
    if years.null_count() == text.null_count():
        return False
    return bool(text.str.contains(_SLASHED).any())


def decide_order(facts: Iterable[dict[str, int]]) -> Order | None:
    """Decide whether the day or the month comes first.

    One cell in a hundred may contradict the others: it counts as unreadable then.

    Returns:
        The order; None if nothing says so, or both are said.
    """
    facts = list(facts)
    first = sum(f["first"] for f in facts)
    second = sum(f["second"] for f in facts)
    if first > 100 * second or (first and not second):
        return "dmy"
    if second > 100 * first or (second and not first):
        return "mdy"
    same = not any(f["different"] for f in facts)
    return "dmy" if same and not first and not second else None


def placeholder(text: pl.Expr) -> pl.Expr:
    """Return whether a cell holds a date that stands for "never" or "not set"."""
    return text.str.contains(_PLACEHOLDER)


def instants(text: pl.Expr, plan: InstantPlan) -> pl.Expr:
    """Read stripped texts as instants by the plan's formats and shapes.

    Returns:
        Int64 milliseconds since 1970; null where no shape fits, the hour does not
        exist in the zone, or the year is not in 1970 to 2099.
    """
    if plan.unit:
        found = _numbers(text, plan)
    elif plan.formats:
        zoned = [
            f
            for f in plan.formats
            if "%z" in f or f.endswith(("dZ", "SZ", "fZ", "MZ", "TZ"))
        ]
        plain = [f for f in plan.formats if f not in zoned]
        each = [_local(text, f, plan.timezone) for f in plain]
        each += [_offset_format(text, f) for f in zoned]
        found = pl.coalesce(each)
    elif plan.shapes:
        # A year of two figures passes for the year 26: each shape is bounded alone.
        return pl.coalesce([sane(by_shape(text, s, plan)) for s in plan.shapes])
    else:
        return _nothing(text)
    return sane(found)


def skipped_hour(text: str, plan: InstantPlan) -> bool:
    """Say whether what can't be read is a time that the zone's clocks skip."""
    if plan.timezone == "UTC":
        return False
    frame = pl.DataFrame({"text": [text]}, schema={"text": pl.String})
    read = instants(pl.col("text"), replace(plan, timezone="UTC"))
    return frame.select(read.alias("at"))["at"].null_count() == 0


def _nothing(text: pl.Expr) -> pl.Expr:
    """Return nulls, as many as there are texts: a bare literal would be one."""
    return pl.when(text.is_null() & text.is_not_null()).then(pl.lit(0, dtype=pl.Int64))


def sane(found: pl.Expr) -> pl.Expr:
    """Empty instants outside 1970 to 2099: other years are slips or placeholders."""
    return pl.when(found.is_between(FIRST_MS + 1, LAST_MS - 1)).then(found)


def may_be_utc(shape: Shape) -> bool:
    """Say whether cells of a shape may end in Z, with nothing else to take off."""
    plain = not (shape.comma or shape.dotted or "{order}" in shape.format)
    return shape.zoned and plain and shape.format.startswith("%Y")


def ends_in_z(cells: pl.Series) -> bool:
    """Say whether any of the first cells ends in Z."""
    return any(text.endswith("Z") for text in cells.head(100).drop_nulls().to_list())


def in_utc(text: pl.Expr, shape: Shape) -> pl.Expr:
    """Read the texts of such a shape that end in Z; the others become null."""
    return _epoch(text, f"{shape.format}Z")


def by_shape(text: pl.Expr, shape: Shape, plan: InstantPlan) -> pl.Expr:
    """Read texts of one shape as instants, whatever the year."""
    if not shape.format:
        return _numbers(text, plan)
    if "{order}" in shape.format and plan.order is None:
        return _nothing(text)
    mark = "/" if "/" in shape.format else "-"
    order = f"%d{mark}%m" if plan.order == "dmy" else f"%m{mark}%d"
    form = shape.format.replace("{order}", order)
    if form.startswith(("%d %b", "%d %B")):
        text = text.str.replace(r"^\s*[A-Za-z]{3,9},?\s+", "")
    if shape.dotted:
        text = text.str.replace(r"(?i)\s*([ap])\.?m\.?", " ${1}m")
    if shape.comma:
        text = text.str.replace(r"(:\d{2}),(\d)", "${1}.${2}")
    if form == "%Y-%m":
        text, form = text + "-01", "%Y-%m-%d"
    if not shape.zoned:
        return _local(text, form, plan.timezone)
    naive = text.str.replace(_OFFSET, "${1}").str.strip_chars()
    return _epoch(naive, form) - _offset_ms(text.str.extract(_OFFSET, 2))


def _local(text: pl.Expr, form: str, timezone: str) -> pl.Expr:
    if not any(code in form for code in ("%H", "%I", "%T", "%R", "%s", "%c")):
        naive = text.str.to_date(form, strict=False, cache=False).cast(
            pl.Datetime("ms")
        )
    else:
        naive = text.str.to_datetime(form, strict=False, time_unit="ms", cache=False)
    return localise(naive, timezone)


def localise(naive: pl.Expr, timezone: str) -> pl.Expr:
    """Turn naive datetimes into epoch milliseconds.

    An hour that happens twice is taken as its first; one that does not is null.
    """
    if timezone == "UTC":
        return naive.dt.epoch("ms")
    zoned = naive.dt.replace_time_zone(
        timezone, ambiguous="earliest", non_existent="null"
    )
    return zoned.dt.epoch("ms")


def _epoch(text: pl.Expr, form: str) -> pl.Expr:
    found = text.str.to_datetime(form, strict=False, time_unit="ms", cache=False)
    return found.dt.epoch("ms")


def _offset_format(text: pl.Expr, form: str) -> pl.Expr:
    if form.endswith("Z"):
        return _epoch(text, form)
    return text.str.to_datetime(
        form, strict=False, time_unit="ms", time_zone="UTC", cache=False
    ).dt.epoch("ms")


def _offset_ms(zone: pl.Expr) -> pl.Expr:
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    hours = zone.str.extract(r"^[+-](\d{2})", 1).cast(pl.Int64)
    minutes = zone.str.extract(r"^[+-]\d{2}:?(\d{2})$", 1).cast(pl.Int64)
    size = (hours.fill_null(0) * 60 + minutes.fill_null(0)) * 60_000
    return pl.when(zone.is_not_null()).then(sign * size)


def _numbers(text: pl.Expr, plan: InstantPlan) -> pl.Expr:
    value = text.str.replace(",", ".", literal=True)
    number = value.cast(pl.Float64, strict=False)
    return numeric_instants(number, plan, text=value)


def numeric_instants(
    number: pl.Expr, plan: InstantPlan, text: pl.Expr | None = None
) -> pl.Expr:
    """Read numbers as instants: epoch in four units, Excel serials, yyyymmdd...

    Args:
        number: Float64.
        plan: Its unit, if the mapping names one; otherwise the size decides.
        text: The same as digits.
    """
    scale = {"epoch_s": 1e3, "epoch_ms": 1.0, "epoch_us": 1e-3}
    if plan.unit in scale:
        return _rounded(number * scale[plan.unit])
    days = (number - 25_569) * 86_400_000
    serial = localise(_rounded(days).cast(pl.Datetime("ms")), plan.timezone)
    if plan.unit == "excel":
        return serial
    digits = (
        number.cast(pl.Int64, strict=False).cast(pl.String) if text is None else text
    )
    return (
        pl.when(number.is_between(20_000, 80_000))
        .then(serial)
        .when(number.is_between(5e8, 5e9))
        .then(_rounded(number * 1e3))
        .when(number.is_between(5e11, 5e12))
        .then(_rounded(number))
        .when(number.is_between(5e14, 5e15))
        .then(_rounded(number / 1e3))
        .when(number.is_between(5e17, 5e18))
        .then(_rounded(number / 1e6))
        .when(number.is_between(19_700_101, 20_991_231))
        .then(_local(digits, "%Y%m%d", plan.timezone))
        .when(number.is_between(197_001_010_000, 209_912_312_359))
        .then(_local(digits, "%Y%m%d%H%M", plan.timezone))
        .when(number.is_between(19_700_101_000_000, 20_991_231_235_959))
        .then(_local(digits, "%Y%m%d%H%M%S", plan.timezone))
    )


def _rounded(number: pl.Expr) -> pl.Expr:
    return number.round().cast(pl.Int64, strict=False)
