"""Losses of features.md's section 1 that are compositions, against PyTorch's, or against their papers in float64."""

import numpy as np
import pytest

import weft
from nn.rows import Draw, args
from peer import close, compare, torch
from weft import nn
from weft.nn import functional as F
from weft.testing import gradcheck, gradgradcheck

REDUCTIONS = "mean", "sum", "none"
ROWS = {}


def row(function):
    ROWS[function.__name__] = function
    return function


@row
def TripletMarginLoss(d):
    shape = d.pick((4, 5), (5,))
    options = args(d.pick(1.0, 0.3), d.turn(2.0, 1.0, 3.0), d.pick(1e-6, 1e-3), d.pick(False, True))
    return options, [d.normal(*shape) for _ in range(3)]


@row
def CosineEmbeddingLoss(d):
    shape = d.turn((6, 5), (5,))
    return args(d.turn(0.0, 0.5, -0.2)), [d.normal(*shape), d.normal(*shape), d.signs(*shape[:-1])]


@row
def MarginRankingLoss(d):
    shape = d.turn((6,), (4, 3))
    return args(d.turn(0.0, 0.7, -0.4)), [d.tied(*shape), d.tied(*shape), d.signs(*shape).astype(np.float32)]


@row
def HingeEmbeddingLoss(d):
    shape = d.turn((6,), (4, 3))
    return args(d.turn(1.0, 0.4)), [d.normal(*shape), d.signs(*shape)]


@row
def PoissonNLLLoss(d):
    log = d.turn(True, False)
    input = d.normal(4, 3) if log else d.positive(4, 3)
    return args(log, d.pick(False, True), eps=d.pick(1e-8, 1e-2)), [input, d.rng.poisson(2, (4, 3))]


@row
def GaussianNLLLoss(d):
    var = d.positive(*d.turn((4, 3), (4, 1), (4,)))
    var.flat[0] = 1e-9  # held at eps, and its gradient passes
    return args(full=d.pick(False, True), eps=d.pick(1e-2, 0.1)), [d.normal(4, 3), d.normal(4, 3), var]


@pytest.mark.parametrize("name", ROWS)
def test_as_pytorchs(name):
    for seed in range(6):
        d = Draw(name, seed)
        (positional, named), inputs = ROWS[name](d)
        named["reduction"] = d.turn(*REDUCTIONS)
        ours, theirs = (getattr(m, name)(*positional, **named) for m in (nn, torch.nn))
        compare(ours, theirs, inputs)
        # 16-bit floats too
        half = [weft.asarray(x.astype(np.float16)) if x.dtype.kind == "f" else x for x in inputs]
        assert ours(*half).dtype == np.float16


# -- CTC --------------------------------------------------------------------------------------------------------------


def ctc_both(rng, frames, classes, lengths, sizes, flat, blank, **options):
    """Losses and gradients of the raw scores: behind log_softmax PyTorch's gradient is the mathematical one."""
    scores = rng.standard_normal((frames, len(lengths), classes)).astype(np.float32)
    labels = [label for label in range(classes) if label != blank]
    targets = [rng.choice(labels, n) for n in sizes]
    longest = max(sizes)
    given = np.concatenate(targets) if flat else np.stack([np.pad(t, (0, longest - len(t))) for t in targets])
    out = []
    a, b = weft.Tensor(scores, True), torch.tensor(scores, requires_grad=True)
    out.append(F.ctc_loss(F.log_softmax(a, 2), given, lengths, sizes, blank, **options))
    long = torch.tensor(given)
    out.append(torch.nn.functional.ctc_loss(b.log_softmax(2), long, torch.tensor(lengths), torch.tensor(sizes), blank,
                                            **options))  # fmt: skip
    return (*out, a, b)


@pytest.mark.parametrize("seed", range(8))
def test_ctc(seed):
    rng = np.random.default_rng(seed)
    frames, classes, N = int(rng.integers(8, 15)), int(rng.integers(3, 7)), 3
    lengths, sizes = rng.integers(7, frames + 1, N), rng.integers(0 if seed % 2 else 1, 4, N)
    sizes[0] = 3
    reduction = REDUCTIONS[seed % 3]
    ours, theirs, a, b = ctc_both(
        rng, frames, classes, lengths, sizes, seed % 2, [0, classes - 1, 1][seed % 3], reduction=reduction
    )  # fmt: skip
    close(ours, theirs, "loss")
    g = rng.standard_normal(theirs.shape).astype(np.float32)
    (ours * g).sum().backward()
    (theirs * torch.tensor(g)).sum().backward()
    close(a.grad, b.grad, "gradient of the scores")


def test_ctc_of_one_sample_and_of_the_impossible():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((6, 4)).astype(np.float32)
    for reduction in REDUCTIONS:
        ours = nn.CTCLoss(reduction=reduction)(weft.log_softmax(weft.asarray(scores)), np.array([1, 2]), 6, 2)
        theirs = torch.nn.CTCLoss(reduction=reduction)(
            torch.tensor(scores).log_softmax(-1), torch.tensor([1, 2]), torch.tensor(6), torch.tensor(2)
        )
        close(ours, theirs, reduction)
    for forgive in (True, False):  # "1 1 1" needs 5 frames
        a = weft.Tensor(scores[:4, None], True)
        loss = F.ctc_loss(weft.log_softmax(a), np.array([[1, 1, 1]]), [4], [3], zero_infinity=forgive)
        assert loss.item() == (0 if forgive else np.inf)
        loss.backward()
        np.testing.assert_array_equal(a.grad.numpy(), 0)


def test_a_number_as_variance_keeps_the_dtype():
    x, t = np.float32([1.0, 2.0]), np.float32([0.5, 4.0])
    ours = F.gaussian_nll_loss(weft.asarray(x), weft.asarray(t), 0.5, reduction="none")
    theirs = torch.nn.functional.gaussian_nll_loss(torch.tensor(x), torch.tensor(t), 0.5, reduction="none")
    close(ours, theirs, "loss")
    assert F.hinge_embedding_loss(weft.asarray(x), [1, -1]).dtype == np.float32


def test_ctc_differentiates_twice():
    targets = np.array([[1, 1], [2, 0]])
    with np.errstate(all="raise", under="ignore"):
        gradgradcheck(lambda x: F.ctc_loss(weft.log_softmax(x), targets, [5, 4], [2, 1], reduction="none"),
                      [np.random.default_rng(0).standard_normal((5, 2, 3))])  # fmt: skip


CTC_REFUSALS = [
    ((np.array([[3]]), [4], [1]), IndexError, r"in \[0, 3\) other than blank 0, got 3 at position \(0, 0\)"),
    ((np.array([[0]]), [4], [1]), IndexError, r"other than blank 0, got 0"),
    ((np.array([[1]]), [5], [1]), ValueError, "expected input_lengths from 1 to 4, got 5 to 5"),
    ((np.array([[1]]), [4], [2]), ValueError, r"for lengths \[2\], got \(1, 1\)"),
    ((np.array([1, 2]), [4], [1]), ValueError, r"for lengths \[1\], got \(2,\)"),
    ((np.array([[1.0]]), [4], [1]), TypeError, "expected integers as targets, got float64"),
]  # fmt: skip


@pytest.mark.parametrize("given, error, message", CTC_REFUSALS, ids=[message for *_, message in CTC_REFUSALS])
def test_ctc_refuses(given, error, message):
    with pytest.raises(error, match="ctc_loss: .*" + message):
        nn.CTCLoss()(weft.log_softmax(weft.zeros((4, 1, 3))), *given)


# -- focal and dice: the papers, in float64 ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_focal_is_its_papers(seed):
    """FL(p_t) = -alpha_t (1 - p_t)^gamma log(p_t), equation 5 of Lin et al. (2017)."""
    rng = np.random.default_rng(seed)
    alpha, gamma, reduction = [0.25, None, 0.7][seed % 3], [2.0, 0.0, 0.5, 1.0][seed % 4], REDUCTIONS[seed % 3]
    x, y = 2 * rng.standard_normal((4, 3)), rng.integers(0, 2, (4, 3)).astype(np.float64)
    p = 1 / (1 + np.exp(-x))
    p_t = np.where(y == 1, p, 1 - p)
    alpha_t = 1.0 if alpha is None else np.where(y == 1, alpha, 1 - alpha)
    wanted = reduced(-alpha_t * (1 - p_t) ** gamma * np.log(p_t), reduction)
    loss = nn.FocalLoss(alpha, gamma, reduction)
    np.testing.assert_allclose(loss(weft.Tensor(x), weft.Tensor(y)).numpy(), wanted, rtol=1e-12)
    gradcheck(lambda x: loss(x, weft.Tensor(y)), [x])
    gradgradcheck(lambda x: loss(x, weft.Tensor(y)), [x])


@pytest.mark.parametrize("seed", range(6))
def test_focal_of_many_classes(seed):
    rng = np.random.default_rng(seed)
    gamma, reduction, tail = [2.0, 0.0, 0.5][seed % 3], REDUCTIONS[seed % 3], [(), (2,)][seed % 2]
    x, y = rng.standard_normal((4, 3, *tail)), rng.integers(0, 3, (4, *tail))
    weight = rng.random(3) if seed > 2 else None
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    p_t = np.take_along_axis(p, y[:, None], 1)[:, 0]
    losses = -((1 - p_t) ** gamma) * np.log(p_t) * (1.0 if weight is None else weight[y])
    loss = nn.FocalLoss(gamma=gamma, reduction=reduction, weight=weight)
    np.testing.assert_allclose(loss(weft.Tensor(x), y).numpy(), reduced(losses, reduction), rtol=1e-12)
    gradcheck(lambda x: loss(x, y), [x])
    with pytest.raises(IndexError, match="got 3"):
        loss(weft.Tensor(x), y * 0 + 3)


@pytest.mark.parametrize("seed", range(6))
def test_dice_is_its_papers(seed):
    """D = 2 sum(p g) / (sum(p^2) + sum(g^2)), section 3 of Milletari et al. (2016)."""
    rng = np.random.default_rng(seed)
    smooth, reduction, tail = [0.0, 1.0][seed % 2], REDUCTIONS[seed % 3], [(5,), (3, 4), (2, 3, 2)][seed % 3]
    p, g = rng.random((3, 2, *tail)), rng.integers(0, 2, (3, 2, *tail)).astype(np.float64)
    axes = tuple(range(2, p.ndim))
    dice = (2 * (p * g).sum(axes) + smooth) / ((p * p).sum(axes) + (g * g).sum(axes) + smooth)
    loss = nn.DiceLoss(smooth, reduction)
    np.testing.assert_allclose(loss(weft.Tensor(p), weft.Tensor(g)).numpy(), reduced(1 - dice, reduction), rtol=1e-12)
    gradcheck(loss, [p, g])
    gradgradcheck(loss, [p, g])


def reduced(losses, reduction):
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weights_of_elements(name, reduction):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((4, 3)).astype(np.float32) for _ in range(2)]
    weight = rng.random((4, 3)).astype(np.float32)
    ours, theirs = (getattr(f, name)(*map(to, arrays), reduction=reduction, weight=to(weight)) for f, to in (
        (F, weft.asarray), (torch.nn.functional, torch.tensor)))  # fmt: skip
    close(ours, theirs, name)
    with pytest.raises(ValueError, match=rf"{name}: expected weight of the input's shape \(4, 3\), got \(3,\)"):
        getattr(F, name)(*map(weft.asarray, arrays), weight=weft.ones((3,)))


REFUSALS = [
    (lambda: F.triplet_margin_loss(*map(weft.ones, [(2, 3), (2, 3), (3,)])), r"\(2, 3\), \(2, 3\), \(3,\)"),
    (lambda: F.cosine_embedding_loss(*map(weft.ones, [(2, 3), (2, 3), (2, 1)])), r"got \(2, 3\) and \(2, 1\)"),
    (lambda: F.margin_ranking_loss(weft.ones((2, 1)), weft.ones((2,)), weft.ones((2,))), "of one shape"),
    (lambda: F.hinge_embedding_loss(weft.ones((2, 1)), weft.ones((2,))), "input and target of one shape"),
    (lambda: F.poisson_nll_loss(weft.ones((2,)), weft.ones((2,)), reduction="avg"), "expected reduction in"),
    (lambda: F.gaussian_nll_loss(weft.ones((2, 3)), weft.ones((2, 3)), weft.ones((3,))), "expected var"),
    (lambda: F.dice_loss(weft.ones((2, 3)), weft.ones((2, 3))), r"expected input \(N, C, ...\) with positions"),
    (lambda: F.focal_loss(weft.ones((2, 3)), weft.ones((2,))), "input and target of one shape"),
]  # fmt: skip


@pytest.mark.parametrize("call, message", REFUSALS, ids=[message for _, message in REFUSALS])
def test_refusals(call, message):
    with pytest.raises(ValueError, match="_loss: .*" + message):
        call()
