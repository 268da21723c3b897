"""Augmentation: what each transform of shape and size does to a batch, against a reference image by image."""

from __future__ import annotations

import numpy as np
import pytest

from data.augment_checks import IMAGES, UNIT, run, smooth_images
from policy import needs
from weft.data import (
    CenterCrop,
    Cutout,
    GaussianBlur,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomPerspective,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    SampleRandom,
)
from weft.data.augment.area import places, sides


@pytest.mark.parametrize("flip, axis", [(RandomHorizontalFlip, 3), (RandomVerticalFlip, 2)])
def test_flip(flip, axis):
    mirrored = np.flip(IMAGES, axis)
    out = run(flip())
    flipped = np.array([np.array_equal(a, b) for a, b in zip(out, mirrored)])
    kept = np.array([np.array_equal(a, b) for a, b in zip(out, IMAGES)])
    assert (flipped ^ kept).all() and 15 < flipped.sum() < 49
    assert np.array_equal(run(flip(0.0)), IMAGES)
    assert np.array_equal(run(flip(1.0)), mirrored)


def test_crop():
    out = run(RandomCrop(2))
    padded = np.pad(IMAGES, ((0, 0), (0, 0), (2, 2), (2, 2)))
    shifts = set()
    for a, b in zip(out, padded):
        places = [(i, j) for i in range(5) for j in range(5) if np.array_equal(a, b[:, i : i + 12, j : j + 10])]
        assert len(places) == 1
        shifts.add(places[0])
    assert len(shifts) > 15


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
def test_crop_to_a_size_out_of_a_frame(mode):
    options = {"constant_values": 7} if mode == "constant" else {}
    padded = np.pad(IMAGES, ((0, 0), (0, 0), (3, 3), (3, 3)), mode=mode, **options)  # 18 x 16
    out = run(RandomCrop(3, (9, 16), padding_mode=mode, fill=7.0 if mode == "constant" else 0.0))
    shifts = set()
    for a, b in zip(out, padded):
        found = [i for i in range(10) if np.array_equal(a, b[:, i : i + 9])]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) == 10
    with pytest.raises(ValueError, match="a fill with padding_mode 'constant' alone"):
        RandomCrop(3, padding_mode="edge", fill=7.0)
    with pytest.raises(ValueError, match=r"expected images that are 19 x 5 with 3 pixels around them"):
        run(RandomCrop(3, (19, 5)))
    assert np.array_equal(run(CenterCrop((5, 4))), IMAGES[:, :, 3:8, 3:7])
    assert np.array_equal(run(CenterCrop((12, 10))), IMAGES)
    with pytest.raises(ValueError, match="at least 12 x 11"):
        run(CenterCrop((12, 11)))


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
    transform = RandomAffine(90)
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


@needs("scipy")
@pytest.mark.parametrize(
    "degrees, scale, shear, fill",
    [(25, 1.0, (0, 0), 0.0), (-70, 1.3, (0, 0), 0.25), (0, 0.6, (20, 0), 0.0), (15, 1.1, (-30, 12), 1.0)],
)
def test_affine_is_scipys(degrees, scale, shear, fill):
    from scipy.ndimage import affine_transform

    x = smooth_images()
    lean = [v for angle in shear for v in (angle, angle)]
    out = run(RandomAffine((degrees, degrees), scale=(scale, scale), shear=lean, fill=fill), x)
    angle, (lean_x, lean_y) = np.deg2rad(degrees), np.tan(np.deg2rad(shear))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    forward = turn @ np.array([[1, 0], [-lean_y, 1]]) @ np.array([[1, -lean_x], [0, 1]])  # of (x, y), y downwards
    inverse = np.linalg.inv(forward)[::-1, ::-1]  # of (y, x)
    middle = (np.array(x.shape[2:]) - 1) / 2
    for image, got in zip(x.reshape(-1, *x.shape[2:]), out.reshape(-1, *x.shape[2:])):
        offset = middle - inverse @ middle
        want = affine_transform(image.astype("d"), inverse, offset, order=1, mode="grid-constant", cval=fill)
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)


def test_affine_of_many_pixels_goes_part_by_part(monkeypatch):
    transform = RandomAffine(20, (0.1, 0.1), (0.8, 1.2), shear=5)
    whole = run(transform)
    monkeypatch.setattr("weft.data.augment.geometry.PIXELS_AT_ONCE", 12 * 10 * 9 + 50)  # 9 of 64 images
    assert np.array_equal(run(transform), whole)


def test_affine_draws_within_its_ranges():
    middle = np.zeros((400, 1, 41, 41), "f")
    middle[:, :, 20, 20], middle[:, :, 20, 30] = 1, 0.5  # the centre, and a point 10 pixels to the right of it
    for options, check in [
        ({"degrees": (10, 40)}, lambda y, x: (np.rad2deg(np.arctan2(y, x)), 10, 40)),
        ({"degrees": 0, "scale": (0.8, 1.5)}, lambda y, x: (np.hypot(y, x) / 10, 0.8, 1.5)),
        ({"degrees": 0, "shear": (0, 0, -30, 30)}, lambda y, x: (-np.rad2deg(np.arctan2(y, x)), -30, 30)),
    ]:
        out = run(RandomAffine(**options), middle)[:, 0]
        out[:, 18:23, 18:23] = 0
        y, x = np.mgrid[:41, :41] - 20
        weight = out.sum((1, 2))
        got, low, high = check((out * y).sum((1, 2)) / weight, (out * x).sum((1, 2)) / weight)
        slack = 0.05 * (high - low)
        assert got.min() > low - slack and got.max() < high + slack, options
        assert got.min() < low + 2 * slack and got.max() > high - 2 * slack, options


@needs("scipy")
def test_perspective_moves_the_corners():
    from scipy.ndimage import map_coordinates

    x = smooth_images()
    (n, _, height, width), scale = x.shape, 0.6
    out = run(RandomPerspective(scale, p=1.0, fill=0.5), x)
    inwards = SampleRandom(0, 0, np.arange(n)).uniform(0, scale, (4, 2)) * np.array([width, height]) / 2
    assert (np.ptp(inwards, axis=0) > 1).all() and inwards.max() > 0.8 * scale * width / 2
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], "d")
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    for image, got, move in zip(x, out, inwards):
        # The map of result to image as the null space of the equations p x (M q) = 0.
        rows = []
        for (u, v), (a, b) in zip(corners + signs * move, corners):
            rows += [[u, v, 1, 0, 0, 0, -a * u, -a * v, -a], [0, 0, 0, u, v, 1, -b * u, -b * v, -b]]
        matrix = np.linalg.svd(np.array(rows))[2][-1].reshape(3, 3)
        v, u = np.mgrid[:height, :width]
        a, b, w = np.einsum("ij,jhw->ihw", matrix, np.stack([u, v, np.ones_like(u)]))
        for plane, reached in zip(image, got):
            want = map_coordinates(plane.astype("d"), [b / w, a / w], order=1, mode="grid-constant", cval=0.5)
            np.testing.assert_allclose(reached, want, rtol=0, atol=1e-4)
    some = run(RandomPerspective(0.5, p=0.5))
    kept = (some == IMAGES).all((1, 2, 3))
    assert 15 < kept.sum() < 49


@needs("PIL")
@pytest.mark.parametrize("size", [(12, 10), (24, 31), (5, 4), (7, 20), (1, 1)])
def test_resize_is_pillows(size):
    from PIL import Image

    out = run(Resize(size), UNIT)
    assert out.shape == (64, 3, *size) and out.dtype == np.float32
    for image, got in zip(UNIT.reshape(-1, 12, 10)[:40], out.reshape(-1, *size)):
        want = np.asarray(Image.fromarray(image, "F").resize(size[::-1], Image.Resampling.BILINEAR))
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-6)
    assert np.array_equal(run(Resize(size)), np.rint(run(Resize(size), IMAGES.astype("f"))))


@needs("PIL")
def test_resized_crop_is_pillows_of_a_rectangle():
    from PIL import Image

    x = np.random.default_rng(2).random((200, 1, 40, 50)).astype("f")
    scale, ratio = (0.1, 0.5), (0.5, 2.0)
    out = run(RandomResizedCrop((16, 24), scale, ratio), x)
    rng = SampleRandom(0, 0, np.arange(len(x)))
    tall, wide = sides(rng, scale, (1 / ratio[1], 1 / ratio[0]), 40, 50)
    top, left = places(rng, 40 - tall, 50 - wide)
    for image, got, i, j, h, w in zip(x[:, 0], out[:, 0], top, left, tall, wide):
        cut = Image.fromarray(image[i : i + h, j : j + w].copy(), "F")
        np.testing.assert_allclose(got, cut.resize((24, 16), Image.Resampling.BILINEAR), rtol=0, atol=2e-6)
    assert (top >= 0).all() and (top + tall <= 40).all() and (left >= 0).all() and (left + wide <= 50).all()
    share = tall * wide / 2000
    assert 0.09 < share.min() < 0.14 and 0.4 < share.max() < 0.52
    free = (tall < 40) & (wide < 50)  # the others were cut to the image
    assert 0.45 < (wide / tall)[free].min() < 0.6 and 1.7 < (wide / tall)[free].max() < 2.2
    assert len(np.unique(top)) > 15 and len(np.unique(left)) > 15


@needs("scipy")
@pytest.mark.parametrize("kernel, sigma", [(3, 0.7), (5, 1.5), (9, 2.0), (5, 0.0)])
def test_blur_is_scipys(kernel, sigma):
    from scipy.ndimage import gaussian_filter

    out = run(GaussianBlur(kernel, sigma), UNIT)
    for image, got in zip(UNIT[:8].reshape(-1, 12, 10), out.reshape(-1, 12, 10)):
        want = gaussian_filter(image.astype("d"), max(sigma, 1e-9), mode="mirror", radius=kernel // 2)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
    assert np.abs(run(GaussianBlur(kernel, sigma)) - 255 * out).max() <= 0.51
    spread = run(GaussianBlur(5, (0.3, 2.0)), np.pad(np.ones((64, 1, 1, 1), "f"), ((0, 0), (0, 0), (4, 4), (4, 4))))
    peaks = spread[:, 0, 4, 4]
    assert peaks.min() < 0.08 and peaks.max() > 0.85, "each image has a sigma of its own"
    with pytest.raises(ValueError, match="larger than 10 pixels"):
        run(GaussianBlur(21))


@pytest.mark.parametrize("value, want", [(9.0, (9, 9, 9)), ((1.0, 2.0, 3.0), (1, 2, 3)), ("random", None)])
def test_erasing(value, want):
    x = np.zeros((300, 3, 30, 40), "u1")
    out = run(RandomErasing(0.7, scale=(0.1, 0.3), ratio=(0.5, 2.0), value=value), x)
    inside = (out != 0).any(1)  # of noise a pixel may stay 0, but no row or column of a rectangle
    erased = inside.any((1, 2))
    assert 180 < erased.sum() < 240
    tall, wide = inside.any(2).sum(1)[erased], inside.any(1).sum(1)[erased]
    share = tall * wide / 1200
    assert 0.09 < share.min() < 0.13 and 0.27 < share.max() < 0.32
    free = (tall < 30) & (wide < 40)
    assert 0.45 < (tall / wide)[free].min() < 0.6 and 1.7 < (tall / wide)[free].max() < 2.2
    covered = out.transpose(0, 2, 3, 1)[inside]
    if want is None:
        assert abs(covered.mean() - 127.5) < 2 and covered.max() == 255 and abs(covered.std() - 73.9) < 1
    else:
        assert (covered == want).all() and (inside.sum((1, 2))[erased] == tall * wide).all()
    with pytest.raises(ValueError, match="one value or 3"):
        run(RandomErasing(value=(1.0, 2.0)))
    with pytest.raises(ValueError, match="within 0 to 255"):
        run(RandomErasing(value=-1.0))
    noise = run(RandomErasing(1.0, value="random"), np.full((50, 1, 20, 20), 2, "f"))
    noise = noise[noise != 2]
    assert noise.min() >= 0 and noise.max() < 1 and abs(noise.mean() - 0.5) < 0.02
