"""Rows about what surrounds condensation: the evaluation of a set's sizes, and decoding image files."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from mdckit import TrainConfig, augment, load
from mdckit.condensed import CondensedSet
from mdckit.data import ImageData
from mdckit.decoding import decode_images
from mdckit.evaluate import evaluate_many
from mdckit.networks import fresh_convnet
from mdckit.rng import generator
from tests import reference
from tests.benchmarks.measure import Row, compare

FILES = 60_000


def prefixes(repeats: int, device: torch.device) -> Row:
    """All ten prefixes of a set with three seeds each: a DataLoader of single images, and `evaluate_many`.

    A quarter of the quick protocol, which has 100 epochs and four tests.
    """
    data = load("mnist5k")
    made = CondensedSet(data.first_images(10), 1, data.mean, data.std, data.classes, data.name)
    sets = {n: made.take(n) for n in range(1, 11)}
    config = TrainConfig.preset("mnist5k", "quick", epochs=25, evaluations=1, seeds=(0, 1, 2))

    def released():
        for condensed in sets.values():
            images, labels = condensed.tensors("cpu")
            for seed in config.seeds:
                net = reference.ConvNet(fresh_convnet(data.shape, 10, config, seed, "evaluate", device=device))
                random = generator(seed, "released")
                reference.released_evaluation(
                    net,
                    images,
                    labels,
                    TestImages(data),
                    config,
                    lambda image, random=random: augment.per_sample(image[None], config.augment, random)[0],
                    lambda images, random=random: augment.cutmix(images, config.cutmix, random),
                )

    sides = {
        "released": released,
        "mdckit": lambda: evaluate_many(sets, data, config, device=str(device), show_progress=False),
    }
    return compare("10 prefixes x 3 seeds, 25 epochs and a test", 3, sides, repeats, device)


class TestImages(Dataset):
    """Real images one by one, made floats and normalised when they are asked for."""

    def __init__(self, data: ImageData):
        self.data = data
        self.mean, self.std = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))

    def __len__(self) -> int:
        return len(self.data.y_test)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return (self.data.x_test[index] / 255 - self.mean) / self.std, int(self.data.y_test[index])


def decoding(repeats: int, device: torch.device) -> Row:
    """A folder of 60,000 JPEG files as an array: one process with Pillow, and `decode_images`."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i:05d}.jpg" for i in range(FILES)]
        random = np.random.default_rng(0)
        for path in paths:
            blocks = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(blocks).resize((32, 32), Image.Resampling.BICUBIC).save(path, quality=95)
        sides = {"Pillow": lambda: pillow(paths), "mdckit": lambda: decode_images(paths)}
        return compare(f"decoding {FILES:,} JPEG files", 1.8, sides, repeats, torch.device("cpu"))


def pillow(paths: list[Path]) -> np.ndarray:
    images = []
    for path in paths:
        with Image.open(path) as image:
            images.append(np.asarray(image.convert("RGB")))
    return np.stack(images).transpose(0, 3, 1, 2).copy()
