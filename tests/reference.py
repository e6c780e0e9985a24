"""Literal second implementations: one thing at a time, in plain loops, with a separate pass for every quantity.

They follow the papers and the behaviour of their released code, and share no code with `mdckit`: the network, the
augmentation and the batches are arguments. They are oracles for the tests and the baseline of the benchmark.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# --- network


class ConvNet(nn.Module):
    """PyTorch's own modules one after the other, with the weights of an `mdckit` ConvNet with instance norm."""

    def __init__(self, net):
        super().__init__()
        blocks = []
        for conv in (module for module in net.modules() if isinstance(module, nn.Conv2d)):
            width = conv.out_channels
            twin = nn.Conv2d(conv.in_channels, width, 3, padding=conv.padding)
            blocks += [twin, nn.GroupNorm(width, width), nn.ReLU(), nn.AvgPool2d(2)]
        self.body = nn.Sequential(*blocks)
        self.head = nn.Linear(net.head.in_features, net.head.out_features)
        self.to(net.head.weight)
        self.load_state_dict(dict(zip(self.state_dict(), net.state_dict().values(), strict=True)))

    def embed(self, images: Tensor) -> Tensor:
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.embed(images).flatten(1))


# --- gradient matching


def gradients(net, images: Tensor, label: int, create_graph: bool = False) -> list[Tensor]:
    """Gradient of the mean cross-entropy by all parameters, of which only the 4-D ones are matched."""
    labels = torch.full((len(images),), label, device=images.device)
    loss = F.cross_entropy(net(images), labels)
    found = torch.autograd.grad(loss, list(net.parameters()), create_graph=create_graph)
    return [gradient for gradient in found if gradient.ndim == 4]


def whole_loss(net, images: Tensor, label: int, real: list[Tensor], distance: str) -> Tensor:
    """D(g_real, g_syn): squared L2 or L1 over all elements of all convolution weights."""
    total = torch.zeros((), device=images.device)
    for syn, target in zip(gradients(net, images, label, create_graph=True), real, strict=True):
        total = total + ((syn - target) ** 2 if distance == "l2" else (syn - target).abs()).sum()
    return total


def cosine_loss(net, images: Tensor, label: int, real_images: Tensor) -> Tensor:
    """DC's distance: 1 - cosine of every output unit's gradients, summed over all convolution and linear weights."""
    found = []
    for part, create_graph in ((real_images, False), (images, True)):
        loss = F.cross_entropy(net(part), torch.full((len(part),), label))
        weights = [p for p in net.parameters() if p.ndim > 1]
        found.append(torch.autograd.grad(loss, weights, create_graph=create_graph))
    total = torch.zeros(())
    for target, syn in zip(*found, strict=True):
        for a, b in zip(target, syn, strict=True):
            total = total + 1 - (a * b).sum() / (a.square().sum().sqrt() * b.square().sum().sqrt() + 1e-6)
    return total


def subset_loss(net, images: Tensor, label: int, real: list[Tensor], distance: str, patches: int) -> Tensor:
    """The whole set and its first `patches` patches, as two passes (MDC Eq. 4)."""
    whole = whole_loss(net, images, label, real, distance)
    return whole + whole_loss(net, images[:patches], label, real, distance)


def all_prefix_loss(
    net, images: Tensor, label: int, real: list[Tensor], distance: str, per_image: int, decay: float
) -> Tensor:
    """The whole set and the mean of all its proper prefixes, in which n images count n^-decay, as N passes."""
    ipc = len(images) // per_image
    total = whole_loss(net, images, label, real, distance)
    for n in range(1, ipc):
        share = n**-decay / sum(m**-decay for m in range(1, ipc))
        total = total + share * whole_loss(net, images[: n * per_image], label, real, distance)
    return total


@torch.no_grad()
def feature_distances(net, images: Tensor, real_images: Tensor, per_image: int) -> list[float]:
    """F(1)..F(N-1), each from a forward pass of its own (MDC Eq. 5)."""
    real = net.embed(real_images).mean(0)
    found = []
    for n in range(1, len(images) // per_image):
        syn = net.embed(images[: n * per_image]).mean(0)
        found.append(((real - syn) ** 2).sum().item())
    return found


# --- multi-formation


def mix_initialisation(images: Tensor, factor: int) -> Tensor:
    """Stored images (n, C, H, W) of real images (n f^2, C, H, W), pixel by pixel: nearest neighbour, no smoothing."""
    size = images.shape[-1]
    sides = [size // factor + 1 if row < size % factor else size // factor for row in range(factor)]
    stored = torch.full((len(images) // factor**2, *images.shape[1:]), math.nan)
    for m, image in enumerate(images):
        i, cell = divmod(m, factor**2)
        row, column = divmod(cell, factor)
        top, left = sum(sides[:row]), sum(sides[:column])
        for y in range(sides[row]):
            for x in range(sides[column]):
                stored[i, :, top + y, left + x] = image[:, y * size // sides[row], x * size // sides[column]]
    return stored


def decode(stored: Tensor, factor: int) -> Tensor:
    """Patches (n f^2, C, H, W) of stored images (n, C, H, W): pad with 0.5, cut into tiles, enlarge each."""
    size = stored.shape[-1]
    side = math.ceil(size / factor)
    enlarge = bilinear(side, size).to(stored.device)
    patches = []
    for image in stored:
        padded = F.pad(image, (0, side * factor - size, 0, side * factor - size), value=0.5)
        for row in range(factor):
            for column in range(factor):
                tile = padded[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
                patches.append(enlarge @ tile @ enlarge.T)
    return torch.stack(patches)


def bilinear(small: int, large: int) -> Tensor:
    """Interpolation weights (large, small) with pixel centres at half integers (corners are not aligned)."""
    weights = torch.zeros(large, small)
    for i in range(large):
        x = max((i + 0.5) * small / large - 0.5, 0)
        low = int(x)
        high = min(low + 1, small - 1)
        weights[i, low] += 1 - (x - low)
        weights[i, high] += x - low
    return weights


# --- one optimiser for the images of all classes


def image_optimizer(stored: Tensor, lr: float, momentum: float = 0.5) -> torch.optim.SGD:
    return torch.optim.SGD([stored], lr, momentum=momentum)


def shared_sgd(stored: Tensor, gradient_of, iterations: int, lr: float, momentum: float = 0.5) -> Tensor:
    """Inner iterations of one step per class, all with one momentum buffer, on stored images (K, ...).

    `gradient_of(k, c, x)` is the gradient of class c at its images x, as they are when its turn comes. Returns
    those images, (iterations + 1, K, ...): the last ones are where the next iteration would find them.
    """
    stored = stored.clone().requires_grad_()
    optimizer = image_optimizer(stored, lr, momentum)
    seen = []
    for k in range(iterations):
        seen.append([])
        for c in range(len(stored)):
            x = stored[c].detach().clone()
            seen[-1].append(x)
            stored.grad = torch.zeros_like(stored)
            stored.grad[c] = gradient_of(k, c, x)
            optimizer.step()
    seen.append(list(when_due(stored, optimizer)))
    return torch.stack([torch.stack(row) for row in seen])


def when_due(stored: Tensor, optimizer: torch.optim.SGD) -> Tensor:
    """The images of every class when its next gradient is due: until then the other classes' steps move them."""
    due = []
    for c in range(len(stored)):
        due.append(stored[c].detach().clone())
        stored.grad = torch.zeros_like(stored)
        optimizer.step()
    return torch.stack(due)


# --- most learnable subset


class ReleasedSubsets:
    """The released bookkeeping as mutable state: active size, retired sizes and when each size retires."""

    def __init__(self, period: int):
        self.period = period
        self.active = None
        self.previous = None
        self.retired = set()
        self.retires_at = {}  # size -> outer loop, counted from 0

    def begin(self, t: int) -> tuple[int | None, int]:
        """Start outer loop t (counted from 1): the active size and the number of frozen images."""
        for size, loop in self.retires_at.items():
            if loop == t - 1:
                self.retired.add(size)
        smaller = [size for size in self.retired if self.active is not None and size < self.active]
        return self.active, max(smaller) if smaller else 0

    def measures(self, t: int) -> bool:
        return t == 1 or t % self.period == 0

    def end(self, t: int, distances: list[float]) -> None:
        """End outer loop t in which F(1)..F(N-1) were measured, and choose the next active size."""
        current = [round(distance, 2) for distance in distances]
        chosen = 1
        if self.previous is not None:
            best = -1.0
            for n, (before, now) in enumerate(zip(self.previous, current, strict=True), start=1):
                if abs(before - now) > best:
                    best, chosen = abs(before - now), n
        self.previous = current
        self.active = chosen
        self.retires_at[chosen] = t + self.period


# --- one inner iteration


def released_inner_iteration(
    net, stored, optimizer, real, augment, normalize, *, factor, distance, active, frozen, measure, decode=decode
):
    """The matching part of one inner iteration, class by class, with one optimiser step each.

    `stored` (K, n, C, H, W) is the leaf of `optimizer`; `real[c]` are normalised images; `augment(c, images)` draws
    once for all images; `active[c]` and `frozen[c]` count images, None and 0 if there are none. Returns the loss of
    every class, and its F(1)..F(N-1) if asked to `measure`.
    """
    losses, distances = [], []
    for c in range(len(stored)):
        visible = torch.cat([stored[c, : frozen[c]].detach(), stored[c, frozen[c] :]])
        both = augment(c, torch.cat([real[c], normalize(decode(visible, factor))]))
        real_images, images = both[: len(real[c])].detach(), both[len(real[c]) :]
        target = gradients(net, real_images, c)
        if active[c] is None:
            loss = whole_loss(net, images, c, target, distance)
        else:
            loss = subset_loss(net, images, c, target, distance, active[c] * factor**2)
        if measure:
            distances.append(feature_distances(net, images, real_images, factor**2))
        optimizer.zero_grad()
        loss.backward(inputs=[stored])
        optimizer.step()
        losses.append(loss.detach())
    return losses, distances


def released_network_update(net, optimizer, batches, augment) -> None:
    """One step per minibatch of real images; `augment(images, random)` returns images, permutation and share kept."""
    for images, labels, random in batches:
        images, order, share = augment(images, random)
        logits = net(images)
        loss = share * F.cross_entropy(logits, labels) + (1 - share) * F.cross_entropy(logits, labels[order])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# --- evaluation


class _Augmented(torch.utils.data.Dataset):
    """Training images one by one, each augmented when it is asked for."""

    def __init__(self, images: Tensor, labels: Tensor, augment):
        self.images, self.labels, self.augment = images, labels, augment

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.augment(self.images[index]), self.labels[index]


def released_evaluation(net, images: Tensor, labels: Tensor, tests, config, augment, mix) -> float:
    """Train on images that come one by one through a DataLoader, and test once in the same way; percent right.

    `augment(image)` returns one image, `mix(images)` a batch, its permutation and the share kept.
    """
    device = next(net.parameters()).device
    optimizer = torch.optim.SGD(net.parameters(), config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    loader = torch.utils.data.DataLoader(_Augmented(images, labels, augment), config.batch, shuffle=True)
    for _ in range(config.epochs):
        for batch, target in loader:
            batch, order, share = mix(batch.to(device))
            target, logits = target.to(device), net(batch)
            loss = share * F.cross_entropy(logits, target) + (1 - share) * F.cross_entropy(logits, target[order])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    net.eval()
    right = 0
    with torch.no_grad():
        for batch, target in torch.utils.data.DataLoader(tests, config.batch):
            right += (net(batch.to(device)).argmax(1).cpu() == target).sum().item()
    return 100 * right / len(tests)
