"""`kpiaudit score-sheet`: whether listening bore a finding out."""

from __future__ import annotations

from pathlib import Path

import click

from kpiaudit.cli.writing import write
from kpiaudit.errors import TableError


@click.command("score-sheet")
@click.argument("sheet", type=click.Path(dir_okay=False))
@click.option(
    "--key",
    metavar="FILE",
    type=click.Path(),
    help="The key that was written with the sheet.  [default: SHEET.key.csv]",
)
def command(sheet: str, key: str | None) -> None:
    """Compare what a listener heard with the findings.

    SHEET is a check sheet of `kpiaudit show FINDING_ID PATH --check-sheet N`, filled
    in. It holds flagged and other records, and the listener does not know which.
    """
    from kpiaudit.evidence.listening import score_sheet

    blind, answers = _read(sheet), _read(key or f"{sheet}.key.csv")
    score = score_sheet(blind, answers, where=sheet)
    lines = [
        _share("flagged", score.flagged_heard, score.flagged),
        _share("control", score.control_heard, score.control),
        f"without an answer: {score.unheard}",
    ]
    if score.p_value != score.p_value:
        lines.append("Not enough answers in one of the groups to say anything.")
    elif score.p_value <= 0.05:
        lines.append(
            "Listening bears the finding out: the pattern is more frequent in the "
            f"flagged records (exact test, p = {score.p_value:.2g})."
        )
    else:
        lines.append(
            "Listening does not bear the finding out: the pattern is not clearly more "
            f"frequent in the flagged records (exact test, p = {score.p_value:.2g})."
        )
    write("\n".join(lines) + "\n", None)


def _share(group: str, heard: int, listened: int) -> str:
    share = f" ({heard / listened:.0%})" if listened else ""
    return f"{group} records: pattern heard in {heard} of {listened}{share}"


def _read(path: str) -> str:
    try:
        raw = Path(path).read_bytes()
        if raw[:2] in {b"\xff\xfe", b"\xfe\xff"}:
            return raw.decode("utf-16")
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            # What Excel calls CSV is in the code page of Windows.
            return raw.decode("cp1252")
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: can't be read ({error}). Check the path.") from error
