"""Instance norm, ReLU and pooling as one operation, whose first and second derivatives are written out.

Between two convolutions a condensation does nothing else, and left to PyTorch's automatic differentiation the second
derivatives of these three cost more than all convolutions: every one of some thirty small steps reads and writes the
feature maps once. Here x is the input, x^ = (x - mean) r with r = (var + eps)^(-1/2) within one channel of one image,
y = max(0, gamma x^ + beta), and z the mean of every 2 x 2 pixels of y.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class NormReluPool(nn.Module):
    """What ``GroupNorm(width, width)``, ReLU and ``AvgPool2d(2)`` compute in turn, faster and in less memory.

    Maps (P, width, H, W) to (P, width, H // 2, W // 2). Derivatives of first and second order are exact.

    >>> block = NormReluPool(width=1)
    >>> block(torch.tensor([[[[-1.0, 1.0], [-1.0, 1.0]]]])).item()
    0.4999...
    """

    def __init__(self, width: int, eps: float = 1e-5):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(width)), nn.Parameter(torch.empty(width))
        self.eps = eps
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set gamma to 1 and beta to 0."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, images: Tensor) -> Tensor:
        return _NormReluPool.apply(images, self.weight, self.bias, self.eps)


class _NormReluPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        count, width, height, breadth = x.shape
        y, mean, r = torch.native_group_norm(x, weight, bias, count, width, height * breadth, width, eps)
        ctx.save_for_backward(x, weight, bias, y.relu_(), mean, r)
        ctx.eps = eps
        return _halve(y)

    @staticmethod
    def backward(ctx, error: Tensor) -> tuple:
        x, weight, bias, y, mean, r = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return *_norm_backward(_spread(error, y), x, mean, r, weight, ctx.needs_input_grad[:3]), None
        by_x = _Error.apply(error, x, weight, y, mean, r)
        if not any(ctx.needs_input_grad[1:3]):
            return by_x, None, None, None
        z = F.avg_pool2d(F.relu(F.group_norm(x, len(weight), weight, bias, ctx.eps)), 2)
        return by_x, *torch.autograd.grad(z, (weight, bias), error, create_graph=True), None


class _Error(torch.autograd.Function):
    """The first derivative: from the error of z to that of x, linear in the former."""

    @staticmethod
    def forward(ctx, error: Tensor, x: Tensor, weight: Tensor, y: Tensor, mean: Tensor, r: Tensor) -> Tensor:
        of_y = _spread(error, y)
        ctx.save_for_backward(of_y, x, weight, y, mean, r)
        return _norm_backward(of_y, x, mean, r, weight)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx, v: Tensor) -> tuple:
        """With e the error of y, the error of x is r gamma (e - <e> - x^ <e x^>), <> the mean over a channel.

        That is symmetric in e and v, the gradient by what it gave, so that the gradient by e is the same formula for v.
        By x it is r^2 gamma (-s x^ + 2 <e x^> <v x^> x^ - <v x^> (e - <e>) - <e x^> (v - <v>)),
        s = <e v> - <e> <v> - <e x^> <v x^>.
        """
        e, x, weight, y, mean, r = ctx.saved_tensors
        v = v.contiguous()
        by_error = _halve(torch.ops.aten.threshold_backward(_norm_backward(v, x, mean, r, weight)[0], y, 0))
        mean, r, gamma = mean[..., None, None], r[..., None, None], weight[:, None, None]
        e_mean, v_mean = e.mean((2, 3), keepdim=True), v.mean((2, 3), keepdim=True)  # (P, width, 1, 1)
        e_x = r * (_mean_product(e, x) - e_mean * mean)
        v_x = r * (_mean_product(v, x) - v_mean * mean)
        s = _mean_product(e, v) - e_mean * v_mean - e_x * v_x
        scale = -r * r * gamma
        by_x, by_e, by_v = scale * r * (s - 2 * e_x * v_x), scale * v_x, scale * e_x
        constant = -(by_x * mean + by_e * e_mean + by_v * v_mean)
        gradient = torch.addcmul(constant, x, by_x).addcmul_(e, by_e).addcmul_(v, by_v)
        by_weight = (r * s).sum((0, 2, 3)) * x[0, 0].numel() if ctx.needs_input_grad[2] else None
        return by_error, gradient, by_weight, None, None, None


def _norm_backward(error, x, mean, r, weight, mask=(True, False, False)) -> tuple:
    count, width, height, breadth = x.shape
    sizes = (count, width, height * breadth, width)
    return torch.ops.aten.native_group_norm_backward(error, x, mean, r, weight, *sizes, mask)


def _mean_product(a: Tensor, b: Tensor) -> Tensor:
    """Mean of the product over each channel, (P, width, 1, 1), without a product in memory."""
    count, width, height, breadth = a.shape
    rows = count * width, height * breadth
    total = torch.bmm(a.reshape(rows).unsqueeze(1), b.reshape(rows).unsqueeze(2))
    return total.view(count, width, 1, 1) / (height * breadth)


def _halve(images: Tensor) -> Tensor:
    """The mean of every 2 x 2 pixels; the last row and column of an odd side are left out."""
    height, width = images.shape[-2] // 2 * 2, images.shape[-1] // 2 * 2
    rows = images[..., 0:height:2, :width] + images[..., 1:height:2, :width]
    return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)


def _spread(error: Tensor, y: Tensor) -> Tensor:
    """The transpose of `_halve` to the size of y, and that of ReLU: a quarter for every pixel where y > 0."""
    count, width, height, breadth = y.shape
    wide = (error * 0.25).repeat_interleave(2, -1)
    if (height, breadth) != (2 * error.shape[-2], wide.shape[-1]):
        full = torch.zeros_like(y)
        full[..., : 2 * error.shape[-2], : wide.shape[-1]] = wide.repeat_interleave(2, -2)
        return torch.ops.aten.threshold_backward(full, y, 0)
    pairs = (count, width, height // 2, 2, breadth)  # rows in pairs, so that no copy of the spread error is needed
    return torch.ops.aten.threshold_backward(wide.unsqueeze(3).expand(pairs), y.view(pairs), 0).view_as(y)
