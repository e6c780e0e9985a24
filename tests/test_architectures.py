"""The other networks: their sizes, their randomness, and that they train and condense."""

import threading

import pytest
import reference
import torch
from torch import nn

from mdckit import baselines, matching
from mdckit.architectures import OTHERS, densenet, resnet10, resnet10_ap, resnet_18
from mdckit.condense import condense
from mdckit.condensed import CondensedSet
from mdckit.config import NETWORKS, CondenseConfig, TrainConfig
from mdckit.evaluate import evaluate
from mdckit.initialisation import start
from mdckit.networks import fresh_network
from mdckit.pruning.dynamics import record_dynamics

EVERY = pytest.mark.parametrize("name", [name for name in NETWORKS if name != "convnet"])


def fresh(name, shape=(3, 16, 16), seed=0, **settings):
    return fresh_network(shape, 3, TrainConfig(network=name, width=4, **settings), seed, "test")


def count(net):
    return sum(p.numel() for p in net.parameters())


def test_sizes_are_those_of_the_papers():
    assert count(resnet10(3, 32, 10)) == 1_228_970
    assert count(resnet10(3, 32, 10, width=64)) == 4_903_242
    assert count(densenet(3, 32, 10)) == 1_000_618
    assert count(resnet_18(3, 224, 10)) == 11_181_642
    large = resnet10_ap(3, 224, 10)
    assert count(large) == 4_910_922
    matched = [module.weight for module in large.modules() if isinstance(module, nn.Conv2d)]
    assert (len(matched), sum(w.numel() for w in matched)) == (12, 4_900_032)


@pytest.mark.parametrize(("size", "side"), [(224, 7), (128, 8), (64, 8), (32, 4), (28, 3)])
def test_features_of_resnet10_ap_are_its_last_maps(size, side):
    net = resnet10_ap(3, size, 10, width=2)
    assert net.embed(torch.rand(1, 3, size, size)).shape == (1, 16, side, side)


def test_every_network_has_a_name_and_every_name_a_network():
    assert {"convnet", "resnet10_ap", *OTHERS} == set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_head_is_linear_in_the_vectors_of_an_image(name):
    net, images = fresh(name, (3, 32, 32)).eval(), torch.rand(5, 3, 32, 32)
    with torch.no_grad():
        vectors, logits = net.vectors(net.embed(images)), net(images)
    linear = next(module for module in reversed(list(net.head.modules())) if isinstance(module, nn.Linear))
    assert vectors.shape == (5, linear.in_features)
    torch.testing.assert_close(linear(vectors), logits)


@EVERY
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 96, 96)], ids=str)
def test_logits_of_all_shapes(name, shape):
    net, images = fresh(name, shape).eval(), torch.rand(2, *shape)
    with torch.no_grad():
        features = net.embed(images)
        assert torch.equal(net.classify(features), net(images))
    assert net(images).shape == (2, 3)


@EVERY
def test_weights_depend_on_seed_alone_and_leave_the_global_randomness_as_it_was(name):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = torch.cat([p.detach().flatten() for p in fresh(name).parameters()])
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(7)
    found = {}
    threads = [threading.Thread(target=lambda s=s: found.update({s: fresh(name, seed=s)})) for s in (0, 1, 0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again, other = (torch.cat([p.detach().flatten() for p in found[s].parameters()]) for s in (0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@EVERY
def test_every_layer_learns_in_the_first_step(name):
    net = fresh(name)
    nn.functional.cross_entropy(net(torch.rand(6, 3, 16, 16)), torch.arange(3).repeat(2)).backward()
    weights = {key: p.grad for key, p in net.named_parameters() if p.ndim > 1}
    assert [key for key, gradient in weights.items() if not (gradient != 0).any()] == []


@EVERY
def test_a_set_is_evaluated_and_its_dynamics_recorded_by_any_network(rgb, name):
    made = CondensedSet(rgb.first_images(2), 1, rgb.mean, rgb.std, rgb.classes)
    config = TrainConfig(network=name, width=4, epochs=2, evaluations=2, seeds=(0,))
    assert evaluate(made, rgb, config, device="cpu").best == evaluate(made, rgb, config, device="cpu").best
    assert record_dynamics(made, config, device="cpu", show_progress=False).final.shape == (6, 3)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("densenet", (3, 8, 8), "images of 8x8 pixels: network 'densenet' needs squares of 16 or more pixels a side$"),
        ("resnet18", (3, 32, 16), "images of 16x32 pixels: network 'resnet18' needs squares"),
        ("vit", (3, 30, 30), "images of 30x30 pixels: network 'vit' needs squares .*, a multiple of 4"),
        ("vit", (3, 100, 100), "images of 100x100 pixels: network 'vit' needs squares .*, a multiple of 16"),
    ],
)
def test_images_that_do_not_suit_are_refused(name, shape, message):
    with pytest.raises(ValueError, match=message):
        fresh(name, shape)


def test_networks_with_batch_norm_are_refused_for_condensation():
    with pytest.raises(ValueError, match=r"network 'densenet' asked for condensation, .*: use convnet or resnet10_ap"):
        CondenseConfig(network="densenet")
    for config in (CondenseConfig, TrainConfig):
        with pytest.raises(ValueError, match="unknown network 'vgg'"):
            config(network="vgg")


# --- condensation with ResNet10-AP


@pytest.mark.usefixtures("float64")
def test_gradients_of_all_convolutions_are_matched_also_along_shortcuts():
    net = fresh_network((3, 16, 16), 3, CondenseConfig(network="resnet10_ap", width=2), 0)
    random = torch.Generator().manual_seed(1)
    real, images = torch.randn(2, 4, 3, 16, 16, generator=random)
    target = reference.gradients(net, real, 1)
    wanted = reference.subset_loss(net, images.requires_grad_(), 1, target, "l2", 1)
    (by_images,) = torch.autograd.grad(wanted, images)
    gradients, _ = matching.real_gradients(net, [real], [1])
    assert len(gradients) == 12
    labels, weights = torch.ones(4, dtype=torch.int64), torch.ones(1, 2)
    found = matching.match_prefixes(net, images, labels, weights, gradients, [[1, 3]], "l2")
    torch.testing.assert_close(found.losses[0], wanted.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.by_images, by_images, rtol=1e-9, atol=1e-10)


def test_a_set_is_condensed_with_resnet10_ap(rgb, tiny):
    config = tiny.replace(network="resnet10_ap", width=2, outer=2, pretrain=1, lr=0.1)
    made = condense(rgb, [baselines.mdc()], config, device="cpu", show_progress=False)["mdc"]
    begun = start(rgb, [baselines.mdc()], config).sets["mdc"].images
    assert made.images.isfinite().all()
    assert (made.images - begun).abs().mean() > 1e-3
    assert made.info["config"]["network"] == "resnet10_ap"
