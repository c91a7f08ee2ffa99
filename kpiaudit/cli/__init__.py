"""The click commands, one file a command, loaded by name."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from kpiaudit.cli.run import run

        run()
    except KeyboardInterrupt:  # while it was being loaded
        sys.stderr.write("kpiaudit: interrupted\n")
        sys.exit(130)
