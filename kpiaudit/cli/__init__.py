"""The click commands, one file a command, loaded by name."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from kpiaudit.cli.run import run

    run()
