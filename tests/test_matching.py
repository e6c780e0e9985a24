"""The hot path against separate passes, in float64."""

import pytest
import reference
import torch

from mdckit.baselines import all_prefixes
from mdckit.config import CondenseConfig
from mdckit.lockstep import image_step
from mdckit.matching import (
    feature_distances,
    group_pass,
    group_sizes,
    image_labels,
    match_prefixes,
    prefix_loss,
    real_gradients,
)
from mdckit.networks import fresh_convnet

pytestmark = pytest.mark.usefixtures("float64")

IPC, PER_IMAGE, LABEL = 4, 4, 1
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(params=[(1, 8, 8), (3, 16, 16)], ids=["grey", "rgb"])
def case(request):
    """A network, the patches of one class and real images of it."""
    net = fresh_convnet(request.param, 3, CondenseConfig(width=4, depth=2), 0)
    random = torch.Generator().manual_seed(1)
    patches = torch.randn(IPC * PER_IMAGE, *request.param, generator=random)
    return net, patches, torch.randn(5, *request.param, generator=random) * 2


def matched(net, patches, real, prefixes, weights, distance):
    """Loss and pixel gradient of `mdckit`, with one group per prefix."""
    x = patches.clone().requires_grad_()
    sizes = group_sizes(prefixes, [PER_IMAGE] * IPC)
    done = group_pass(net, x, image_labels([LABEL], [len(x)]), sizes, create_graph=True)
    target, _ = real_gradients(net, [real], [LABEL])
    (loss,) = prefix_loss(done.gradients, [sizes], [weights], target, distance)
    return loss.detach(), torch.autograd.grad(loss, x)[0]


def expected(net, patches, real, loss_of):
    """Loss and pixel gradient of the reference."""
    net = reference.ConvNet(net)
    x = patches.clone().requires_grad_()
    target = [g.detach() for g in reference.gradients(net, real, LABEL)]
    loss = loss_of(net, x, LABEL, target)
    return loss.detach(), torch.autograd.grad(loss, x)[0]


def assert_same(found, wanted):
    assert wanted[0] > 1e-3
    assert wanted[1].abs().amax((1, 2, 3)).min() > 1e-6  # every patch gets a gradient
    torch.testing.assert_close(found, wanted, **CLOSE)


def test_real_gradients_are_those_of_the_mean_loss(case):
    net, _, real = case
    found, features = real_gradients(net, [real[:3], real], [2, LABEL])  # classes need not be equally large
    assert not any(g.requires_grad for g in found)
    for b, (images, label) in enumerate([(real[:3], 2), (real, LABEL)]):
        wanted = reference.gradients(reference.ConvNet(net), images, label)
        torch.testing.assert_close([g[b] for g in found], wanted, **CLOSE)
        torch.testing.assert_close(features[b], net.embed(images).mean(0).flatten().detach(), **CLOSE)


@pytest.mark.parametrize("distance", ["l2", "l1"])
class TestLoss:
    def test_one_group_is_the_whole_set(self, case, distance):
        found = matched(*case, [IPC], [1.0], distance)
        assert_same(found, expected(*case, lambda *a: reference.whole_loss(*a, distance)))

    @pytest.mark.parametrize("subset", [1, 3])
    def test_head_and_tail_are_whole_and_subset(self, case, distance, subset):
        found = matched(*case, [subset, IPC], [1.0, 1.0], distance)
        wanted = expected(*case, lambda *a: reference.subset_loss(*a, distance, subset * PER_IMAGE))
        assert_same(found, wanted)

    @pytest.mark.parametrize("decay", [0, 1])
    def test_a_group_per_image_gives_all_prefixes(self, case, distance, decay):
        weights = list(all_prefixes(decay=decay).weights(IPC, mls=None).values())
        found = matched(*case, [1, 2, 3, 4], weights, distance)
        assert_same(found, expected(*case, lambda *a: reference.all_prefix_loss(*a, distance, PER_IMAGE, decay)))

    def test_a_prefix_without_weight_adds_nothing(self, case, distance):
        found = matched(*case, [2, IPC], [0.0, 1.0], distance)
        assert_same(found, expected(*case, lambda *a: reference.whole_loss(*a, distance)))


def test_squared_l2_is_the_sum_of_squares_not_their_root(case):
    net, patches, real = case
    target = reference.gradients(net, real, LABEL)
    syn = reference.gradients(net, patches, LABEL)
    by_hand = sum(((a - b).flatten() ** 2).sum() for a, b in zip(syn, target, strict=True))
    found, _ = matched(net, patches, real, [IPC], [1.0], "l2")
    torch.testing.assert_close(found, by_hand, **CLOSE)


def test_feature_distances_are_those_of_separate_passes(case):
    net, patches, real = case
    done = group_pass(net, patches, image_labels([LABEL], [len(patches)]), [len(patches)], create_graph=False)
    found = feature_distances(done.features[None], real_gradients(net, [real], [LABEL])[1], [PER_IMAGE] * IPC)
    wanted = reference.feature_distances(net, patches, real, PER_IMAGE)
    assert found.shape == (1, IPC - 1)
    torch.testing.assert_close(found[0], torch.tensor(wanted), **CLOSE)


@pytest.mark.parametrize("distance", ["l2", "l1"])
def test_gradient_distances_of_all_prefixes_are_those_of_separate_passes(case, distance):
    net, patches, real = case
    target, _ = real_gradients(net, [real], [LABEL])
    labels, weights = image_labels([LABEL], [len(patches)]), torch.zeros(1, IPC)
    found = match_prefixes(net, patches, labels, weights, target, [[PER_IMAGE] * IPC], distance)
    wanted = reference.gradients(net, real, LABEL)
    for n in range(1, IPC + 1):
        alone = reference.whole_loss(net, patches[: n * PER_IMAGE], LABEL, wanted, distance)
        torch.testing.assert_close(found.distances[0, n - 1], alone.detach(), **CLOSE)


@pytest.mark.parametrize("distance", ["l2", "l1"])
def test_classes_in_one_pass_are_matched_as_if_alone(case, distance):
    net, patches, real = case
    sizes, weights, labels = [[4, 12], [8, 8]], [[1.0, 0.5], [0.0, 2.0]], [LABEL, 0]
    x = torch.cat([patches, patches.flip(0) * 0.5]).requires_grad_()
    target, _ = real_gradients(net, [real, real[:2]], labels)
    done = group_pass(net, x, image_labels(labels, [len(patches)] * 2), [4, 12, 8, 8], create_graph=True)
    found = prefix_loss(done.gradients, sizes, weights, target, distance)
    for b in range(2):
        alone = group_pass(net, x[16 * b : 16 * (b + 1)], torch.full((16,), labels[b]), sizes[b], create_graph=True)
        (wanted,) = prefix_loss(
            alone.gradients, sizes[b : b + 1], weights[b : b + 1], [g[b:][:1] for g in target], distance
        )
        torch.testing.assert_close(found[b], wanted, **CLOSE)


def test_hooks_are_removed_even_after_an_error(case):
    net, patches, _ = case
    with pytest.raises(RuntimeError):
        group_pass(net, patches[:, :, :, :0], image_labels([LABEL], [len(patches)]), [len(patches)], create_graph=False)
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("classes", [1, 2, 5, 10])
def test_image_step_is_one_sgd_step_per_class(classes, momentum):
    """Positions are compared when the class's gradient is due, so the gradients depend on them."""
    random = torch.Generator().manual_seed(classes)
    start, target = torch.randn(2, classes, 2, 3, generator=random)
    noise = torch.randn(5, classes, 2, 3, generator=random)

    def gradient_of(k, c, x):
        return 0.7 * (x - target[c]) + noise[k, c]

    wanted = reference.shared_sgd(start, gradient_of, iterations=5, lr=0.3, momentum=momentum)
    images, velocity = start.clone(), torch.zeros_like(start)
    for k in range(5):
        torch.testing.assert_close(images, wanted[k], rtol=1e-12, atol=1e-12)
        gradient = torch.stack([gradient_of(k, c, images[c]) for c in range(classes)])
        image_step(images, velocity, gradient, 0.3, momentum)
    torch.testing.assert_close(images, wanted[5], rtol=1e-12, atol=1e-12)
