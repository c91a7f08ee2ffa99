"""What turns a flagged row into something that a person can act on.

What a scan has no use for is not executed: see `kpiaudit/later.py`.
"""

from __future__ import annotations

from kpiaudit.later import on_first_use

__getattr__ = on_first_use(__name__)
