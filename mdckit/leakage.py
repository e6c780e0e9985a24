"""Test images that are training images too: every accuracy measured on them is too high."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor


def shared_images(x_train: Tensor, x_test: Tensor) -> list[tuple[int, int]]:
    """Positions (in test, in training) of every test image that is a training image too, equal in every pixel.

    Images are uint8 (M, C, H, W), on the CPU. Of equal training images the first is named.

    >>> import torch
    >>> x = torch.arange(4, dtype=torch.uint8).reshape(4, 1, 1, 1)
    >>> shared_images(x, x[[3, 1]] + torch.tensor([0, 9], dtype=torch.uint8).reshape(2, 1, 1, 1))
    [(0, 3)]
    """
    train, test = (images.flatten(1).contiguous().numpy() for images in (x_train, x_test))
    first: dict[int, int] = {}
    for i, row in enumerate(train):
        first.setdefault(hash(row.tobytes()), i)
    pairs = [(j, first.get(hash(row.tobytes()))) for j, row in enumerate(test)]
    return [(j, i) for j, i in pairs if i is not None and (test[j] == train[i]).all()]


def warn_of_shared_images(
    x_train: Tensor, x_test: Tensor, name: str, files: Sequence[Sequence[Path]] | None = None
) -> None:
    """Say in a UserWarning how many test images are training images too.

    `files`, those of the training and those of the test images, name the example.
    """
    found = shared_images(x_train, x_test)
    if not found:
        return
    test, train = found[0]
    example = f"{files[1][test]} is {files[0][train]}" if files else f"x_test[{test}] is x_train[{train}]"
    warnings.warn(
        f"{len(found):,} of {len(x_test):,} test images of {name} are training images too, to the pixel ({example}): "
        "accuracies will be too high; take them out of one part, mdckit.leakage.shared_images lists them",
        stacklevel=3,
    )
