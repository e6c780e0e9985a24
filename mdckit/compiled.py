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

SETTINGS = {"cpp.threads": 1, "layout_optimization": False, "cpp_wrapper": True}
_compiler = ThreadPoolExecutor(1)  # PyTorch crashes where one thread traces after another that did so has ended
MOST = 64  # graphs of a function: where every call has shapes of its own, compiling never pays


class Compiled:
    """`function(net, *tensors, **settings)` by `torch.compile`: one graph for each shape of tensors and settings.

    What the function differentiates becomes part of the graph, so it may call `torch.autograd.grad`, twice if it likes;
    what it returns is detached. The first call with new shapes takes a minute, or seconds once PyTorch has the graph in
    its cache on disk. Where no graph can be compiled, for want of a C++ compiler say, a warning tells so once, and the
    function runs as it is. Any number of threads may call.
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
        with torch.no_grad():
            return graph(dict(net.named_parameters()), *tensors)

    def _graph(self, net, tensors, settings) -> Callable | None:
        shapes = tuple((t.shape, t.dtype, t.device) for t in pytree.tree_leaves(tensors))
        key = shapes, repr(sorted(settings.items()))
        with self.lock:
            if key not in self.graphs and self.works and len(self.graphs) < MOST:
                try:
                    self.graphs[key] = compile_graph(partial(self.function, **settings), net, *tensors)
                except Exception as error:  # PyTorch's compilers raise errors of many unrelated kinds
                    self.works = False
                    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                    warnings.warn(f"not compiled, goes on without: {reason}", RuntimeWarning, stacklevel=4)
            return self.graphs.get(key)


def compile_graph(function: Callable, net: nn.Module, *tensors) -> Callable:
    """`function(net, *tensors)` as a graph of the parameters and tensors, compiled for their shapes and run once."""
    return _compiler.submit(_compile, torch.get_num_threads(), function, net, *tensors).result()


def _compile(threads: int, function: Callable, net: nn.Module, *tensors) -> Callable:
    torch.set_num_threads(threads)  # a graph is compiled anew where another number is set
    parameters = dict(net.named_parameters())
    holder = _Holder(copy.deepcopy(net), function)  # tracing replaces its parameters for a while
    graph = make_fx(partial(_call, holder))(parameters, *tensors)
    compiled = torch.compile(graph, dynamic=False, options=SETTINGS)
    with torch.no_grad():
        compiled(parameters, *tensors)
    return compiled


class _Holder(nn.Module):
    """The function as a module, in which the parameters of the network can be replaced."""

    def __init__(self, net: nn.Module, function: Callable):
        super().__init__()
        self.net, self.function = net, function

    def forward(self, *tensors):
        return self.function(self.net, *tensors)


def _call(holder: _Holder, parameters: dict[str, Tensor], *tensors):
    given = {f"net.{name}": value.detach().requires_grad_(value.requires_grad) for name, value in parameters.items()}
    return functional_call(holder, given, tensors)
