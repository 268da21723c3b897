"""Losses against PyTorch's: values, and gradients of prediction and target, on random configurations."""

import numpy as np
import pytest

import weft
from peer import compare, torch
from weft import nn
from weft.nn import functional as F

SEEDS = range(6)
tnn = torch.nn
REDUCTIONS = ["mean", "sum", "none"]


def random(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def shape_of(rng):
    return [(5,), (4, 3), (2, 3, 4), (1,), ()][rng.integers(5)]


def both(name, arrays=None, **options):
    """The two losses; `arrays` are arguments that are arrays."""
    arrays = arrays or {}
    ours = getattr(nn, name)(**{k: weft.asarray(v) for k, v in arrays.items()}, **options)
    theirs = getattr(tnn, name)(**{k: torch.tensor(v) for k, v in arrays.items()}, **options)
    return ours, theirs


def check(losses, input, target, target_grad=True):
    """Weights of a loss are buffers in both; they are given to the constructors, so nothing is loaded."""
    ours, theirs = losses
    if target_grad:
        compare(ours, theirs, [input, target])
        return
    to = {id(ours): weft.asarray, id(theirs): torch.tensor}
    compare(ours, theirs, [input], call=lambda m, x: m(x, to[id(m)](target)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"])
def test_of_differences(name, seed):
    rng = np.random.default_rng(seed)
    options = {"SmoothL1Loss": {"beta": [1.0, 0.3, 0.0][seed % 3]}, "HuberLoss": {"delta": [1.0, 0.4][seed % 2]}}
    shape = shape_of(rng)
    losses = both(name, reduction=REDUCTIONS[seed % 3], **options.get(name, {}))
    check(losses, random(rng, *shape), random(rng, *shape))


@pytest.mark.parametrize("seed", range(12))
def test_cross_entropy_of_labels(seed):
    rng = np.random.default_rng(seed)
    N, C = int(rng.integers(2, 7)), int(rng.integers(2, 9))
    tail = [(), (3,), (2, 3)][seed % 3]
    target = rng.integers(0, C, (N, *tail))
    target[rng.random(target.shape) < 0.2] = [-100, 1][seed % 2]
    options = {
        "ignore_index": [-100, 1][seed % 2],
        "reduction": REDUCTIONS[seed // 3 % 3],
        "label_smoothing": [0.0, 0.2, 0.0, 1.0][seed % 4],
    }
    arrays = {"weight": rng.random(C).astype(np.float32)} if seed % 2 else {}
    target[0] = 0
    check(both("CrossEntropyLoss", arrays, **options), 3 * random(rng, N, C, *tail), target)


def test_cross_entropy_of_one_sample():
    rng = np.random.default_rng(0)
    check(both("CrossEntropyLoss"), random(rng, 5), np.array(3))
    check(both("CrossEntropyLoss", reduction="none"), random(rng, 5), np.array(3))


@pytest.mark.parametrize("seed", SEEDS)
def test_cross_entropy_of_probabilities(seed):
    rng = np.random.default_rng(seed)
    shape = [(4, 5), (4, 5, 3)][seed % 2]
    target = rng.random(shape).astype(np.float32)
    target /= target.sum(1, keepdims=True)
    options = {"reduction": REDUCTIONS[seed % 3], "label_smoothing": [0.0, 0.1][seed % 2]}
    arrays = {"weight": rng.random(5).astype(np.float32)} if seed > 2 else {}
    check(both("CrossEntropyLoss", arrays, **options), random(rng, *shape), target)


@pytest.mark.parametrize("seed", SEEDS)
def test_nll(seed):
    rng = np.random.default_rng(seed)
    tail = [(), (3,), (2, 3)][seed % 3]
    target = rng.integers(0, 5, (4, *tail))
    target[1:][rng.random((3, *tail)) < 0.3] = -100
    arrays = {"weight": rng.random(5).astype(np.float32)} if seed % 2 else {}
    check(both("NLLLoss", arrays, reduction=REDUCTIONS[seed // 2]), -np.abs(random(rng, 4, 5, *tail)), target)


@pytest.mark.parametrize("seed", SEEDS)
def test_binary_cross_entropy(seed):
    rng = np.random.default_rng(seed)
    p, t = rng.random((4, 3)).astype(np.float32), rng.random((4, 3)).astype(np.float32)
    arrays = {"weight": rng.random((4, 3)).astype(np.float32)} if seed % 2 else {}
    check(both("BCELoss", arrays, reduction=REDUCTIONS[seed % 3]), p, t)


def test_binary_cross_entropy_of_certainty():
    p = np.array([0.0, 1.0, 0.0, 1.0], np.float32)
    check(both("BCELoss", reduction="none"), p, np.array([0.0, 1.0, 1.0, 0.0], np.float32), target_grad=False)


@pytest.mark.parametrize("seed", SEEDS)
def test_binary_cross_entropy_with_logits(seed):
    rng = np.random.default_rng(seed)
    arrays = {}
    if seed % 2:
        arrays["weight"] = rng.random((4, 3)).astype(np.float32)
    if seed > 2:
        arrays["pos_weight"] = rng.random(3).astype(np.float32) * 3
    losses = both("BCEWithLogitsLoss", arrays, reduction=REDUCTIONS[seed % 3])
    check(losses, 10.0 ** (seed - 3) * random(rng, 4, 3), rng.random((4, 3)).astype(np.float32))


@pytest.mark.filterwarnings("ignore:reduction")  # PyTorch would rather have batchmean
@pytest.mark.parametrize("seed", SEEDS)
def test_kl_div(seed):
    rng = np.random.default_rng(seed)
    log_target = bool(seed % 2)
    target = rng.random((4, 5)).astype(np.float32)
    target = np.log(target) if log_target else target
    losses = both("KLDivLoss", reduction=[*REDUCTIONS, "batchmean"][seed % 4], log_target=log_target)
    check(losses, -np.abs(random(rng, 4, 5)), target)
    if not log_target:
        target[0] = 0  # 0 log 0 is 0
        check(losses, -np.abs(random(rng, 4, 5)), target, target_grad=False)


@pytest.mark.parametrize(
    "name",
    [
        "mse_loss",
        "l1_loss",
        "smooth_l1_loss",
        "huber_loss",
        "kl_div",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
    ],
)
def test_a_loss_never_broadcasts(name):
    with pytest.raises(ValueError, match=r"\(4, 1\).*\(4,\)"):
        getattr(F, name)(weft.ones((4, 1)), weft.ones((4,)))


def test_labels_out_of_range_are_named():
    with pytest.raises(IndexError, match=r"\[0, 3\), got 3 at position 1"):
        nn.CrossEntropyLoss()(weft.zeros((2, 3)), np.array([0, 3]))
    with pytest.raises(IndexError, match="-1"):
        nn.NLLLoss()(weft.zeros((2, 3)), np.array([0, -1]))


def test_bad_arguments():
    with pytest.raises(ValueError, match="MSELoss: expected reduction mean, sum, none, got 'avg'"):
        nn.MSELoss(reduction="avg")
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        nn.BCELoss()(weft.full((2,), 1.5), weft.ones((2,)))
    with pytest.raises(ValueError, match=r"target\[:, 0\]"):
        nn.CrossEntropyLoss()(weft.zeros((2, 3)), np.zeros((2, 1), int))
