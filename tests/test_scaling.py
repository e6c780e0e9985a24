"""The plan of a large condensation: counts by hand, shares of ranks, and what ranks really send."""

import pytest
import torch

from mdckit import CondenseConfig, ImageData, baselines, scaling
from mdckit.memory import memory_needed, require_memory, working_memory
from mdckit.ranks import Ranks
from mdckit.streams import RealImages, stays_on

CONFIG = CondenseConfig(ipc=2, factor=2, width=8, depth=1, net_images=10, net_batch=4, inner=3, outer=2, pretrain=1)
SPEED = scaling.Speed(teraflops=1.0, network=2.0, reading=5.0)
WORK = {"real": 1e9, "patch": 3e9, "learned": 2e9}


def shapes(classes=10, images=100, device="meta"):
    """Images of which only sizes are known."""
    x, y = torch.empty(images, 3, 8, 8, dtype=torch.uint8, device=device), torch.empty(images, device=device)
    return ImageData(x, y, x, y, tuple(map(str, range(classes))), (0.5,) * 3, (1.0,) * 3)


def test_operations_are_those_counted_by_hand():
    found = scaling.operations((3, 8, 8), 10, CONFIG.replace(norm="none"))
    convolution, head = 2 * 8 * 3 * 9 * 64, 2 * 10 * 8 * 16
    gradient = convolution + 2 * head  # of the output of the convolution: through the head and back
    assert found["real"] == gradient + convolution  # and then of the weights
    assert found["learned"] == convolution + head + (convolution + 2 * head)  # by weights, and by what the head saw
    assert found["patch"] > 2 * found["real"]


def test_work_is_shared_and_messages_are_not():
    one, four = (scaling.plan(shapes(), baselines.mdc(), CONFIG, gpus, WORK, SPEED) for gpus in (1, 4))
    matching = 2 * 3 * 10 * (64 * 1e9 + 8 * 3e9)  # outer x inner x classes x (real images and patches)
    assert one.hours["matching"] * 3600 == pytest.approx(matching / 1e12)
    assert four.hours["matching"] / one.hours["matching"] == pytest.approx(3 / 10)  # a rank has three classes
    assert one.hours["network"] * 3600 == pytest.approx(2 * 2 * 3 * 4 * 2e9 / 1e12)  # three batches of 4, twice a loop
    assert one.hours["pretraining"] * 3600 == pytest.approx(2 * 25 * 4 * 2e9 / 1e12)
    assert four.hours["network"] == pytest.approx(one.hours["network"] / 4)
    assert one.hours["messages"] == one.gradients == one.distances == 0
    weights = 8 * 27 + 8 + 16 + 128 * 10 + 10
    assert four.gradients == pytest.approx((2 * 3 + 25) * 2 * 3 / 4 * weights * 4)
    assert one.checkpoint == four.checkpoint == 2 * 10 * 2 * 3 * 64 * 4
    assert one.total == pytest.approx(sum(one.hours.values()))
    assert four.memory < one.memory


def test_twice_the_speed_takes_half_the_time():
    work = {"matching", "network", "pretraining"}
    for parts, name in [(work, "teraflops"), ({"messages"}, "network"), ({"reading"}, "reading")]:
        speeds = [scaling.Speed(**(vars(SPEED) | {name: factor * getattr(SPEED, name)})) for factor in (1, 2)]
        slow, fast = (scaling.plan(shapes(), baselines.mdc(), CONFIG, 4, WORK, speed) for speed in speeds)
        halves = {part: hours / 2 if part in parts else hours for part, hours in slow.hours.items()}
        assert fast.hours == pytest.approx(halves)


def test_ranks_take_less_memory_and_share_that_of_their_machine(monkeypatch):
    data, recipes, cpu = shapes(classes=100, device="cpu"), [baselines.mdc()], torch.device("cpu")
    config = CONFIG.replace(ipc=30)
    half = Ranks(count=2, classes=(range(50), range(50, 100)), here=2)
    whole = working_memory(data, recipes, config, cpu)
    assert whole - working_memory(data, recipes, config, cpu, half) == 3 * 50 * 30 * 3 * 64 * 4  # pixels of 50 classes
    monkeypatch.setattr("mdckit.memory.free_memory", lambda device: whole)
    require_memory(data, recipes, config, cpu)
    with pytest.raises(MemoryError):  # both would need more than there is
        require_memory(data, recipes, config, cpu, half)


def test_real_images_that_do_not_fit_on_a_device_are_read_batch_by_batch(monkeypatch, grey, tiny):
    for free, kept in [(2 * grey.x_train.nbytes, True), (2 * grey.x_train.nbytes - 1, False)]:
        monkeypatch.setattr("mdckit.streams.free_memory", lambda device, free=free: free)
        assert stays_on(grey, scaling.GPU) is kept
        real = RealImages(grey, tiny, scaling.GPU)
        assert real.images.is_meta is kept
        assert real.class_batch(0, 1, 1).is_meta
        assert all(images.is_meta and len(images) == 4 for images, _, _ in real.network_batches(1, 1))
        recipes = [baselines.mdc()]
        needed = memory_needed(grey, recipes, tiny, scaling.GPU) - working_memory(grey, recipes, tiny, scaling.GPU)
        assert needed == (grey.x_train.nbytes if kept else 0)
