"""One training step, shared out over workers or not."""

from contextlib import nullcontext

import pytest
import torch

from mdckit.config import CondenseConfig
from mdckit.networks import fresh_convnet
from mdckit.parallel import Pool
from mdckit.rng import generator
from mdckit.training import loss_gradients, train_step


def updated(workers, cutmix):
    """Weights and logits after two steps, in float64."""
    net = fresh_convnet((1, 8, 8), 3, CondenseConfig(width=4, depth=2), 0, "test").double()
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    images = torch.rand(7, 1, 8, 8, dtype=torch.float64, generator=generator(1, "images"))
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    with Pool(workers) if workers else nullcontext() as pool:
        for step in range(2):
            logits = train_step(net, optimizer, images, labels, "color_crop", cutmix, generator(2, step), pool)
    return [*net.parameters(), logits]


@pytest.mark.parametrize("cutmix", [0.0, 1.0])
@pytest.mark.parametrize("workers", [1, 2, 3, 16])
def test_workers_share_a_step_out_without_changing_it(workers, cutmix):
    threads = torch.get_num_threads()
    try:
        torch.testing.assert_close(updated(workers, cutmix), updated(0, cutmix), rtol=1e-12, atol=1e-12)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_the_loss_weighs_the_labels_and_those_pasted_in(share):
    net = fresh_convnet((1, 8, 8), 3, CondenseConfig(width=4, depth=2), 0, "test").double()
    images = torch.rand(4, 1, 8, 8, dtype=torch.float64, generator=generator(1, "images"))
    labels, pasted = [0, 2, 1, 2], [2, 0, 1, 0]
    log_p = net(images).log_softmax(1)
    wanted = 0.0
    for i in range(4):
        wanted = wanted - (share * log_p[i, labels[i]] + (1 - share) * log_p[i, pasted[i]]) / 4
    gradients = torch.autograd.grad(wanted, list(net.parameters()))
    weights = torch.tensor([share, 1 - share], dtype=torch.float64)
    found, by_parameters = loss_gradients(net, images, torch.tensor(labels), torch.tensor(pasted), weights)
    torch.testing.assert_close(found.log_softmax(1), log_p.detach())
    torch.testing.assert_close(by_parameters, gradients, rtol=1e-10, atol=1e-12)
