"""A smaller set extracted from a condensed one by condensing it again, without the real images (slimmable DC)."""

from dataclasses import replace

from ..baselines import Recipe
from ..condense import condense
from ..condensed import CondensedSet
from ..config import CondenseConfig
from ..data import ImageData


def as_data(condensed: CondensedSet, data: ImageData) -> ImageData:
    """The patches of a set in the place of the training images of `data`, rounded to 8 bits.

    Raises ValueError for a set of other classes or image shapes.

    >>> from mdckit import load
    >>> digits = load("digits")
    >>> two = CondensedSet(digits.first_images(2), 1, digits.mean, digits.std, digits.classes)
    >>> as_data(two, digits).x_train.shape
    torch.Size([20, 1, 8, 8])
    """
    patches, labels = condensed.decode()
    if tuple(patches.shape[1:]) != data.shape or condensed.classes != data.classes:
        raise ValueError(
            f"a set with {len(condensed.classes)} classes of images {tuple(patches.shape[1:])} given for {data.name}: "
            f"{len(data.classes)} classes of images {data.shape}; give the data it was condensed from"
        )
    pixels = (patches.clamp(0, 1) * 255).round().byte()
    return replace(data, x_train=pixels, y_train=labels, name=f"{data.name}-condensed{condensed.ipc}")


def extract(
    condensed: CondensedSet,
    data: ImageData,
    ipc: int,
    config: CondenseConfig,
    *,
    recipe: Recipe | None = None,
    **options,
) -> CondensedSet:
    """A set of `ipc` images per class learned from a condensed set alone, as if its patches were the real images.

    So slimmable condensation learns from the synthetic set (LFS in MDC Table 2c): one condensed set is stored, and each
    smaller one costs a condensation, though of few images. `recipe` is Baseline C unless told otherwise, `options` are
    those of `condense`. Raises ValueError for a size that is not smaller.

    >>> from mdckit import load, robustness
    >>> digits = load("digits")
    >>> config = CondenseConfig.preset("digits", "quick", outer=1, inner=1, width=4, batch_real=4)
    >>> extract(robustness.real_images(digits, [4] * 10), digits, 2, config, show_progress=False)
    CondensedSet(digits-condensed4: 10 classes x 2 images of 1 x 8 x 8, factor 1, 20 patches)
    """
    if ipc >= condensed.ipc:
        raise ValueError(f"{ipc} images per class asked of a set with {condensed.ipc}: extract fewer")
    recipe = recipe or Recipe("slimmable")
    return condense(as_data(condensed, data), [recipe], config.replace(ipc=ipc), **options)[recipe.name]
