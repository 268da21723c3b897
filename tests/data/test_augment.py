"""Augmentation: what each transform does to a batch, image by image."""

from __future__ import annotations

import numpy as np
import pytest

from weft.data import Compose, Cutout, Normalize, RandomAffine, RandomCrop, RandomHorizontalFlip, SampleRandom

IMAGES = np.random.default_rng(0).integers(1, 255, (64, 3, 12, 10)).astype("u1")


def run(transform, x=IMAGES, epoch=0):
    before = x.copy()
    out = transform(x, SampleRandom(0, epoch, np.arange(len(x))))
    assert np.array_equal(x, before), "a transform must not write its input: it may be kept by the caller"
    return out


def test_flip():
    out = run(RandomHorizontalFlip())
    flipped = np.array([np.array_equal(a, b[..., ::-1]) for a, b in zip(out, IMAGES)])
    kept = np.array([np.array_equal(a, b) for a, b in zip(out, IMAGES)])
    assert (flipped ^ kept).all() and 15 < flipped.sum() < 49
    assert np.array_equal(run(RandomHorizontalFlip(0.0)), IMAGES)
    assert np.array_equal(run(RandomHorizontalFlip(1.0)), IMAGES[..., ::-1])


def test_crop():
    out = run(RandomCrop(2))
    padded = np.pad(IMAGES, ((0, 0), (0, 0), (2, 2), (2, 2)))
    shifts = set()
    for a, b in zip(out, padded):
        places = [(i, j) for i in range(5) for j in range(5) if np.array_equal(a, b[:, i : i + 12, j : j + 10])]
        assert len(places) == 1
        shifts.add(places[0])
    assert len(shifts) > 15


def test_affine():
    assert np.array_equal(run(RandomAffine(0)), IMAGES)
    smooth = np.add.outer(np.arange(33.0), np.arange(33.0)).astype("f")[None, None].repeat(8, 0)
    turned = run(RandomAffine(20), smooth)
    assert np.allclose(turned[:, 0, 16, 16], 32, atol=1e-3), "the centre stays"
    inside = turned[:, 0, 10:23, 10:23]
    flat = np.diff(np.diff(inside, axis=1), axis=1)
    assert np.abs(flat).max() < 1e-3, "a plane stays a plane"
    assert np.abs(turned - smooth).max() > 1
    dot = np.zeros((16, 1, 21, 21), "f")
    dot[:, :, 10, 10] = 1
    moved = run(RandomAffine(0, translate=(0.2, 0.0)), dot)
    assert np.allclose(moved.sum((1, 2, 3)), 1, atol=1e-5) and (moved[:, 0, 10].sum(1) > 0.999).all()
    assert len(np.unique(moved.argmax(-1).max((1, 2)))) > 3
    bigger = run(RandomAffine(0, scale=(2.0, 2.0)), smooth)
    assert np.allclose(bigger[:, 0, 16, 17] - bigger[:, 0, 16, 16], 0.5, atol=1e-4)
    assert run(RandomAffine(10)).dtype == np.uint8


def test_quarter_turn_goes_the_same_way_everywhere():
    transform = RandomAffine(0)
    transform.degrees = 90
    x = np.random.default_rng(1).random((4, 1, 9, 9)).astype("f")

    class Always(SampleRandom):
        def uniform(self, low=0.0, high=1.0, size=()):
            return np.full((len(self), *size), high if not size else 0.0, np.float32)

    out = transform(x, Always(0, 0, np.arange(4)))
    assert np.allclose(out, np.rot90(x, -1, axes=(2, 3)), atol=1e-4)


def test_cutout():
    out = run(Cutout(4))
    zero = (out == 0).all(1)
    assert np.array_equal(out[~zero[:, None].repeat(3, 1)], IMAGES[~zero[:, None].repeat(3, 1)])
    areas = zero.sum((1, 2))
    assert areas.min() >= 4 and areas.max() == 16
    assert all(mask.any(0).sum() * mask.any(1).sum() == mask.sum() for mask in zero), "a rectangle"


def test_normalize():
    out = run(Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]))
    want = (IMAGES / 255 - np.reshape([0.5, 0.4, 0.3], (3, 1, 1))) / np.reshape([0.2, 0.3, 0.4], (3, 1, 1))
    assert out.dtype == np.float32 and np.allclose(out, want, atol=1e-5)
    assert np.allclose(run(Normalize(1.0, 2.0), IMAGES.astype("f")), (IMAGES.astype("f") - 1) / 2)


def test_compose_and_epochs():
    both = Compose([RandomHorizontalFlip(), RandomCrop(2), Cutout(3), Normalize(0.5, 0.5)])
    assert np.array_equal(run(both), run(both)) and not np.array_equal(run(both), run(both, epoch=1))
    rng = SampleRandom(0, 0, np.arange(64))
    alone = both(IMAGES[10:11], SampleRandom(0, 0, np.array([10])))
    assert np.array_equal(alone[0], both(IMAGES, rng)[10])


WRONG = [(RandomHorizontalFlip, 2), (RandomCrop, 0), (RandomAffine, -1), (RandomAffine, 0, (0, 2)), (Cutout, 0),
         (Normalize, 0, 0)]  # fmt: skip
ALL = [RandomHorizontalFlip(), RandomCrop(2), RandomAffine(5), Cutout(2), Normalize(0, 1)]


@pytest.mark.parametrize("make, args", [(make, args) for make, *args in WRONG])
def test_bad_arguments(make, args):
    with pytest.raises(ValueError, match="expected"):
        make(*args)


@pytest.mark.parametrize("transform", ALL)
def test_bad_shapes(transform):
    with pytest.raises(ValueError, match=r"expected images \(N, C, H, W\), got \(4, 5, 6\)"):
        transform(np.zeros((4, 5, 6)), SampleRandom(0, 0, np.arange(4)))
