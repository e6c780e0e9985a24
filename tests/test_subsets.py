"""Which subset is learned and what is frozen, loop by loop."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ReleasedSubsets

from mdckit import subsets
from mdckit.subsets import SubsetState


def selecting(sizes, period, freeze="released", candidates=9):
    """A state that chose `sizes` one after the other: at the end of loop 1, then of every `period`-th loop."""
    state, distances = SubsetState(period=period, freeze=freeze), [50.0] * candidates
    for i, n in enumerate(sizes):
        distances[n - 1] -= 1
        state = state.observe(max(i * period, 1), distances)
    assert [n for _, n in state.choices] == sizes
    return state


def timeline(state, loops):
    """{loops with the same MLS and frozen prefix: (mls, frozen)} over `loops`, as first and last loop."""
    runs = []
    for t in loops:
        now = (state.mls(t), state.frozen(t))
        if runs and runs[-1][2] == now:
            runs[-1][1] = t
        else:
            runs.append([t, t, now])
    return {(first, last): now for first, last, now in runs}


def test_growing_subsets_are_frozen_as_released():
    state = selecting([1, 1, 1, 2, 2, 3], period=100)
    assert state.trace == [[1, 1], [100, 1], [200, 1], [300, 2], [400, 2], [500, 3]]
    found = timeline(state, range(1, 700))
    assert found == {(1, 1): (None, 0), (2, 300): (1, 0), (301, 500): (2, 1), (501, 699): (3, 2)}


def test_retired_sizes_stay_retired_as_released():
    """The first choice retires one loop late, and after shrinking the largest retired size below stays frozen."""
    found = timeline(selecting([1, 5, 2, 6], period=100), range(1, 500))
    assert found == {
        (1, 1): (None, 0),
        (2, 100): (1, 0),
        (101, 101): (5, 0),
        (102, 200): (5, 1),
        (201, 300): (2, 1),
        (301, 499): (6, 5),
    }


def test_paper_rule_freezes_only_the_predecessor_of_a_larger_subset():
    found = timeline(selecting([1, 5, 2, 6, 6, 4, 4], period=100, freeze="paper"), range(1, 800))
    assert found == {
        (1, 1): (None, 0),
        (2, 100): (1, 0),
        (101, 200): (5, 1),
        (201, 300): (2, 0),  # MDC Eq. 10: a smaller subset frees all images
        (301, 500): (6, 2),  # an equal one keeps the rule
        (501, 799): (4, 0),
    }


def test_nothing_is_frozen_on_request():
    found = timeline(selecting([1, 5, 2, 6], period=100, freeze="none"), range(1, 500))
    assert found == {(1, 1): (None, 0), (2, 100): (1, 0), (101, 200): (5, 0), (201, 300): (2, 0), (301, 499): (6, 0)}


def test_a_choice_counts_from_the_next_loop_on():
    state = selecting([1, 3], period=10)
    assert [state.mls(t) for t in (1, 2, 10, 11)] == [None, 1, 1, 3]


@pytest.mark.parametrize("period", [1, 2, 5])
def test_distances_are_measured_in_the_first_and_every_period_th_loop(period):
    wanted = [t for t in range(1, 21) if t == 1 or t % period == 0]
    assert [t for t in range(1, 21) if SubsetState(period).measures(t)] == wanted


def test_the_first_choice_is_one_whatever_the_distances():
    assert SubsetState(5).observe(1, [0.0, 9.0, 99.0]).mls(2) == 1


def test_the_change_counts_not_its_sign_nor_the_interval():
    state = SubsetState(100).observe(1, [9.0, 5.0, 3.0])
    assert state.observe(100, [8.9, 5.0, 3.2]).mls(101) == 3
    assert state.observe(100, [8.7, 5.0, 3.2]).mls(101) == 1


def test_distances_are_rounded_to_two_decimals():
    state = SubsetState(1).observe(1, [1.0, 2.0, 3.0])
    assert state.distances == (1.0, 2.0, 3.0)
    rounded = state.observe(2, [1.0, 2.0, 3.0049])
    assert rounded.distances == (1.0, 2.0, 3.0)
    assert rounded.mls(3) == 1  # no change is left, and ties go to the smaller subset
    assert state.observe(2, [1.0, 2.0, 3.0051]).mls(3) == 3


def test_changes_are_counted_from_the_last_choice():
    state = SubsetState(1).observe(1, [9.0, 9.0]).observe(2, [9.0, 5.0]).observe(3, [8.0, 5.0])
    assert [state.mls(t) for t in (2, 3, 4)] == [1, 2, 1]


def test_rule_largest_takes_the_largest_distance():
    state = SubsetState(1, rule="largest", freeze="none")
    state = state.observe(1, [4.0, 6.0, 5.0]).observe(2, [4.0, 1.0, 5.0]).observe(3, [7.0, 7.0, 5.0])
    assert [state.mls(t) for t in (1, 2, 3, 4)] == [None, 2, 3, 1]


def test_observing_leaves_the_earlier_state_as_it_was():
    """Class-wise histories start from one value and must not share anything."""
    start = SubsetState(1).observe(1, [1.0, 1.0, 1.0])
    first, second = start.observe(2, [1.0, 5.0, 1.0]), start.observe(2, [1.0, 1.0, 5.0])
    assert (start.mls(3), first.mls(3), second.mls(3)) == (1, 2, 3)
    assert (start.frozen(9), first.frozen(9), second.frozen(9)) == (0, 1, 1)


def test_period_must_be_a_positive_integer():
    for period in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match="period must be an integer >= 1"):
            SubsetState(period)


@st.composite
def histories(draw):
    """A period, and the distances of every measured loop; few different values, so that ties are common."""
    period, candidates = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    values = st.one_of(st.integers(0, 3).map(float), st.floats(0, 4))
    row = st.lists(values, min_size=candidates, max_size=candidates)
    return period, draw(st.lists(row, min_size=1, max_size=12))


@settings(deadline=None, database=None, derandomize=True, max_examples=300)
@given(histories())
def test_any_history_follows_the_released_state_machine(history):
    period, rows = history
    state, machine, rows = SubsetState(period), ReleasedSubsets(period), iter(rows)
    for t in range(1, 60):
        assert (state.mls(t), state.frozen(t)) == machine.begin(t)
        assert state.measures(t) == machine.measures(t)
        if machine.measures(t):
            distances = next(rows, None)
            if distances is None:
                break
            state = state.observe(t, distances)
            machine.end(t, distances)
    for later in range(t, t + 3 * period):  # what was chosen earlier stays true of later loops
        assert (state.mls(later), state.frozen(later)) == machine.begin(later)


def test_histories_are_read_back_from_a_sets_info():
    state = SubsetState(period=2, freeze="paper").observe(1, [9.0, 5.0, 3.0]).observe(2, [8.5, 3.0, 2.0])
    info = {"mls_trace": state.trace, "recipe": {"freeze": "paper"}, "config": {"period": 2}}
    (found,) = subsets.histories(info)
    assert all((found.mls(t), found.frozen(t)) == (state.mls(t), state.frozen(t)) for t in range(1, 6))
    by_class = subsets.histories(info | {"mls_trace": [state.trace, [[1, 1]]]})
    assert [history.mls(3) for history in by_class] == [2, 1]
    assert [history.mls(9) for history in subsets.histories({"mls_trace": [[], []]})] == [None, None]
    assert subsets.histories({}) == subsets.histories({"mls_trace": []}) == ()
    (unknown,) = subsets.histories({"mls_trace": [[1, 1], [2, 3]]})
    assert (unknown.mls(9), unknown.frozen(9)) == (3, 0)
