"""The share on time without the orders that were stamped too early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.findings import Restated

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Row

_BY_WAITS = (
    "orders that waited long, beyond what is usual, were not there by the promise; "
    "early stamps that were not followed by a long wait are in the lower end only, "
    "which counts every order stamped just before the promise that waited long; the "
    "upper end counts only those that are beyond doubt more than usual"
)

_WIDER = 1.3
"""Peers who do the same raise the yardstick, and what peers' habits leave open of the
excess does not hold that: where four of 24 stamp nine late orders in ten, 6.6 % of 394
intervals missed so many early stamps (seeds 20150 to 20249), with 1.2 it were 4.3 %."""


def restated(row: Row) -> Restated | None:
    """Count orders in excess just before the promise as late.

    A long wait shows an early stamp only if the order was late by much: of stamps that
    come minutes too early, most are followed by no longer wait than the longest that
    others have. What an agent stamps just before the promise beyond peers, of as many
    orders that were still open, holds them all, and whoever hurries then as well. The
    value is that number, or the long waits in excess if they are more; these alone
    make the upper end, since haste does not make an order wait.
    """
    orders, met = row.value("orders"), row.value("met")
    near, long = row.value("near_known"), row.value("near_long")
    if orders <= 0.0 or near <= 0.0:
        return None
    value = float(np.clip(row.value("effect"), 0.0, near))
    least = float(np.clip(row.value("low"), 0.0, value))
    extra, how = row.outcome.extra, _BY_WAITS
    if "near_high" in extra and np.isfinite(row.value("near_high")):
        stamped, usual = row.value("near"), row.value("near_expected")
        beyond = stamped - usual
        value = float(np.clip(beyond, value, stamped))
        piled = beyond + _WIDER * max(row.value("near_high") - beyond, 0.0)
        most = float(np.clip(max(row.value("high"), piled), value, stamped))
        how = (
            f"the {value:.0f} orders stamped just before the promise beyond what peers "
            "stamp there were not ready; if the agent finished some of them by haste, "
            "it is more; the upper end counts only long waits that are beyond doubt "
            "more than peers'"
        )
    else:
        most = near * _upper_share(long, near)
    return Restated(
        kpi="on_time",
        reported=met / orders,
        restated=(met - value) / orders,
        low=max(met - max(most, value), 0.0) / orders,
        high=(met - least) / orders,
        unit="share",
        assumption=how,
    )


def _upper_share(k: float, n: float) -> float:
    """Return the upper end of a share's exact 95 % interval."""
    if k >= n:
        return 1.0
    return float(sp.special.betaincinv(k + 1.0, n - k, 0.975))
