"""The papers' tables, and a run's numbers beside them."""

import copy
import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from records import RESIZED, RUN, SIZES, constant, resize_record, run_record

from mdckit import CondenseConfig, TrainConfig, paper
from mdckit.papers import paper_plots, printed, side_by_side

TABLES = [(name, number) for name, numbers in printed.PAPERS.items() for number in numbers]


def cell(compared, method, ipc):
    return compared.set_index(["method", "ipc"]).loc[(method, ipc)]


# -- printed numbers


def test_every_printed_table_is_there():
    rows = paper.table("mdc", 1).query("subtable == 'a' and dataset == 'CIFAR-10'")
    assert cell(rows, "MDC (ours)", "1")["value"] == 49.66
    assert all(len(paper.table(name, number)) > 10 for name, number in TABLES)
    with pytest.raises(ValueError, match=r"no table 99 of 'mdc'.*mdc_table1"):
        paper.table("mdc", 99)


@pytest.mark.parametrize(("name", "number"), TABLES)
def test_blocks_are_unambiguous_and_every_mapped_method_is_printed(name, number):
    found = printed.blocks(name, number)
    assert not any(rows.duplicated(["method", "ipc"]).any() for rows in found.values())
    methods = {method for rows in found.values() for method in rows["method"]}
    assert set(printed.ROWS.get((name, number), {})) <= methods
    assert bool(found) == bool(printed.ROWS.get((name, number)))


def test_blocks_keep_the_sizes_of_one_source_apart():
    ten, fifty = (rows for block, rows in printed.blocks("mdc", 1).items() if block.dataset == "CIFAR-10")
    assert list(dict.fromkeys(ten["ipc"])) == [*SIZES, "avg"]
    assert set(ten["method"]) == {"Baseline A", "Baseline B", "Baseline C", "MDC (ours)"}
    assert set(fifty["method"]) == {"Baseline A", "Baseline C", "MDC (ours)"}
    assert list(dict.fromkeys(fifty["ipc"])) == [*SIZES, "20", "30", "40", "50", "avg"]


def test_a_number_taken_from_another_table_says_so():
    (rows,) = (rows for block, rows in printed.blocks("mdc", 1).items() if block[:2] == ("SVHN", 50))
    average = cell(rows, "Baseline A", "avg")
    assert (average["printed"], average["recovered"]) == (84.34, True)
    assert np.isnan(cell(rows, "Baseline A", "30")["printed"])


# -- compare


def test_measured_and_printed_stand_side_by_side():
    compared = paper.compare(RUN, "mdc", 1)
    one = cell(compared, "MDC (ours)", "1")
    assert (one["name"], one["mean"], one["std"], one["networks"], one["printed"]) == ("mdc", 40.0, 1.0, 2, 49.66)
    assert one["difference"] == pytest.approx(-9.66)
    assert one["scale"] == "20 x 10 loops, width 32, 100 epochs, 2 networks"
    assert np.isnan(cell(compared, "Baseline A", "1")["mean"])
    assert not compared["name"].eq("all_prefixes").any()


def test_the_average_is_that_of_the_printed_sizes_network_by_network():
    accuracy = {"mdc": {n: [float(n), float(n) + 2] for n in SIZES}}
    average = cell(paper.compare(run_record(accuracy), "mdc", 1), "MDC (ours)", "avg")
    assert (average["mean"], average["std"]) == (6.5, 1.0)
    del accuracy["mdc"]["7"]
    compared = paper.compare(run_record(accuracy), "mdc", 1)
    assert np.isnan(cell(compared, "MDC (ours)", "avg")["mean"])
    assert np.isnan(cell(compared, "MDC (ours)", "7")["mean"])


def test_condensations_with_several_seeds_are_pooled():
    records = [run_record({"mdc": constant(40.0 + seed)}, seed=seed) for seed in (0, 1)]
    average = cell(paper.compare(records, "mdc", 6), "MDC mean of 6 runs", "avg")
    assert (average["mean"], average["networks"], average["printed"]) == (40.5, 4, 58.87)
    with pytest.raises(ValueError, match="mdc at 1 images per class of one condensation is in two results: drop one"):
        paper.compare([records[0], records[0]], "mdc", 6)


def test_a_record_of_a_version_without_other_networks_is_of_a_convnet():
    found = run_record({"mdc": constant(40.0)})
    del found["config"]["train"]["network"]
    assert cell(paper.compare(found, "mdc", 1), "MDC (ours)", "1")["mean"] == 40.0


def test_rows_of_the_ablation_are_methods_under_other_names():
    accuracy = {"no_subset_loss": constant(30.0), "freeze": constant(40.0)}
    assert cell(paper.compare(run_record(accuracy), "mdc", 1), "Baseline C", "2")["mean"] == 30.0
    both = run_record(accuracy | {"mdc": constant(40.0), "calculate": constant(35.0)})
    compared = paper.compare(both, "mdc", 3)
    assert cell(compared, "MDC ablation: calculate+compare+freeze", "2")["networks"] == 2
    assert cell(compared, "MDC ablation: calculate", "2")["difference"] == pytest.approx(35.0 - 48.27)


def test_other_networks_belong_to_other_parts_of_a_table():
    densenet = run_record({"mdc": constant(40.0)}, train={"network": "densenet"})
    assert cell(paper.compare(densenet, "mdc", 4), "MDC (ours)", "1")["mean"] == 40.0
    with pytest.raises(ValueError, match="of CIFAR-10 from 10 images per class, DenseNet; MDC Table 1 prints SVHN"):
        paper.compare(densenet, "mdc", 1)


def test_selections_are_known_by_their_options():
    methods = {"a": {"name": "random", "balanced": True}, "b": {"name": "lbpe", "balanced": False}}
    compared = paper.compare(resize_record({"a": {"1": [1.0] * 4}, "b": {"1": [2.0] * 4}}, methods), "yoco", 2)
    assert cell(compared, "IDC; LBPE=no; balanced=yes", "1")["mean"] == 1.0
    assert cell(compared, "IDC; LBPE=yes; balanced=no", "1")["mean"] == 2.0
    easy = resize_record({"e": {"1": [3.0] * 4}}, {"e": {"name": "aum", "keep": "easy"}})
    assert cell(paper.compare(easy, "yoco", 4), "AUM; reversed(easy)=yes; condensed by IDC", "1")["mean"] == 3.0
    plain = cell(paper.compare(RESIZED, "yoco", 7), "YOCO (ours)", "1")
    assert (plain["mean"], plain["networks"], plain["printed"]) == (23.0, 4, 42.28)
    assert plain["scale"] == "20 x 10 loops, width 32, dynamics of 300 epochs, 100 epochs, 4 networks"


@pytest.mark.parametrize(
    ("found", "at", "message"),
    [
        (
            RUN | {"dataset": "mnist5k"},
            ("mdc", 1),
            "of mnist5k from 10 images per class, ConvNet-D3; MDC",
        ),
        (RUN | {"dataset": "cifar10-holdout500"}, ("mdc", 1), "of cifar10-holdout500 from 10"),
        (RUN | {"ipc": 3}, ("mdc", 3), "of CIFAR-10 from 3 images per class, .*prints CIFAR-10 from 10"),
        (run_record(RUN["accuracy"], train={"norm": "batch"}), ("mdc", 1), "ConvNet-D3 with batch norm; MDC"),
        (run_record(RUN["accuracy"], train={"evaluations": 1}), ("mdc", 1), "best of 1 tests, .* best of 4: evaluate"),
        (RUN | {"accuracy": {}}, ("mdc", 1), "no accuracies in the result: give a result.json"),
        ({"tables": 1}, ("mdc", 1), "no accuracies in the result: give a result.json"),
        (RUN, ("yoco", 1), "a result of 20_run belongs to the tables of MDC, not YOCO Table 1"),
        (RESIZED, ("mdc", 1), "a result of 21_resize belongs to the tables of YOCO, not MDC Table 1"),
        (RESIZED | {"recipe": {"name": "mdc"}}, ("yoco", 1), "condensed by mdc; YOCO Table 1 is about IDC's sets"),
        (RUN | {"accuracy": {"all_prefixes": constant(9.0)}}, ("mdc", 1), "has no number of .*all_prefixes at 1/2/3"),
        (RUN, ("mdc", 7), "MDC Table 7 prints no accuracies of methods"),
        (RUN, ("mdc", 13), "no table 13 of 'mdc' here"),
        ([], ("mdc", 1), "no results: give at least one"),
        (
            [RUN, run_record(RUN["accuracy"], outer=30)],
            ("mdc", 1),
            "different settings or sizes cannot be pooled: .*30 x 10",
        ),
        ([RUN, run_record({"mdc": {"1": [40.0] * 2}}, seed=1)], ("mdc", 1), "different settings or sizes cannot be"),
    ],
)
def test_what_cannot_be_compared_is_refused(found, at, message):
    with pytest.raises(ValueError, match=message):
        paper.compare(found, *at)


def test_a_set_of_another_condenser_has_rows_of_its_own():
    dream = run_record({"baseline_c": constant(30.0), "mdc": constant(40.0)}, method="dream")
    assert cell(paper.compare(dream, "mdc", 2), "DREAM", "1")["mean"] == 30.0
    assert cell(paper.compare(dream, "mdc", 8), "MDC on DREAM", "1")["mean"] == 40.0
    assert np.isnan(cell(paper.compare(dream, "mdc", 8), "MDC on IDC", "1")["mean"])
    with pytest.raises(
        ValueError, match=r"MDC Table 1 has no number of .*: it measures dream baseline_c at 1/2.*dream mdc"
    ):
        paper.compare(dream, "mdc", 1)
    assert "method" not in paper.differences(dream)
    idc = run_record({"baseline_c": constant(25.0), "mdc": constant(35.0)})
    both = paper.compare([dream, idc], "mdc", 2)
    assert [cell(both, name, "1")["mean"] for name in ("IDC", "DREAM", "MDC (ours)")] == [25.0, 30.0, 35.0]
    other = run_record({"baseline_c": constant(25.0)}, outer=9)
    with pytest.raises(ValueError, match="results of different settings or sizes cannot be pooled"):
        paper.compare([dream, other], "mdc", 2)
    with pytest.raises(ValueError, match="it measures unknown baseline_c at"):
        paper.compare(RUN | {"condenser": None}, "mdc", 1)
    chosen = RESIZED | {"condenser": "dream"}
    assert cell(paper.compare(chosen, "yoco", 1), "DREAM (random subset)", "1")["mean"] == 23.0
    assert np.isnan(cell(paper.compare(chosen, "yoco", 1), "YOCO (ours)", "1")["mean"])


def test_a_set_that_was_not_matched_has_no_loops_to_tell_of():
    by_mtt = copy.deepcopy(RESIZED) | {"condenser": "mtt"}
    by_mtt["config"]["condense"] = {"ipc": 10, "iterations": 5000, "lr": 100.0}
    named = cell(paper.compare(by_mtt, "yoco", 4), "Ours; reversed(easy)=n/a; condensed by MTT", "1")
    assert (named["mean"], named["scale"]) == (23.0, "dynamics of 300 epochs, 100 epochs at width 32, 4 networks")
    assert paper.differences(by_mtt) == ""
    tested = run_record({"mtt": constant(9.0)}) | {"condenser": "mtt"}
    assert cell(paper.compare(tested, "mdc", 2), "MTT", "1")["mean"] == 9.0
    imported = copy.deepcopy(tested)
    imported["config"]["condense"] = None
    assert cell(paper.compare(imported, "mdc", 2), "MTT", "1")["mean"] == 9.0


def test_a_part_of_the_test_images_is_told_and_not_pooled_with_all():
    part = run_record({"mdc": constant(40.0)}, seed=1) | {"test_images": 2000}
    assert paper.scale(part) == "20 x 10 loops, width 32, 100 epochs, 2 networks, 2,000 test images"
    assert paper.scale(part | {"test_images": 10_000}) == "20 x 10 loops, width 32, 100 epochs, 2 networks"
    with pytest.raises(ValueError, match=r"different settings or sizes cannot be pooled: .*2,000 test images"):
        paper.compare([run_record({"mdc": constant(40.0)}), part], "mdc", 1)


def test_the_scale_and_the_other_differences_are_told():
    assert paper.printed_scale("cifar10", "yoco").startswith("2,000 x 100 loops, width 128, dynamics of 1,000 epochs")
    assert paper.differences(RUN) == "period 5 (100), lr 0.2 (0.005), net_images 256 (2000)"
    for method, config in [("dsa", {}), ("dc", {"condenser": "dc"})]:
        condense, train = CondenseConfig.preset("cifar10", method=method), TrainConfig.preset("cifar10", method=method)
        found = RUN | config | {"config": {"condense": asdict(condense), "train": asdict(train)}}
        assert paper.differences(found) == ""
        imported = found | {"condenser": method, "config": {"condense": None, "train": asdict(train)}}
        assert paper.differences(imported) == ""
        resized = {"condense": asdict(condense), "train": asdict(TrainConfig()), "recording": asdict(TrainConfig())}
        assert paper.differences(found | {"config": resized}) == ""  # YOCO tests sets of all methods alike
    exact = copy.deepcopy(RUN)
    exact["config"] = {"condense": asdict(CondenseConfig()), "train": asdict(TrainConfig())}
    assert paper.differences(exact) == ""
    assert paper.scale(exact | {"seeds": [0, 1, 2]}) == paper.printed_scale("cifar10")


# -- orderings


def test_orderings_hold_clearly_or_not():
    accuracy = {"baseline_a": constant(45.0, 1.0), "baseline_c": constant(30.0, 1.0), "mdc": constant(44.0, 2.0)}
    found = paper.orderings(paper.compare(run_record(accuracy), "mdc", 1)).set_index(["ipc", "better", "worse"])
    leads = found.loc[("1", "MDC (ours)", "Baseline C")]
    assert (leads["measured"], leads["holds"], leads["clear"]) == (14.0, True, True)
    assert leads["printed"] == pytest.approx(49.66 - 27.49)
    assert leads["spread"] == pytest.approx(5**0.5)
    close = found.loc[("avg", "Baseline A", "MDC (ours)")]  # 1 point, spread 2.2
    assert (close["holds"], close["clear"]) == (True, False)


def test_reversed_orderings_are_named_when_clear():
    found = paper.orderings(paper.compare(run_record({"baseline_c": constant(50.0), "mdc": constant(40.0)}), "mdc", 1))
    said = paper.verdict(found)
    sizes = found.loc[(found["better"] == "MDC (ours)"), "ipc"]
    assert f"MDC (ours) > Baseline C at {', '.join(sizes)}" in said
    assert said.startswith(f"Of 11 printed orderings {11 - len(sizes)} hold")


def test_one_network_has_no_spread_and_equal_prints_no_order():
    alone = run_record({"baseline_c": {"1": [30.0]}, "mdc": {"1": [49.0]}}, seeds=(0,))
    (row,) = paper.orderings(paper.compare(alone, "mdc", 1)).itertuples()
    assert (row.holds, row.clear) == (True, False)
    equal = pd.DataFrame({"method": ["a", "b"], "ipc": "1", "mean": [1.0, 2.0], "std": 0.1, "printed": 5.0})
    assert paper.orderings(equal).empty
    assert "no ordering to check" in paper.verdict(paper.orderings(equal))


# -- a folder of results


def test_tables_show_what_is_measured_and_what_is_printed(tmp_path):
    (tmp_path / "measured").mkdir()
    (tmp_path / "measured" / "cifar10_quick.json").write_text(json.dumps(RUN))
    (tmp_path / "own" / "wide").mkdir(parents=True)
    wide = run_record({"mdc": constant(60.0)}, width=64)
    (tmp_path / "own" / "wide" / "result.json").write_text(json.dumps(wide))
    (tmp_path / "own" / "resize.json").write_text(json.dumps(RESIZED))
    (tmp_path / "own" / "other.json").write_text("[1]")
    files = side_by_side.read(tmp_path / "measured", tmp_path / "own", tmp_path / "none")
    assert set(files) == {"cifar10_quick", "wide", "resize", "other"}
    part = side_by_side.parts(files, "mdc", 1)[1]
    assert part.title == "MDC Table 1: CIFAR-10 from 10 images per class, ConvNet-D3"
    shown = part.rows.loc["MDC (ours)"]
    assert shown["1"].to_dict() == {"printed": "49.66", "cifar10_quick": "40.00 ± 1.0", "wide": "60.00 ± 1.0"}
    assert part.rows.loc["Baseline A"].index.tolist() == ["printed"]
    assert list(part.rows.columns) == [*SIZES, "avg"]
    assert part.verdict.startswith("cifar10_quick: Of 11 printed orderings")
    assert not side_by_side.parts(files, "mdc", 1)[0].compared
    overview = side_by_side.overview(files)
    assert overview.loc["resize", "tables"] == "YOCO 1, YOCO 2, YOCO 3, YOCO 4, YOCO 5, YOCO 7"
    assert overview.loc["cifar10_quick", "tables"] == "MDC 1, MDC 2, MDC 3, MDC 5, MDC 6, MDC 8, MDC 9, MDC 12"
    assert overview.loc["other", "tables"].startswith("none: no accuracies in the result")


def test_a_repetition_of_a_run_stands_below_it_and_another_seed_is_pooled():
    files = {"a": RUN, "again": RUN, "seed": run_record({"mdc": constant(50.0)}, seed=1)}
    (part,) = side_by_side.parts(files, "mdc", 3)
    assert list(part.compared) == ["a + seed", "again"]
    assert part.rows.loc[("MDC ablation: calculate+compare+freeze", "a + seed"), "3"] == "45.00 ± 5.1"
    assert side_by_side.summary(files)["source"].value_counts().to_dict() == {"a + seed": 8, "again": 8}
    assert "<b>45.00 ± 5.1</b>" in side_by_side.html(part.rows)
    assert "<b>49.66" not in side_by_side.html(part.rows)


def test_without_results_every_table_is_as_printed(tmp_path):
    files = side_by_side.read(tmp_path, tmp_path / "missing", "")
    assert files == {}
    for name, number in TABLES:
        for part in side_by_side.parts(files, name, number):
            assert set(part.rows.index.get_level_values("source")) == {"printed"}
            assert part.verdict == ""
    (part,) = (p for p in side_by_side.parts(files, "mdc", 9) if "CIFAR-10 from 10" in p.title)
    assert "(49.66)" in part.rows.to_numpy()
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match=r"broken\.json is not JSON"):
        side_by_side.read(tmp_path)


def test_the_figure_tells_printed_from_measured():
    compared = paper.compare(RUN, "mdc", 1)
    fig = paper_plots.beside(compared, {"run": compared}, "t")
    (ax,) = fig.axes
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert len(dashed) == 4
    solid = [line.get_ydata().tolist() for line in ax.lines if line.get_linestyle() == "-" and len(line.get_ydata())]
    assert [30.0] * 10 in solid
    assert [40.0] * 10 in solid
