"""A watch over the sets of a condensation: it is ended where a set has diverged, before that is kept anywhere."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from .baselines import Recipe
from .checkpoint import RunState
from .config import CondenseConfig
from .ranks import ALONE, Ranks
from .safety import BEYOND, DivergenceError, beyond, finite, lower

UNCLAMPED = 3.0  # the same for methods that never clamp, whose pixels may wander


class Watch:
    """Looks at the loss and the pixels of every set after every inner iteration.

    A set has diverged once its loss or a pixel is not finite, or once its pixels lie outside 0..1 by more than `BEYOND`
    on average: clamped, as they are before the next outer loop, nearly all of them are then black or white.
    """

    def __init__(self, recipes: Sequence[Recipe], config: CondenseConfig, device: torch.device, ranks: Ranks = ALONE):
        self.recipes, self.config, self.ranks = recipes, config, ranks
        self.losses, self.pixels = [], []
        self.at_once = device.type == "cpu"

    @torch.no_grad()
    def look(self, t: int, e: int, losses: Mapping[str, Tensor], state: RunState, nets: Sequence[nn.Module]) -> None:
        """Iteration e of loop t is done, on `nets`, and gave `losses`: raises `DivergenceError`, on a CPU at once.

        On an accelerator, where reading a number waits for all work so far, it does so at the end of the outer loop.
        All ranks raise the same.
        """
        self.losses.append(torch.stack([losses[r.name] for r in self.recipes]))  # (S,)
        self.pixels.append(torch.stack([beyond(state.sets[r.name].images) for r in self.recipes], 1))  # (K, S)
        if e == self.config.inner or self.at_once:
            pixels = self.ranks.join(torch.stack(self.pixels, 1)).mean(0)  # (E, S)
            seen = torch.stack([torch.stack(self.losses), pixels], 2).cpu()  # (E, S, 2)
            self.losses, self.pixels = [], []
            bad = ~(seen.isfinite().all(2) & (seen[..., 1] <= self._limit))  # (E, S)
            if bad.any():
                first = int(bad.any(1).nonzero()[0])
                where = f"outer loop {t}, inner iteration {e - len(seen) + 1 + first}"
                raise self._error(where, bad[first], seen[first], nets)

    @property
    def _limit(self) -> float:
        return UNCLAMPED if self.config.how.joint else BEYOND

    def _error(self, where: str, bad: Tensor, seen: Tensor, nets: Sequence[nn.Module]) -> DivergenceError:
        lost = [self.recipes[k] for k in bad.nonzero().flatten()]
        loss, pixels = seen[bad][0].tolist()
        if pixels < float("inf"):
            found = f"its pixels lie {pixels:.3g} outside 0..1 on average"
        else:
            found = f"its loss is {loss:g} and not all of its pixels are finite"
        by_net = not math.isfinite(loss) and not finite(p for net in nets for p in net.parameters())
        cause = lower("net_lr", self.config.net_lr) if by_net else lower("lr", lost[0].rate(self.config))
        sets = f"recipe {lost[0].name!r}" + (f" (and {len(lost) - 1} more)" if lost[1:] else "")
        return DivergenceError(f"{sets} has diverged in {where}: {found}; {cause}", [recipe.name for recipe in lost])


@contextmanager
def of_recipe(name: str) -> Iterator[None]:
    """A `DivergenceError` raised in the block, of a network that trains on this recipe's set, says so."""
    try:
        yield
    except DivergenceError as error:
        raise DivergenceError(f"recipe {name!r}: {error}", [name]) from None


@contextmanager
def keeping(checkpoint: str | Path | None, state: RunState) -> Iterator[None]:
    """A `DivergenceError` raised in the block, where `state` is carried on, says what the checkpoint keeps, if any."""
    try:
        yield
    except DivergenceError as error:
        if checkpoint is None or not Path(checkpoint).is_file():
            raise
        raise error.kept_in(checkpoint, state.outer) from None
