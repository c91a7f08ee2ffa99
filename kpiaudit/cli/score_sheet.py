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
        f"flagged records: pattern heard in {score.flagged_heard} of {score.flagged}",
        f"control records: pattern heard in {score.control_heard} of {score.control}",
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


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: can't be read ({error}). Check the path.") from error
