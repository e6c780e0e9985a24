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
        return _NormReluPool.apply(images.to(self.weight.dtype).contiguous(), self.weight, self.bias, self.eps)


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
            by_x, by_weight, by_bias = _norm_backward(_spread(error, y), x, mean, r, weight)
            return by_x, by_weight.sum(0), by_bias.sum(0), None
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
        by_x, *sums = _norm_backward(of_y, x, mean, r, weight)
        ctx.save_for_backward(of_y, x, weight, y, mean, r, *sums)
        return by_x

    @staticmethod
    @once_differentiable
    def backward(ctx, v: Tensor) -> tuple:
        """With e the error of y, the error of x is r gamma (e - <e> - x^ <e x^>), <> the mean over a channel.

        That is symmetric in e and v, the gradient by what it gave, so that the gradient by e is the same formula for v.
        By x it is r^2 gamma (-s x^ + 2 <e x^> <v x^> x^ - <v x^> (e - <e>) - <e x^> (v - <v>)),
        s = <e v> - <e> <v> - <e x^> <v x^>.
        """
        e, x, weight, y, mean, r, e_x, e_mean = ctx.saved_tensors
        v, pixels = v.contiguous(), x[0, 0].numel()
        by_y, v_x, v_mean = _norm_backward(v, x, mean, r, weight)
        by_error = _halve(torch.ops.aten.threshold_backward(by_y, y, 0))
        sums = e_x, e_mean, v_x, v_mean, _product_sums(e, v)
        e_x, e_mean, v_x, v_mean, e_v = (total / pixels for total in sums)
        s = e_v - e_mean * v_mean - e_x * v_x
        scale = -r * r * weight
        by_x, by_e, by_v = scale * r * (s - 2 * e_x * v_x), scale * v_x, scale * e_x
        constant = -(by_x * mean + by_e * e_mean + by_v * v_mean)
        by_x, by_e, by_v, constant = (factor[:, :, None, None] for factor in (by_x, by_e, by_v, constant))
        gradient = torch.addcmul(constant, x, by_x).addcmul_(e, by_e).addcmul_(v, by_v)
        by_weight = (r * s).sum(0) * pixels if ctx.needs_input_grad[2] else None
        return by_error, gradient, by_weight, None, None, None


def _norm_backward(error: Tensor, x: Tensor, mean: Tensor, r: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The error of x from that of the norm's output e, and the sums of e x^ and of e over each channel, (P, width)."""
    by_x, e_x, e_sum = _kernel(error, x, mean, r, weight, (True, True, True))
    return by_x.view_as(x), e_x.view_as(mean), e_sum.view_as(mean)


def _product_sums(a: Tensor, b: Tensor) -> Tensor:
    """The sum of the products over each channel, (P, width): e x^ of the kernel where x^ is x."""
    zero, one = a.new_zeros(a.shape[:2]), a.new_ones(a.shape[:2])
    return _kernel(a, b, zero, one, one[0], (False, True, False))[1].view_as(zero)


def _kernel(error, x, mean, r, weight, wanted) -> tuple:
    # To the kernel the channels of all images are those of one image, so that what it gives as the gradients of
    # gamma and beta are sums over each channel of each image.
    count, width, height, breadth = x.shape
    sizes = 1, count * width, height * breadth
    given = error.view(sizes), x.view(sizes), mean.view(1, -1), r.view(1, -1), weight.repeat(count)
    return torch.ops.aten.native_group_norm_backward(*given, *sizes, sizes[1], wanted)


def _halve(images: Tensor) -> Tensor:
    """The mean of every 2 x 2 pixels; the last row and column of an odd side are left out."""
    height, width = images.shape[-2] // 2 * 2, images.shape[-1] // 2 * 2
    rows = images[..., 0:height:2, :width] + images[..., 1:height:2, :width]
    return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)


def _spread(error: Tensor, y: Tensor) -> Tensor:
    """The transpose of `_halve` to the size of y, and that of ReLU: a quarter for every pixel where y > 0.

    A row of errors makes two rows of pixels at once, by a matrix product: faster than copying numbers one by one.
    """
    height, width = error.shape[-2:]
    pair = torch.eye(width, dtype=y.dtype, device=y.device).mul_(0.25).repeat_interleave(2, 1).repeat(1, 2)
    full = (error.reshape(-1, width) @ pair).view(*error.shape[:2], 2 * height, 2 * width)
    if full.shape != y.shape:
        full = F.pad(full, (0, y.shape[-1] - 2 * width, 0, y.shape[-2] - 2 * height))
    return torch.ops.aten.threshold_backward(full, y, 0)
