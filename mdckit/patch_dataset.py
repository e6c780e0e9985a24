"""Patches with labels as a torch Dataset, for training loops of one's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from . import augment
from .checks import check_colours, check_operations


@dataclass(frozen=True, eq=False, repr=False)
class PatchDataset(Dataset):
    """Normalised images (P, C, H, W) and labels (P,); an item is (image, label as an integer).

    `augment` names operations joined by ``_`` (`mdckit.augment`), drawn anew every time from PyTorch's own random
    state, so that DataLoader workers differ and ``torch.manual_seed`` repeats them. The images that a DataLoader asks
    for together draw together, as a batch of mdckit's own training does. `transform` comes last, image by image.
    CutMix mixes a whole batch, so it belongs to the loop. Raises ValueError for unknown operations.

    >>> images = PatchDataset(torch.zeros(4, 1, 8, 8), torch.tensor([0, 0, 1, 1]), ("a", "b"), "color_crop")
    >>> image, label = images[3]
    >>> image.shape, label, images.targets
    (torch.Size([1, 8, 8]), 1, [0, 0, 1, 1])
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    augment: str = ""
    transform: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self):
        check_operations("augment", self.augment)
        check_colours(self.augment, self.images.shape[1], "the set")

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.images.shape[1:]))
        return f"PatchDataset({len(self)} images of {shape}, {len(self.classes)} classes)"

    @property
    def targets(self) -> list[int]:
        """The label of every image, as torchvision names it."""
        return self.labels.tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        indices = list(map(int, indices))
        images = augment.per_sample(self.images[indices], self.augment, torch.default_generator)
        if self.transform is not None:
            images = map(self.transform, images)
        return list(zip(images, self.labels[indices].tolist(), strict=True))
