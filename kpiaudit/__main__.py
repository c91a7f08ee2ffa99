"""`python -m kpiaudit`, the same as the command `kpiaudit`."""

from __future__ import annotations

from kpiaudit.cli import main

if __name__ == "__main__":
    main()
