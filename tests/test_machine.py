"""The choice of a device, and the versions a result depends on."""

import pytest
import torch

from mdckit import pick_device
from mdckit.machine import computes_in, versions

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")


@pytest.mark.parametrize("name", ["gpu", "tpu", "", "cpu:x", "cuda:", "CPU", "mps", "meta"])
def test_an_unknown_device_is_named(name):
    with pytest.raises(ValueError, match=f"unknown device '{name}': use 'cpu', 'cuda' or 'cuda:N'"):
        pick_device(name)


def test_the_cpu_can_always_be_named():
    assert pick_device("cpu") == torch.device("cpu")


@without_gpu
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:3"])
def test_a_gpu_the_machine_lacks_is_named(name):
    with pytest.raises(ValueError, match=f"device '{name}' asked, but this machine has 0 CUDA devices: use 'cpu'"):
        pick_device(name)


@pytest.mark.parametrize(("count", "name"), [(0, "cpu"), (1, "cuda"), (4, "cuda")])
def test_a_gpu_is_taken_where_there_is_one(monkeypatch, count, name):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert pick_device() == torch.device(name)


def test_the_number_of_a_gpu_is_checked(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="device 'cuda:2' asked, but this machine has 2 CUDA devices"):
        pick_device("cuda:2")


def test_versions_name_the_libraries_and_the_machine():
    found = versions()
    assert set(found) == {"mdckit", "torch", "torchvision", "numpy", "python", "machine"}
    assert all(isinstance(value, str) and value for value in found.values())
    assert torch.__version__.startswith(found["torch"])
    assert "cores" in found["machine"]


def test_a_pytorch_without_its_library_of_convolutions_computes_in_no_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not computes_in(torch.bfloat16, torch.device("cpu"))
    assert computes_in(torch.float32, torch.device("cpu"))
