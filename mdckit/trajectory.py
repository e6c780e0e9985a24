"""The networks that sets are matched on, while they learn."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from .baselines import Recipe
from .checkpoint import RunState
from .config import CondenseConfig
from .data import ImageData
from .lockstep import Passes
from .networks import fresh_network
from .parallel import Pool
from .streams import Batch, RealImages
from .training import train_step


def fresh(data: ImageData, config: CondenseConfig, *keys: str | int, device: torch.device) -> nn.Module:
    """A new network for these images, drawn from the seed and `keys`."""
    return fresh_network(data.shape, len(data.classes), config, config.seed, *keys, device=device)


@dataclass(frozen=True)
class Trajectory:
    """A network in training, and the sets that are matched on it."""

    net: nn.Module
    optimizer: torch.optim.Optimizer
    recipes: Sequence[Recipe]

    def train(self, batches: Iterable[Batch], config: CondenseConfig, pool: Pool, passes: Passes) -> None:
        """Update the network once on every batch."""
        for images, labels, random in batches:
            pool.check()
            settings = config.net_augment, config.net_cutmix, random, pool, passes.loss_gradients
            train_step(self.net, self.optimizer, images, labels, *settings)

    def batches(self, real: RealImages, state: RunState, t: int, e: int, pool: Pool) -> Iterator[Batch]:
        """What the network learns from after iteration e of loop t."""
        if real.config.how.trains_on == "real":
            return real.network_batches(t, e)
        (recipe,) = self.recipes
        return real.set_batches(pool.ranks.join(state.sets[recipe.name].images), t, e)


def trajectories(
    data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig, device: torch.device, t: int
) -> list[Trajectory]:
    """The networks of outer loop t: one for all sets or, where they learn from the set itself, equal ones for each."""
    groups = [recipes] if config.how.trains_on == "real" else [[recipe] for recipe in recipes]
    found = []
    for group in groups:
        net = fresh(data, config, "network", t, device=device)
        settings = {"momentum": config.net_momentum, "weight_decay": config.net_weight_decay}
        found.append(Trajectory(net, torch.optim.SGD(net.parameters(), config.net_lr, **settings), group))
    return found
