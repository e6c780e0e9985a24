"""The real images a condensation reads, batch by batch, as pure functions of (seed, outer, inner)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from .config import CondenseConfig
from .data import ImageData, normalize, to_float
from .rng import ShuffledBatches, generator

Batch = tuple[Tensor, Tensor, torch.Generator]  # normalised images, labels, randomness for augmentation


class RealImages:
    """Normalised real batches on a device: one class at a time for matching, mixed ones for the network.

    Both are endless shuffled streams, so successive steps see different images, also across outer loops.
    """

    def __init__(self, data: ImageData, config: CondenseConfig, device: torch.device):
        self.data, self.config, self.device = data, config, device
        self.images, self.labels = data.x_train.to(device), data.y_train.to(device)
        self.by_class = [
            ShuffledBatches(len(index), config.batch_real, config.seed, "match", c, drop_last=True)
            for c, index in enumerate(data.class_indices)
        ]
        self.mixed = ShuffledBatches(len(data.y_train), config.net_batch, config.seed, "train")

    def normalize(self, images: Tensor) -> Tensor:
        """Pixels in [0, 1] as the networks see them."""
        return normalize(images, self.data.mean, self.data.std)

    def class_batch(self, c: int, t: int, e: int) -> Tensor:
        """The real images (P, C, H, W) that class c is matched against in iteration e of loop t."""
        index = self.data.class_indices[c][self.by_class[c][(t - 1) * self.config.inner + e - 1]]
        return self._pixels(index)

    def network_batches(self, t: int, e: int) -> Iterator[Batch]:
        """The batches of one network update: as many as hold ``net_images`` images."""
        count = -(-self.config.net_images // self.config.net_batch)
        first = ((t - 1) * self.config.inner + e - 1) * count
        for b in range(first, first + count):
            yield self._batch(self.mixed[b], "train", b)

    def pretraining(self, t: int) -> Iterator[Batch]:
        """The batches that train the fresh network of loop t before its first matching step."""
        stream = ShuffledBatches(len(self.data.y_train), self.config.net_batch, self.config.seed, "pretrain", t)
        for b in range(self.config.pretrain * stream.per_epoch):
            yield self._batch(stream[b], "pretrain", t, b)

    def _batch(self, index: Tensor, *keys: str | int) -> Batch:
        random = generator(self.config.seed, "augment", *keys)
        return self._pixels(index), self.labels[index.to(self.device)], random

    def _pixels(self, index: Tensor) -> Tensor:
        return self.normalize(to_float(self.images[index.to(self.device)]))
