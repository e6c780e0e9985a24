"""The images a condensation reads, batch by batch, as pure functions of (seed, outer, inner) and the network."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from .clusters import representatives
from .config import CondenseConfig
from .data import ImageData, normalize, to_float
from .formation import decode
from .machine import free_memory
from .rng import ShuffledBatches, generator

Batch = tuple[Tensor, Tensor, torch.Generator]  # normalised images, labels, randomness for augmentation
EMBEDDED = 100  # images in a pass that only looks at their features
REPRESENTED = 10  # inner iterations that are matched against the same representative images (DREAM)


class RealImages:
    """Normalised real batches on a device: one class at a time for matching, mixed ones for the network.

    Both are endless shuffled streams, so successive steps see different images, also across outer loops.
    """

    def __init__(self, data: ImageData, config: CondenseConfig, device: torch.device):
        self.data, self.config, self.device = data, config, device
        self.images = data.x_train.to(device) if stays_on(data, device) else data.x_train
        self.labels = data.y_train.to(device)
        self.by_class = [
            ShuffledBatches(len(index), config.batch_real, config.seed, "match", c, drop_last=True)
            for c, index in enumerate(data.class_indices)
        ]
        self.mixed = ShuffledBatches(len(data.y_train), config.net_batch, config.seed, "train")
        self.represented: dict[int, Tensor] = {}  # of a class, the indices chosen last

    def normalize(self, images: Tensor) -> Tensor:
        """Pixels in [0, 1] as the networks see them."""
        return normalize(images, self.data.mean, self.data.std)

    def class_batch(self, c: int, t: int, e: int, net: nn.Module | None = None) -> Tensor:
        """The real images (P, C, H, W) that class c is matched against in iteration e of loop t.

        DREAM's are those of which `net`, the network of every tenth iteration, sees that they represent the class.
        """
        if self.config.how.real == "random":
            return self._pixels(self.data.class_indices[c][self.by_class[c][(t - 1) * self.config.inner + e - 1]])
        if (e - 1) % REPRESENTED == 0:
            self.represented[c] = self.represent(net, c, self.config.batch_real, t, e)
        return self._pixels(self.represented[c])

    def represent(self, net: nn.Module, c: int, count: int, *keys: int) -> Tensor:
        """Indices of `count` images that represent class c, as `net` sees its images before they are normalised."""
        members = self.data.class_indices[c]
        images = to_float(self._stored(members))
        with torch.no_grad():
            features = torch.cat([net.vectors(net.embed(part)) for part in images.split(EMBEDDED)])
        random = generator(self.config.seed, "represent", c, *keys)
        return members[representatives(features, count, random).cpu()]

    def network_batches(self, t: int, e: int) -> Iterator[Batch]:
        """The batches of one network update: as many as hold ``net_images`` images."""
        count = -(-self.config.net_images // self.config.net_batch)
        first = ((t - 1) * self.config.inner + e - 1) * count
        for b in range(first, first + count):
            yield self._batch(self.mixed[b], "train", b)

    def set_batches(self, stored: Tensor, t: int, e: int) -> Iterator[Batch]:
        """The batches of one network update on a set's own images (K, n, C, H, W): whole epochs.

        As many as hold ``net_images`` images of every class.
        """
        images, labels = self.patches_of(stored)
        stream = ShuffledBatches(len(images), self.config.net_batch, self.config.seed, "set", t, e)
        epochs = max(1, round(self.config.net_images * len(stored) / len(images)))
        for b in range(epochs * stream.per_epoch):
            index = stream[b].to(self.device)
            yield images[index], labels[index], generator(self.config.seed, "augment set", t, e, b)

    @torch.no_grad()
    def patches_of(self, stored: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised patches (P, C, H, W) and labels (P,) of a set's images (K, n, C, H, W), ready to train on."""
        patches = self.normalize(decode(stored, self.config.factor))  # (K, n f^2, C, H, W)
        labels = torch.arange(len(stored), device=self.device).repeat_interleave(patches.shape[1])
        return patches.flatten(0, 1), labels

    def pretraining(self, t: int) -> Iterator[Batch]:
        """The batches that train the fresh network of loop t before its first matching step."""
        stream = ShuffledBatches(len(self.data.y_train), self.config.net_batch, self.config.seed, "pretrain", t)
        for b in range(self.config.pretrain * stream.per_epoch):
            yield self._batch(stream[b], "pretrain", t, b)

    def _batch(self, index: Tensor, *keys: str | int) -> Batch:
        random = generator(self.config.seed, "augment", *keys)
        return self._pixels(index), self.labels[index.to(self.device)], random

    def _pixels(self, index: Tensor) -> Tensor:
        return self.normalize(to_float(self._stored(index)))

    def _stored(self, index: Tensor) -> Tensor:
        """Images (P, C, H, W) in 8 bits."""
        return self.images[index.to(self.images.device)].to(self.device)


def stays_on(data: ImageData, device: torch.device) -> bool:
    """Whether the training images are kept on the device, or read from main memory batch by batch.

    The latter where they would take more than half of an accelerator's free memory.
    """
    return device.type == "cpu" or data.x_train.nbytes <= free_memory(device) / 2
