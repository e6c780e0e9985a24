"""Times of two sides in turn, peak memory, the machine's ceilings, and how near to them a piece of work comes."""

import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Row:
    """One line of the table: how often `slow` takes as long as `fast`, each repetition by itself."""

    name: str
    slow: str
    fast: str
    asked: float  # ratio
    ratios: tuple[float, ...]
    each: dict[str, list[float]]  # seconds of each repetition by side
    seconds: dict[str, float]  # median by side
    peak: dict[str, float]  # MiB by side
    more: dict = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    def record(self) -> dict:
        return asdict(self) | {"ratio": self.ratio, "met": self.ratio >= self.asked}

    def __str__(self) -> str:
        verdict = "met" if self.ratio >= self.asked else "missed"
        sides = ", ".join(f"{side} {self.seconds[side]:.3f} s {self.peak[side]:.0f} MiB" for side in self.seconds)
        spread = f"{min(self.ratios):.2f} to {max(self.ratios):.2f}"
        return f"{self.name:44} {self.ratio:5.2f} ({spread}), asked {self.asked:.2f}: {verdict}; {sides}"


def compare(name: str, asked: float, sides: Mapping[str, Callable], repeats: int, device: torch.device) -> Row:
    """Run the slow and the fast side in turn, `repeats` times after an untimed run of each."""
    seconds, peaks = {side: [] for side in sides}, {side: [] for side in sides}
    for _ in range(repeats + 1):
        for side, work in sides.items():
            taken, peak = measured(work, device)
            seconds[side].append(taken)
            peaks[side].append(peak)
    each = {side: values[1:] for side, values in seconds.items()}
    return row(name, asked, each, {side: max(values[1:]) for side, values in peaks.items()})


def total(name: str, asked: float, parts: Sequence[Row]) -> Row:
    """The row of parts that are done one after the other, repetition by repetition."""
    slow, fast = parts[0].slow, parts[0].fast
    each = {
        side: [sum(times) for times in zip(*(part.each[side] for part in parts), strict=True)] for side in (slow, fast)
    }
    return row(name, asked, each, {side: max(part.peak[side] for part in parts) for side in each})


def row(name: str, asked: float, each: Mapping[str, list[float]], peak: dict[str, float]) -> Row:
    """The row of times that were taken elsewhere: seconds of every repetition of the slow and of the fast side."""
    slow, fast = each
    ratios = tuple(a / b for a, b in zip(each[slow], each[fast], strict=True))
    return Row(
        name, slow, fast, asked, ratios, dict(each), {side: statistics.median(each[side]) for side in each}, peak
    )


def measured(work: Callable, device: torch.device) -> tuple[float, float]:
    """Seconds and peak memory in MiB: resident memory of the process, or allocated memory of the GPU."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
    elif sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")  # else the peak is that of all work so far
    begin = time.perf_counter()
    work()
    if cuda:
        torch.cuda.synchronize(device)
    taken = time.perf_counter() - begin
    if cuda:
        return taken, torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def ceilings(device: torch.device) -> dict[str, float]:
    """What the machine reaches at best: GFLOP/s of a large matrix product, GB/s of a large copy (read and written)."""
    a, b = torch.rand(2, 3072, 3072, device=device)
    source = torch.rand(2**26, device=device)
    target = torch.empty_like(source)
    product = statistics.median(measured(lambda: a @ b, device)[0] for _ in range(7))
    copy = statistics.median(measured(lambda: target.copy_(source), device)[0] for _ in range(7))
    return {"gflops": 2 * 3072**3 / product / 1e9, "gbytes": 2 * source.nbytes / copy / 1e9}


class _Demand(TorchDispatchMode):
    """Sums the floating-point operations of convolutions and matrix products, and the bytes of the tensors that all
    operations read and write, those that only look at memory left out.
    """

    def __init__(self):
        super().__init__()
        self.flop, self.bytes = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.flop += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=found)
        if not func.is_view:
            tensors = [*tree_leaves((args, kwargs)), *tree_leaves(found)]
            self.bytes += sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor))
        return found


def demand(work: Callable) -> dict[str, float]:
    """GFLOP of convolutions and matrix products, and GB that all operations read and write, of single-threaded work."""
    with _Demand() as counted:
        work()
    return {"gflop": counted.flop / 1e9, "gbyte": counted.bytes / 1e9}


def shares(work: Callable) -> dict[str, float]:
    """Share of the time of single-threaded work by kind of operation; the rest is Python and PyTorch's bookkeeping."""
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as found:
        begin = time.perf_counter()
        work()
        total = time.perf_counter() - begin
    seconds = {"convolution": 0.0, "matrix product": 0.0, "element-wise": 0.0}
    for event in found.key_averages():
        if event.key.startswith("aten::"):
            kind = "convolution" if "conv" in event.key else "matrix product" if "mm" in event.key else "element-wise"
            seconds[kind] += event.self_cpu_time_total / 1e6
    found = {kind: value / total for kind, value in seconds.items()}
    return found | {"rest": 1 - sum(found.values())}
