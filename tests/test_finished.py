"""An evaluation that was interrupted goes on with the networks that it has not tested, and only with those."""

import importlib
import json
from dataclasses import replace

import pytest

from mdckit import CondensedSet, TrainConfig, evaluate_many, results
from mdckit.parallel import Stopped

evaluation = importlib.import_module("mdckit.evaluate")  # the package's name for it is the function
BRIEF = TrainConfig(epochs=4, width=4, depth=1, seeds=(0, 1))


@pytest.fixture
def trained(monkeypatch):
    """The seeds of all networks that are trained."""
    seeds, accuracy_curve = [], evaluation.accuracy_curve

    def counted(images, labels, data, config, seed, *rest, **options):
        seeds.append(seed)
        return accuracy_curve(images, labels, data, config, seed, *rest, **options)

    monkeypatch.setattr(evaluation, "accuracy_curve", counted)
    return seeds


@pytest.fixture(scope="module")
def sets(grey):
    whole = CondensedSet(grey.first_images(3), 1, grey.mean, grey.std, grey.classes)
    return {n: whole.take(n) for n in (1, 2, 3)}


def asked(sets, data, path, config=BRIEF, **options):
    return evaluate_many(sets, data, config, device="cpu", show_progress=False, cache=path, **options)


def accuracies(found):
    return {key: (result.best, result.last) for key, result in found.items()}


def test_an_interrupted_evaluation_trains_only_what_is_missing(sets, grey, tmp_path, trained):
    path, whole = tmp_path / "deeper" / "tests.json", asked(sets, grey, None)
    trained.clear()
    with pytest.raises(Stopped):
        asked(sets, grey, path, stopped=lambda: len(trained) > 2)  # in the third of six
    assert len(json.loads(path.read_text())["tests"]) == 2
    trained.clear()
    assert accuracies(asked(sets, grey, path)) == accuracies(whole)
    assert len(trained) == 4
    trained.clear()
    again = asked(sets, grey, path)
    assert accuracies(again) == accuracies(whole)
    assert trained == []
    assert all(result.seconds > 0 for result in again.values())


def test_more_seeds_and_equal_sets_use_what_is_there(sets, grey, tmp_path, trained):
    path = tmp_path / "tests.json"
    asked(sets, grey, path)
    trained.clear()
    asked({"a": sets[1], "b": sets[2]}, grey, path, BRIEF.replace(seeds=(1, 2)))
    assert trained == [2, 2]


@pytest.mark.parametrize("what", ["protocol", "test images", "pixels", "normalisation", "version"])
def test_what_an_accuracy_depends_on_is_tested_again(sets, grey, tmp_path, trained, monkeypatch, what):
    path, one, config, data = tmp_path / "tests.json", sets[1], BRIEF, grey
    asked({1: one}, data, path)
    trained.clear()
    if what == "protocol":
        config = config.replace(width=5)
    elif what == "test images":
        data = replace(data, x_test=255 - data.x_test)
    elif what == "pixels":
        one = replace(one, images=one.images + 1e-6)
    elif what == "normalisation":
        one = replace(one, mean=(0.1,))
    else:
        monkeypatch.setattr("torch.__version__", "0")
    asked({1: one}, data, path, config)
    assert trained == [0, 1]
    monkeypatch.undo()
    assert len(json.loads(path.read_text())["tests"]) == 4


OTHERS = ["half", "[]", '{"accuracy": {}}', '{"kind": "checkpoint", "tests": {}}', "[" * 100_000]
ODD = ["[]", '{"a": {}}', '{"a": {"accuracies": [], "seconds": 1}}', '{"a": {"accuracies": [50], "seconds": null}}']
OTHERS += [f'{{"kind": "finished tests", "tests": {tests}}}' for tests in ODD]


@pytest.mark.parametrize("content", OTHERS)
def test_a_file_that_holds_something_else_is_not_overwritten(sets, grey, tmp_path, trained, content):
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"result\.json asked for finished tests, but it holds something else"):
        asked(sets, grey, path)
    assert path.read_text() == content
    assert trained == []


def test_a_place_that_cannot_be_written_is_named_before_any_work(sets, grey, tmp_path, trained):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OSError, match="cannot write in the folder"):
        asked(sets, grey, tmp_path / "file" / "tests.json")
    assert trained == []


def test_saving_the_results_is_the_end_of_both(tmp_path):
    checkpoint, cache = tmp_path / "checkpoint.safetensors", tmp_path / "tests.json"
    for path in (checkpoint, cache):
        path.write_text("here")
    results.save(tmp_path, {}, {}, checkpoint, cache)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
