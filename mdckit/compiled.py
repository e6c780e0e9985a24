"""Functions of a network and tensors as one compiled graph each, derivatives included."""

import copy
import threading
import warnings
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

MOST = 64  # graphs of a function: where every call has shapes of its own, compiling never pays
_compiler = ThreadPoolExecutor(1)  # PyTorch crashes where one thread traces after another that did so has ended


class Compiled:
    """`function(net, *tensors, **settings)` by TorchInductor: one graph for each shape of tensors and settings.

    What the function differentiates becomes part of the graph, so it may call `torch.autograd.grad`, twice if it likes;
    what it returns is detached. All networks it is called with must be of one architecture, without buffers. The first
    call with new shapes takes a minute, or seconds once PyTorch has the graph in its cache on disk. Where no graph can
    be compiled, for want of a C++ compiler say, a warning tells so, and the function runs as it is. Any number of
    threads may call.
    """

    def __init__(self, function: Callable):
        self.function = function
        self.graphs: dict[Hashable, Callable] = {}
        self.lock = threading.Lock()
        self.works = True

    def __call__(self, net: nn.Module, *tensors, **settings):
        graph = self._graph(net, tensors, settings)
        if graph is None:
            return self.function(net, *tensors, **settings)
        return graph(net, *tensors)

    def _graph(self, net, tensors, settings) -> Callable | None:
        shapes = tuple((t.shape, t.dtype, t.device) for t in pytree.tree_leaves(tensors))
        learning = tuple(p.requires_grad for p in net.parameters())
        key = shapes, learning, repr(sorted(settings.items()))
        with self.lock:
            if key not in self.graphs and self.works:
                self._compile(key, partial(self.function, **settings), net, tensors)
            return self.graphs.get(key)

    def _compile(self, key, function, net, tensors) -> None:
        reason = f"{MOST} graphs made already" if len(self.graphs) == MOST else None
        try:
            if reason is None:
                self.graphs[key] = compile_graph(function, net, *tensors)
        except Exception as error:  # PyTorch's compilers raise errors of many unrelated kinds
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if reason is not None:
            self.works = False
            warnings.warn(f"not compiled, goes on without: {reason}", RuntimeWarning, stacklevel=1)  # shown once


def compile_graph(function: Callable, net: nn.Module, *tensors) -> Callable:
    """`function(net, *tensors)` compiled for these shapes, to be called with a like network and tensors."""
    threads = torch.get_num_threads()
    try:
        return _compiler.submit(_trace_and_compile, function, net, tensors).result()
    finally:
        torch.set_num_threads(threads)  # a thread that has not computed yet would take over the compiler's setting


def _trace_and_compile(function: Callable, net: nn.Module, tensors: tuple) -> Callable:
    torch.set_num_threads(1)  # a second team of OpenMP threads in the process makes the first three times slower
    given, form = pytree.tree_flatten(tensors)
    names = [name for name, _ in net.named_parameters()]
    learning = [p.requires_grad for p in net.parameters()]
    holder, found = _Holder(copy.deepcopy(net), function), []  # tracing replaces the parameters of the network

    def flat(*values: Tensor) -> list[Tensor]:
        parameters = [v.detach().requires_grad_(learns) for v, learns in zip(values, learning, strict=False)]
        named = {f"net.{name}": p for name, p in zip(names, parameters, strict=True)}
        leaves, form_found = pytree.tree_flatten(
            functional_call(holder, named, tuple(pytree.tree_unflatten(values[len(names) :], form)))
        )
        found.append(form_found)
        return leaves

    values = _flat(net, given)
    traced = make_fx(flat)(*values)
    for node in traced.graph.nodes:
        node.meta.clear()  # what tracing noted of each value, which Inductor wants to find out for itself
    with torch.no_grad():
        graph = torch._inductor.compile(traced, values, options=_settings(values[0].device))

    def run(net: nn.Module, *tensors):
        with torch.no_grad():
            return pytree.tree_unflatten(graph(*_flat(net, pytree.tree_leaves(tensors))), found[0])

    return run


def _flat(net: nn.Module, tensors: list[Tensor]) -> list[Tensor]:
    return [value.detach().contiguous() for value in (*net.parameters(), *tensors)]


def _settings(device: torch.device) -> dict:
    settings = {"layout_optimization": False}  # small maps lose by other layouts
    if device.type == "cpu":  # there a worker has one core, and must not keep the others from Python
        settings |= {"cpp.threads": 1, "cpp_wrapper": True}
    return settings


class _Holder(nn.Module):
    """The function as a module, in which the parameters of the network can be replaced."""

    def __init__(self, net: nn.Module, function: Callable):
        super().__init__()
        self.net, self.function = net, function

    def forward(self, *tensors):
        return self.function(self.net, *tensors)
