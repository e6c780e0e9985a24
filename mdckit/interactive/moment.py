"""A condensation as it was at one moment: what can be looked at while it goes on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import pandas as pd
from torch import Tensor

from ..checkpoint import RunState, SetState
from ..condense import Step
from ..config import CondenseConfig
from ..evaluate import Result

RECENT = 300  # inner iterations whose losses are remembered one by one


@dataclass(frozen=True)
class Moment:
    """All sets after an inner iteration, and what has been seen on the way; nothing in it changes any more."""

    config: CondenseConfig
    state: RunState  # its `outer` counts whole loops
    inner: int = 0  # iterations done of the loop after those
    recent: tuple[tuple[float, dict[str, Tensor]], ...] = ()  # (position in outer loops, loss by recipe)
    tests: tuple[tuple[int, Mapping[tuple[str, int], Result]], ...] = ()  # (t, accuracy by recipe and size)

    @property
    def done(self) -> int:
        """Inner iterations of all outer loops."""
        return self.state.outer * self.config.inner + self.inner

    @property
    def place(self) -> str:
        """Where the run is, in words.

        >>> Moment(CondenseConfig(outer=20, inner=10), RunState(2, {}), inner=4).place
        'in outer loop 3 of 20, inner iteration 4 of 10'
        >>> Moment(CondenseConfig(outer=20, inner=10), RunState(2, {})).place
        'after outer loop 2 of 20'
        """
        t, config = self.state.outer, self.config
        if self.inner:
            return f"in outer loop {t + 1} of {config.outer}, inner iteration {self.inner} of {config.inner}"
        return f"after outer loop {t} of {config.outer}" if t else f"before outer loop 1 of {config.outer}"

    @property
    def accuracies(self) -> pd.DataFrame:
        """Accuracies tested on the way, percent, after the last epoch: columns outer, method, ipc, seed, accuracy."""
        rows = [
            (t, method, n, seed, accuracy)
            for t, results in self.tests
            for (method, n), result in results.items()
            for seed, accuracy in zip(result.config.seeds, result.last, strict=True)
        ]
        return pd.DataFrame(rows, columns=["outer", "method", "ipc", "seed", "accuracy"])

    def after(self, step: Step) -> Self:
        """The moment one iteration later."""
        position = step.outer - 1 + step.inner / self.config.inner
        recent = (*self.recent, (position, step.loss))[-RECENT:]
        return replace(self, state=still(step.state), inner=0 if step.ends_outer else step.inner, recent=recent)

    def tested(self, results: Mapping[tuple[str, int], Result]) -> Self:
        """The moment with the accuracies that its sets have."""
        return replace(self, tests=(*self.tests, (self.state.outer, results)))


def still(state: RunState) -> RunState:
    """A copy of a state, without momentum, that does not change while the run goes on."""
    sets = {}
    for name, s in state.sets.items():
        images = s.images.detach().clone()
        sets[name] = SetState(images, images.new_empty(0), s.subsets, list(s.losses), list(s.distances))
    return RunState(state.outer, sets)
