"""ConvNet: sizes, features, initialisation, and the errors of images that do not fit."""

import math

import pytest
import torch
from torch import nn

from mdckit import CondenseConfig, TrainConfig
from mdckit.fused import NormReluPool
from mdckit.networks import ConvNet, fresh_convnet


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def fresh(shape=(3, 32, 32), classes=10, seed=0, **settings):
    return fresh_convnet(shape, classes, CondenseConfig(**{"width": 8} | settings), seed, "test")


@pytest.mark.parametrize(
    ("channels", "size", "classes", "count"), [(3, 32, 10, 320_010), (3, 32, 100, 504_420), (1, 28, 10, 317_706)]
)
def test_parameter_counts_of_the_papers(channels, size, classes, count):
    assert parameters(ConvNet(channels, size, classes)) == count


@pytest.mark.parametrize(("channels", "count"), [(3, 298_368), (1, 296_064)])
def test_matched_convolution_weights_of_the_papers(channels, count):
    net = ConvNet(channels, 32, 10)
    assert sum(p.numel() for p in net.parameters() if p.ndim == 4) == count


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28)])
def test_feature_maps_halve_from_32_to_4(shape):
    net = ConvNet(shape[0], shape[1], 10)
    sides, images = [], torch.rand(2, *shape)
    for layer in net.body:
        images = layer(images)
        if isinstance(layer, NormReluPool):
            sides.append(tuple(images.shape[1:]))
    assert sides == [(128, 16, 16), (128, 8, 8), (128, 4, 4)]


def test_embed_and_classify_make_the_forward_pass():
    net, images = fresh(), torch.rand(2, 3, 32, 32)
    features = net.embed(images)
    assert features.shape == (2, 8, 4, 4)
    assert torch.equal(net.classify(features), net(images))


@pytest.mark.parametrize(
    ("norm", "block"),
    [
        ("instance", [nn.Conv2d, NormReluPool]),
        ("batch", [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.AvgPool2d]),
        ("none", [nn.Conv2d, nn.Identity, nn.ReLU, nn.AvgPool2d]),
    ],
)
def test_block_order_is_convolution_norm_relu_pooling(norm, block):
    assert [type(layer) for layer in ConvNet(3, 32, 10, width=8, norm=norm).body] == block * 3


def test_grey_images_get_a_first_padding_of_3():
    grey = [layer.padding for layer in ConvNet(1, 28, 10, width=8).body if isinstance(layer, nn.Conv2d)]
    colour = [layer.padding for layer in ConvNet(3, 32, 10, width=8).body if isinstance(layer, nn.Conv2d)]
    assert grey == [(3, 3), (1, 1), (1, 1)]
    assert colour == [(1, 1)] * 3


def test_instance_norm_treats_every_image_alone():
    net, images = fresh(), torch.rand(4, 3, 32, 32)
    assert torch.allclose(net(images)[:1], net(images[:1]), atol=1e-5)


def test_initialisation_is_uniform_within_one_over_root_fan_in():
    net = fresh(width=32)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for values in (layer.weight, layer.bias):
                assert values.abs().max() <= bound
            assert layer.weight.abs().max() > 0.98 * bound
            assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        elif isinstance(layer, NormReluPool):
            assert torch.equal(layer.weight, torch.ones(32))
            assert torch.equal(layer.bias, torch.zeros(32))


def test_initialisation_has_the_scale_of_pytorch():
    ours, theirs = fresh(width=64).head.weight, ConvNet(3, 32, 10, width=64).head.weight
    assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.05)


def test_weights_depend_on_seed_and_keys_alone():
    config = CondenseConfig(width=8)

    def weights(seed, *keys):
        return fresh_convnet((3, 32, 32), 10, config, seed, *keys).head.weight

    torch.manual_seed(1)
    first = weights(0, "network", 1)
    torch.manual_seed(2)
    assert torch.equal(first, weights(0, "network", 1))
    assert not torch.equal(first, weights(1, "network", 1))
    assert not torch.equal(first, weights(0, "network", 2))


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_a_fresh_network_leaves_the_global_random_state_alone(norm):
    before = torch.get_rng_state()
    fresh_convnet((3, 32, 32), 10, TrainConfig(width=8, norm=norm), 0)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 19, 19), (3, 32, 32)])
def test_any_depth_size_and_norm_runs_forward(shape, depth, norm):
    net = fresh_convnet(shape, 7, TrainConfig(width=5, depth=depth, norm=norm), 0)
    logits = net(torch.rand(2, *shape))
    assert logits.shape == (2, 7)
    assert torch.isfinite(logits).all()
    assert not any(p.is_meta for p in [*net.parameters(), *net.buffers()])


@pytest.mark.parametrize(
    ("channels", "size", "depth", "most"), [(3, 8, 4, 3), (3, 32, 6, 5), (1, 8, 4, 3), (1, 28, 6, 5), (3, 2, 3, 1)]
)
def test_a_depth_that_halves_the_image_away_is_named(channels, size, depth, most):
    message = f"depth {depth} halves an image of {size} pixels away: use {most} at most"
    with pytest.raises(ValueError, match=message):
        ConvNet(channels, size, 10, width=4, depth=depth)
    ConvNet(channels, size, 10, width=4, depth=most)(torch.rand(2, channels, size, size))


def test_images_that_are_not_square_are_named():
    with pytest.raises(ValueError, match="images of 40x32 pixels: networks here need square images"):
        fresh(shape=(3, 32, 40))
