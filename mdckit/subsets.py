"""Which subset a set learns at which time: the most learnable subset (MLS) and what is frozen, as pure values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

from .checks import check_count

Freeze = Literal["released", "paper", "none"]


@dataclass(frozen=True)
class SubsetState:
    """The MLS history of one set (or of one class, class-wise); loops t are 1-based.

    `rule` "rate" picks the subset whose distance (of features, or of gradients) changed most (MDC Eq. 9), "largest" the
    one with the largest distance (MDC Table 3, row 2). `freeze` "released" freezes the largest MLS below the
    current one that was last chosen more than a period ago, "paper" is MDC Eq. 10 to the letter, "none" freezes
    nothing.

    >>> state = SubsetState(period=2)
    >>> state = state.observe(1, [9.0, 5.0, 3.0]).observe(2, [8.5, 3.0, 2.0])
    >>> state.mls(2), state.mls(3)
    (1, 2)
    """

    period: int
    rule: Literal["rate", "largest"] = "rate"
    freeze: Freeze = "released"
    distances: tuple[float, ...] = ()  # F(n) at the last choice, n = 1..N-1
    choices: tuple[tuple[int, int], ...] = ()  # (outer loop t at whose end n was chosen, n)

    def __post_init__(self):
        check_count("period", self.period)

    def measures(self, t: int) -> bool:
        """Whether distances are measured in loop t: in the first and in every `period`-th."""
        return t == 1 or t % self.period == 0

    def observe(self, t: int, distances: Sequence[float]) -> Self:
        """The state after the distances F(1)..F(N-1) of loop t were seen: a new MLS is chosen.

        Distances are compared after rounding to two decimals, as released; ties go to the smaller subset.
        """
        new = tuple(round(float(d), 2) for d in distances)
        if self.rule == "largest":
            gain = new
        elif not self.distances:
            gain = (1.0,) + (0.0,) * (len(new) - 1)  # no history: S[1]
        else:
            gain = changes(self.distances, new)
        chosen = gain.index(max(gain)) + 1  # MDC Eq. 8 and 9
        return replace(self, distances=new, choices=(*self.choices, (t, chosen)))

    def mls(self, t: int) -> int | None:
        """Images per class of the subset whose loss is added in loop t; None before the first choice."""
        past = [n for chosen_at, n in self.choices if chosen_at < t]
        return past[-1] if past else None

    def frozen(self, t: int) -> int:
        """Images per class, from the first, that get no gradient in loop t."""
        if self.freeze == "none" or self.mls(t) is None:
            return 0
        return self._frozen_released(t) if self.freeze == "released" else self._frozen_paper(t)

    def _frozen_released(self, t: int) -> int:
        # A size retires one period after it was chosen, unless it was chosen again by then, and stays retired.
        retired = [
            n
            for i, (at, n) in enumerate(self.choices)
            if at + self.period < t
            and not any(m == n and later <= at + self.period for later, m in self.choices[i + 1 :])
        ]
        return max((n for n in retired if n < self.mls(t)), default=0)

    def _frozen_paper(self, t: int) -> int:
        frozen, before = 0, None
        for chosen_at, n in self.choices:
            if chosen_at < t:
                if before is not None and n != before:
                    frozen = before if n > before else 0  # MDC Eq. 10
                before = n
        return frozen

    @property
    def trace(self) -> list[list[int]]:
        """[t, n] for every choice: n is the MLS from loop t + 1 on."""
        return [list(choice) for choice in self.choices]


def changes(before: Sequence[float], now: Sequence[float]) -> tuple[float, ...]:
    """By how much every distance changed (MDC Eq. 8).

    >>> changes([9.0, 5.0], [6.0, 6.0])
    (3.0, 1.0)
    """
    return tuple(abs(b - a) for b, a in zip(before, now, strict=True))


def histories(info: Mapping) -> tuple[SubsetState, ...]:
    """The subsets that a condensed set's `info` tells of: one history, or one per class if class-wise, or none.

    Where the recipe or the period is not known, nothing counts as frozen.

    >>> info = {"mls_trace": [[1, 1], [2, 3]], "recipe": {"freeze": "paper"}, "config": {"period": 1}}
    >>> [history.mls(3) for history in histories(info)]
    [3]
    """
    traces = info.get("mls_trace") or []
    class_wise = all(isinstance(choice, Sequence) for trace in traces for choice in trace)
    period, freeze = info.get("config", {}).get("period"), info.get("recipe", {}).get("freeze")
    known = {"period": period, "freeze": freeze} if period and freeze else {"period": 1, "freeze": "none"}
    choices = [tuple(map(tuple, trace)) for trace in (traces if class_wise else [traces] if traces else [])]
    return tuple(SubsetState(choices=of_class, **known) for of_class in choices)
