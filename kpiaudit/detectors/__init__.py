"""One gaming pattern a file; `base` is the contract, `catalogue` knows them all.

The private modules of a detector (how it counts, tests and words) are executed when
something in them is first used: listing rules, or a rule whose columns are absent,
does not pay for the statistics of the others.
"""

from __future__ import annotations

from kpiaudit.later import on_first_use

__getattr__ = on_first_use(__name__, "_")
