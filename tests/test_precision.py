"""Rounded numbers: how far from float32, and the same whether the machine computes with them or imitates them."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mdckit import matching, precision
from mdckit.compiled import Compiled
from mdckit.config import CondenseConfig
from mdckit.networks import fresh_convnet


def found(kind, distance="l2", match=matching.match_prefixes, depth=3):
    """Losses, feature distances and pixel gradients of four images that are matched in numbers of this kind."""
    net = fresh_convnet((1, 16, 16), 3, CondenseConfig(width=32, depth=depth), 0).requires_grad_(False)
    random = torch.Generator().manual_seed(0)
    real, images = torch.randn(2, 20, 1, 16, 16, generator=random)
    images, labels = images[:4] + 1, torch.ones(4, dtype=torch.int64)
    target, features = matching.real_gradients(
        net, [real], [1], distance, run=lambda *a, **k: matching.group_pass(*a, **k, precision=kind)
    )
    settings = {"sizes": [[1] * 4], "distance": distance, "precision": kind}
    done = match(net, images, labels, torch.ones(1, 4), target, **settings)
    return done.losses, matching.feature_distances(done.features[None], features, [1] * 4), done.by_images


@pytest.fixture(params=[True, False], ids=["computed", "imitated"])
def machine(request, monkeypatch):
    """A machine that has instructions for bfloat16, and one that lacks them: PyTorch computes on every machine."""
    monkeypatch.setattr(precision, "computes_in", lambda dtype, device: request.param or dtype == torch.float32)


class Convolutions(TorchDispatchMode):
    """Notes what convolutions read: the type of their images and the first of the numbers."""

    def __init__(self):
        super().__init__()
        self.read = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution.default:
            self.read.append((args[0].dtype, args[0].flatten()[0].item()))
        return function(*args, **(kwargs or {}))


def cosine(a, b):
    return torch.cosine_similarity(a.flatten(), b.flatten(), 0)


@pytest.mark.parametrize("distance", ["l2", "l1"])
def test_distances_in_bfloat16_are_within_one_percent(machine, distance):
    loss, distances, by_images = found("float32", distance)
    low_loss, low_distances, low_by_images = found("bfloat16", distance)
    assert not torch.equal(low_loss, loss)
    torch.testing.assert_close(low_loss, loss, rtol=0.01, atol=0)
    torch.testing.assert_close(low_distances, distances, rtol=0.01, atol=0)
    assert cosine(low_by_images, by_images) > 0.98


@pytest.mark.parametrize("distance", ["l2", "cosine", "features"])
def test_imitated_numbers_are_rounded_like_computed_ones(monkeypatch, distance):
    pairs = []
    for computes in (True, False):
        monkeypatch.setattr(precision, "computes_in", lambda dtype, device, c=computes: c or dtype == torch.float32)
        pairs.append(found("bfloat16", distance))
    (loss, distances, by_images), (own_loss, own_distances, own_by_images) = pairs
    torch.testing.assert_close(own_loss, loss, rtol=2e-4, atol=0)  # a tenth of what the rounding itself changes
    torch.testing.assert_close(own_distances, distances, rtol=2e-4, atol=0)
    assert cosine(own_by_images, by_images) > 0.9995


def test_a_machine_without_bfloat16_convolves_in_float32(monkeypatch):
    monkeypatch.setattr(precision, "computes_in", lambda dtype, device: dtype == torch.float32)
    with precision.reduced("bfloat16", torch.device("cpu")), Convolutions() as convolutions:
        given = torch.nn.Conv2d(1, 1, 1)(torch.full((1, 1, 1, 1), 1 + 2**-10))
    assert given.dtype == torch.bfloat16
    assert convolutions.read == [(torch.float32, 1.0)]


@pytest.mark.usefixtures("compiler")
@pytest.mark.filterwarnings("error:not compiled")
def test_compiled_passes_keep_the_precision():
    """Graphs may leave out roundings between their operations, so they are as near to float32, not equal."""
    (loss, _, by_images), (compiled, _, compiled_by_images) = (
        found(kind, match=match, depth=1)
        for kind, match in (("float32", matching.match_prefixes), ("bfloat16", Compiled(matching.match_prefixes)))
    )
    assert not torch.equal(compiled, loss)
    torch.testing.assert_close(compiled, loss, rtol=0.01, atol=0)
    assert cosine(compiled_by_images, by_images) > 0.98
