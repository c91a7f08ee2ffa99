"""Habits that honest subjects could have, several of each subject, drawn together.

A subject who is unusual in one respect is often so in others: a newcomer is slow at
everything. Replicas in which every habit is drawn by itself hardly ever have such
subjects, and tell of fewer false alarms than there are. So each subject's habits are
drawn from what its own counts leave open, all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.stats.scale import Given, Scale, SharedNoise, Standing
from kpiaudit.stats.shapes import SHAPES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray

_SWEEPS = 20
_LAST = 5
_LEARN_FROM = 400
"""Subjects from whom it is learnt how habits go together; more tell little more."""
_DOUBT = 100
"""So many subjects leave little doubt of how each habit is spread."""
_PROPOSALS = 3
_PRIOR = 6.0
"""How habits go together is doubted as if so many subjects had shown what is supposed:
no connection, or a close one between signs of one habit."""
_ONE_HABIT = 0.9


def together(
    standings: Sequence[Standing],
    outside: BoolArray,
    rng: np.random.Generator,
    *,
    apart: bool = True,
    noise: FloatArray | None = None,
) -> tuple[FloatArray, ...]:
    """Draw every subject's habits from what its counts leave open.

    Each habit keeps the spread that was fitted to it; normal scores of a subject's
    habits are correlated, by how much is learnt from the subjects. Unless subjects may
    stand apart, habits that go together say something of each other's spread as well: a
    wide one that its own few counts would allow is given up where the other habits
    contradict it. Subjects outside teach nothing, and get habits of some honest
    subject.

    Args:
        standings: Of each habit, about the same subjects.
        outside: Whose counts are not taken for honest, shape (n_subjects,).
        rng: Random numbers.
        apart: Whether subjects who seem to stand apart from the honest spread, but are
            not outside, stay there; otherwise they are taken for the most unusual of
            the others.
        noise: Where the habits are one habit, told by several signs: correlation of
            their noise, as far as signs count the same events, shape (n_habits,
            n_habits). They have one shape then, and are supposed to go together until
            the subjects show otherwise. None stands for habits that have nothing in
            common but the subject.

    Returns:
        Log-odds of each habit, shape (n_subjects,).

    Source:
        Hoff (2007), Annals of Applied Statistics 1(1), 265-283 (a Gaussian copula whose
        scores are drawn given the others); Barnard, McCulloch & Meng (2000), Statistica
        Sinica 10, 1281-1311 (a correlation from an inverse Wishart); Tierney (1994),
        Annals of Statistics 22(4), 1701-1728 (hypotheses proposed from what each habit
        alone says, taken or left by what the others add); Rubin (1987), Multiple
        Imputation for Nonresponse in Surveys (draws have the spread that shrunken
        estimates lack).
    """
    if not standings:
        return ()

    inside = np.flatnonzero(~outside)
    learn = inside[:: max(1, -(-len(inside) // _LEARN_FROM))]

    shape = None if noise is None else _shape(standings, rng)

    def hypothesis(habit: int) -> Scale:
        return Scale.of(standings[habit], outside, rng, apart=apart, shape=shape)

    def begun(rows: IntArray, scales: list[Scale], correlation: FloatArray) -> _State:
        shared = None
        if noise is not None:
            shared = SharedNoise.of(standings, noise, rows, outside)
        return _State.of(scales, rows, correlation, shared, rng)

    size = len(standings)
    state = begun(learn, [hypothesis(habit) for habit in range(size)], np.eye(size))
    for _ in range(_SWEEPS if size > 1 else 0):
        # Newcomers would pass for a wide spread: of simulated centres with some, 9 and
        # 13 of 120 replicas were reported instead of 2, where one in 140 should be.
        if not apart and len(learn) <= _DOUBT:
            state.doubt(hypothesis, rng)
        state.sweep(rng)
        state.learn(rng)
    every = begun(np.arange(len(outside)), state.scales, state.correlation)
    every.scores[:, learn], every.odds[:, learn] = state.scores, state.odds
    for _ in range(_LAST):
        every.sweep(rng)
    return tuple(every.odds)


def _shape(standings: Sequence[Standing], rng: np.random.Generator) -> int:
    """Draw one shape for all, as likely as they make it together."""
    prior = np.array([shape.prior for shape in SHAPES])
    # Signs that rule out each other's shapes would leave none.
    each = np.maximum([one.spread.shape_weights for one in standings], 1e-6)
    weight = prior * np.prod(each / prior, axis=0)
    return int(rng.choice(len(prior), p=weight / weight.sum()))


@dataclass(kw_only=True)
class _State:
    """Normal scores and log-odds by habit and subject, and the scores' correlation.

    Args:
        scales: Of each habit, for all subjects.
        mine: The same for the subjects who are drawn.
        rows: Who that is.
        scores: Shape (n_habits, len(rows)).
        odds: Same shape.
        correlation: Shape (n_habits, n_habits).
        noise: What the habits' counts have in common; None where nothing.
    """

    scales: list[Scale]
    mine: list[Scale]
    rows: IntArray
    scores: FloatArray
    odds: FloatArray
    correlation: FloatArray
    noise: SharedNoise | None

    @classmethod
    def of(
        cls,
        scales: list[Scale],
        rows: IntArray,
        correlation: FloatArray,
        noise: SharedNoise | None,
        rng: np.random.Generator,
    ) -> _State:
        """Begin anywhere in what is expected of honest subjects."""
        shape = (len(scales), len(rows))
        return cls(
            scales=list(scales),
            mine=[each.some(rows) for each in scales],
            rows=rows,
            scores=np.linalg.cholesky(correlation) @ rng.standard_normal(shape),
            odds=np.zeros(shape),
            correlation=correlation,
            noise=noise,
        )

    def _given(self, habit: int) -> Given:
        """Return what the subjects' other habits say of one."""
        precision = np.linalg.inv(self.correlation)
        own = float(precision[habit, habit])
        mean = self.scores[habit] - precision[habit] @ self.scores / own
        more = None if self.noise is None else self.noise.given(habit, self.odds)
        return Given(mean=mean, sd=float(1.0 / np.sqrt(own)), more=more)

    def sweep(self, rng: np.random.Generator) -> None:
        """Draw each habit given the subject's others (Gibbs)."""
        for habit, scale in enumerate(self.mine):
            drawn = scale.drawn(self._given(habit), rng)
            self.scores[habit], self.odds[habit] = drawn

    def doubt(
        self, hypothesis: Callable[[int], Scale], rng: np.random.Generator
    ) -> None:
        """Draw each habit's spread given the subjects' other habits (Metropolis).

        Hypotheses come as often as the habit's own counts, all others unknown, make
        them likely; that much of the likelihood cancels.
        """
        for habit in range(len(self.scales)):
            given = self._given(habit)
            gained = self.mine[habit].gain(given)
            for _ in range(_PROPOSALS):
                scale = hypothesis(habit)
                mine = scale.some(self.rows)
                gain = mine.gain(given)
                if np.log(rng.random()) < gain - gained:
                    self.scales[habit], self.mine[habit] = scale, mine
                    gained = gain

    def learn(self, rng: np.random.Generator) -> None:
        """Draw the correlation given the scores."""
        size = len(self.scales)
        together = 0.0 if self.noise is None else _ONE_HABIT
        supposed = (1.0 - together) * np.eye(size) + together
        sums = self.scores @ self.scores.T + _PRIOR * supposed
        freedom = self.scores.shape[1] + _PRIOR + size + 1.0
        # Bartlett's decomposition of a Wishart matrix.
        factor = np.tril(rng.standard_normal((size, size)), -1)
        squares = rng.chisquare(freedom - np.arange(size))
        factor[np.diag_indices(size)] = np.sqrt(squares)
        root = np.linalg.cholesky(np.linalg.inv(sums)) @ factor
        covariance = np.linalg.inv(root @ root.T)
        sd = np.sqrt(np.diag(covariance))
        self.correlation = covariance / np.outer(sd, sd)
