"""Layers that read rounded numbers: fast where the machine computes with such numbers, imitated elsewhere."""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .config import Precision
from .machine import computes_in


def reduced(precision: Precision, device: torch.device) -> AbstractContextManager:
    """A context in which layers read and give numbers rounded to `precision`; sums within them are in float32.

    Norms and losses stay as they are. A machine without instructions for such numbers gives the same roundings, at the
    speed of float32: PyTorch's own convolutions of them are many times slower there. Compiled graphs may leave out
    roundings between their operations.

    >>> net, images = torch.nn.Linear(1, 1, bias=False), torch.ones(1, 1)
    >>> with reduced("bfloat16", images.device):
    ...     net(images).dtype
    torch.bfloat16
    """
    if precision == "float32":
        return nullcontext()
    dtype = getattr(torch, precision)
    return torch.autocast(device.type, dtype) if computes_in(dtype, device) else _Imitated(dtype)


def multipliable(numbers: Tensor) -> Tensor:
    """The same numbers in the type that this machine multiplies them in: float32 where it lacks their own."""
    return numbers if computes_in(numbers.dtype, numbers.device) else numbers.float()


class _Imitated(TorchFunctionMode):
    """Convolutions and matrix products in float32 of numbers rounded to `dtype`; derivatives are rounded likewise."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function not in (F.conv2d, F.linear):
            return function(*args, **(kwargs or {}))
        rounded = (a.to(self.dtype).float() if isinstance(a, Tensor) else a for a in args)
        return function(*rounded, **(kwargs or {})).to(self.dtype)
