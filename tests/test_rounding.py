"""What pictures of 8 bits hold of a set, and what that costs in accuracy."""

import pytest
import torch

from mdckit import CondensedSet, TrainConfig, evaluate, rounding

FAST = TrainConfig(epochs=4, evaluations=2, width=4, depth=1, seeds=(0, 1), augment="", cutmix=0.0)


@pytest.fixture(scope="module")
def loud(grey):
    """Real images, of which every tenth pixel leaves 0..1."""
    random = torch.Generator().manual_seed(5)
    images = grey.first_images(3) + 2.0 * (torch.rand(3, 3, 1, 8, 8, generator=random) < 0.1)
    return CondensedSet(images, 1, grey.mean, grey.std, grey.classes, grey.name)


def test_pictures_clip_and_round():
    pixels = torch.tensor([-0.5, 0.0, 0.4 / 255, 0.6 / 255, 0.25, 1.0, 1.7])
    assert rounding.to_bytes(pixels).tolist() == [0, 0, 0, 1, 64, 255, 255]


def test_cells_are_rounded_after_they_are_decoded():
    condensed = CondensedSet(torch.rand(2, 3, 1, 9, 9) * 1.4 - 0.2, 2, (0.5,), (0.5,), ("a", "b"))
    chosen = condensed.select(torch.tensor([3, 5, 20]))
    for one in (condensed, condensed.take(1), chosen):
        patches, labels = one.decode()
        found = rounding.eight_bit(one)
        assert torch.equal(found.decode()[0], (patches.clamp(0, 1) * 255).round() / 255)
        assert torch.equal(found.labels, labels)
        assert found.factor == 1


def test_both_are_measured_with_equal_seeds(loud, grey):
    measured = rounding.measure(loud, grey, FAST, [1, 3], show_progress=False)
    for n in (1, 3):
        exact, pictures = evaluate(loud.take(n), grey, FAST), evaluate(rounding.eight_bit(loud.take(n)), grey, FAST)
        assert (measured.exact[n].best, measured.exact[n].last) == (exact.best, exact.last)
        assert (measured.rounded[n].best, measured.rounded[n].last) == (pictures.best, pictures.last)
        assert measured.losses(n) == tuple(a - b for a, b in zip(exact.last, pictures.last, strict=True))
    assert measured.tested_on == "6 test images of grey"
    assert len(measured.rows()) == 8


def test_a_set_of_8_bits_loses_nothing(loud, grey):
    measured = rounding.measure(rounding.eight_bit(loud), grey, FAST, show_progress=False)
    assert list(measured.exact) == [1, 2, 3]
    assert all(measured.losses(n, which) == (0.0, 0.0) for n in measured.exact for which in ("best", "last"))


def test_the_share_of_clipped_pixels_is_told(loud):
    patches, _ = loud.decode()
    found = rounding.eight_bit(loud).info["rounded"]
    assert found["of"] == loud.digest
    assert found["share"] == pytest.approx((patches > 1).double().mean().item())
    assert (found["lowest"], found["highest"]) == (patches.min().item(), patches.max().item())


def test_results_that_cannot_stand_side_by_side_are_refused(loud, grey):
    one, other = evaluate(loud, grey, FAST), evaluate(loud, grey, FAST.replace(epochs=3))
    for exact in ({1: one, 3: other}, {}):
        with pytest.raises(ValueError, match="accuracies of several protocols or of none given"):
            rounding.Measured(exact, "here")
    with pytest.raises(ValueError, match=r"8-bit accuracies of sizes \[2\], others of \[1\]"):
        rounding.Measured({1: one}, "here", {2: one})
