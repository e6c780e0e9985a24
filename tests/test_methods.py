"""Methods other than IDC, and other ways to decode: against literal loops, and bit by bit against themselves."""

import pytest
import reference
import torch

from mdckit import augment, baselines, condense, condense_steps, estimate, from_arrays, load
from mdckit.baselines import Recipe
from mdckit.checkpoint import save_checkpoint
from mdckit.clusters import kmeans, representatives
from mdckit.config import CondenseConfig
from mdckit.data import normalize
from mdckit.formation import patch_counts, plan
from mdckit.initialisation import start
from mdckit.methods import METHODS
from mdckit.networks import fresh_convnet
from mdckit.rng import ShuffledBatches, generator
from mdckit.streams import RealImages

CPU = torch.device("cpu")
ANY = "color|crop|cutout|scale|rotate"
SETTINGS = {
    "dream": {"batch_real": 6, "lr": 0.5, "inner": 12, "outer": 2},
    "dc": {"distance": "cosine", "lr": 0.1, "augment": "", "net_augment": "", "factor": 1},
    "dsa": {"distance": "cosine", "lr": 0.1, "augment": ANY, "net_augment": ANY},
    "dm": {"distance": "features", "lr": 1.0, "augment": ANY, "inner": 1},
}
methods = pytest.mark.parametrize("method", SETTINGS)


def settings(tiny, method, **changes):
    return tiny.replace(**{"method": method} | SETTINGS[method] | changes)


def run(data, recipes, config, **options):
    return condense(data, recipes, config, device="cpu", show_progress=False, **options)


def literal(data, config):
    """DC, DSA or DM with all images in one, as published: pixels are normalised, one SGD step for all classes."""
    classes, size = range(len(data.classes)), data.shape[-1]
    mean, std = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
    first = start(data, [baselines.baseline_c()], config).sets["baseline_c"].images
    x = ((first - mean) / std).requires_grad_()
    optimizer = torch.optim.SGD([x], lr=config.lr, momentum=config.momentum)
    real, losses = RealImages(data, config, CPU), []
    for t in range(1, config.outer + 1):
        net = fresh_convnet(data.shape, len(classes), config, config.seed, "network", t)
        net_optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        for e in range(1, config.inner + 1):
            draws = augment.draw(config.augment, len(classes), size, generator(config.seed, "siamese", t, e))
            loss = torch.zeros(())
            for c in classes:
                patches = ((reference.decode(x[c] * std + mean, config.factor)) - mean) / std
                both = torch.cat([real.class_batch(c, t, e), patches])
                both = augment.apply(both[None], augment.rows(draws, [c]))[0]
                seen, syn = both[: -len(patches)].detach(), both[-len(patches) :]
                if config.method == "dm":
                    loss = loss + (net.embed(seen).mean(0) - net.embed(syn).mean(0)).square().sum()
                else:
                    loss = loss + reference.cosine_loss(net, syn, c, seen)
            optimizer.zero_grad()
            loss.backward(inputs=[x])
            optimizer.step()
            losses.append(loss.item())
            if e < config.inner:
                learn_from_the_set(net, net_optimizer, (x * std + mean).detach(), (mean, std), config, t, e)
    return (x * std + mean).detach(), losses


def learn_from_the_set(net, optimizer, stored, moments, config, t, e):
    mean, std = moments
    images = torch.cat([(reference.decode(of_class, config.factor) - mean) / std for of_class in stored])
    labels = torch.arange(len(stored)).repeat_interleave(len(images) // len(stored))
    stream = ShuffledBatches(len(images), config.net_batch, config.seed, "set", t, e)
    count = max(1, round(config.net_images / (len(images) / len(stored)))) * stream.per_epoch
    names = [("augment set", t, e, b) for b in range(count)]
    batches = [(images[stream[b]], labels[stream[b]], generator(config.seed, *names[b])) for b in range(count)]

    def augmented(images, random):
        return augment.cutmix(augment.per_sample(images, config.net_augment, random), config.net_cutmix, random)

    reference.released_network_update(net, optimizer, batches, augmented)


@pytest.mark.parametrize("method", ["dc", "dsa", "dm"])
@pytest.mark.parametrize("factor", [1, 2])
def test_follows_the_literal_loop(rgb, tiny, float64, method, factor):
    config = settings(tiny, method, factor=factor, net_images=8, outer=3)
    wanted, losses = literal(rgb, config)
    state = start(rgb, [baselines.baseline_c()], config)
    first = state.sets["baseline_c"].images.clone()
    steps = list(condense_steps(rgb, [baselines.baseline_c()], config, device="cpu", state=state))
    assert (wanted - first).abs().mean() > 1e-4
    torch.testing.assert_close(state.sets["baseline_c"].images, wanted, rtol=0, atol=1e-9)
    assert [step.loss["baseline_c"].item() for step in steps] == pytest.approx(losses, rel=1e-9)


@methods
def test_sets_are_the_same_alone_and_beside_others_and_after_a_stop(grey, tiny, tmp_path, method):
    config, path = settings(tiny, method), tmp_path / "checkpoint"
    recipes = [baselines.mdc(), baselines.all_prefixes(), baselines.baseline_c(), Recipe("shifted", ipc=2, start=1)]
    together = run(grey, recipes, config)
    assert not torch.equal(together["mdc"].images, together["baseline_c"].images)
    for step in condense_steps(grey, recipes, config, device="cpu"):
        if step.outer == 2:
            break
        if step.ends_outer:
            save_checkpoint(path, step.state, grey, recipes, config)
    resumed = run(grey, recipes, config, checkpoint=path)
    for recipe in recipes:
        alone = run(grey, [recipe], config)[recipe.name]
        assert torch.equal(alone.images, together[recipe.name].images)
        assert torch.equal(resumed[recipe.name].images, alone.images)
        assert resumed[recipe.name].info == alone.info


# --- DREAM


def test_kmeans_is_that_of_plain_loops():
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centres = points[torch.randint(40, (5,), generator=torch.Generator().manual_seed(1))].tolist()
    for _ in range(100):
        members = [[] for _ in centres]
        for point in points.tolist():
            gaps = [sum((a - b) ** 2 for a, b in zip(point, centre, strict=True)) for centre in centres]
            members[gaps.index(min(gaps))].append(point)
        centres = [[sum(axis) / len(m) for axis in zip(*m, strict=True)] if m else [0.0] * 3 for m in members]
    found = kmeans(points, 5, torch.Generator().manual_seed(1))
    torch.testing.assert_close(found, torch.tensor(centres, dtype=torch.float64))
    nearest = [int((points - centre).norm(dim=1).argmin()) for centre in found]
    assert representatives(points, 5, torch.Generator().manual_seed(1)).tolist() == nearest


def test_dream_matches_representatives_chosen_every_tenth_iteration(grey, tiny):
    config = settings(tiny, "dream")
    real, nets = RealImages(grey, config, CPU), [fresh_convnet(grey.shape, 3, config, seed) for seed in (0, 1)]
    first = real.class_batch(1, 1, 1, nets[0])
    assert all(torch.equal(real.class_batch(1, 1, e, nets[1]), first) for e in range(2, 11))
    assert not torch.equal(real.class_batch(1, 1, 11, nets[1]), first)
    members = grey.x_train[grey.class_indices[1]] / 255
    features = nets[0].embed(members).flatten(1).detach()  # as they are: neither normalised nor augmented
    chosen = representatives(features, 6, generator(config.seed, "represent", 1, 1, 1))
    torch.testing.assert_close(first, normalize(members[chosen], grey.mean, grey.std))


def test_dream_starts_from_representatives(grey, tiny):
    found = start(grey, [baselines.baseline_c()], settings(tiny, "dream", factor=1)).sets["baseline_c"].images
    for c, images in enumerate(found):
        real = grey.x_train[grey.class_indices[c]] / 255
        assert all(any(torch.equal(image, other) for other in real) for image in images)
    assert not torch.equal(found, grey.first_images(3))


# --- decoding


def test_bound_decoding_is_that_of_the_released_code():
    assert plan(20, 3, "bound", 128) == [(3,)] * 12 + [(2,)] * 3 + [(1,)] * 5
    assert sum(patch_counts(plan(20, 3, "bound", 128))) == 125
    assert plan(20, 3, "bound", 256) == plan(20, 3) == [(3,)] * 20
    assert patch_counts(plan(2, 3, "multi")) == [14, 14]


@pytest.mark.parametrize("formation", ["single", "multi", "bound"])
@pytest.mark.parametrize("recipe", [baselines.baseline_c(), baselines.all_prefixes()], ids=lambda r: r.name)
def test_the_first_step_of_every_formation_is_the_literal_one(rgb, tiny, float64, formation, recipe):
    most = {"single": 12, "multi": 15, "bound": 8}[formation]
    config = tiny.replace(formation=formation, batch_syn_max=most, outer=1, inner=1, lr=0.01)
    factors = {"single": [(2,)] * 3, "multi": [(1, 2)] * 3, "bound": [(2,), (1,), (1,)]}[formation]
    stored = start(rgb, [recipe], config).sets[recipe.name].images.requires_grad_()
    net, real = fresh_convnet(rgb.shape, 3, config, config.seed, "network", 1), RealImages(rgb, config, CPU)
    draws = augment.draw(config.augment, 3, 16, generator(config.seed, "siamese", 1, 1))
    loss, ends = torch.zeros(()), [sum(patch_counts(factors)[:n]) for n in (1, 2, 3)]
    for c in range(3):
        decoded = [reference.decode(image[None], g) for image, of in zip(stored[c], factors, strict=True) for g in of]
        both = torch.cat([real.class_batch(c, 1, 1), normalize(torch.cat(decoded), rgb.mean, rgb.std)])
        both = augment.apply(both[None], augment.rows(draws, [c]))[0]
        target = reference.gradients(net, both[: config.batch_real].detach(), c)
        patches, shares = both[config.batch_real :], [0.5, 0.5, 1] if recipe.subsets == "all" else [0, 0, 1]
        for share, end in zip(shares, ends, strict=True):
            loss = loss + share * reference.whole_loss(net, patches[:end], c, target, "l2")
    (by_images,) = torch.autograd.grad(loss, stored)
    wanted = stored - config.image_lr(3, 16) * (1 + 0.5 + 0.25) * by_images
    found = run(rgb, [recipe], config)[recipe.name].images
    torch.testing.assert_close(found, wanted.detach(), rtol=0, atol=1e-9)


# --- a subset chosen by its accuracy


def test_the_subset_whose_accuracy_changed_most_is_chosen(tiny):
    digits, config = load("digits"), tiny.replace(ipc=4, factor=1, outer=4, accuracy_epochs=8, width=8)
    recipe = baselines.mdc(name="by_accuracy", metric="accuracy")
    found = run(digits, [recipe, baselines.baseline_c()], config)["by_accuracy"]
    seen = found.info["subset_accuracies"]
    assert [row[0] for row in seen] == [1, 2, 3, 4]
    assert all(0 <= accuracy <= 100 for row in seen for accuracy in row[1:])
    assert len({tuple(row[1:]) for row in seen}) > 1
    for before, now, (t, n) in zip(seen, seen[1:], found.mls_trace[1:], strict=False):
        changes = [round(abs(round(a, 2) - round(b, 2)), 6) for a, b in zip(before[1:], now[1:], strict=True)]
        assert (t, n) == (now[0], changes.index(max(changes)) + 1)
    assert torch.equal(run(digits, [recipe], config)["by_accuracy"].images, found.images)
    for inner in (1, config.inner):  # a choice after every loop, or after every iteration
        assert estimate(digits, [recipe], config.replace(inner=inner), device="cpu").choosing > 0
    assert estimate(digits, [baselines.mdc()], config, device="cpu").choosing == 0


# --- what does not go together


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "dsa"}, r"distance 'l2' asked of method 'dsa', which compares by cosine: .*method='dsa'"),
        ({"method": "dm", "distance": "cosine"}, "distance 'cosine' asked of method 'dm', which compares by features"),
        ({"distance": "features"}, "distance 'features' asked of method 'idc', which compares by l2 or l1"),
        ({"method": "mtt"}, "unknown method 'mtt': choose one of idc, dream, dc, dsa, dm"),
        ({"formation": "double"}, "unknown formation 'double'"),
        ({"formation": "multi", "ipc": 26}, "ipc 26 at factor 2 = 130 patches per class exceed batch_syn_max 128"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        CondenseConfig(**changes)


def test_dream_needs_as_many_images_of_a_class_as_it_chooses(grey, tiny):
    with pytest.raises(ValueError, match=r"21 training images per class needed, class '0' of grey has 20"):
        start(grey, [baselines.baseline_c()], settings(tiny, "dream", batch_real=21))


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize(("ipc", "epochs"), [(2, 50), (5, 50), (10, 50), (20, 25), (30, 20), (40, 15), (50, 10)])
def test_dc_trains_its_network_for_the_published_epochs(classes, ipc, epochs):
    config = CondenseConfig.preset("cifar100", method="dc", ipc=ipc, net_batch=10_000)  # a batch an epoch
    labels = torch.arange(classes).repeat_interleave(2)
    images = torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8)
    moments = {"mean": [0.5] * 3, "std": [0.5] * 3}
    data = from_arrays(images, labels, images[:1], labels[:1], **moments, warn_shared=False)
    real = RealImages(data, config.replace(batch_real=1), torch.device("cpu"))
    assert sum(1 for _ in real.set_batches(torch.zeros(classes, ipc, 3, 8, 8), t=1, e=1)) == epochs


def test_accuracy_is_not_told_class_by_class():
    with pytest.raises(ValueError, match="metric 'accuracy' asked class by class"):
        baselines.mdc(metric="accuracy", class_wise=True)


def test_only_a_choice_can_be_made_class_by_class():
    for recipe in (baselines.all_prefixes, baselines.learning_progress):
        with pytest.raises(
            ValueError, match=r"class_wise asked of subsets '(all|progress)', choosing none: use 'rate'"
        ):
            recipe(class_wise=True)


@pytest.mark.parametrize("scale", ["paper", "quick"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_its_preset(scale, method):
    config = CondenseConfig.preset("mnist5k", scale, method=method, ipc=20)
    assert (config.method, config.ipc) == (method, 20)
    assert config.distance in METHODS[method].distances
    assert config.inner == (20 if method in ("dc", "dsa") else 1 if method == "dm" else config.inner)
    assert "flip" not in config.augment + config.net_augment
    assert ("flip" in CondenseConfig.preset("cifar10", scale, method=method).augment) == (method in ("dsa", "dm"))
