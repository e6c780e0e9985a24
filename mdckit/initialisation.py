"""The state before the first outer loop: what is asked is checked, and every set holds its first images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from . import formation
from .baselines import Recipe
from .checkpoint import RunState, SetState
from .config import CondenseConfig
from .data import ImageData, denormalize, to_float
from .rng import generator
from .streams import RealImages
from .trajectory import fresh


def start(data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig, classes: range | None = None) -> RunState:
    """The state before the first outer loop: every set holds its real images (mix initialisation).

    With `classes` it is that of a rank which condenses only these, consecutive ones.

    >>> from mdckit import baselines, load
    >>> config = CondenseConfig.preset("digits", "quick", ipc=2, outer=1, inner=2, width=8)
    >>> start(load("digits"), [baselines.mdc()], config).sets["mdc"].images.shape
    torch.Size([10, 2, 1, 8, 8])
    """
    _check(data, recipes, config)
    own, sets = range(len(data.classes)) if classes is None else classes, {}
    for recipe in recipes:
        per_image = config.factor**2
        count = (recipe.ipc or config.ipc) * per_image
        first = _first_images(data, recipe, config, count, own or range(1))  # a rank may be left without a class
        images = formation.compose(first, config.factor)[: len(own)]
        histories = len(data.classes) if recipe.class_wise else 1
        subsets = (recipe.subset_state(config.period),) * histories
        sets[recipe.name] = SetState(images, torch.zeros_like(images), subsets, first=own.start)
    return RunState(0, sets)


def _first_images(data: ImageData, recipe: Recipe, config: CondenseConfig, count: int, classes: range) -> Tensor:
    """What the cells of some classes of a set start from, (B, count, C, H, W)."""
    first = recipe.start * config.factor**2
    if config.how.start == "noise":  # of normalised pixels
        random = generator(config.seed, "noise", recipe.start)
        noise = torch.randn(len(data.classes), count, *data.shape, generator=random)[classes.start : classes.stop]
        return denormalize(noise, data.mean, data.std)
    if config.how.start == "real":
        return data.first_images(count, first, classes)
    cpu = torch.device("cpu")
    net, real = fresh(data, config, "representatives", device=cpu), RealImages(data, config, cpu)
    chosen = [real.represent(net, c, first + count)[first:] for c in classes]
    return to_float(data.x_train[torch.stack(chosen)])


def _check(data: ImageData, recipes: Sequence[Recipe], config: CondenseConfig) -> None:
    names = [recipe.name for recipe in recipes]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"recipes {names} asked: give one or more, each with a name of its own")
    formation.cell_sides(data.shape[-1], config.factor)
    for strategy in (config.augment, config.net_augment):
        data.check_colours(strategy)
    per_image = config.factor**2
    for recipe in recipes:
        ipc = recipe.ipc or config.ipc
        config.replace(ipc=ipc)
        if recipe.adaptive and ipc < 2:
            raise ValueError(
                f"recipe {recipe.name!r} chooses among subsets of {ipc} image per class: it needs ipc >= 2"
            )
        data.require((recipe.start + ipc) * per_image)
    if config.how.real == "representative":
        data.require(config.batch_real)
    fresh(data, config, device=torch.device("cpu"))
