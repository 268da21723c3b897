"""Layers of features.md's section 1 against PyTorch's of the same name: values, gradients, states, on drawn arguments.

A row is a function of a `Draw`; it returns the constructor's arguments and the inputs.
"""

import numpy as np
import pytest

import weft
from nn.rows import Draw, args
from peer import compare, torch
from weft import nn

SEEDS = range(6)
ROWS = {}
NO_BATCH = [(2,), (1,), ()]


def row(function):
    ROWS[function.__name__] = function
    return function


def lead(d):
    """(N,), or nothing."""
    return d.pick((3,), (1,), ())


def size(d, n, low=7, high=12):
    return tuple(d.integer(low, high) for _ in range(n))


# -- pooling ----------------------------------------------------------------------------------------------------------


@row
def MaxPool1d(d):
    kernel = d.pick(2, 3, 4)
    options = args(kernel, d.pick(None, 1, 2, 3), d.pick(0, 1), d.pick(1, 1, 2), ceil_mode=d.turn(False, True))
    return options, [d.turn(d.normal, d.tied)(*lead(d), 3, d.integer(9, 15))]


@row
def MaxPool2d(d):
    options = args(d.pick(2, 3, (3, 2)), d.pick(None, 1, 2, (2, 3)), d.pick(0, 1), d.pick(1, 1, 2))
    options[1].update(ceil_mode=d.turn(False, True), return_indices=d.turn(False, False, True))
    return options, [d.tied(*lead(d), 3, *size(d, 2))]


@row
def AvgPool1d(d):
    options = args(d.pick(2, 3, 4), d.pick(None, 1, 2, 3), d.pick(0, 1), d.turn(False, True), d.pick(False, True))
    return options, [d.normal(*lead(d), 3, d.integer(9, 15))]


@row
def AvgPool2d(d):
    options = args(d.pick(2, 3, (3, 2)), d.pick(None, 1, 2, (2, 3)), d.pick(0, 1), d.turn(False, True))
    options[1].update(count_include_pad=d.pick(False, True), divisor_override=d.turn(None, 5, -2, None))
    return options, [d.normal(*lead(d), 3, *size(d, 2))]


@row
def AdaptiveAvgPool1d(d):
    return args(d.turn(1, 3, 5, (4,), 11, 14)), [d.normal(*lead(d), 3, 11)]


@row
def AdaptiveAvgPool2d(d):
    return args(d.turn(1, 3, (2, 5), (None, 4), 7, (1, None))), [d.normal(*lead(d), 3, 9, 12)]


@row
def AdaptiveMaxPool1d(d):
    return args(d.turn(1, 3, 5, (4,), 11, 14), d.pick(False, True)), [d.tied(*lead(d), 3, 11)]


@row
def AdaptiveMaxPool2d(d):
    options = args(d.turn(1, 3, (2, 5), (None, 4), 7, (1, None)), d.pick(False, True))
    return options, [d.tied(*lead(d), 3, 9, 12)]


@row
def LPPool1d(d):
    return args(d.turn(1, 2, 3.0), d.pick(2, 3), d.pick(None, 1, 2), d.pick(False, True)), [d.positive(*lead(d), 3, 13)]


@row
def LPPool2d(d):
    options = args(d.turn(2, 1, 3.0), d.pick(2, (3, 2)), d.pick(None, 1, 2), d.pick(False, True))
    return options, [d.positive(*lead(d), 3, *size(d, 2))]


@row
def MaxPool3d(d):
    options = args(d.pick(2, 3, (3, 2, 1)), d.pick(None, 1, 2, (2, 3, 1)), d.pick(0, (1, 1, 0)))
    options[1].update(dilation=d.pick(1, 1, (2, 1, 2)), ceil_mode=d.turn(False, True))
    options[1].update(return_indices=d.turn(False, False, True))
    return options, [d.tied(*lead(d), 3, *size(d, 3, 6, 9))]


@row
def AvgPool3d(d):
    options = args(d.pick(2, 3, (3, 2, 2)), d.pick(None, 1, 2, (2, 3, 1)), d.pick(0, 1, (1, 0, 1)), d.turn(False, True))
    options[1].update(count_include_pad=d.pick(False, True), divisor_override=d.turn(None, 5, -2, None))
    return options, [d.normal(*lead(d), 3, *size(d, 3, 6, 9))]


@row
def AdaptiveAvgPool3d(d):
    return args(d.turn(1, 3, (2, 5, 1), (None, 4, 3), 7, (1, None, 2))), [d.normal(*lead(d), 3, 4, 9, 12)]


@row
def AdaptiveMaxPool3d(d):
    options = args(d.turn(1, 3, (2, 5, 1), (None, 4, 3), 7, (1, None, 2)), d.pick(False, True))
    return options, [d.tied(*lead(d), 3, 8, 9, 7)]


@row
def LPPool3d(d):
    options = args(d.turn(2, 1, 3.0), d.pick(2, (3, 2, 1)), d.pick(None, 1, 2), d.pick(False, True))
    return options, [d.positive(*lead(d), 3, *size(d, 3, 6, 9))]


# -- borders, sizes, windows ------------------------------------------------------------------------------------------


def padding(n, low, *value):
    def draw(d):
        sides = d.integer(max(low, 0), 4) if d.turn(True, False) else tuple(d.integer(low, 4) for _ in range(2 * n))
        options = [sides, *[d.pick(0.5, -2.0) for _ in value]]
        return args(*options), [d.normal(*d.turn((2,), ()), 3, *size(d, n, 5, 8))]

    return draw


for n in (1, 2, 3):
    ROWS[f"ConstantPad{n}d"] = padding(n, -2, "value")
    ROWS[f"ZeroPad{n}d"] = padding(n, -2)
    for kind in ("Reflection", "Replication", "Circular"):
        ROWS[f"{kind}Pad{n}d"] = padding(n, 0)

MODES = [("nearest", 1), ("nearest", 2), ("nearest", 3), ("nearest-exact", 2), ("linear", 1), ("bilinear", 2),
         ("bicubic", 2), ("trilinear", 3), ("area", 1), ("area", 2)]  # fmt: skip


def upsample(mode, n):
    def draw(d):
        x = d.normal(2, 3, *size(d, n, 3, 7))
        options = {"mode": mode}
        if mode not in ("nearest", "nearest-exact", "area"):
            options["align_corners"] = d.turn(None, False, True)
        if d.pick(True, False):
            options["size"] = d.pick(6, tuple(d.integer(1, 13) for _ in range(n)))
        else:
            options["scale_factor"] = d.pick(2, 1.5, tuple(d.pick(0.6, 2.3, 3) for _ in range(n)))
            options["recompute_scale_factor"] = d.pick(None, True, False)
        return args(**options), [x]

    return draw


for mode, n in MODES:
    ROWS[f"Upsample {mode} {n}d"] = upsample(mode, n)


@row
def PixelShuffle(d):
    r = d.turn(1, 2, 3)
    return args(r), [d.normal(*d.pick((2,), (), (2, 3)), r * r * d.integer(1, 4), *size(d, 2, 1, 5))]


@row
def PixelUnshuffle(d):
    r = d.turn(1, 2, 3)
    h, w = size(d, 2, 1, 4)
    return args(r), [d.normal(*d.pick((2,), (), (2, 3)), 2, h * r, w * r)]


@row
def Unfold(d):
    options = args(d.pick(2, (3, 1), (1, 2)), d.pick(1, (2, 1)), d.pick(0, (1, 2)), d.pick(1, 2, (1, 3)))
    return options, [d.normal(*lead(d), 3, *size(d, 2, 6, 9))]


@row
def Fold(d):
    kernel, spread = d.pick((2, 2), (3, 1)), d.pick((1, 1), (2, 1))
    sides, step = d.pick((0, 0), (1, 0)), d.pick((1, 1), (2, 3))
    image = size(d, 2, 6, 9)
    axes = zip(image, kernel, spread, sides, step)
    columns = np.prod([(n + 2 * p - e * (k - 1) - 1) // s + 1 for n, k, e, p, s in axes])
    return args(image, kernel, spread, sides, step), [d.normal(*lead(d), 2 * kernel[0] * kernel[1], columns)]


# -- normalisation ----------------------------------------------------------------------------------------------------


def batch_norm(n, unbatched):
    def draw(d):
        options = args(5, d.pick(1e-5, 1e-2), d.pick(0.1, 0.4, None), d.turn(True, True, False), d.pick(True, False))
        options[1]["bias"] = d.turn(True, False, True)
        first = (5,) if unbatched and d.turn(False, False, False, True) else (4, 5)
        return options, [3 * d.normal(*first, *size(d, n, 3, 6)) + 1]

    return draw


for n in (1, 2, 3):
    ROWS[f"BatchNorm{n}d"] = batch_norm(n, False)
    ROWS[f"InstanceNorm{n}d"] = batch_norm(n, True)


@row
def GroupNorm(d):
    options = args(d.pick(1, 2, 3, 6), 6, d.pick(1e-5, 1e-2), d.turn(True, True, False), bias=d.turn(True, False))
    return options, [d.normal(3, 6, *d.turn((4,), (3, 5), (2, 3, 2)))]


@row
def LocalResponseNorm(d):
    options = args(d.turn(1, 2, 3, 5, 8), d.pick(1e-4, 0.3), d.pick(0.75, 1.5), d.pick(1.0, 2.0))
    return options, [d.normal(2, 6, *d.turn((4,), (3, 5), (2, 3, 2)))]


# -- tables -----------------------------------------------------------------------------------------------------------


@row
def Embedding(d):
    options = args(11, d.integer(1, 9), d.turn(None, 0, -1))
    options[1].update(max_norm=d.turn(None, None, 1.0), norm_type=d.pick(2.0, 1.0))
    options[1].update(scale_grad_by_freq=d.pick(False, True))
    return options, [d.rng.integers(0, 11, d.pick((15,), (3, 4), ()))]


@row
def EmbeddingBag(d):
    mode = d.turn("sum", "mean", "max")
    options = args(7, d.integer(1, 5), d.turn(None, None, None, 1.0), mode=mode, padding_idx=d.pick(None, 2, -3))
    if d.pick(True, False):
        inputs = [d.rng.integers(0, 7, (4, 5))]
    else:
        offsets = np.array([0, 3, 3, 7, 10])
        options[1]["include_last_offset"] = last = d.pick(False, True)
        inputs = [d.rng.integers(0, 7, 12), np.append(offsets, 12) if last else offsets]
    if mode == "sum" and d.pick(False, True) and options[1]["padding_idx"] is None:
        inputs = [*inputs, *[None] * (2 - len(inputs)), d.normal(*inputs[0].shape)]
    return options, inputs


# -- the rest of the convolutions and dense layers is in test_layers.py and test_conv_layers.py -----------------------


def layers(name, options):
    positional, named = options
    made = [getattr(m, name.split()[0])(*positional, **named) for m in (nn, torch.nn)]
    with torch.no_grad():
        for parameter in made[1].parameters():  # ones and zeros would hide an error
            parameter.normal_()
    return made


@pytest.mark.filterwarnings("ignore:The default behavior for interpolate")
@pytest.mark.parametrize("name", ROWS)
def test_as_pytorchs(name):
    for seed in SEEDS:
        torch.manual_seed(seed)
        options, inputs = ROWS[name](Draw(name, seed))
        ours, theirs = layers(name, options)

        def call(module, *given, inputs=inputs):
            rest = iter(given)
            return module(*[x if x is None else next(rest) for x in inputs])

        given = [x for x in inputs if x is not None]
        note = f"{name}{options} of {[x.shape for x in given]}"
        try:
            compare(ours, theirs, given, call=call, steps=2)
            if list(theirs.buffers()):  # and with the running statistics
                for layer in (ours.eval(), theirs.eval()):
                    layer.zero_grad()
                compare(ours, theirs, given, call=call)
            back = {k: torch.tensor(v) for k, v in ours.state_dict().items()}
            assert str(theirs.load_state_dict(back)) == "<All keys matched successfully>"
        except Exception as error:
            raise AssertionError(f"{note}: {error}") from error


def test_a_bag_divides_gradients_by_frequency():
    """PyTorch 2.13 divides row 3's gradient, of three look-ups, by 2 here; Embedding divides by 3, and so do bags."""
    indices, offsets = np.array([0, 1, 1, 3, 3, 3]), np.array([0, 2])
    for mode, wanted in (("sum", [1, 1, 0, 1]), ("mean", [0.5, 0.375, 0, 0.25])):
        bag = nn.EmbeddingBag(4, 2, mode=mode, scale_grad_by_freq=True)
        bag(indices, offsets).sum().backward()
        np.testing.assert_allclose(bag.weight.grad.numpy(), np.array(wanted)[:, None] * [1, 1])


REFUSALS = [
    (lambda: nn.ReflectionPad2d(3)(weft.ones((1, 1, 3, 3))), "expected reflect padding within dimension 3 of"),
    (lambda: nn.ZeroPad2d(1)(weft.ones((3, 3))), r"pad: expected an input \(N, C, H, W\), N optional, got \(3, 3\)"),
    (lambda: nn.ZeroPad2d((1, 2, 3)), "ZeroPad2d: padding: expected an int or 4 of them"),
    (lambda: nn.Upsample(4, 2.0)(weft.ones((1, 1, 3))), "interpolate: expected either size or scale_factor"),
    (lambda: nn.Upsample(4, mode="bilinear")(weft.ones((1, 1, 3))), "expected an input of 4 dimensions for mode 'bili"),
    (lambda: nn.Upsample(4, align_corners=True)(weft.ones((1, 1, 3))), "expected align_corners only with modes linear"),
    (lambda: nn.PixelShuffle(2)(weft.ones((1, 3, 2, 2))), r"pixel_shuffle: expected input \(..., C \* 4, H, W\)"),
    (lambda: nn.PixelUnshuffle(2)(weft.ones((1, 3, 3, 2))), "pixel_unshuffle: expected input"),
    (lambda: nn.Unfold(4)(weft.ones((1, 1, 3, 3))), "unfold: expected an image that holds a window"),
    (lambda: nn.Unfold(2, stride=0)(weft.ones((1, 1, 3, 3))), "unfold: expected stride of at least 1, got 0"),
    (lambda: nn.Fold(4, 2)(weft.ones((1, 8, 5))), r"fold: expected input \(N, C \* 4, 9\)"),
    (lambda: nn.MaxPool1d(2)(weft.ones((4,))), r"max_pool1d: expected input \(N, C, L\) or \(C, L\), got \(4,\)"),
    (lambda: nn.AvgPool2d(2, divisor_override=0)(weft.ones((1, 4, 4))), "expected divisor_override other than 0"),
    (lambda: nn.AdaptiveMaxPool2d(0)(weft.ones((1, 4, 4))), "adaptive_max_pool2d: expected output_size of at least 1"),
    (lambda: nn.MaxPool3d(2)(weft.ones((4, 4, 4))), r"expected input \(N, C, D, H, W\) or .*got \(4, 4, 4\)"),
    (lambda: nn.AvgPool3d((2, 2))(weft.ones((1, 4, 4, 4))), "avg_pool3d: kernel_size: expected an int or 3 of them"),
    (lambda: nn.AvgPool3d(2, divisor_override=0)(weft.ones((1, 4, 4, 4))), "expected divisor_override other than 0"),
    (lambda: nn.AdaptiveMaxPool3d((1, 0, 1))(weft.ones((1, 4, 4, 4))), "adaptive_max_pool3d: expected output_size of"),
    (lambda: nn.MaxPool3d(5)(weft.ones((1, 4, 4, 4))), r"max_pool3d: expected an image of at least \(5, 5, 5\) pi"),
    (lambda: nn.MaxPool3d((1, 2, 2), padding=1)(weft.ones((1, 4, 4, 4))), "max_pool3d: expected padding smaller than"),
    (lambda: nn.AvgPool3d(2, stride=0)(weft.ones((1, 4, 4, 4))), "avg_pool3d: stride: expected at least 1, got 0"),
    (lambda: nn.MaxPool3d(2, padding="same")(weft.ones((1, 4, 4, 4))), "max_pool3d: padding: expected an int or 3"),
    (lambda: nn.MaxPool3d((2, 2, 1.5))(weft.ones((1, 4, 4, 4))), "max_pool3d: kernel_size: expected an int or 3"),
    (lambda: nn.AdaptiveAvgPool3d(2.5)(weft.ones((1, 4, 4, 4))), "adaptive_avg_pool3d: expected output_size of at"),
    (lambda: nn.AdaptiveAvgPool3d(1)(weft.ones((1, 0, 4, 4))), "adaptive_avg_pool3d: expected a volume of at least"),
    (lambda: nn.BatchNorm3d(3)(weft.ones((2, 3, 4, 4))), r"expected x \(N, 3, D, H, W\), got .*BatchNorm2d"),
    (lambda: nn.InstanceNorm2d(3)(weft.ones((2, 4, 4, 3))), r"expected x \(3, H, W\) or \(N, 3, H, W\), .*NHWC"),
    (lambda: nn.InstanceNorm1d(3)(weft.ones((2, 3, 1))), "instance_norm: expected more than one value per channel"),
    (lambda: nn.LocalResponseNorm(2)(weft.ones((2, 3))), "local_response_norm: expected input"),
    (lambda: nn.EmbeddingBag(3, 2)(np.array([1, 2])), r"expected input \(B, n\), or \(n,\) with offsets"),
    (lambda: nn.EmbeddingBag(3, 2)(np.array([1, 2]), np.array([1])), "expected offsets that rise from 0 to at most 2"),
    (lambda: nn.EmbeddingBag(3, 2, mode="prod")(np.array([[1]])), "expected mode sum, mean or max, got 'prod'"),
    (lambda: nn.functional.embedding_bag(np.array([[1]]), weft.ones((3, 2)), padding_idx=4),
     "embedding_bag: expected padding_idx within 3 rows, got 4"),
    (lambda: nn.EmbeddingBag(3, 2, sparse=True)(np.array([[1]])), "expected sparse=False"),
    (lambda: nn.Dropout2d(0.5)(weft.ones((2, 3))), r"dropout2d: expected an input of 3 or 4 dimensions, got \(2, 3\)"),
    (lambda: nn.DropPath(1.5), r"DropPath: expected drop_prob in \[0, 1\], got 1.5"),
]  # fmt: skip


@pytest.mark.parametrize("make, message", REFUSALS, ids=[message[:40] for _, message in REFUSALS])
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_volumes_that_come_to_nothing_and_sums_of_16_bits():
    """What is 0 stays 0, a sum past float16 is divided first, and a batch may be empty."""
    odd = np.array([-2, -1, 0, 1, 1, 2, -1, 0, 0], "f").reshape(1, 1, 3, 1, 3)
    assert nn.functional.lp_pool3d(weft.asarray(odd), 3, (3, 1, 3)).numpy().ravel() == [0]
    large = weft.asarray(np.full((1, 1, 2, 2, 2), 40000, np.float16))
    for out in (nn.AvgPool3d(2)(large), nn.AvgPool3d(2, divisor_override=8)(large), nn.AdaptiveAvgPool3d(1)(large)):
        assert out.dtype == np.float16 and out.numpy().ravel() == [40000]
    for layer in (nn.MaxPool3d(2, return_indices=True), nn.AdaptiveMaxPool3d(3, return_indices=True)):
        out, where = layer(weft.zeros((0, 2, 4, 4, 4)))
        assert out.shape == where.shape == (0, 2, *out.shape[2:])
    with pytest.raises(TypeError, match="avg_pool3d: expected a floating Tensor, got int64"):
        nn.AvgPool3d(2)(weft.ones((1, 2, 2, 2), dtype=np.int64))
    of_padding_alone = nn.MaxPool3d((2, 1, 1), 1, (2, 0, 0), (3, 1, 1), return_indices=True)
    assert (of_padding_alone(weft.ones((1, 1, 1, 2, 2)))[0].numpy() == -np.inf).all()


def test_an_index_out_of_range_and_the_path_of_the_layer_are_named():
    net = nn.Sequential(nn.Identity(), nn.Sequential(nn.EmbeddingBag(3, 2)))
    with pytest.raises(IndexError, match=r"EmbeddingBag at 1.0: embedding: expected indices in \[0, 3\), got 7"):
        net(np.array([[1, 7]]))
