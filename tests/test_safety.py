"""A run that has come to nothing stops, names the step, the cause and a way out, and leaves what was good."""

import pytest
import torch
from torch import nn

from mdckit import (
    CondenseConfig,
    DivergenceError,
    ExpertConfig,
    KIPConfig,
    MTTConfig,
    TrainConfig,
    baselines,
    condense,
    condense_kip,
    condense_mtt,
    condense_steps,
    evaluate,
    load,
    lockstep,
    record_dynamics,
    robustness,
    start,
    train_experts,
)
from mdckit.interactive import live
from mdckit.interactive.run import Run
from mdckit.safety import READ, Epochs
from mdckit.watch import Watch

RECIPES = [baselines.mdc(), baselines.baseline_c()]
BRIEF = TrainConfig(epochs=4, width=4, depth=2, seeds=(0, 7))
QUIET = {"show_progress": False, "device": "cpu"}
CPU, OTHER = torch.device("cpu"), torch.device("meta")


@pytest.fixture
def spoilt(monkeypatch):
    """Spoil the pixels of one class in a step: ``spoilt(5)`` the fifth of all sets and iterations."""
    step, calls = lockstep.image_step, []

    def spoil(at, value=float("nan")):
        def image_step(images, *others, **options):
            step(images, *others, **options)
            calls.append(at)
            if len(calls) == at:
                images[0, 0] = value

        monkeypatch.setattr(lockstep, "image_step", image_step)

    return spoil


# -- condensation


def test_bad_pixels_end_a_run_and_its_checkpoint_stays_good(grey, tiny, tmp_path, spoilt):
    """The second set, in the first iteration of the second outer loop."""
    good = condense(grey, RECIPES, tiny.replace(outer=1), **QUIET)
    spoilt(2 * 2 + 2)
    path = tmp_path / "run.safetensors"
    wanted = r"^recipe 'baseline_c' has diverged in outer loop 2, inner iteration 1: its loss is \S+ and not all of "
    wanted += r"its pixels are finite; lr 1 is likely too large, try 0.1; \S+/run.safetensors keeps .* outer loop 1"
    with pytest.raises(DivergenceError, match=wanted) as told:
        condense(grey, RECIPES, tiny, checkpoint=path, **QUIET)
    assert told.value.recipes == ("baseline_c",)
    kept = condense(grey, RECIPES, tiny.replace(outer=1), checkpoint=path, **QUIET)
    assert all(torch.equal(kept[name].images, s.images) for name, s in good.items())


def test_without_a_checkpoint_none_is_promised(grey, tiny, tmp_path, spoilt):
    spoilt(1)
    with pytest.raises(DivergenceError, match=r"inner iteration 1: .* try 0.1$"):
        condense(grey, RECIPES, tiny, checkpoint=tmp_path / "run.safetensors", **QUIET)
    assert not list(tmp_path.iterdir())


def test_the_last_step_of_a_loop_is_looked_at_before_it_is_kept(grey, tiny, tmp_path, spoilt):
    spoilt(2 * 2 * 2, float("inf"))
    with pytest.raises(DivergenceError, match=r"in outer loop 2, inner iteration 2: .* keeps .* outer loop 1"):
        condense(grey, RECIPES, tiny, checkpoint=tmp_path / "run.safetensors", **QUIET)


@pytest.mark.parametrize("method", ["idc", "dsa"])
def test_a_network_that_turns_to_nan_is_told_from_pixels(grey, tiny, method):
    """Also where it learns from the set itself."""
    changes = {"distance": "cosine"} if method == "dsa" else {}
    config = tiny.replace(method=method, factor=1, net_lr=1e30, lr=0.01, **changes)
    wanted = r"^recipe 'mdc' .*outer loop 1, inner iteration 2: its loss is nan .*; net_lr 1e\+30 is likely too large"
    with pytest.raises(DivergenceError, match=wanted):
        condense(grey, RECIPES, config, **QUIET)


def test_pixels_that_a_set_trained_its_network_on_are_not_blamed_on_the_network(grey, tiny, spoilt):
    spoilt(1)
    config = tiny.replace(method="dsa", distance="cosine", factor=1, lr=0.5)
    with pytest.raises(DivergenceError, match=r"inner iteration 1: .*; lr 0.5 is likely too large"):
        condense(grey, RECIPES, config, **QUIET)


def test_a_thousand_times_the_lr_diverges_in_the_first_loop_and_three_times_does_not():
    """The settings of digits on smaller networks; what is clamped away is measured."""
    digits = load("digits")
    config = CondenseConfig.preset("digits", "quick", outer=2, width=16)
    condense(digits, [baselines.baseline_c()], config.replace(lr=3 * config.lr), **QUIET)
    wanted = r"in outer loop 1, inner iteration \d+: its pixels lie \S+ outside 0..1 on average; lr 1 is .* try 0.1$"
    with pytest.raises(DivergenceError, match=wanted):
        condense(digits, [baselines.baseline_c()], config.replace(lr=1000 * config.lr), **QUIET)


def test_the_watch_changes_nothing_and_is_not_asked_between(grey, tiny):
    """On an accelerator a number is read once in an outer loop, and still tells the iteration."""
    state, watch = start(grey, RECIPES, tiny), Watch(RECIPES, tiny.replace(inner=4), OTHER)
    images = {name: s.images.clone() for name, s in state.sets.items()}
    fine = {recipe.name: torch.tensor(1.0) for recipe in RECIPES}
    net = nn.Linear(1, 1)
    watch.look(5, 1, fine, state, [net])
    watch.look(5, 2, fine | {"mdc": torch.tensor(torch.nan)}, state, [net])
    watch.look(5, 3, fine | {"baseline_c": torch.tensor(torch.nan)}, state, [net])
    with pytest.raises(DivergenceError, match=r"recipe 'mdc' .* outer loop 5, inner iteration 2: .*; lr 1 "):
        watch.look(5, 4, fine, state, [net])
    for e in (1, 2, 3, 4):
        watch.look(6, e, fine, state, [net])
    assert all(torch.equal(s.images, images[name]) for name, s in state.sets.items())


# -- live


def test_a_live_run_shows_why_it_failed_and_keeps_its_checkpoint(grey, tiny, tmp_path, spoilt):
    spoilt(2 * 2 + 1)
    run = Run(grey, RECIPES, tiny, checkpoint=tmp_path / "run.safetensors", device="cpu")
    view = live.View(run)
    run.start()
    assert run.wait(600)
    wanted = "failed after outer loop 1 of 3: DivergenceError: recipe 'mdc' has diverged in outer loop 2, inner "
    assert run.words.startswith(wanted)
    assert f"{run.checkpoint} keeps the sets after outer loop 1 (outer=1 returns them)" in run.words
    assert "has diverged in outer loop 2" in view.text.value
    assert run.checkpoint.name in view.text.value
    assert (view.bar.bar_style, view.buttons["start_over"].disabled) == ("danger", False)
    assert run.sets["mdc"].info["outer"] == 1
    assert Run(grey, RECIPES, tiny, checkpoint=run.checkpoint).moment.state.outer == 1


def test_a_test_on_the_way_that_turns_to_nan_is_shown_too(grey, tiny, tmp_path, capsys):
    options = {"checkpoint": tmp_path / "run.safetensors", "evaluation": BRIEF.replace(lr=1e30), "device": "cpu"}
    with pytest.raises(DivergenceError, match=r"\(purpose 'evaluate', seed \d\) gave NaN .*: lr 1e\+30 is likely"):
        live.condense(grey, RECIPES, tiny, headless=True, **options)
    assert "failed before outer loop 1 of 3: DivergenceError: training of a convnet" in capsys.readouterr().out
    assert options["checkpoint"].is_file()


# -- training


def test_a_training_that_turns_to_nan_names_epoch_seed_and_lr(grey):
    condensed = robustness.real_images(grey, [3] * 3)
    wanted = r"^training of a convnet \(purpose '{}', seed {}\) gave NaN or .* in epoch [12] of 4: lr 1e\+30 is"
    with pytest.raises(DivergenceError, match=wanted.format("evaluate", 0)):
        evaluate(condensed, grey, BRIEF.replace(lr=1e30), device="cpu")
    with pytest.raises(DivergenceError, match=wanted.format("dynamics", 3)):
        record_dynamics(condensed, BRIEF.replace(lr=1e30), seed=3, **QUIET)


def test_weights_that_are_bad_in_the_end_are_seen(grey):
    net = nn.Linear(1, 1)
    net.weight.data.fill_(torch.inf)
    watch = Epochs("it", 0.1, 2, CPU)
    watch.look(torch.zeros(3, 2), net)
    with pytest.raises(DivergenceError, match="it gave NaN or infinite outputs in epoch 2 of 2"):
        watch.look(torch.zeros(3, 2), net)


def test_epochs_are_read_together_on_an_accelerator(grey):
    watch, net = Epochs("it", 0.1, 10 * READ, OTHER), nn.Linear(1, 1)
    for epoch in range(1, 2 * READ):
        watch.look(torch.full((3, 2), torch.nan if epoch >= READ + 3 else 0.0), net)
    with pytest.raises(DivergenceError, match=f"in epoch {READ + 3} of {10 * READ}"):
        watch.look(torch.zeros(3, 2), net)


# -- the other condensers


def test_an_expert_that_turns_to_nan_leaves_no_file(grey, tmp_path):
    config = ExpertConfig(count=2, epochs=3, lr=1e30, batch=16, width=4, depth=2, seed=5)
    wanted = r"^expert 0 has turned NaN or infinite in epoch 1 of 3 \(seed 5\): lr 1e\+30 is .*, try 1e\+29$"
    with pytest.raises(DivergenceError, match=wanted):
        train_experts(grey, config, tmp_path, **QUIET)
    assert not list(tmp_path.iterdir())


def test_pixels_that_run_away_in_the_other_condensers_are_named(grey, tmp_path):
    experts = train_experts(grey, ExpertConfig(1, 2, 0.05, 16, width=4, depth=2), tmp_path, **QUIET)
    config = MTTConfig(ipc=1, iterations=3, syn_steps=2, expert_epochs=1, max_start=1, step_size=0.05, lr=1e9)
    with pytest.raises(DivergenceError, match=r"^mtt has .* iteration 0 of 3, .*: lr 1e\+09 is .* try 1e\+08$"):
        condense_mtt(grey, experts, config, **QUIET)
    with pytest.raises(DivergenceError, match=r"^kip has diverged in step 0 of 3: .*; lr 50 is .*, try 5, or"):
        condense_kip(grey, KIPConfig(ipc=1, steps=3, targets=5, lr=50.0), **QUIET)


def test_a_kernel_without_inverse_is_named(grey, monkeypatch):
    monkeypatch.setattr("mdckit.condensers.kip.ntk", lambda a, b, depth: a.flatten(1) @ b.flatten(1).T * -1)
    with pytest.raises(DivergenceError, match=r"step 0 of 1: its kernel has no inverse; .*raise ridge 1e-06 to 1e-05$"):
        condense_kip(grey, KIPConfig(ipc=1, steps=1, targets=5), **QUIET)


def test_steps_end_with_the_error_and_the_generator_is_closed(grey, tiny, spoilt):
    spoilt(3)
    steps, seen = condense_steps(grey, RECIPES, tiny, device="cpu"), []
    with pytest.raises(DivergenceError):
        seen.extend(step.inner for step in steps)
    assert seen == [1]
    assert next(steps, None) is None
