"""Compiled passes against the functions they come from, and what happens where nothing can be compiled."""

import threading
import warnings

import pytest
import torch

from mdckit import baselines, compiled, matching
from mdckit.compiled import Compiled
from mdckit.condense import condense
from mdckit.config import CondenseConfig
from mdckit.networks import fresh_convnet

SIZES = [[1, 3], [1, 3]]
needs_compiler = pytest.mark.usefixtures("compiler")


def case(seed):
    """A network and what two classes of its images are matched against, in float64."""
    net = fresh_convnet((1, 8, 8), 3, CondenseConfig(width=2, depth=2), seed).double().requires_grad_(False)
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(8, 1, 8, 8, dtype=torch.float64, generator=random)
    weights = torch.rand(2, 2, dtype=torch.float64, generator=random)
    real = [torch.randn(2, *shape, dtype=torch.float64, generator=random) for shape in ((2, 1, 3, 3), (2, 2, 3, 3))]
    return net, images, torch.arange(2).repeat_interleave(4), weights, real


def scaled(net, images, by=1.0):
    return sum(p.sum() for p in net.parameters()) * images * by


@needs_compiler
def test_a_compiled_match_is_that_of_the_function_also_with_other_numbers():
    function, settings = Compiled(matching.match_prefixes), {"sizes": SIZES, "distance": "l2"}
    for seed in (0, 1):
        found = function(*case(seed), **settings)
        for got, wanted in zip(found, matching.match_prefixes(*case(seed), **settings), strict=True):
            assert not got.requires_grad
            torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)
    assert len(function.graphs) == 1


@needs_compiler
def test_every_shape_and_setting_has_a_graph_of_its_own():
    net, function = torch.nn.Linear(2, 1), Compiled(scaled)
    for images, settings in (
        (torch.ones(3), {}),
        (torch.ones(4), {}),
        (torch.ones(3), {"by": 2.0}),
        (torch.ones(3), {}),
    ):
        torch.testing.assert_close(function(net, images, **settings), scaled(net, images, **settings))
    assert len(function.graphs) == 3


@needs_compiler
def test_threads_that_come_and_go_compile_one_after_the_other():
    net, function, found = torch.nn.Linear(2, 1), Compiled(scaled), []
    for size in (3, 4):
        thread = threading.Thread(target=lambda size=size: found.append(function(net, torch.ones(size))))
        thread.start()
        thread.join()
    torch.testing.assert_close(found, [scaled(net, torch.ones(size)).detach() for size in (3, 4)])
    assert len(function.graphs) == 2


@needs_compiler
def test_a_graph_runs_while_another_is_traced():
    net, ready, tracing, go_on = torch.nn.Linear(2, 1), Compiled(scaled), threading.Event(), threading.Event()

    def slow(net, images):
        tracing.set()
        go_on.wait(60)
        return scaled(net, images)

    wanted = ready(net, torch.ones(3))
    other = threading.Thread(target=lambda: Compiled(slow)(net, torch.ones(3)))
    other.start()
    assert tracing.wait(60)
    found = ready(net, torch.ones(3))
    go_on.set()
    other.join()
    assert torch.equal(found, wanted)


def test_without_a_compiler_one_warning_is_given_and_the_function_runs_as_it_is():
    net, function = torch.nn.Linear(2, 1), Compiled(scaled)
    with torch._inductor.config.patch({"cpp.cxx": (None, "/nowhere/c++")}):
        with pytest.warns(RuntimeWarning, match="not compiled, goes on without: .*No working C.. compiler found"):
            first = function(net, torch.ones(5))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            second = function(net, torch.ones(6))
    assert torch.equal(first, scaled(net, torch.ones(5)))
    assert torch.equal(second, scaled(net, torch.ones(6)))
    assert not function.graphs


@needs_compiler
def test_tracing_stays_on_one_core():
    seen = []

    def noted(net, images):
        seen.append(torch.get_num_threads())
        return scaled(net, images)

    torch.set_num_threads(2)
    try:
        Compiled(noted)(torch.nn.Linear(2, 1), torch.ones(3))
        seen.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(1)
    assert seen == [1, 2]


def test_where_every_call_has_another_shape_compiling_is_given_up(monkeypatch):
    monkeypatch.setattr(compiled, "MOST", 0)
    net, function = torch.nn.Linear(2, 1), Compiled(scaled)
    with pytest.warns(RuntimeWarning, match="not compiled, goes on without: 0 graphs made already"):
        assert torch.equal(function(net, torch.ones(3)), scaled(net, torch.ones(3)))


@needs_compiler
@pytest.mark.filterwarnings("error:not compiled")
def test_a_compiled_condensation_gives_the_images_of_the_usual_one(grey, tiny):
    config = tiny.replace(width=2, depth=1, outer=2, inner=2, net_images=8, net_batch=8)
    recipes = [baselines.all_prefixes()]
    by_graphs, usual = (
        condense(grey, recipes, config.replace(compile=choice), device="cpu", show_progress=False)["all_prefixes"]
        for choice in (True, False)
    )
    start = condense(grey, recipes, config.replace(lr=1e-9), device="cpu", show_progress=False)["all_prefixes"]
    assert (usual.images - start.images).abs().max() > 1e-3
    torch.testing.assert_close(by_graphs.images, usual.images, rtol=0, atol=1e-5)
