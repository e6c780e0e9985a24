"""What the machine offers: the one place that picks a device, and the versions a result depends on."""

import os
import platform
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import psutil
import torch


def pick_device(name: str | None = None) -> torch.device:
    """The device to compute on: the named one, else an accelerator if there is one, else the CPU.

    Raises ValueError for a name PyTorch does not know and for a device this machine lacks.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    count = torch.cuda.device_count()
    if name is None:
        return torch.device("cuda" if count else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {name!r}: use 'cpu', 'cuda' or 'cuda:N'")
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ValueError(f"device {name!r} asked, but this machine has {count} CUDA devices: use 'cpu'")
    return device


def device_of_rank(name: str | None, local: int) -> torch.device:
    """The device of process number `local` of those on this machine: a GPU of its own, from then on the current one.

    Raises ValueError as `pick_device` does, and for a device with a number, which only one process could have.

    >>> device_of_rank("cpu", local=1)
    device(type='cpu')
    """
    device = pick_device(name)
    if device.type == "cpu":
        return device
    if device.index is not None:
        raise ValueError(f"device {name!r} asked of every rank: leave the number out, each takes a GPU of its own")
    if local >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ValueError(f"{local + 1} ranks or more on a machine with {count} CUDA devices: start {count} at most")
    device = torch.device("cuda", local)
    torch.cuda.set_device(device)
    return device


def backend(device: torch.device) -> str:
    """How processes that compute on such devices talk: tensors in main memory by gloo, those of GPUs by NCCL.

    >>> backend(torch.device("cpu"))
    'gloo'
    """
    return "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on `device`; on a CPU within the limit of the container, if there is one."""
    if device.type != "cpu":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by PyTorch, for what comes
        return torch.cuda.mem_get_info(device)[0] + kept
    free, group = psutil.virtual_memory().available, Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):  # no such file, or "max": no limit
        free = min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return free


def computes_in(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether `device` has instructions for numbers of `dtype`, or only imitates them."""
    if dtype != torch.bfloat16:
        return True
    if device.type == "cpu":
        return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.cuda.is_bf16_supported(including_emulation=False)


def versions() -> dict[str, str]:
    """Versions of what a result depends on, and the machine it was made on."""
    found = dict.fromkeys(("mdckit", "torch", "torchvision", "numpy"), "not installed")
    for name in found:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, GPU {gpu}"
    return found | {"python": platform.python_version(), "machine": machine}
