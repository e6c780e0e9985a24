"""Time and memory of a run, told before it starts, and runs that would not fit."""

import subprocess
import sys

import pytest
import torch

from mdckit import baselines, condense, condense_steps, cost, estimate, from_arrays, memory
from mdckit.config import CondenseConfig
from mdckit.cost import Estimate
from mdckit.rng import generator

CPU = torch.device("cpu")
RECIPES = [baselines.baseline_c(), baselines.mdc(), baselines.all_prefixes()]


def tiny(side=8, classes=2):
    labels = torch.arange(classes).repeat(12)
    images = torch.randint(0, 256, (len(labels), 1, side, side), generator=generator(0, "images")).byte()
    return from_arrays(images, labels, images[:classes], labels[:classes])


def config(**changes):
    settings = {"ipc": 3, "factor": 1, "outer": 4, "inner": 5, "period": 2, "width": 4, "depth": 1, "net_images": 8}
    return CondenseConfig(**settings | {"batch_real": 8} | changes)


def free(monkeypatch, count):
    monkeypatch.setattr(memory, "free_memory", lambda device: count)


def test_an_estimate_is_of_all_iterations_and_all_pretraining(monkeypatch):
    clock = iter([100.0, 107.0, 110.0, 112.0, 50.0, 52.0, 54.0])  # four iterations, three batches of pretraining
    monkeypatch.setattr(cost, "_now", lambda device: next(clock))
    found = estimate(tiny(), RECIPES, config(pretrain=2, net_batch=8), device="cpu")
    assert (found.iterations, found.iteration) == (20, 3.0)
    assert found.pretraining == 4 * 2 * 3 * 2.0  # outer loops x epochs x batches x seconds
    assert found.seconds == 108.0


def test_an_estimate_in_words():
    found = Estimate(2000, 1.2345, 60.0, 0.0, 3_000_000_000, 8_040_000_000, "cpu")
    assert str(found) == (
        "about 0:42:09 (2,000 iterations of 1.23 s and 0:01:00 of pretraining) "
        "and up to 3.0 GB of 8.0 GB free memory on cpu"
    )


def test_an_estimate_is_near_what_the_run_takes():
    found = estimate(tiny(), RECIPES, config(), device="cpu")
    stamps = [cost._now(CPU) for _ in condense_steps(tiny(), RECIPES, config(), device="cpu")]
    assert found.seconds < 20 * (stamps[-1] - stamps[0])
    assert found.seconds > (stamps[-1] - stamps[0]) / 20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "network", ["width=64", "network='resnet10_ap', width=16", "network='resnet10_ap', width=64, factor=1"]
)
def test_the_estimated_memory_holds_the_run_and_is_no_fantasy(network):
    """In a fresh process, whose peak is the run's."""
    code = """if True:
        import re, torch
        from pathlib import Path
        from mdckit import baselines, condense_steps, from_arrays
        from mdckit.config import CondenseConfig
        from mdckit.memory import memory_needed

        torch.set_num_threads(2)
        images = torch.randint(0, 256, (80, 3, 32, 32)).byte()
        labels = torch.arange(2).repeat(40)
        data, recipes = from_arrays(images, labels, images, labels), [baselines.mdc(), baselines.all_prefixes()]
        config = CondenseConfig(**dict(ipc=10, factor=2, outer=1, inner=2, net_images=8) | dict(NETWORK))
        torch.nn.functional.conv2d(torch.rand(2, 3, 8, 8), torch.rand(4, 3, 3, 3))

        def memory(which):  # getrusage's peak would be that of the process that started this one, if that is higher
            return 1024 * int(re.search(which + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

        before = memory("VmRSS")
        needed = memory_needed(data, recipes, config, torch.device("cpu"))
        for _ in condense_steps(data, recipes, config, device="cpu"):
            pass
        print(needed, memory("VmHWM") - before)
    """
    code = code.replace("NETWORK", network)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    needed, grown = map(int, done.stdout.split())
    assert grown < needed < 5 * grown


@pytest.mark.parametrize("call", [condense, condense_steps, estimate])
def test_a_run_that_would_not_fit_is_refused_with_what_fits(monkeypatch, call):
    data, asked = tiny(side=32), config(ipc=12, width=512, depth=3)
    enough = memory.memory_needed(data, RECIPES, asked.replace(ipc=7), CPU)
    free(monkeypatch, enough)
    with pytest.raises(MemoryError, match=r"^ipc 12 at width 512 asked, .* GB are free on cpu: ask for ipc 7 or width"):
        call(data, RECIPES, asked, device="cpu")
    memory.require_memory(data, RECIPES, asked.replace(ipc=7), CPU)
    with pytest.raises(MemoryError):
        memory.require_memory(data, RECIPES, asked.replace(ipc=8), CPU)


def test_where_nothing_fits_the_error_says_so(monkeypatch):
    free(monkeypatch, 1000)
    with pytest.raises(MemoryError, match=r"0.0 GB are free on cpu: free memory or ask for fewer recipes$"):
        memory.require_memory(tiny(), RECIPES, config(), CPU)


@pytest.mark.parametrize("change", [{"ipc": 12}, {"width": 1024}, {"batch_real": 4096}])
def test_more_takes_more_memory(change):
    small = config(width=512, ipc=6)
    larger = small.replace(**change)
    assert memory.memory_needed(tiny(32), RECIPES, larger, CPU) > memory.memory_needed(tiny(32), RECIPES, small, CPU)
