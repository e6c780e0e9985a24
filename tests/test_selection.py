"""Smaller sets from scores: just the patches asked for, their pixels untouched, and clear about what cannot be had."""

import dataclasses

import pytest
import reference_scores as reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import cluster

from mdckit import CondensedSet, scores
from mdckit.pruning import selection
from mdckit.pruning.dynamics import Dynamics
from mdckit.pruning.scores import Score
from mdckit.pruning.selection import at_random, by_score, ccs, resize, ssp

SIZES = pytest.mark.parametrize(("side", "factor"), [(8, 1), (8, 2), (28, 2)])


def make(k=3, n=4, side=8, factor=2, seed=0, dataset="toys"):
    images = torch.rand(k, n, 2, side, side, generator=torch.Generator().manual_seed(seed))
    return CondensedSet(images, factor, (0.1, 0.2), (0.3, 0.4), tuple("abcdefgh"[:k]), dataset)


def scored(condensed, seed=0, levels=None, **settings):
    """A random score, of so many different values."""
    values = torch.rand(condensed.patches, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values = values if levels is None else (values * levels).floor()
    return Score("mine", values, digest=condensed.digest, **settings)


def log_of(condensed, seed=0, epochs=100, features=None):
    """A log that says anything about this set, with its labels and digest."""
    patches, classes = condensed.patches, len(condensed.classes)
    random = torch.Generator().manual_seed(seed)
    return Dynamics(
        probabilities=torch.randn(epochs, patches, classes, generator=random).softmax(2).half(),
        correct=torch.rand(epochs, patches, generator=random) < 0.5,
        labels=condensed.labels,
        final=torch.randn(patches, classes, generator=random).softmax(1),
        features=torch.randn(patches, 5, generator=random) if features is None else features,
        digest=condensed.digest,
    )


def pixels(condensed):
    """The pixels of every patch in use as stored, class by class."""
    return [
        cell.numpy().tobytes()
        for images, count in zip(condensed.images, condensed.patches_per_class, strict=True)
        for cell in reference.cells(images, condensed.factor)[:count]
    ]


def chosen(part, whole):
    """The numbers in `whole` of the patches of `part`, bit by bit, in their order."""
    places = {cell: i for i, cell in enumerate(pixels(whole))}
    assert len(places) == whole.patches
    return [places[cell] for cell in pixels(part)]


def best(score, members, count):
    """The patches to keep among these, by a loop."""
    high_first = (score.easy == "low") == (score.keep == "hard")
    values = score.values.tolist()
    return [members[i] for i in reference.ranked([values[i] for i in members], high_first)[:count]]


def members(condensed, c):
    return [i for i, label in enumerate(condensed.labels.tolist()) if label == c]


# -- by score


@SIZES
@pytest.mark.parametrize("ipc", [1, 3, 4])
@pytest.mark.parametrize("keep", ["easy", "hard"])
def test_balanced_keeps_the_best_patches_of_every_class_pixel_by_pixel(side, factor, ipc, keep):
    whole = make(side=side, factor=factor)
    score = scored(whole, levels=9, keep=keep)
    part = by_score(whole, score, ipc, balanced=True)
    assert part.counts is None
    assert part.patches_per_class == (ipc * factor**2,) * 3
    assert part.images.shape == (3, ipc, 2, side, side)
    assert (part.factor, part.mean, part.std, part.classes) == (factor, whole.mean, whole.std, whole.classes)
    assert chosen(part, whole) == [i for c in range(3) for i in best(score, members(whole, c), ipc * factor**2)]


@pytest.mark.parametrize("keep", ["easy", "hard"])
def test_unbalanced_keeps_the_best_of_all_whatever_their_class(keep):
    whole = make()
    score = scored(whole, levels=9, keep=keep)
    for ipc in (1, 2, 4):
        part = by_score(whole, score, ipc, balanced=False)
        wanted = best(score, list(range(48)), ipc * 12)
        assert chosen(part, whole) == sorted(wanted, key=lambda i: i // 16)
        assert part.patches_per_class == tuple(len([i for i in wanted if i // 16 == c]) for c in range(3))


def test_unbalanced_may_leave_a_class_without_patches():
    whole = make()
    part = by_score(whole, Score("mine", torch.arange(48.0).roll(-16)), 1, balanced=False)
    assert part.patches_per_class == (0, 0, 12)
    assert chosen(part, whole) == list(range(32, 44))


@given(seed=st.integers(0, 99), levels=st.integers(1, 20), large=st.integers(1, 4), data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_prefix_of_a_balanced_selection_is_the_smaller_selection(seed, levels, large, data):
    whole = make(k=2)
    small = data.draw(st.integers(1, large))
    score = scored(whole, seed, levels, keep=data.draw(st.sampled_from(["easy", "hard"])), balanced=True)
    part, wanted = by_score(whole, score, large).take(small), by_score(whole, score, small)
    assert torch.equal(part.images, wanted.images)
    assert part.counts is wanted.counts is None


def test_the_score_says_how_it_selects_unless_told_otherwise():
    whole = make()
    values = scored(whole).values
    for balanced in (True, False):
        for keep in ("easy", "hard"):
            wanted = by_score(whole, Score("mine", values), 2, balanced=balanced, keep=keep)
            own = by_score(whole, Score("mine", values, keep=keep, balanced=balanced), 2)
            other = by_score(whole, Score("mine", values, "high", "easy", not balanced), 2, balanced=balanced)
            assert own.digest == wanted.digest
            assert (other.digest == wanted.digest) == (keep == "hard")


@given(counts=st.lists(st.integers(0, 8), min_size=3, max_size=3).filter(any), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_selection_of_a_ragged_selection_is_one_of_the_whole(counts, seed):
    whole = make(n=2)
    first = torch.cat([8 * c + torch.randperm(8)[:count] for c, count in enumerate(counts)])
    ragged = whole.select(first)
    assert ragged.patches_per_class == tuple(counts)
    score = scored(ragged, seed, levels=4)
    for ipc in range(1, ragged.ipc + 1):
        part = by_score(ragged, score, ipc)
        wanted = best(score, list(range(sum(counts))), ipc * sum(counts) // ragged.ipc)
        assert chosen(part, whole) == sorted(first[wanted].tolist(), key=lambda i: i // 8)
    if min(counts) >= 4:
        assert by_score(ragged, score, 1, balanced=True).patches_per_class == (4, 4, 4)


# -- by name


@pytest.mark.parametrize("name", scores.SCORES)
@pytest.mark.parametrize("balanced", [None, True, False])
def test_resize_by_name_selects_by_that_score_with_its_defaults(name, balanced):
    whole = make(n=2, dataset="cifar10")
    log = log_of(whole)
    settings = {"lbpe": (100, 10), "el2n": (10,)}.get(name, ())
    score = getattr(scores, name)(log, *settings)
    for end in (score, score.reversed()):
        part = resize(name, whole, log, 1, balanced=balanced, keep=end.keep)
        assert part.digest == by_score(whole, end, 1, balanced=balanced).digest
    assert resize(name, whole, log, 1, balanced=balanced).digest == by_score(whole, score, 1, balanced=balanced).digest


@pytest.mark.parametrize(("dataset", "epochs", "used"), [("cifar10", 150, 100), ("cifar100", 250, 200)])
def test_resize_by_lbpe_stops_as_early_as_the_paper(dataset, epochs, used):
    whole = make(k=2, n=2, dataset=dataset)
    log = log_of(whole, epochs=epochs)
    assert resize("lbpe", whole, log, 1).digest == by_score(whole, scores.lbpe(log, used, 10), 1).digest


def test_resize_by_ccs_leaves_out_the_papers_share():
    whole = make(n=10, dataset="cifar10")
    log = log_of(whole)
    for ipc, cutoff in [(1, 0.3), (2, 0.1), (5, 0.0)]:
        wanted = ccs(whole, scores.el2n(log, 10), ipc, cutoff=cutoff, seed=3)
        assert resize("ccs", whole, log, ipc, seed=3).digest == wanted.digest
    with pytest.raises(ValueError, match=r"^no cut-off of ccs is known from 10 to 3 images per class: give cutoff"):
        resize("ccs", whole, log, 3)
    assert resize("ccs", whole, log, 3, cutoff=0.2).info["selected"]["cutoff"] == 0.2


@pytest.mark.parametrize(
    ("layout", "epochs", "top"), [("mtt", 10, 3), ("kip", 50, 3), ("dsa", 100, 3), ("idc", 100, 10)]
)
def test_an_imported_set_has_the_early_stop_of_its_layout(layout, epochs, top):
    whole = dataclasses.replace(make(n=2, dataset="cifar10"), info={"import": {"layout": layout}})
    log = log_of(whole)
    assert resize("lbpe", whole, log, 1).digest == by_score(whole, scores.lbpe(log, epochs, top), 1).digest


def test_resize_takes_the_epochs_it_is_given_and_none_it_has_not():
    whole = make(n=2)
    log = log_of(whole, epochs=8)
    wanted = by_score(whole, scores.lbpe(log, 6, 2), 1)
    assert resize("lbpe", whole, log, 1, epochs=6, top=2).digest == wanted.digest
    assert resize("lbpe", whole, log, 1, epochs=6).digest == by_score(whole, scores.lbpe(log, 6, 6), 1).digest
    for name in ("lbpe", "el2n", "ccs"):
        with pytest.raises(ValueError, match=r"epochs asked of dynamics with 8: record more or ask fewer"):
            resize(name, whole, log, 1, **({"cutoff": 0.1} if name == "ccs" else {}))


@pytest.mark.parametrize("name", selection.METHODS)
def test_an_option_of_another_method_is_named(name):
    whole = make()
    taken = {"lbpe": "balanced, epochs, top, keep", "random": "balanced, seed"}.get(name, "balanced")
    with pytest.raises(ValueError, match=rf"^unknown option 'share' of {name}: it takes {taken}"):
        resize(name, whole, log_of(whole), 1, share=0.5)
    other = "seed" if name in scores.SCORES else "keep"
    with pytest.raises(ValueError, match=rf"^unknown option '{other}' of {name}: it takes"):
        resize(name, whole, log_of(whole), 1, **{other: 0})


def test_a_selection_says_how_it_was_made():
    whole = dataclasses.replace(make(n=10, dataset="cifar10"), info={"mls_trace": [[1, 2]], "seed": 4})
    log = log_of(whole)
    for name, how in {
        "aum": {"method": "aum", "keep": "easy", "balanced": False},
        "lbpe": {"method": "lbpe", "keep": "easy", "balanced": True},
        "random": {"method": "random", "seed": 0, "balanced": False},
        "ssp": {"method": "ssp", "seed": 0, "balanced": False},
        "ccs": {"method": "ccs", "score": "el2n", "cutoff": 0.3, "seed": 0, "balanced": False},
    }.items():
        part = resize(name, whole, log, 1, **({"keep": "easy"} if name == "aum" else {}))
        told = dict(part.info["selected"])
        assert torch.equal(whole.decode()[0][told.pop("patches")], part.decode()[0])
        assert told.pop("of") == whole.digest
        assert told == how
        assert part.info["seed"] == 4
        assert part.mls_trace == []


# -- at random, prototypes, coverage


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("name", ["random", "ssp", "ccs"])
def test_every_rule_keeps_so_many_different_patches_the_same_for_the_same_seed(name, balanced):
    whole = make(n=5)
    log = log_of(whole)
    options = {"cutoff": 0.0} if name == "ccs" else {}
    for ipc in (1, 3, 5):
        part = resize(name, whole, log, ipc, balanced=balanced, seed=1, **options)
        assert len(set(chosen(part, whole))) == part.patches == 12 * ipc
        assert part.patches_per_class == (4 * ipc,) * 3 or not balanced
        assert part.digest == resize(name, whole, log, ipc, balanced=balanced, seed=1, **options).digest
    if name != "ssp":
        one, other = (resize(name, whole, log, 1, balanced=balanced, seed=seed, **options) for seed in (1, 2))
        assert one.digest != other.digest


def test_balanced_coverage_draws_anew_in_every_class():
    whole = make(n=10, factor=1)
    score = Score("mine", torch.zeros(30))
    picked = chosen(ccs(whole, score, 3, cutoff=0, balanced=True), whole)
    assert len({tuple(i % 10 for i in picked[3 * c : 3 * c + 3]) for c in range(3)}) > 1


def test_random_patches_do_not_depend_on_the_log():
    whole = make()
    assert resize("random", whole, log_of(whole, 1), 2, seed=4).digest == at_random(whole, 2, seed=4).digest


@pytest.mark.parametrize("balanced", [True, False])
def test_prototypes_are_the_patches_nearest_to_the_centres(balanced):
    """Twelve patches in tight clusters of three far apart; the middle one of each cluster is at its centre."""
    whole = make(k=2, n=6, factor=1)
    order = torch.tensor([2, 0, 1, 5, 3, 4, 7, 6, 8, 10, 11, 9])
    places = 1000.0 * (order // 3) + order % 3 - 1
    part = ssp(whole, log_of(whole, features=torch.stack([places, -places], 1)), 2, balanced=balanced)
    assert sorted(chosen(part, whole)) == [i for i in range(12) if order[i] % 3 == 1]


@pytest.mark.parametrize("balanced", [True, False])
def test_prototypes_are_those_of_a_literal_loop_over_the_centres(balanced, monkeypatch):
    fitted = []

    class Seen(cluster.KMeans):
        def fit(self, features):
            fitted.append((super().fit(features).cluster_centers_.tolist(), features.tolist()))
            return self

    monkeypatch.setattr(cluster, "KMeans", Seen)
    whole = make(n=5)
    picked = chosen(ssp(whole, log_of(whole), 3, balanced=balanced, seed=2), whole)
    wanted = []
    for group, found in zip([members(whole, c) for c in range(3)] if balanced else [range(60)], fitted, strict=True):
        wanted += [group[i] for i in reference.nearest(*found)]
    assert picked == sorted(wanted, key=lambda i: i // 20)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_prototypes_of_equal_features_are_different_patches():
    whole = make(n=2)
    log = log_of(whole, features=torch.ones(24, 3))
    assert len(set(chosen(ssp(whole, log, 1), whole))) == 12


@pytest.mark.parametrize("cutoff", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("easy", ["low", "high"])
def test_coverage_leaves_out_the_hardest_and_takes_of_every_stratum_its_part(cutoff, balanced, easy):
    whole = make(n=10)
    score = scored(whole, levels=200, easy=easy)
    values = score.values.tolist()
    for ipc in (1, 4, 5):
        picked = chosen(ccs(whole, score, ipc, cutoff=cutoff, balanced=balanced, seed=2), whole)
        for group in [members(whole, c) for c in range(3)] if balanced else [list(range(120))]:
            ranked = [group[i] for i in reference.ranked([values[i] for i in group], easy == "low")]
            pool = ranked[int(cutoff * len(group)) :]
            found = [i for i in group if i in picked]
            assert len(found) == ipc * len(group) // 10
            assert set(found) <= set(pool)
            stratum, budgets = reference.strata([values[i] for i in pool], len(found))
            for s, budget in budgets.items():
                assert len([i for i, place in zip(pool, stratum, strict=True) if place == s and i in found]) == budget


def test_coverage_passes_on_what_a_stratum_cannot_use():
    whole = make(k=2, n=6, factor=1)
    score = Score("mine", torch.tensor([0.0] + [1.0] * 4 + [5.0] * 7, dtype=torch.float64))
    picked = chosen(ccs(whole, score, 5, cutoff=0), whole)
    assert [len([i for i in picked if score.values[i] == value]) for value in (0, 1, 5)] == [1, 4, 5]


def test_coverage_at_the_ends_of_the_range_of_margins():
    """Scores below zero: the released bound of the strata, 1.0001 times the highest, is below the highest."""
    whole = make(n=10)
    score = Score("mine", -scored(whole).values - 0.5, "high")
    values = score.values.tolist()
    picked = chosen(ccs(whole, score, 4, cutoff=0), whole)
    stratum, budgets = reference.strata(values, 48)
    assert {s: [stratum[i] for i in picked].count(s) for s in range(50)} == budgets


def test_coverage_of_equal_scores_is_a_random_choice():
    whole = make()
    score = Score("mine", torch.zeros(48, dtype=torch.float64))
    digests = {ccs(whole, score, 1, cutoff=0.2, seed=seed).digest for seed in range(4)}
    assert len(digests) == 4


# -- bad input


def every_rule(whole, log, ipc, **settings):
    score = scores.el2n(log, 2)
    yield lambda: by_score(whole, score, ipc, **settings)
    yield lambda: ccs(whole, score, ipc, cutoff=0.1, **settings)
    yield lambda: ssp(whole, log, ipc, **settings)
    yield lambda: at_random(whole, ipc, **settings)
    for name in selection.METHODS:
        options = settings | ({"cutoff": 0.1} if name == "ccs" else {})
        yield lambda name=name, options=options: resize(name, whole, log, ipc, **options)


@pytest.mark.parametrize("ipc", [0, -1, True, 2.0, "1", None])
def test_a_size_that_is_none_is_named(ipc):
    whole = make()
    for rule in every_rule(whole, log_of(whole), ipc):
        with pytest.raises(ValueError, match=rf"^ipc must be an integer >= 1, got {ipc!r}$"):
            rule()


def test_a_larger_set_than_the_source_is_refused():
    whole = make()
    for rule in every_rule(whole, log_of(whole), 5):
        with pytest.raises(ValueError, match=r"^5 images per class asked of a set with 4: a set can only be"):
            rule()


@pytest.mark.parametrize("index", [[0, 1, 2, 3, 4, 20, 21, 22, 23], [0, 1, 2, 3, 8, 9, 10, 16, 17, 18, 19]])
def test_a_class_with_too_few_patches_cannot_be_balanced(index):
    ragged = make(n=2).select(torch.tensor(index))
    had = ragged.patches_per_class[1]
    for rule in every_rule(ragged, log_of(ragged), 1, balanced=True):
        with pytest.raises(ValueError, match=rf"^4 patches of every class asked, but class b has {had}: select"):
            rule()


def test_scores_and_dynamics_of_another_set_are_refused():
    whole, other = make(), make(seed=1)
    log = log_of(other)
    for score in (scores.el2n(log, 2), Score("el2n", torch.rand(47))):
        for rule in (lambda s=score: by_score(whole, s, 1), lambda s=score: ccs(whole, s, 1, cutoff=0)):
            with pytest.raises(
                ValueError, match=rf"^the score 'el2n' is of another set \({len(score.values)} patches\) than "
            ):
                rule()
    for name in selection.METHODS:
        with pytest.raises(ValueError, match=r"^these training dynamics are of another set"):
            resize(name, whole, log, 1)
    with pytest.raises(ValueError, match=r"^these training dynamics are of another set"):
        ssp(whole, log, 1)


def test_an_unknown_method_is_named():
    whole = make()
    with pytest.raises(ValueError, match=r"^unknown score 'lpbe': choose one of lbpe, el2n, forgetting, aum"):
        resize("lpbe", whole, log_of(whole), 1)


def test_an_end_that_is_none_is_named():
    whole = make()
    with pytest.raises(ValueError, match="esay"):
        by_score(whole, scored(whole), 1, keep="esay")


@pytest.mark.parametrize("cutoff", [-0.1, 1, 1.5, True, float("nan")])
def test_a_cutoff_that_is_no_share_is_named(cutoff):
    whole = make()
    with pytest.raises(ValueError, match=rf"^cutoff {cutoff} asked: it is the share of the hardest"):
        ccs(whole, scored(whole), 1, cutoff=cutoff)


def test_a_cutoff_that_leaves_too_few_is_named():
    whole = make()
    with pytest.raises(ValueError, match=r"^cutoff 0\.6 leaves 20 of 48 patches, 24 are asked: lower it$"):
        ccs(whole, scored(whole), 2, cutoff=0.6)
    with pytest.raises(ValueError, match=r"^cutoff 0\.6 leaves 7 of 16 patches, 8 are asked: lower it$"):
        ccs(whole, scored(whole), 2, cutoff=0.6, balanced=True)
    assert ccs(whole, scored(whole), 1, cutoff=0.6).patches == 12
