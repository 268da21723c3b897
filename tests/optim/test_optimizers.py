"""Optimizers against PyTorch's over 20 steps, their state, and what they refuse."""

import json
import warnings

import numpy as np
import pytest

import weft
from peer import close, torch
from weft import nn, optim

SHAPES = [(3, 4), (5,), (), (2, 3, 2, 2)]

CONFIGURATIONS = [
    *[
        ("SGD", {"lr": 0.1}),
        ("SGD", {"lr": 0.1, "momentum": 0.9}),
        ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ],
    *[
        ("SGD", {"lr": 0.1, "momentum": 0.8, "dampening": 0.5, "weight_decay": 0.1}),
        ("SGD", {"lr": 0.1, "maximize": True}),
    ],
    *[("SGD", {"lr": 0.05, "weight_decay": 0.2}), ("SGD", {})],
    *[
        ("Adam", {}),
        ("Adam", {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-3}),
        ("Adam", {"lr": 0.1, "weight_decay": 0.2}),
    ],
    *[("Adam", {"lr": 0.1, "amsgrad": True}), ("Adam", {"lr": 0.1, "maximize": True, "weight_decay": 0.1})],
    ("Adam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    *[("AdamW", {}), ("AdamW", {"lr": 0.1, "weight_decay": 0.3}), ("AdamW", {"lr": 0.1, "amsgrad": True})],
    ("AdamW", {"lr": 0.1, "maximize": True}),
    *[("RMSprop", {}), ("RMSprop", {"lr": 0.1, "alpha": 0.8, "eps": 1e-3}), ("RMSprop", {"momentum": 0.9})],
    *[("RMSprop", {"centered": True}), ("RMSprop", {"centered": True, "momentum": 0.5, "weight_decay": 0.1})],
    ("RMSprop", {"maximize": True}),
    *[("NAdam", {}), ("NAdam", {"lr": 0.05, "betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.2})],
    ("NAdam", {"lr": 0.1, "momentum_decay": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    *[("NAdam", {"lr": 0.1, "maximize": True}), ("NAdam", {"lr": 0.02, "momentum_decay": 0})],
    *[("RAdam", {}), ("RAdam", {"lr": 0.05, "betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.2})],
    ("RAdam", {"lr": 0.1, "betas": (0.8, 0.99), "weight_decay": 0.1, "decoupled_weight_decay": True}),
    *[("RAdam", {"lr": 0.1, "maximize": True}), ("RAdam", {"lr": 0.1, "betas": (0.9, 0.5)})],
    *[("Adamax", {}), ("Adamax", {"lr": 0.05, "betas": (0.7, 0.9), "eps": 1e-3}), ("Adamax", {"maximize": True})],
    *[("Adamax", {"lr": 0.1, "weight_decay": 0.2}), ("Adamax", {"lr": 0.1, "eps": 0.1, "betas": (0.0, 0.9)})],
    *[("Adagrad", {}), ("Adagrad", {"lr": 0.1, "lr_decay": 0.2}), ("Adagrad", {"lr": 0.1, "maximize": True})],
    ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "eps": 0.1}),
    *[("Adadelta", {}), ("Adadelta", {"lr": 0.5, "rho": 0.7, "eps": 1e-3}), ("Adadelta", {"weight_decay": 0.2})],
    *[("Adadelta", {"maximize": True}), ("Adadelta", {"rho": 0.99, "lr": 2.0})],
    *[("Adafactor", {}), ("Adafactor", {"lr": 0.3, "weight_decay": 0.1}), ("Adafactor", {"maximize": True})],
    ("Adafactor", {"lr": 0.5, "d": 2.0, "beta2_decay": -0.5}),
    ("Adafactor", {"lr": 0.1, "eps": (1e-2, 0.5)}),
]


class Run:
    """The same parameters and gradients given to one of our optimizers and PyTorch's."""

    def __init__(self, name, options, seed=0):
        self.rng = np.random.default_rng(seed)
        start = [self.rng.standard_normal(s).astype(np.float32) for s in SHAPES]
        self.ours = [nn.Parameter(a.copy()) for a in start]
        self.theirs = [torch.nn.Parameter(torch.tensor(a)) for a in start]
        self.optimizer = getattr(optim, name)(self.ours, **options)
        self.reference = getattr(torch.optim, name)(self.theirs, **options)

    def step(self, skip=()):
        for k, (a, b) in enumerate(zip(self.ours, self.theirs)):
            g = self.rng.standard_normal(a.shape).astype(np.float32)
            a.grad, b.grad = (None, None) if k in skip else (weft.asarray(g), torch.tensor(g))
        self.optimizer.step()
        self.reference.step()

    def check(self, what):
        """The largest element of all parameters is the scale: the lone number may just be crossing zero."""
        together = [
            np.concatenate([p.data.ravel() for p in self.ours]),
            np.concatenate([p.detach().numpy().ravel() for p in self.theirs]),
        ]
        close(*together, what)


@pytest.mark.parametrize("name, options", CONFIGURATIONS, ids=str)
def test_twenty_steps(name, options):
    run = Run(name, options)
    for i in range(20):
        run.step(skip=(1,) if i < 3 else (0, 2) if i == 7 else ())  # parameters at different numbers of steps
        run.check(f"step {i + 1}")


@pytest.mark.parametrize("options", [{}, {"lr": 0.02, "betas": (0.7, 0.9), "weight_decay": 0.3}, {"maximize": True}])
def test_lion_is_its_papers(options):
    """Algorithm 2 of Chen et al. (2023), in float64 and word for word."""
    rng = np.random.default_rng(0)
    params = [nn.Parameter(rng.standard_normal(s)) for s in SHAPES]
    optimizer = optim.Lion(params, **options)
    lr, (b1, b2) = options.get("lr", 1e-4), options.get("betas", (0.9, 0.99))
    theta = [p.numpy().copy() for p in params]
    m = [np.zeros_like(p) for p in theta]
    for _ in range(20):
        for k, p in enumerate(params):
            g = np.asarray(rng.standard_normal(p.shape))
            p.grad = weft.asarray(g)
            g = -g if options.get("maximize") else g
            update = np.sign(b1 * m[k] + (1 - b1) * g)
            m[k] = b2 * m[k] + (1 - b2) * g
            theta[k] = theta[k] - lr * (update + options.get("weight_decay", 0.0) * theta[k])
        optimizer.step()
    for p, t in zip(params, theta):
        close(p.data, t, "lion")


@pytest.mark.parametrize("name, options", CONFIGURATIONS, ids=str)
def test_state_is_pytorchs(name, options):
    run = Run(name, options)
    for _ in range(3):
        run.step(skip=(2,))
    ours, theirs = run.optimizer.state_dict(), run.reference.state_dict()
    assert [g["params"] for g in ours["param_groups"]] == [g["params"] for g in theirs["param_groups"]]
    for i, values in theirs["state"].items():
        for key, value in values.items():
            if value is not None and key != "step":
                close(ours["state"][i][key], value, f"{key} of parameter {i}")
    other = Run(name, options, seed=1)  # the state of PyTorch's optimizer continues in ours
    for a, b in zip(other.ours, run.theirs):
        a.assign(b.detach().numpy())
    other.optimizer.load_state_dict(theirs)
    other.theirs, other.reference, other.rng = run.theirs, run.reference, run.rng
    for i in range(5):
        other.step()
        other.check(f"step {i + 1} after loading")


@pytest.mark.parametrize("name, options", CONFIGURATIONS, ids=str)
def test_state_goes_through_json_and_arrays(name, options):
    run, other = Run(name, options), Run(name, options, seed=1)
    for _ in range(3):
        run.step(skip=(2,))
    state = run.optimizer.state_dict()
    arrays = {(i, k): v for i, s in state["state"].items() for k, v in s.items() if isinstance(v, np.ndarray)}
    plain = {
        "state": {i: {k: v for k, v in s.items() if not isinstance(v, np.ndarray)} for i, s in state["state"].items()},
        "param_groups": state["param_groups"],
    }
    plain = json.loads(json.dumps(plain))
    for (i, k), v in arrays.items():
        plain["state"][str(i)][k] = v
    for a, b in zip(other.ours, run.ours):
        a.assign(b.data)
    other.optimizer.load_state_dict(plain)
    for _ in range(3):
        for a, b in zip(run.ours, other.ours):
            a.grad = b.grad = weft.asarray(run.rng.standard_normal(a.shape).astype(np.float32))
        run.optimizer.step()
        other.optimizer.step()
        for a, b in zip(run.ours, other.ours):
            np.testing.assert_array_equal(a.data, b.data)


def test_a_state_dict_is_a_snapshot():
    run = Run("Adam", {})
    run.step()
    state = run.optimizer.state_dict()
    before = state["state"][0]["exp_avg"].copy()
    run.step()
    np.testing.assert_array_equal(state["state"][0]["exp_avg"], before)


def test_groups():
    run = Run("SGD", {"lr": 0.1})
    groups = [{"params": [0, 1], "lr": 0.01, "momentum": 0.9}, {"params": [2, 3], "weight_decay": 0.5}]
    run.optimizer = optim.SGD([{**g, "params": [run.ours[i] for i in g["params"]]} for g in groups], lr=0.1)
    run.reference = torch.optim.SGD([{**g, "params": [run.theirs[i] for i in g["params"]]} for g in groups], lr=0.1)
    for i in range(5):
        run.step()
        run.check(f"step {i}")
    assert [g["lr"] for g in run.optimizer.param_groups] == [0.01, 0.1]
    assert [g["params"] for g in run.optimizer.state_dict()["param_groups"]] == [[0, 1], [2, 3]]


def test_dtypes_may_mix():
    a, b = nn.Parameter(np.ones(3, np.float32)), nn.Parameter(np.ones(3, np.float64))
    for make in (optim.SGD, optim.Adam, optim.RMSprop):
        a.assign(np.ones(3))
        b.assign(np.ones(3))
        optimizer = make([a, b], lr=0.1)
        a.grad, b.grad = weft.asarray(np.full(3, 2, np.float32)), weft.asarray(np.full(3, 2, np.float64))
        optimizer.step()
        assert (a.dtype, b.dtype) == (np.float32, np.float64)
        np.testing.assert_allclose(a.data, b.data, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.RMSprop])
def test_a_gradient_of_another_shape_is_refused(make):
    p = nn.Parameter(np.ones((2, 2), np.float32))
    p.grad = weft.ones((2,))
    with pytest.raises(ValueError, match=r"step: expected a gradient of shape \(2, 2\), got \(2,\)"):
        make([p], lr=0.1).step()
    np.testing.assert_array_equal(p.data, np.ones((2, 2)))


def test_half_precision_keeps_its_state_in_float32():
    p = nn.Parameter(np.ones(4, np.float16))
    optimizer = optim.Adam([p], lr=0.1)
    p.grad = weft.asarray(np.full(4, 0.5, np.float16))
    optimizer.step()
    assert p.dtype == np.float16
    assert optimizer.state[p]["exp_avg"].dtype == np.float32
    np.testing.assert_allclose(p.data, 0.9, atol=1e-3)


def test_closure():
    p = nn.Parameter([1.0, 2.0])
    optimizer = optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with weft.no_grad():
        assert optimizer.step(closure).item() == 5.0
    np.testing.assert_allclose(p.data, 0.0)


def test_zero_grad():
    p = nn.Parameter([1.0, 2.0])
    optimizer = optim.SGD([p])
    (p * p).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    np.testing.assert_array_equal(p.grad.data, 0)
    optimizer.zero_grad()
    assert p.grad is None


def test_a_step_between_forward_and_backward_is_noticed():
    p = nn.Parameter([1.0, 2.0])
    optimizer = optim.Adam([p])
    loss = (p * p).sum()
    p.grad = weft.ones((2,))
    optimizer.step()
    with pytest.raises(RuntimeError, match="multiply.*Adam.step"):
        loss.backward()


@pytest.mark.parametrize(
    "make, error, match",
    [
        (lambda p: optim.SGD([]), ValueError, "SGD: expected parameters, got an empty iterable"),
        (lambda p: optim.SGD([{"params": []}]), ValueError, "empty group"),
        (lambda p: optim.SGD(p), TypeError, "expected an iterable of Tensors"),
        (lambda p: optim.SGD(nn.Linear(2, 3)), TypeError, r"model.parameters\(\)"),
        (lambda p: optim.SGD([p, p]), ValueError, r"each parameter once, got parameter 1 \(2,\) twice"),
        (lambda p: optim.SGD([{"params": [p]}, {"params": p}]), ValueError, "twice"),
        (lambda p: optim.SGD([p * 2]), ValueError, "expected leaves, got the result of multiply"),
        (lambda p: optim.SGD([np.ones(3)]), TypeError, "expected Tensors, got ndarray"),
        (lambda p: optim.SGD([weft.asarray([1, 2])]), TypeError, "floating"),
        (lambda p: optim.SGD([{"params": [p], "weight_decays": 1}]), ValueError, "got weight_decays"),
        (lambda p: optim.SGD([weft.Tensor(np.broadcast_to(np.float32(1), 3))]), ValueError, "may be written"),
        (lambda p: optim.SGD([p], lr=-1), ValueError, "SGD: expected lr >= 0, got -1"),
        (lambda p: optim.SGD([p], nesterov=True), ValueError, "momentum > 0"),
        (lambda p: optim.Adam([p], betas=(1.0, 0.9)), ValueError, "betas a pair in"),
        (lambda p: optim.Adam([("weight", p * 1)]), ValueError, "for weight"),
        (lambda p: optim.RMSprop([p], alpha=-1), ValueError, "alpha >= 0"),
    ],
)
def test_refusals(make, error, match):
    with pytest.raises(error, match=match):
        make(nn.Parameter([1.0, 2.0]))


def test_loading_a_state_that_does_not_fit_changes_nothing():
    run = Run("Adam", {})
    run.step()
    state, before = run.optimizer.state_dict(), run.optimizer.state_dict()
    state["state"][3]["exp_avg"] = np.ones(2)
    state["param_groups"][0]["lr"] = 7.0
    with pytest.raises(ValueError, match=r"exp_avg of parameter 3 of shape \(2, 3, 2, 2\), got \(2,\)"):
        run.optimizer.load_state_dict(state)
    state["param_groups"][0]["params"] = [0]
    with pytest.raises(ValueError, match=r"groups of \[4\] parameters, got \[1\]"):
        run.optimizer.load_state_dict(state)
    assert run.optimizer.param_groups[0]["lr"] == 1e-3
    np.testing.assert_array_equal(run.optimizer.state_dict()["state"][0]["exp_avg"], before["state"][0]["exp_avg"])


@pytest.mark.parametrize("norm_type", [2.0, 1.0, float("inf"), 3.0])
@pytest.mark.parametrize("max_norm", [0.5, 1e4])
def test_clip_grad_norm(norm_type, max_norm):
    run = Run("SGD", {})
    run.step(skip=(1,))
    ours = nn.utils.clip_grad_norm_(run.ours, max_norm, norm_type)
    theirs = torch.nn.utils.clip_grad_norm_(run.theirs, max_norm, norm_type)
    close(ours, theirs, "norm")
    for a, b in zip(run.ours, run.theirs):
        if b.grad is not None:
            close(a.grad, b.grad, "gradient")


@pytest.mark.parametrize("dtype", [np.float16, weft.bfloat16, np.float32])
def test_clip_grad_norm_of_an_overflow_says_nothing_but_its_norm(dtype):
    """An infinity scaled by 0 is NaN, which shall be seen, and is no news to warn of."""
    p = weft.Tensor(np.ones(3, dtype), requires_grad=True)
    p.grad = weft.Tensor(np.array([1, np.inf, -2], dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nn.utils.clip_grad_norm_([p], 1.0).item() == np.inf
        np.testing.assert_array_equal(p.grad.numpy().astype("f"), [0, np.nan, 0])
        p.grad = weft.Tensor(np.array([3, 4, 0], dtype))
        assert nn.utils.clip_grad_norm_([p], 1.0).item() == 5
    np.testing.assert_allclose(p.grad.numpy().astype("f"), [0.6, 0.8, 0], rtol=1e-2)


def test_clip_grad_norm_of_what_is_not_finite():
    p = nn.Parameter([1.0, 2.0])
    p.grad = weft.asarray([1.0, float("nan")])
    with pytest.raises(RuntimeError, match="clip_grad_norm_: expected a finite norm"):
        nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    assert p.grad.data[0] == 1.0
    assert np.isnan(nn.utils.clip_grad_norm_(p, 1.0).item())


def test_clip_grad_value():
    run = Run("SGD", {})
    run.step(skip=(1,))
    nn.utils.clip_grad_value_(run.ours, 0.3)
    torch.nn.utils.clip_grad_value_(run.theirs, 0.3)
    for a, b in zip(run.ours, run.theirs):
        if b.grad is not None:
            close(a.grad, b.grad, "gradient")


def test_parameters_to_vector_and_back():
    run = Run("SGD", {})
    vector = nn.utils.parameters_to_vector(run.ours)
    close(vector, torch.nn.utils.parameters_to_vector(run.theirs), "vector")
    nn.utils.vector_to_parameters(vector.numpy() + 1, run.ours)
    close(run.ours[3], run.theirs[3] + 1, "parameter")
    with pytest.raises(ValueError, match=r"expected a vector \(42,\), got \(2,\)"):
        nn.utils.vector_to_parameters(np.ones(2), run.ours)
