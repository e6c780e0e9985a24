"""A smaller set learned from a condensed one."""

import pytest
import torch

from mdckit import CondensedSet, prefixes, slimmable
from mdckit.results import condenser


@pytest.fixture
def whole(grey):
    return CondensedSet(grey.first_images(3), 1, grey.mean, grey.std, grey.classes, grey.name)


def extract(whole, grey, tiny, ipc, **options):
    config = tiny.replace(factor=1, batch_real=3)
    return slimmable.extract(whole, grey, ipc, config, device="cpu", show_progress=False, **options)


def test_only_the_condensed_images_are_seen(whole, grey, tiny):
    found = extract(whole, grey, tiny, 1)
    assert found.images.shape == (3, 1, 1, 8, 8)
    assert not torch.equal(found.images, whole.take(1).images)
    shown = slimmable.as_data(whole, grey)
    assert torch.equal(shown.x_train.float() / 255, whole.decode()[0])  # real images have 8 bits already
    assert shown.y_train.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert torch.equal(shown.x_test, grey.x_test)
    other = CondensedSet(whole.images.flip(1), 1, grey.mean, grey.std, grey.classes, grey.name)
    assert not torch.equal(extract(other, grey, tiny, 1).images, found.images)


def test_the_sets_of_all_sizes_are_a_method(whole, grey, tiny):
    settings = {"method": "dc", "distance": "cosine", "augment": "", "net_augment": ""}
    config = tiny.replace(factor=1, batch_real=3, **settings)
    parts = {
        f"slimmable/{n}": slimmable.extract(whole, grey, n, config, device="cpu", show_progress=False) for n in (2, 1)
    }
    assert {n: s.ipc for n, s in prefixes(parts, "slimmable").items()} == {1: 1, 2: 2}
    assert condenser(parts["slimmable/1"].info) == "dc"


def test_sizes_that_are_not_smaller_and_other_data_are_refused(whole, grey, rgb, tiny):
    with pytest.raises(ValueError, match="3 images per class asked of a set with 3: extract fewer"):
        extract(whole, grey, tiny, 3)
    with pytest.raises(ValueError, match=r"images \(1, 8, 8\) given for rgb: 3 classes of images \(3, 16, 16\)"):
        slimmable.as_data(whole, rgb)
