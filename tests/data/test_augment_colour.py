"""Augmentation: colours, mixed labels, transforms of transforms, and what holds for every transform."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

import weft
from data.augment_checks import IMAGES, UNIT, run
from policy import needs
from weft.data import (
    ArrayDataset,
    CenterCrop,
    ColorJitter,
    Compose,
    CutMix,
    Cutout,
    DataLoader,
    GaussianBlur,
    GaussianNoise,
    MixUp,
    Normalize,
    RandomAffine,
    RandomApply,
    RandomChoice,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomPerspective,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    SampleRandom,
)


def pillow(change):
    """The images as `change` leaves them, which is given each as Pillow has it."""
    from PIL import Image

    changed = [change(Image.fromarray(image.transpose(1, 2, 0))) for image in IMAGES]
    return np.stack([np.asarray(image.convert("RGB")).transpose(2, 0, 1) for image in changed])


@needs("PIL")
@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_jitter_is_pillows(name, factor):
    from PIL import ImageEnhance

    kind = {"brightness": "Brightness", "contrast": "Contrast", "saturation": "Color"}[name]
    want = pillow(lambda image: getattr(ImageEnhance, kind)(image).enhance(factor))
    jitter = ColorJitter(**{name: (factor, factor)})
    # Pillow rounds the greys to whole levels, and then the result down.
    assert np.abs(run(jitter).astype(int) - want).max() <= 1 + abs(1 - factor)
    assert np.abs(255 * run(jitter, UNIT) - want).max() <= 1.01 + abs(1 - factor)


@pytest.mark.parametrize("turn", [-0.5, -0.2, 0.07, 0.45])
def test_hue_is_colorsys(turn):
    x = UNIT[:6].copy()
    x[0, :, :6] = x[0, :1, :6]  # greys have no hue
    x[1, 1:, :6] = 0  # pure red
    out = run(ColorJitter(hue=(turn, turn)), x)
    for image, got in zip(x, out):
        for pixel, reached in zip(image.reshape(3, -1).T, got.reshape(3, -1).T):
            hue, saturation, value = colorsys.rgb_to_hsv(*pixel.tolist())
            want = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
            np.testing.assert_allclose(reached, want, rtol=0, atol=3e-6)


def test_jitter_draws_for_each_image():
    grey = np.full((500, 3, 2, 2), 100, "u1")
    out = run(ColorJitter(brightness=0.5), grey)[:, 0, 0, 0] / 100
    assert 0.49 < out.min() < 0.52 and 1.48 < out.max() < 1.51
    assert run(ColorJitter(brightness=3.0), grey).min() < 5, "a factor is never below 0"
    order = run(ColorJitter((0.8, 0.8), (1.5, 1.5), (0.5, 0.5), (0.1, 0.1)), UNIT)
    want = UNIT
    for name, value in {"brightness": 0.8, "contrast": 1.5, "saturation": 0.5, "hue": 0.1}.items():
        want = run(ColorJitter(**{name: (value, value)}), want)
    np.testing.assert_allclose(order, want, rtol=0, atol=1e-6)


@needs("PIL")
def test_grayscale_is_pillows():
    out = run(RandomGrayscale(1.0))
    assert np.abs(out.astype(int) - pillow(lambda image: image.convert("L"))).max() <= 1
    some = run(RandomGrayscale(0.5))
    grey = np.ptp(some, axis=1).max((1, 2)) == 0
    assert 15 < grey.sum() < 49 and np.array_equal(some[~grey], IMAGES[~grey])


@needs("scipy")
def test_noise_is_normal():
    from scipy.stats import kstest

    x = np.full((40, 3, 20, 20), 0.5, "f")
    noise = run(GaussianNoise(0.05), x) - x
    assert kstest(noise.ravel() / 0.05, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(noise.reshape(40, -1))[~np.eye(40, dtype=bool)]).max() < 0.15
    whole = run(GaussianNoise(0.05), np.full((40, 3, 20, 20), 128, "u1")) - 128.0
    assert np.abs(whole - 255 * noise).max() <= 0.5001
    spread = run(GaussianNoise((0.0, 0.1)), x).std(axis=(1, 2, 3))
    assert spread.min() < 0.02 and spread.max() > 0.08
    clipped = run(GaussianNoise(2.0), x)
    assert clipped.min() == 0 and clipped.max() == 1


def test_normalize():
    out = run(Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]))
    want = (IMAGES / 255 - np.reshape([0.5, 0.4, 0.3], (3, 1, 1))) / np.reshape([0.2, 0.3, 0.4], (3, 1, 1))
    assert out.dtype == np.float32 and np.allclose(out, want, atol=1e-5)
    assert np.allclose(run(Normalize(1.0, 2.0), IMAGES.astype("f")), (IMAGES.astype("f") - 1) / 2)


# ---- labels

LABELS = np.random.default_rng(1).integers(0, 7, 64)


def shares(targets, labels):
    """The part w of each image's own label, where its partner has another; NaN elsewhere."""
    partner = np.roll(labels, -1)
    return np.where(partner == labels, np.nan, targets[np.arange(len(labels)), labels])


def test_mixup_mixes_images_as_labels():
    out, targets = run(MixUp(0.4, num_classes=7), UNIT, labels=LABELS)
    assert targets.shape == (64, 7) and targets.dtype == np.float32
    np.testing.assert_allclose(targets.sum(1), 1, rtol=0, atol=1e-6)
    w = shares(targets, LABELS)
    known = ~np.isnan(w)
    w = w[known, None, None, None].astype("d")
    np.testing.assert_allclose(out[known], w * UNIT[known] + (1 - w) * np.roll(UNIT, -1, 0)[known], rtol=0, atol=1e-6)
    whole, same = run(MixUp(0.4, num_classes=7), labels=LABELS)
    assert whole.dtype == np.uint8 and np.abs(whole - 255.0 * out).max() <= 0.501 and np.array_equal(same, targets)


@needs("scipy")
@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 3.0, 200.0])
def test_shares_are_beta_distributed(alpha):
    from scipy.stats import beta

    from weft.data.augment.mix import beta as drawn

    rng = SampleRandom(0, 0, np.arange(20_000))
    uniforms = SampleRandom(0, 0, np.arange(20_000)).uniform().astype("d")
    np.testing.assert_allclose(drawn(rng, alpha), beta.ppf(uniforms, alpha, alpha), rtol=2e-3, atol=2e-6)


def test_cutmix_labels_count_pixels():
    x = np.broadcast_to(np.arange(1, 401, dtype=np.int16)[:, None, None, None], (400, 1, 10, 16))
    labels = np.arange(400) % 8
    out, targets = run(CutMix(num_classes=8), x, labels=labels)
    own, other = out == x, out == np.roll(x, -1, 0)
    assert (own ^ other).all()
    np.testing.assert_allclose(shares(targets, labels), own.mean((1, 2, 3)), rtol=0, atol=1e-6)
    np.testing.assert_allclose(targets.sum(1), 1, rtol=0, atol=1e-6)
    assert all(mask.any(0).sum() * mask.any(1).sum() == mask.sum() for mask in other[:, 0]), "a rectangle"
    assert other.mean((1, 2, 3)).max() > 0.8 and (~other).all((1, 2, 3)).any()


@pytest.mark.parametrize("mix", [MixUp(num_classes=7), CutMix(num_classes=7)])
def test_mixed_labels_train(mix):
    """From a loader, whatever the workers, into cross_entropy, whose value is the mean of those of the two labels."""
    data = ArrayDataset(UNIT, LABELS)
    batches = [
        [(x.numpy().copy(), y.numpy().copy()) for x, y in DataLoader(data, 10, shuffle=True, workers=n, mix=mix)]
        for n in (0, 3)
    ]
    for (x, y), (other_x, other_y) in zip(*batches):
        assert np.array_equal(x, other_x) and np.array_equal(y, other_y) and y.shape == (len(x), 7)
    _, targets = run(mix, UNIT, labels=LABELS)
    scores = np.random.default_rng(5).standard_normal((64, 7)).astype("f")
    logs = -np.log(np.exp(scores) / np.exp(scores).sum(1, keepdims=True))
    want = np.mean(np.sum(targets * logs, axis=1))
    loss = weft.nn.functional.cross_entropy(weft.asarray(scores), weft.asarray(targets))
    np.testing.assert_allclose(loss.item(), want, rtol=1e-5)


def test_what_cannot_be_mixed():
    with pytest.raises(IndexError, match=r"labels in \[0, 5\), got 0 to 6"):
        run(MixUp(num_classes=5), UNIT, labels=LABELS)
    with pytest.raises(ValueError, match=r"integer labels \(64,\)"):
        run(CutMix(num_classes=7), UNIT, labels=LABELS.astype("f"))
    with pytest.raises(ValueError, match="an image and a label to mix"):
        next(iter(DataLoader(ArrayDataset(UNIT), 8, mix=MixUp(num_classes=7))))
    for alpha, classes in ((0.0, 3), (float("nan"), 3), (1.0, 0)):
        with pytest.raises(ValueError, match="alpha > 0 and num_classes >= 1"):
            MixUp(alpha, num_classes=classes)


# ---- transforms of transforms


def test_apply_and_choice():
    out = run(RandomApply(RandomHorizontalFlip(1.0), 0.3))
    flipped = np.array([np.array_equal(a, b[..., ::-1]) for a, b in zip(out, IMAGES)])
    assert 8 < flipped.sum() < 32 and np.array_equal(out[~flipped], IMAGES[~flipped])
    assert np.array_equal(run(RandomApply([RandomHorizontalFlip(1.0), RandomVerticalFlip(1.0)], 1.0)),
                          IMAGES[:, :, ::-1, ::-1])  # fmt: skip
    kinds = [RandomHorizontalFlip(1.0), RandomVerticalFlip(1.0), Compose([])]
    out = run(RandomChoice(kinds, [0.5, 0.2, 0.3]), np.tile(IMAGES, (20, 1, 1, 1)))
    want = np.tile(np.stack([IMAGES[..., ::-1], IMAGES[:, :, ::-1], IMAGES]), (1, 20, 1, 1, 1))
    counts = (out == want).all((2, 3, 4)).sum(1)
    assert counts.sum() == 1280 and (abs(counts / 1280 - [0.5, 0.2, 0.3]) < 0.05).all()
    assert run(RandomChoice([RandomCrop(0, 8), Resize(8)])).shape == (64, 3, 8, 8)
    with pytest.raises(ValueError, match="keep uint8 .3, 12, 10., got uint8 .3, 8, 8."):
        run(RandomApply(Resize(8)))
    with pytest.raises(ValueError, match="one shape and dtype"):
        run(RandomChoice([Resize(8), Resize(9)]))
    for wrong in ([0.5], [0.5, 0.6], [1.5, -0.5]):
        with pytest.raises(ValueError, match="2 probabilities that sum to 1"):
            RandomChoice(kinds[:2], wrong)


def test_numbers_of_some_samples_are_their_own():
    rng, chosen = SampleRandom(3, 1, np.arange(9)), np.array([2, 7])
    first, second, outer = rng.only(chosen).uniform(), rng.only(chosen).uniform(), rng.uniform()[chosen]
    assert len({*first, *second, *outer}) == 6
    assert np.array_equal(SampleRandom(3, 1, np.array([7])).only(np.array([0])).uniform(), first[1:])
    assert rng.normal((2, 3)).shape == (9, 2, 3) and rng.normal().shape == (9,)


# ---- all of them

ALL = {
    "RandomHorizontalFlip": RandomHorizontalFlip(), "RandomVerticalFlip": RandomVerticalFlip(),
    "RandomCrop": RandomCrop(2), "CenterCrop": CenterCrop(7), "RandomAffine": RandomAffine(9, (0.1, 0.2), shear=5),
    "RandomPerspective": RandomPerspective(), "Resize": Resize(7), "RandomResizedCrop": RandomResizedCrop((6, 7)),
    "ColorJitter": ColorJitter(0.3, 0.3, 0.3, 0.1), "RandomGrayscale": RandomGrayscale(0.5),
    "GaussianNoise": GaussianNoise((0.0, 0.2)), "GaussianBlur": GaussianBlur(5), "Cutout": Cutout(4),
    "RandomErasing": RandomErasing(), "RandomErasing random": RandomErasing(value="random"),
    "RandomApply": RandomApply([GaussianNoise(0.1), RandomCrop(1)]),
    "RandomChoice": RandomChoice([RandomCrop(2), RandomApply(RandomAffine(30), 0.7), GaussianNoise(0.1)]),
    "Normalize": Normalize(0.4, 0.3),
}  # fmt: skip


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", ["u1", "f"])
def test_a_sample_does_not_depend_on_its_batch(name, dtype):
    """Behind another transform, for a draw too many in a batch would shift what follows."""
    x = IMAGES if dtype == "u1" else UNIT
    both = Compose([ALL[name], RandomHorizontalFlip()])
    out = run(both, x)
    assert out.dtype == (np.float32 if name == "Normalize" else x.dtype)
    chosen = np.array([50, 3, 17])
    alone = both(x[chosen], SampleRandom(0, 0, chosen))
    np.testing.assert_allclose(alone, out[chosen], rtol=0, atol=0 if dtype == "u1" and name != "Normalize" else 1e-6)
    none = ALL[name](x[:0], SampleRandom(0, 0, np.arange(0)))
    assert none.shape == (0, *ALL[name](x, SampleRandom(0, 0, np.arange(64))).shape[1:])
    if name not in ("CenterCrop", "Resize", "Normalize"):
        assert not np.array_equal(out, run(both, x, epoch=1))
    strided = np.ascontiguousarray(x.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)
    np.testing.assert_allclose(run(both, strided), out, rtol=0, atol=0 if dtype == "u1" else 1e-6)


IDENTITIES = {
    "RandomHorizontalFlip": RandomHorizontalFlip(0.0), "RandomVerticalFlip": RandomVerticalFlip(0.0),
    "RandomCrop": RandomCrop(0, (12, 10)), "CenterCrop": CenterCrop((12, 10)), "RandomAffine": RandomAffine(0),
    "RandomPerspective p": RandomPerspective(p=0.0), "RandomPerspective scale": RandomPerspective(0.0, p=1.0),
    "Resize": Resize((12, 10)), "RandomResizedCrop": RandomResizedCrop((12, 10), (1, 1), (5 / 6, 5 / 6)),
    "ColorJitter": ColorJitter(), "RandomGrayscale": RandomGrayscale(0.0), "GaussianNoise": GaussianNoise(0.0),
    "GaussianBlur kernel": GaussianBlur(1), "GaussianBlur sigma": GaussianBlur(5, 0.0),
    "RandomErasing": RandomErasing(0.0), "RandomApply": RandomApply(RandomAffine(90), 0.0), "Compose": Compose([]),
    "RandomChoice": RandomChoice([RandomCrop(3), Compose([])], [0, 1]),
}  # fmt: skip


@pytest.mark.parametrize("name", IDENTITIES)
@pytest.mark.parametrize("x", [IMAGES, UNIT], ids=["uint8", "float32"])
def test_settings_that_change_nothing(name, x):
    assert np.array_equal(run(IDENTITIES[name], x), x)


@pytest.mark.parametrize("name", ALL)
def test_bad_batches(name):
    rng = SampleRandom(0, 0, np.arange(4))
    with pytest.raises(ValueError, match=r"expected images \(N, C, H, W\), got \(4, 5, 6\)"):
        ALL[name](np.zeros((4, 5, 6), "f"), rng)
    if name in ("RandomAffine", "RandomPerspective", "Resize", "ColorJitter", "GaussianNoise", "GaussianBlur"):
        with pytest.raises(ValueError, match="expected images uint8 or float32, got float64"):
            ALL[name](np.zeros((4, 3, 8, 8)), rng)
    if name in ("ColorJitter", "GaussianNoise", "RandomGrayscale"):
        for wrong in (-0.1, 1.1, np.nan):
            with pytest.raises(ValueError, match="within 0 to 1"):
                ALL[name](np.full((4, 3, 8, 8), wrong, "f"), rng)
    if name in ("ColorJitter", "RandomGrayscale"):
        with pytest.raises(ValueError, match="expected images"):
            ALL[name](np.zeros((4, 2, 8, 8), "f"), rng)


WRONG = [
    (RandomHorizontalFlip, 2), (RandomVerticalFlip, -1), (RandomCrop, 0), (RandomCrop, 1, (2, 3, 4)), (RandomCrop, -1),
    (RandomAffine, -1), (RandomAffine, 0, (0, 2)), (RandomAffine, 0, (0, 0), (2, 1)), (RandomAffine, (3, 2)),
    (RandomAffine, 0, (0, 0), (1, 1), (0, 90)), (RandomAffine, 0, (0, 0), (1, 1), (0, 1, 2)), (Cutout, 0),
    (RandomPerspective, 1.5), (RandomPerspective, 0.5, 2), (Resize, 0), (Resize, (1, 2, 3)), (CenterCrop, (3, 0)),
    (RandomResizedCrop, 3, (0.5, 1.5)), (RandomResizedCrop, 3, (0.1, 1), (0, 1)), (ColorJitter, -1),
    (ColorJitter, 0, (0.5, 0.2)), (ColorJitter, 0, 0, 0, 0.6), (RandomGrayscale, 1.01), (GaussianNoise, -0.1),
    (GaussianNoise, float("nan")), (GaussianBlur, 4), (GaussianBlur, 3, (-1, 2)), (RandomErasing, 2),
    (RandomErasing, 0.5, (0, 2)), (RandomErasing, 0.5, (0, 1), (0, 1)), (RandomErasing, 1, (0, 1), (1, 2), "noise"),
    (Normalize, 0, 0), (RandomApply, [], 2), (RandomChoice, []),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WRONG)), ids=lambda number: f"{WRONG[number][0].__name__}-{number}")
def test_bad_arguments(number):
    make, *args = WRONG[number]
    with pytest.raises(ValueError, match=f"{make.__name__}.*expected"):
        make(*args)


def test_a_fill_must_be_a_pixel():
    for make in (lambda: RandomAffine(5, fill=0.5), lambda: RandomCrop(1, fill=300), lambda: RandomAffine(5, fill=-1)):
        with pytest.raises(ValueError, match="a fill that is an integer within 0 to 255 for uint8"):
            run(make())
