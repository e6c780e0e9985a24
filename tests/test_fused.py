"""NormReluPool against PyTorch's three modules in float64: values, gradients, second derivatives, odd sides."""

import pytest
import torch
from torch import nn

from mdckit.fused import NormReluPool

SHAPES = [(2, 3, 4, 6), (1, 3, 7, 5), (3, 3, 2, 3)]


def both(shape):
    """The block, the modules it stands for with the same weights, and images."""
    random = torch.Generator().manual_seed(0)
    block, width = NormReluPool(shape[1]).double(), shape[1]
    with torch.no_grad():
        block.weight.uniform_(-1.5, 1.5, generator=random)
        block.bias.uniform_(-0.5, 0.5, generator=random)
    norm = nn.GroupNorm(width, width).double()
    norm.load_state_dict(block.state_dict())
    images = torch.randn(shape, dtype=torch.float64, generator=random) * 3 + 1
    return block, nn.Sequential(norm, nn.ReLU(), nn.AvgPool2d(2)), images.requires_grad_()


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_the_three_modules(shape):
    block, modules, images = both(shape)
    found = [
        (net(images), *torch.autograd.grad(net(images).square().sum(), [images, *net.parameters()]))
        for net in (block, modules)
    ]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("shape", SHAPES)
def test_second_derivatives_by_images_errors_and_weights_are_those_of_the_three_modules(shape):
    block, modules, images = both(shape)
    random = torch.Generator().manual_seed(1)
    error = torch.randn(modules(images).shape, dtype=torch.float64, generator=random).requires_grad_()
    found = []
    for net in (block, modules):
        weights = list(net.parameters())
        gradients = torch.autograd.grad(net(images), [images, *weights], error, create_graph=True)
        loss = sum(gradient.sin().sum() for gradient in gradients)
        found.append(torch.autograd.grad(loss, [images, error, *weights]))
    torch.testing.assert_close(*found)


def test_images_need_not_lie_in_order_in_memory():
    block, modules, images = both((2, 3, 4, 6))
    found = []
    for net in (block, modules):
        turned = images.detach().transpose(2, 3).requires_grad_()
        (gradient,) = torch.autograd.grad(net(turned).square().sum(), turned, create_graph=True)
        found.append(torch.autograd.grad(gradient.square().sum(), turned))
    torch.testing.assert_close(*found)


def test_second_derivatives_are_those_of_finite_differences():
    block, _, images = both((2, 3, 4, 4))
    assert torch.autograd.gradgradcheck(lambda x: block(x), (images.detach().requires_grad_(),))


def test_weights_need_not_require_a_gradient():
    block, _, images = both((2, 3, 4, 6))
    expected = torch.autograd.grad(block(images).square().sum(), images, create_graph=True)[0]
    block.requires_grad_(False)
    found = torch.autograd.grad(block(images).square().sum(), images, create_graph=True)[0]
    torch.testing.assert_close(found, expected)
    assert torch.autograd.grad(found.square().sum(), images)[0].abs().sum() > 0
