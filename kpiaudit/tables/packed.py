"""Rows sorted by customer and instant, as one integer each."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray


def ascending(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Sort numbers on all cores, a third of the time of `numpy.sort` on two."""
    return pl.Series(numbers).sort().to_numpy()


@frozen
class Packed:
    """Rows sorted by customer and instant, but for a few.

    The upper bits of the customer's hash and the row's place in time make one integer;
    to sort these takes a tenth of the time of sorting places by three columns. The few
    groups in which that is not enough are sorted by all three.

    Args:
        key: The integers, sorted, shape (n,).
        bits: Those of the place in time.
        timed: Row at each place in time; None if the rows are in that order.
    """

    key: NDArray[np.uint64]
    bits: np.uint64
    timed: NDArray[np.intp] | None

    @classmethod
    def of(cls, who: NDArray[np.uint64], at: NDArray[np.int64]) -> Packed:
        """Sort rows by the hashes of their customers and their instants."""
        # Most tables are in the order of time already.
        inorder = (at[1:] >= at[:-1]).all()
        timed = None if inorder else np.argsort(at, kind="stable")
        bits = np.uint64(max(len(who) - 1, 1).bit_length())
        key = who >> bits if timed is None else who[timed] >> bits
        key <<= bits
        key |= np.arange(len(who), dtype=np.uint64)
        return cls(key=ascending(key), bits=bits, timed=timed)

    def slices(self, size: int) -> list[tuple[int, int]]:
        """Cut the rows between customers, into slices of about a size."""
        cuts = [0]
        while cuts[-1] < len(self.key):
            after = min(cuts[-1] + size, len(self.key)) - 1
            # The first integer of the next customer.
            following = ((self.key[after] >> self.bits) + np.uint64(1)) << self.bits
            there = self.key[after:].searchsorted(following) if following else None
            cuts.append(len(self.key) if there is None else after + int(there))
        return list(pairwise(cuts))

    def order(
        self,
        ends: tuple[int, int],
        who: NDArray[np.uint64],
        at: NDArray[np.int64],
        id: NDArray[np.uint64],  # noqa: A002 - as in `Part`
    ) -> tuple[NDArray[np.intp], NDArray[np.uint64], NDArray[np.int64]]:
        """Order the rows of a slice by customer and instant, then by id.

        Returns:
            The rows, and the hash of the customer and the instant of each.
        """
        key = self.key[slice(*ends)]
        group = key >> self.bits
        place = (key & ((np.uint64(1) << self.bits) - np.uint64(1))).astype(np.intp)
        order = place if self.timed is None else self.timed[place]
        near = group[1:] == group[:-1]
        tied = at[order]
        unclear = near & (tied[1:] == tied[:-1])
        mine = who[order]
        unclear |= near & (mine[1:] != mine[:-1])
        if unclear.any():
            again = np.flatnonzero(np.isin(group, group[1:][unclear]))
            rows = order[again]
            exact = np.lexsort((id[rows], at[rows], who[rows], group[again]))
            order[again] = rows[exact]
            mine[again], tied[again] = who[order[again]], at[order[again]]
        return order, mine, tied
