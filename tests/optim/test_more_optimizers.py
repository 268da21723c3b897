"""Muon and L-BFGS beside PyTorch's, LAMB beside its paper, averages of models, and what all composed ones promise."""

import copy
import json

import numpy as np
import pytest

import weft
from opcheck import never_waiting
from peer import close, torch
from policy import needs
from weft import nn, optim
from weft.optim import swa_utils

COMPOSED = ["NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "Adafactor", "LAMB", "Muon"]


def matrices(rng, *shapes):
    start = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    return [nn.Parameter(a.copy()) for a in start], [torch.nn.Parameter(torch.tensor(a)) for a in start]


# -- Muon -------------------------------------------------------------------------------------------------------------

MUON = [
    {}, {"lr": 2e-4, "nesterov": False}, {"adjust_lr_fn": "match_rms_adamw", "momentum": 0.5}, {"weight_decay": 0.5},
    {"ns_steps": 3, "ns_coefficients": (3.0, -3.2, 1.2)},
]  # fmt: skip


@pytest.mark.parametrize("options", MUON, ids=str)
def test_muon(options):
    """The iteration rounds to bfloat16, so a product that falls on the edge goes either way: 2^-8 of a move."""
    rng = np.random.default_rng(0)
    ours, theirs = matrices(rng, (6, 4), (4, 9), (5, 5))
    a, b = optim.Muon(ours, **options), torch.optim.Muon(theirs, **options)
    start = np.concatenate([p.numpy().ravel() for p in ours])
    for _ in range(20):
        for p, q in zip(ours, theirs):
            g = rng.standard_normal(p.shape).astype(np.float32)
            p.grad, q.grad = weft.asarray(g), torch.tensor(g)
        a.step()
        b.step()
    moved, reference = (np.concatenate([np.asarray(p.numpy()).ravel() for p in ps]) - start for ps in (
        ours, [q.detach() for q in theirs]))  # fmt: skip
    assert np.abs(moved - reference).max() <= 2**-8 * np.abs(reference).max()
    for i, values in b.state_dict()["state"].items():
        close(a.state_dict()["state"][i]["momentum_buffer"], values["momentum_buffer"], "momentum")


def test_muon_makes_a_matrix_orthogonal():
    """Singular values between 0.3 and 1.7 or so is what five steps of its polynomial promise."""
    rng = np.random.default_rng(1)
    p = nn.Parameter(np.zeros((12, 20), np.float32))
    p.grad = weft.asarray(rng.standard_normal(p.shape).astype(np.float32))
    optim.Muon([p], lr=1.0, weight_decay=0.0).step()
    sizes = np.linalg.svd(p.numpy(), compute_uv=False)
    assert 0.3 < sizes.min() <= sizes.max() < 1.7
    with pytest.raises(ValueError, match=r"Muon: expected matrices, got a parameter \(3,\)"):
        optim.Muon([nn.Parameter(np.ones(3, np.float32))])


# -- LAMB -------------------------------------------------------------------------------------------------------------

LAMB = [
    {}, {"lr": 0.05, "betas": (0.7, 0.9), "weight_decay": 0.3}, {"lr": 0.1, "weight_decay": 0.0}, {"eps": 1e-2},
    {"lr": 0.02, "maximize": True},
]  # fmt: skip


@pytest.mark.parametrize("options", LAMB, ids=str)
def test_lamb_is_its_papers(options):
    """Algorithm 2 of You et al. (2020), phi the identity, in float64 and word for word."""
    rng = np.random.default_rng(0)
    params = [nn.Parameter(rng.standard_normal(s)) for s in [(3, 4), (5,), (2, 3, 2)]]
    params[1].assign(np.zeros(5))  # a norm of 0, whose ratio is 1
    optimizer = optim.LAMB(params, **options)
    lr, (b1, b2) = options.get("lr", 1e-3), options.get("betas", (0.9, 0.999))
    eps, decay = options.get("eps", 1e-6), options.get("weight_decay", 0.01)
    x = [p.numpy().copy() for p in params]
    m, v = [np.zeros_like(p) for p in x], [np.zeros_like(p) for p in x]
    for t in range(1, 21):
        for k, p in enumerate(params):
            g = rng.standard_normal(p.shape)
            p.grad = weft.asarray(g)
            g = -g if options.get("maximize") else g
            m[k], v[k] = b1 * m[k] + (1 - b1) * g, b2 * v[k] + (1 - b2) * g**2
            r = (m[k] / (1 - b1**t)) / (np.sqrt(v[k] / (1 - b2**t)) + eps)
            u = r + decay * x[k]
            norm = np.linalg.norm(x[k])
            x[k] = x[k] - lr * (norm / np.linalg.norm(u) if norm else 1.0) * u
        optimizer.step()
    for p, wanted in zip(params, x):
        np.testing.assert_allclose(p.numpy(), wanted, rtol=1e-11, atol=1e-13)


# -- L-BFGS -----------------------------------------------------------------------------------------------------------


def valley(p, q):
    """Rosenbrock's function of p, and a bowl of q: of either library's Tensors."""
    bowl = (q * q * 3).sum() + (q[0] * q[1]).sum()
    return ((p[1:] - p[:-1] ** 2) ** 2).sum() * 100 + ((1 - p[:-1]) ** 2).sum() + bowl


LBFGS = [
    {"line_search_fn": "strong_wolfe"}, {"lr": 1e-3, "max_iter": 8}, {"line_search_fn": "strong_wolfe", "max_iter": 4},
    {"line_search_fn": "strong_wolfe", "history_size": 2, "max_iter": 3}, {"lr": 0.002, "history_size": 1},
    {"line_search_fn": "strong_wolfe", "max_iter": 5, "max_eval": 6, "lr": 0.5},
    {"line_search_fn": "strong_wolfe", "max_iter": 6, "lr": 5.0}, {"line_search_fn": "strong_wolfe", "lr": 40.0},
]  # fmt: skip


class Descent:
    """The same minimisation in both, in float64: a trajectory down a bent valley doubles rounding errors as it goes."""

    def __init__(self, options):
        start = [np.array([-1.2, 1.0, 0.5, -0.3]), np.array([[0.7, -0.2], [0.4, 1.5]])]
        self.ours = [nn.Parameter(a.copy()) for a in start]
        self.theirs = [torch.nn.Parameter(torch.tensor(a)) for a in start]
        self.optimizer = optim.LBFGS(self.ours, **options)
        self.reference = torch.optim.LBFGS(self.theirs, **options)

    def step(self):
        out = []
        for params, optimizer in ((self.ours, self.optimizer), (self.theirs, self.reference)):

            def closure(params=params, optimizer=optimizer):
                optimizer.zero_grad()
                loss = valley(*params)
                loss.backward()
                return loss

            out.append(float(optimizer.step(closure)))
        return out


@pytest.mark.parametrize("options", LBFGS, ids=str)
def test_lbfgs(options):
    run = Descent(options)
    start = float(valley(*run.ours))
    for i in range(20):
        ours, theirs = run.step()
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-9, err_msg=f"loss of step {i}")
        for p, q in zip(run.ours, run.theirs):
            close(p, q, f"parameter after step {i}")
        mine, its = (o.state_dict()["state"][0] for o in (run.optimizer, run.reference))
        assert (mine["func_evals"], mine["n_iter"]) == (its["func_evals"], its["n_iter"])
    assert ours < 0.8 * start


@pytest.mark.parametrize("from_peer", [False, True])
def test_lbfgs_continues_from_a_state(from_peer):
    options = {"line_search_fn": "strong_wolfe", "max_iter": 3}
    run, other = Descent(options), Descent(options)
    for _ in range(3):
        run.step()
    state = (run.reference if from_peer else run.optimizer).state_dict()
    for p, q in zip(other.ours, run.ours):
        p.assign(q.data)
    other.theirs, other.reference = run.theirs, run.reference
    other.optimizer.load_state_dict(state)
    for _ in range(4):
        np.testing.assert_allclose(*other.step(), rtol=1e-5, atol=1e-9)


def test_lbfgs_comes_back_from_where_the_loss_has_no_value():
    p = nn.Parameter(np.array([1.0]))
    optimizer = optim.LBFGS([p], lr=100.0, max_eval=40, line_search_fn="strong_wolfe")

    def closure():  # least at 3, and NaN from 8 on
        optimizer.zero_grad()
        loss = -weft.log(p - 0.5).sum() - 2 * weft.log(8 - p).sum()
        loss.backward()
        return loss

    with np.errstate(invalid="ignore"):
        optimizer.step(closure)
    np.testing.assert_allclose(p.numpy(), [3.0], atol=1e-4)


def test_lbfgs_refuses():
    p = nn.Parameter([1.0])
    with pytest.raises(TypeError, match="LBFGS.step: expected a closure"):
        optim.LBFGS([p]).step()
    with pytest.raises(ValueError, match="LBFGS: expected one group of parameters, got 2"):
        optim.LBFGS([{"params": [p]}, {"params": [nn.Parameter([2.0])]}])
    with pytest.raises(ValueError, match="LBFGS: expected line_search_fn None or strong_wolfe, got armijo"):
        optim.LBFGS([p], line_search_fn="armijo")


# -- averages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mean", "mean of all", "mean of each", "ema", "ema of each", "buffers"])
def test_averaged_models(kind):
    rng = np.random.default_rng(0)
    options = {}
    for name, utils in (("ours", swa_utils), ("theirs", torch.optim.swa_utils)):
        options[name] = {
            "mean": {},
            "mean of all": {"multi_avg_fn": utils.get_swa_multi_avg_fn()},
            "mean of each": {"avg_fn": utils.get_swa_avg_fn()},
            "ema": {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.9)},
            "ema of each": {"avg_fn": utils.get_ema_avg_fn(0.7)},
            "buffers": {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.8), "use_buffers": True},
        }[kind]
    ours, theirs = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)),
                    torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)))  # fmt: skip
    a = swa_utils.AveragedModel(ours, **options["ours"])
    b = torch.optim.swa_utils.AveragedModel(theirs, **options["theirs"])
    for _ in range(5):
        state = {k: rng.random(v.shape).astype(np.float32) if v.dtype.kind == "f" else np.array(int(rng.integers(9)))
                 for k, v in ours.state_dict().items()}  # fmt: skip
        ours.load_state_dict(state)
        theirs.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
        a.update_parameters(ours)
        b.update_parameters(theirs)
        mine, its = a.state_dict(), b.state_dict()
        assert sorted(mine) == sorted(its)
        for k, v in its.items():  # a count is nothing to average: ours is the model's, PyTorch's is cut to a whole one
            close(mine[k], state[k.removeprefix("module.")] if "tracked" in k else v, k)
    x = rng.random((6, 3)).astype(np.float32)
    batches = [x[:3], x[3:]]
    swa_utils.update_bn([weft.asarray(batch) for batch in batches], a)
    torch.optim.swa_utils.update_bn([torch.tensor(batch) for batch in batches], b)
    for k, v in b.state_dict().items():
        close(a.state_dict()[k], v, k)
    close(a.eval()(weft.asarray(x)), b.eval()(torch.tensor(x)), "prediction")


# -- what all of them promise -----------------------------------------------------------------------------------------


def of_two(name, dtype=np.float32, device="cpu", **options):
    rng = np.random.default_rng(0)
    shapes = [(3, 4), (5, 2)] if name == "Muon" else [(3, 4), (5,)]
    values = [rng.standard_normal(s).astype(dtype) for s in shapes]
    params = [nn.Parameter(weft.asarray(v, device=device).data) for v in values]
    return params, getattr(optim, name)(params, **options), rng


def steps(params, optimizer, rng, n, **given):
    for _ in range(n):
        for p in params:
            p.grad = weft.asarray(rng.standard_normal(p.shape).astype(p.dtype), device=p.device)
        optimizer.step(**given)


@pytest.mark.parametrize("name", COMPOSED)
def test_a_state_through_json_continues(name):
    params, optimizer, rng = of_two(name)
    steps(params, optimizer, rng, 3)
    state = optimizer.state_dict()
    arrays = {i: {k: v for k, v in s.items() if isinstance(v, np.ndarray)} for i, s in state["state"].items()}
    plain = {"state": {i: {k: v for k, v in s.items() if k not in arrays[i]} for i, s in state["state"].items()},
             "param_groups": state["param_groups"]}  # fmt: skip
    plain = json.loads(json.dumps(plain))
    for i, values in arrays.items():
        plain["state"][str(i)].update(values)
    others, second, _ = of_two(name)
    for p, q in zip(others, params):
        p.assign(q.data)
    second.load_state_dict(plain)
    other_rng = copy.deepcopy(rng)
    steps(params, optimizer, rng, 3)
    steps(others, second, other_rng, 3)
    for p, q in zip(params, others):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


@pytest.mark.parametrize("name", COMPOSED)
def test_scale_and_skip(name):
    (p, q), one, rng = of_two(name)
    others, two, _ = of_two(name)
    steps([p, q], one, copy.deepcopy(rng), 1)
    for x in others:
        x.grad = weft.asarray(rng.standard_normal(x.shape).astype(np.float32) * 8)
    two.step(scale=weft.asarray(np.float32(1 / 8)))
    for a, b in zip((p, q), others):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)
    before = [x.numpy().copy() for x in others]
    two.step(skip=weft.asarray(np.int32(1)))
    for a, b in zip(others, before):
        np.testing.assert_array_equal(a.numpy(), b)
    assert two.state_dict()["state"][0]["step"] == 1


@pytest.mark.parametrize("name", COMPOSED)
def test_halves_move_in_float32(name):
    (p, q), optimizer, rng = of_two(name, np.float16, lr=3e-2)
    before = p.numpy().copy()
    steps([p, q], optimizer, rng, 20)
    assert p.dtype == np.float16 and optimizer.state[p]["master"].dtype == np.float32
    assert np.abs(p.numpy().astype(np.float32) - optimizer.state[p]["master"]).max() < 2e-3
    assert (p.numpy() != before).any()


@needs("emulator")
@pytest.mark.gpu
@pytest.mark.parametrize("name", COMPOSED)
def test_on_a_device(name, device):
    params, optimizer, rng = of_two(name, lr=0.05)
    others, second, _ = of_two(name, device=device, lr=0.05)
    other_rng = copy.deepcopy(rng)
    steps(params, optimizer, rng, 7)
    with never_waiting():
        steps(others, second, other_rng, 3)
        steps(others, second, other_rng, 4, skip=weft.asarray(np.int32(0), device=device))
    for p, q in zip(params, others):
        np.testing.assert_allclose(q.numpy(), p.numpy(), rtol=1e-4, atol=1e-4 if name == "Muon" else 1e-6)


@needs("emulator")
@pytest.mark.gpu
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in ("RAdam", "Adafactor") else pytest.mark.slow) for n in COMPOSED]
)
def test_recorded_steps(name, device):
    """A replay takes the rate of its own step and counts it."""
    found = []
    for recorded in (False, True):
        weft.random.seed(0)
        layer = nn.Linear(4, 3, bias=name != "Muon").to(device)
        optimizer = getattr(optim, name)(layer.parameters(), lr=0.05)
        x = weft.asarray(np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32), device=device)

        def step(x, layer=layer, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (layer(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        run = weft.capture(step) if recorded else step
        for i in range(8):
            run(x)
            optimizer.param_groups[0]["lr"] = 0.05 if i < 4 else 0.02
        found.append(layer.weight.numpy())
        assert optimizer.state_dict()["state"][0]["step"] == 8
    np.testing.assert_allclose(*found, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("make, match", [
    (lambda p: optim.NAdam(p, momentum_decay=-1), "NAdam: expected momentum_decay >= 0, got -1"),
    (lambda p: optim.RAdam(p, betas=(0.9, 1.0)), r"RAdam: expected betas a pair in \[0, 1\)"),
    (lambda p: optim.Adagrad(p, lr_decay=-1), "Adagrad: expected lr_decay >= 0"),
    (lambda p: optim.Adadelta(p, rho=2), r"Adadelta: expected rho in \[0, 1\], got 2"),
    (lambda p: optim.Adafactor(p, d=0.5), "Adafactor: expected d >= 1, got 0.5"),
    (lambda p: optim.Adafactor(p, beta2_decay=0.5), "Adafactor: expected beta2_decay <= 0"),
    (lambda p: optim.Adamax(p, lr=-1), "Adamax: expected lr >= 0, got -1"),
    (lambda p: optim.LAMB(p, eps=-1), "LAMB: expected eps >= 0"),
    (lambda p: swa_utils.get_ema_avg_fn(2.0), r"get_ema_avg_fn: expected decay in \[0, 1\], got 2.0"),
])  # fmt: skip
def test_refusals(make, match):
    with pytest.raises(ValueError, match=match):
        make([nn.Parameter([1.0])])
