"""A set as a torch Dataset: the same patches, one by one and in batches."""

import pytest
import torch
from torch.utils.data import DataLoader

from mdckit import CondensedSet
from mdckit.patch_dataset import PatchDataset


def make(channels=3, factor=1):
    images = torch.rand(3, 4, channels, 8, 8, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
    return CondensedSet(images, factor, (0.3,) * channels, (0.2,) * channels, ("a", "b", "c"))


def stacked(items):
    images, labels = zip(*items, strict=True)
    return torch.stack(images), torch.tensor(labels)


def test_a_dataset_is_the_prefix_normalised_with_plain_labels():
    condensed = make(factor=2)
    dataset = condensed.dataset(ipc=2)
    images, labels = condensed.take(2).tensors()
    assert (len(dataset), dataset.targets, dataset.classes) == (24, labels.tolist(), condensed.classes)
    assert type(dataset[-1][1]) is int
    assert torch.equal(dataset[-1][0], images[-1])
    assert torch.equal(stacked(dataset)[0], images)
    assert len(condensed.dataset()) == condensed.patches
    batches = list(DataLoader(dataset, batch_size=10))
    assert torch.equal(torch.cat([x for x, _ in batches]), images)
    assert torch.equal(torch.cat([y for _, y in batches]), labels)
    with pytest.raises(IndexError):
        dataset[24]


def test_augmentation_is_drawn_anew_and_repeated_by_the_seed():
    dataset = make().dataset(augment="color_crop")
    plain = make().dataset()
    torch.manual_seed(3)
    first, second = stacked(dataset)[0], stacked(dataset)[0]
    torch.manual_seed(3)
    assert torch.equal(stacked(dataset)[0], first)
    assert not torch.equal(first, second)
    assert not torch.equal(first, plain.images)


def test_workers_draw_differently():
    images = make().tensors()[0][:1].expand(8, -1, -1, -1)
    alike = PatchDataset(images, torch.zeros(8, dtype=torch.long), ("a",), "color")
    torch.manual_seed(3)
    first, second = (images for images, _ in DataLoader(alike, batch_size=4, num_workers=2))
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


def test_a_transform_comes_after_augmentation_image_by_image():
    seen = []
    dataset = make(channels=1).dataset(augment="cutout", transform=lambda image: seen.append(image) or image + 100)
    image, _ = dataset[0]
    assert seen[0].shape == (1, 8, 8)
    assert (seen[0] == 0).any()
    assert torch.equal(image, seen[0] + 100)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ipc": 5}, "5 images per class asked of a set with 4"),
        ({"ipc": 0}, "0 images per class asked"),
        ({"augment": "colour"}, "unknown operation in augment 'colour'"),
        ({"augment": "jitter"}, "augment 'jitter' asked, but the images of the set have no colours"),
    ],
)
def test_a_dataset_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make(channels=1).dataset(**settings)
