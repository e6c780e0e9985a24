"""The whole engine: against the literal loop in float64, and bit by bit against itself."""

import dataclasses
from contextlib import nullcontext
from functools import partial

import pytest
import reference
import torch

from mdckit import augment, baselines
from mdckit.baselines import Recipe
from mdckit.checkpoint import RunState, SetState, describe, save_checkpoint
from mdckit.condense import condense, condense_steps, condensed_sets
from mdckit.initialisation import start
from mdckit.networks import fresh_convnet
from mdckit.parallel import Stopped
from mdckit.rng import generator
from mdckit.streams import RealImages
from mdckit.subsets import SubsetState

CPU = torch.device("cpu")
CLASS_WISE = baselines.mdc(name="class_wise", class_wise=True)
MANY = [
    *baselines.baseline_a(3),
    baselines.mdc(),
    *baselines.baseline_b(3),
    baselines.baseline_c(),
    baselines.all_prefixes(),
    baselines.learning_progress(),
    CLASS_WISE,
    baselines.mdc(name="paper", freeze="paper"),
]
each_recipe = pytest.mark.parametrize("recipe", MANY, ids=lambda recipe: recipe.name)


def run(data, recipes, config, **options):
    return condense(data, recipes, config, device="cpu", show_progress=False, **options)


def assert_identical(found, wanted):
    assert torch.equal(found.images, wanted.images)
    for name in ("mls_trace", "losses", "feature_distances"):
        assert found.info[name] == wanted.info[name]


# --- against the literal loop


def literal_condensation(data, recipe, config):
    """One set, condensed by the reference on the same networks, real batches and augmentation draws.

    Returns the images as they are when their next gradient is due, the loss of every inner iteration, the feature
    distances of every measured outer loop, and the (active, frozen) of all classes in every outer loop.
    """
    real, size, classes = RealImages(data, config, CPU), data.shape[-1], range(len(data.classes))
    mean, std = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
    stored = torch.stack([first_stored(data, recipe, config, c) for c in classes]).requires_grad_()
    lr = config.lr * stored.shape[1] / 10 * (size / config.reference_size) ** 2
    optimizer = reference.image_optimizer(stored, lr, config.momentum)
    subsets, losses, timeline = [reference.ReleasedSubsets(config.period) for _ in classes], [], []
    feature_distances = []

    def augment_real(images, random):
        return augment.cutmix(augment.per_sample(images, config.net_augment, random), config.net_cutmix, random)

    for t in range(1, config.outer + 1):
        net = fresh_convnet(data.shape, len(data.classes), config, config.seed, "network", t)
        net_optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        reference.released_network_update(net, net_optimizer, real.pretraining(t), augment_real)
        stored.data.clamp_(0, 1)
        timeline.append([s.begin(t) if recipe.adaptive else (None, 0) for s in subsets])
        measured = []  # per inner iteration, (K, N-1)
        for e in range(1, config.inner + 1):
            draws = augment.draw(config.augment, len(data.classes), size, generator(config.seed, "siamese", t, e))
            loss, distances = reference.released_inner_iteration(
                net,
                stored,
                optimizer,
                [real.class_batch(c, t, e) for c in classes],
                lambda c, images, draws=draws: augment.apply(images[None], augment.rows(draws, [c]))[0],
                lambda images: (images - mean) / std,
                factor=config.factor,
                distance=config.distance,
                active=[active for active, _ in timeline[-1]],
                frozen=[frozen for _, frozen in timeline[-1]],
                measure=subsets[0].measures(t),
            )
            losses.append(sum(loss).item())
            measured.append(distances)
            reference.released_network_update(net, net_optimizer, real.network_batches(t, e), augment_real)
        if subsets[0].measures(t):
            means = torch.tensor(measured).mean(0)  # (K, N-1)
            feature_distances.append([t, *means.mean(0).tolist()])
            for c in classes:
                subsets[c].end(t, (means[c] if recipe.class_wise else means.mean(0)).tolist())
    return reference.when_due(stored, optimizer), losses, feature_distances, timeline


def first_stored(data, recipe, config, c):
    """The real images a set starts from, of class c, shrunk into stored images (n, C, H, W)."""
    rows = [i for i, label in enumerate(data.y_train.tolist()) if label == c]
    first, count = recipe.start * config.factor**2, (recipe.ipc or config.ipc) * config.factor**2
    images = data.x_train[rows[first : first + count]].to(torch.get_default_dtype()) / 255
    return reference.mix_initialisation(images, config.factor)


def engine(data, recipe, config):
    state = start(data, [recipe], config)
    steps = list(condense_steps(data, [recipe], config, device="cpu", state=state))
    losses = [step.loss[recipe.name].item() for step in steps]
    timeline = []
    for step in steps[:: config.inner]:
        now = list(zip(step.mls[recipe.name], step.frozen[recipe.name], strict=True))
        timeline.append(now if recipe.class_wise else now * len(data.classes))
    s = state.sets[recipe.name]
    return s.images, losses, s.distances, timeline


def assert_follows_the_literal_loop(data, recipe, config):
    images, losses, distances, timeline = engine(data, recipe, config)
    wanted, wanted_losses, wanted_distances, wanted_timeline = literal_condensation(data, recipe, config)
    first = start(data, [recipe], config).sets[recipe.name].images
    assert (wanted - first).abs().mean() > 1e-3
    # No pixel may leave [0, 1]: the released loop clamps while momentum of the last steps is still on its way.
    assert 0 < wanted.min() < wanted.max() < 1
    assert timeline == wanted_timeline
    torch.testing.assert_close(images, wanted, rtol=0, atol=1e-9)
    assert losses == pytest.approx(wanted_losses, rel=1e-9)
    torch.testing.assert_close(torch.tensor(distances), torch.tensor(wanted_distances), rtol=1e-9, atol=0)
    return timeline


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize(("distance", "lr"), [("l2", 0.01), ("l1", 0.003)])
def test_mdc_follows_the_literal_loop(grey, tiny, float64, distance, lr, factor):
    config = tiny.replace(distance=distance, lr=lr, factor=factor, outer=4, seed=1)
    timeline = assert_follows_the_literal_loop(grey, baselines.mdc(), config)
    assert [row[0] for row in timeline][:2] == [(None, 0), (1, 0)]
    assert timeline[-1] == [(2, 1)] * 3  # S[2] is learned and S[1] frozen


def test_class_wise_mdc_follows_the_literal_loop(rgb, tiny, float64):
    config = tiny.replace(lr=0.01, outer=4, reference_size=16, period=2)
    timeline = assert_follows_the_literal_loop(rgb, CLASS_WISE, config)
    assert len(set(timeline[-1])) > 1  # the classes went different ways


@pytest.mark.parametrize("recipe", [baselines.baseline_c(), Recipe("shifted", ipc=2, start=1)], ids=["c", "shifted"])
def test_idc_follows_the_literal_loop(grey, tiny, float64, recipe):
    assert_follows_the_literal_loop(grey, recipe, tiny.replace(lr=0.01, pretrain=1))


# --- bit by bit


@pytest.fixture(scope="module")
def together(grey, tiny):
    """All of MANY condensed side by side."""
    return run(grey, MANY, tiny)


@each_recipe
def test_a_set_is_the_same_alone_and_beside_others(grey, tiny, together, recipe):
    assert_identical(run(grey, [recipe], tiny)[recipe.name], together[recipe.name])


def test_sets_do_not_depend_on_their_order(grey, tiny, together):
    backwards = run(grey, MANY[::-1], tiny)
    for name, wanted in together.items():
        assert_identical(backwards[name], wanted)


def test_the_sets_of_different_recipes_differ(together):
    sets = [together[name].images for name in ("mdc", "baseline_c", "all_prefixes", "baseline_a/3")]
    assert torch.equal(sets[1], sets[3])  # Baseline A at N is Baseline C
    assert not torch.equal(sets[0], sets[1])
    assert not torch.equal(sets[0], sets[2])


@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_a_stopped_run_continues_bit_for_bit(grey, tiny, tmp_path, stop):
    """The run breaks off inside the outer loop after `stop`; what that loop had done is lost."""
    recipes, config, path = (
        [baselines.mdc(), CLASS_WISE, *baselines.baseline_a(2)],
        tiny.replace(outer=4),
        tmp_path / "checkpoint",
    )
    wanted = run(grey, recipes, config)
    assert wanted["mdc"].mls_trace[-1][0] == 4
    for step in condense_steps(grey, recipes, config, device="cpu", state=start(grey, recipes, config)):
        if step.ends_outer:
            save_checkpoint(path, step.state, grey, recipes, config)
        if step.outer == stop + 1:
            break
    assert path.is_file() == (stop > 0)
    found = run(grey, recipes, config, checkpoint=path)
    for name in wanted:
        assert_identical(found[name], wanted[name])


@pytest.mark.parametrize("method", ["idc", "dream", "dsa"])
def test_a_run_is_given_up_there_and_then(grey, tiny, method):
    """Asked at 3 batches of pretraining, 2 x the targets and the set, and at a batch in between."""
    settings = (
        {"method": "dsa", "distance": "cosine", "factor": 1, "net_images": 3} if method == "dsa" else {"method": method}
    )
    config, recipes = tiny.replace(outer=1, pretrain=1, net_batch=20, **settings), [baselines.mdc()]
    for n in range(9):
        answers = iter([False] * n + [True] * (n < 8))
        steps = condense_steps(grey, recipes, config, device="cpu", stopped=lambda answers=answers: next(answers))
        with pytest.raises(Stopped) if n < 8 else nullcontext():
            list(steps)
        assert next(answers, None) is None  # asked n + 1 times, and never again


def test_a_finished_run_goes_on_to_more_outer_loops(grey, tiny, tmp_path):
    recipes = [baselines.mdc(), CLASS_WISE]
    for outer in (1, 2, 4):
        found = run(grey, recipes, tiny.replace(outer=outer), checkpoint=tmp_path / "checkpoint")
        wanted = run(grey, recipes, tiny.replace(outer=outer))
        for name in wanted:
            assert_identical(found[name], wanted[name])


def test_what_is_kept_after_a_loop_is_there_when_the_run_goes_on(grey, tiny, tmp_path):
    kept, checkpoint = {}, tmp_path / "run.safetensors"

    def keep(step, ends=None):
        assert step.ends_outer
        if step.outer == ends:
            raise OSError("disk full")
        kept[step.outer] = condensed_sets(step.state, grey, [baselines.mdc()], tiny)["mdc"]

    with pytest.raises(OSError, match="disk full"):
        run(grey, [baselines.mdc()], tiny, checkpoint=checkpoint, after_outer=partial(keep, ends=2))
    made = run(grey, [baselines.mdc()], tiny, checkpoint=checkpoint, after_outer=keep)["mdc"]
    assert list(kept) == list(range(1, tiny.outer + 1))
    assert torch.equal(kept[tiny.outer].images, made.images)
    assert not torch.equal(kept[1].images, made.images)
    assert kept[1].info["outer"] == 1


def test_a_checkpoint_of_another_run_is_refused(grey, rgb, tiny, tmp_path):
    path, recipes = tmp_path / "checkpoint", [baselines.mdc()]
    run(grey, recipes, tiny.replace(outer=2), checkpoint=path)
    for data, others, config, difference in [
        (grey, recipes, tiny.replace(seed=1), "seed: 0 there, 1 here"),
        (grey, [CLASS_WISE], tiny, "recipe"),
        (rgb, recipes, tiny, "dataset: grey there, rgb here"),
        (grey, recipes, tiny.replace(outer=1), "only 1 are asked"),
    ]:
        with pytest.raises(ValueError, match=difference):
            run(data, others, config, checkpoint=path)


def test_a_recipe_without_a_rate_of_its_own_takes_up_checkpoints_from_before_there_were_any(grey, tiny):
    assert "lr" not in describe(grey, [baselines.mdc()], tiny)["recipe mdc"]
    assert describe(grey, [baselines.mdc(lr=0.1)], tiny)["recipe mdc"]["lr"] == 0.1


def test_the_seed_decides_and_the_global_random_state_does_not(grey, tiny):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = run(grey, [baselines.mdc()], tiny)["mdc"]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert_identical(run(grey, [baselines.mdc()], tiny)["mdc"], first)
    other = run(grey, [baselines.mdc()], tiny.replace(seed=1))["mdc"]
    assert (other.images != first.images).double().mean() > 0.9


# --- single rules


def which(data, batch):
    """Positions in the training images of the normalised images of a batch."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
    pixels = ((batch * std + mean) * 255).round().to(torch.uint8)
    return [int((data.x_train == image).all((1, 2, 3)).nonzero()) for image in pixels]


@pytest.mark.parametrize("metric", ["feature", "gradient"])
def test_the_mls_follows_from_the_distances_of_its_metric(grey, tiny, metric):
    config = tiny.replace(ipc=4, outer=5, distance="l1")
    made = run(grey, [baselines.mdc(metric=metric)], config)["mdc"]
    history = SubsetState(config.period)
    for t, *distances in made.info[f"{metric}_distances"]:
        assert len(distances) == 3
        history = history.observe(t, distances)
    assert len(history.trace) > 1
    assert made.mls_trace == history.trace


def test_before_the_first_choice_measuring_gradients_changes_nothing(grey, tiny):
    recipes = [baselines.mdc(metric="gradient"), baselines.baseline_c()]
    by_gradient, base = run(grey, recipes, tiny.replace(outer=1)).values()
    torch.testing.assert_close(by_gradient.images, base.images, rtol=0, atol=1e-5)


def test_classes_are_matched_without_replacement(grey, tiny):
    """20 images in batches of 6: three batches per pass over the class, the images left over are dropped."""
    real = RealImages(grey, tiny.replace(batch_real=6, inner=2), CPU)
    for c in range(3):
        batches = [which(grey, real.class_batch(c, t, e)) for t in (1, 2, 3) for e in (1, 2)]
        assert {int(grey.y_train[i]) for batch in batches for i in batch} == {c}
        for epoch in (batches[:3], batches[3:]):
            assert len({i for batch in epoch for i in batch}) == 18
        assert batches[0] != batches[3]


def test_network_batches_run_on_over_all_images(grey, tiny):
    """60 images in batches of 8, of which the last has 4: 20 images per update are 3 batches."""
    real = RealImages(grey, tiny.replace(net_images=20, net_batch=8, inner=2), CPU)
    batches = [batch for t in (1, 2, 3) for e in (1, 2) for batch in real.network_batches(t, e)]
    assert [len(images) for images, _, _ in batches] == ([8] * 7 + [4]) * 2 + [8] * 2
    rows = [which(grey, images) for images, _, _ in batches]
    for epoch in (rows[:8], rows[8:16]):
        assert sorted(i for row in epoch for i in row) == list(range(60))
    for (_, labels, _), row in zip(batches, rows, strict=True):
        assert torch.equal(labels, grey.y_train[row])
    draws = {tuple(torch.rand(4, generator=random).tolist()) for _, _, random in batches}
    assert len(draws) == len(batches)  # every batch is augmented by a draw of its own


@pytest.mark.parametrize("recipe", [*baselines.baseline_b(3), Recipe("two", ipc=2)], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("factor", [1, 2])
def test_sets_start_from_the_first_real_images(grey, tiny, recipe, factor):
    config = tiny.replace(factor=factor)
    images = start(grey, [recipe], config).sets[recipe.name].images
    wanted = [first_stored(grey, recipe, config, c) for c in range(3)]
    assert torch.equal(images, torch.stack(wanted))


def test_baseline_a_of_one_size_is_a_run_of_that_size(grey, tiny):
    """Also the learning rate is that of the size: the mean loss gives every image a share of 1/n."""
    beside = run(grey, baselines.baseline_a(3), tiny)
    for n in (1, 2, 3):
        alone = run(grey, [baselines.baseline_c()], tiny.replace(ipc=n))["baseline_c"]
        assert torch.equal(beside[f"baseline_a/{n}"].images, alone.images)
    assert tiny.image_lr(1, 8) * 3 == pytest.approx(tiny.image_lr(3, 8))


def test_frozen_images_do_not_move(grey, tiny):
    """S[1] is frozen in loop 3 after the choices 1, 2; without momentum from earlier loops it stays as it is."""
    recipe, config = baselines.mdc(), tiny.replace(outer=3)
    first = start(grey, [recipe], config).sets["mdc"].images
    history = SubsetState(period=1).observe(1, [1.0, 1.0]).observe(2, [1.0, 2.0])
    state = RunState(2, {"mdc": SetState(first.clone(), torch.zeros_like(first), (history,))})
    for step in condense_steps(grey, [recipe], config, device="cpu", state=state):
        assert (step.mls["mdc"], step.frozen["mdc"]) == ([2], [1])
    images = state.sets["mdc"].images
    assert torch.equal(images[:, :1], first[:, :1])
    assert (images[:, 1:] != first[:, 1:]).double().mean() > 0.9


def test_pixels_are_clamped_only_at_the_start_of_outer_loops(grey, tiny):
    config = tiny.replace(lr=0.0, outer=2)
    state = start(grey, [baselines.mdc()], config)
    images = state.sets["mdc"].images
    before = images.clone()
    for step in condense_steps(grey, [baselines.mdc()], config, device="cpu", state=state):
        now = step.state.sets["mdc"].images
        if step.inner == 1:
            assert torch.equal(now, before.clamp(0, 1))
            now[0, 0] += 1
            now[0, 1] -= 1
            before = now.clone()
        else:
            assert torch.equal(now, before)
            assert now.max() > 1
            assert now.min() < 0


def test_steps_tell_what_the_sets_record(grey, tiny):
    recipes = [baselines.mdc(), *baselines.baseline_a(3)]
    state = start(grey, recipes, tiny)
    steps = list(condense_steps(grey, recipes, tiny, device="cpu", state=state))
    assert [(s.outer, s.inner, s.ends_outer) for s in steps] == [
        (t, e, e == 2) for t in range(1, 4) for e in range(1, 3)
    ]
    for name, s in state.sets.items():
        losses = [step.loss[name].item() for step in steps]
        assert s.losses == pytest.approx([(a + b) / 2 for a, b in zip(losses[::2], losses[1::2], strict=True)])
    rows = {name: [len(row) for row in s.distances] for name, s in state.sets.items()}  # t and F(1)..F(N-1)
    assert rows == {"mdc": [3] * 3, "baseline_a/1": [], "baseline_a/2": [2] * 3, "baseline_a/3": [3] * 3}


@pytest.mark.parametrize(
    ("recipes", "changes", "message"),
    [
        ([], {}, "give one or more"),
        ([baselines.mdc(), baselines.mdc()], {}, "each with a name of its own"),
        ([baselines.mdc()], {"ipc": 1}, "it needs ipc >= 2"),
        ([Recipe("late", start=3)], {}, "24 training images per class needed"),
        ([baselines.baseline_c()], {"factor": 9, "batch_syn_max": 500}, "factor 9 asked of images with 8 pixels"),
        ([Recipe("large", ipc=40)], {}, "raise batch_syn_max"),
        ([baselines.baseline_c()], {"depth": 4}, "depth 4 halves an image of 8 pixels away"),
    ],
    ids=["none", "twice", "one image", "few images", "factor", "patches", "depth"],
)
def test_what_cannot_be_run_is_refused_at_the_start(grey, tiny, recipes, changes, message):
    with pytest.raises(ValueError, match=message):
        condense_steps(grey, recipes, tiny.replace(**changes), device="cpu")


def test_prefixes_count_by_their_progress_once_two_distances_are_known(grey, tiny):
    recipes, differ = [baselines.all_prefixes(), baselines.learning_progress()], []
    for outer in (2, 3):
        equal, progress = run(grey, recipes, tiny.replace(ipc=3, outer=outer, period=1)).values()
        differ.append(not torch.equal(equal.images, progress.images))
        assert progress.mls_trace == []
    assert differ == [False, True]


def test_all_prefixes_of_one_image_is_the_base_loss(grey, tiny):
    config = tiny.replace(ipc=1)
    sets = run(grey, [baselines.all_prefixes(), baselines.baseline_c()], config)
    assert torch.equal(sets["all_prefixes"].images, sets["baseline_c"].images)


def test_checkpoint_of_other_normalisation_is_refused(grey, tiny, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    run(grey, [baselines.mdc()], tiny, checkpoint=path)
    other = dataclasses.replace(grey, std=(0.9,))
    with pytest.raises(ValueError, match=r"belongs to another run \(std"):
        run(other, [baselines.mdc()], tiny, checkpoint=path)


def test_checkpoint_that_cannot_be_written_stops_before_work(grey, tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write in the folder"):
        run(grey, [baselines.mdc()], tiny, checkpoint=tmp_path / "file" / "checkpoint.safetensors")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileNotFoundError, match="no file"):
        run(grey, [baselines.mdc()], tiny, checkpoint=tmp_path / "folder")
