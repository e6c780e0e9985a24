"""What the benchmark says is measured and counted as it says."""

import time

import pytest
import torch

from tests.benchmarks import measure

CPU = torch.device("cpu")


def test_a_ratio_is_that_of_the_two_sides(monkeypatch):
    clock = iter([1.0, 1.0, 6.0, 2.0, 9.0, 3.0, 4.0, 4.0])  # slow and fast in turn, the first pair untimed
    monkeypatch.setattr(measure, "measured", lambda work, device: (next(clock), 100.0))
    row = measure.compare("work", 2.5, {"slow": None, "fast": None}, 3, CPU)
    assert row.ratios == (3.0, 3.0, 1.0)
    assert row.ratio == 3.0
    assert row.seconds == {"slow": 6.0, "fast": 3.0}
    assert "3.00 (1.00 to 3.00), asked 2.50: met" in str(row)
    assert row.record()["met"]


def test_the_total_of_parts_adds_them_repetition_by_repetition(monkeypatch):
    clock = iter([0.0, 0.0, 6.0, 2.0, 0.0, 0.0, 2.0, 2.0])
    monkeypatch.setattr(measure, "measured", lambda work, device: (next(clock), 100.0))
    parts = [measure.compare("part", 0, {"slow": None, "fast": None}, 1, CPU) for _ in range(2)]
    assert measure.total("all", 3, parts).ratios == (2.0,)
    assert "missed" in str(measure.total("all", 3, parts))


def test_arithmetic_and_traffic_of_a_matrix_product():
    a, b = torch.rand(30, 40), torch.rand(40, 50)
    needed = measure.demand(lambda: (a @ b).view(-1))
    assert needed["gflop"] == pytest.approx(2 * 30 * 40 * 50 / 1e9)
    assert needed["gbyte"] == pytest.approx(4 * (30 * 40 + 40 * 50 + 30 * 50) / 1e9)


def test_arithmetic_of_a_convolution_and_its_derivatives():
    images, weights = torch.rand(2, 3, 8, 8, requires_grad=True), torch.rand(4, 3, 3, 3, requires_grad=True)
    forward = 2 * 2 * 4 * 8 * 8 * 3 * 9 / 1e9

    def work():
        torch.nn.functional.conv2d(images, weights, padding=1).sum().backward()

    assert measure.demand(work)["gflop"] == pytest.approx(3 * forward)


def test_shares_add_up_and_idle_time_is_the_rest():
    a = torch.rand(300, 300)

    def work():
        time.sleep(0.05)
        return a @ a

    found = measure.shares(work)
    assert sum(found.values()) == pytest.approx(1)
    assert found["rest"] > 0.3
    assert found["matrix product"] > 0
    assert found["convolution"] == 0
