"""Schedules against PyTorch's, step by step."""

import json
import math

import numpy as np
import pytest

from peer import torch
from weft import nn, optim

O, T = optim.lr_scheduler, torch.optim.lr_scheduler

SCHEDULES = [
    *[("StepLR", {"step_size": 3}), ("StepLR", {"step_size": 4, "gamma": 0.5})],
    *[("MultiStepLR", {"milestones": [2, 5, 11]}), ("MultiStepLR", {"milestones": [4, 4, 9], "gamma": 0.3})],
    *[("ExponentialLR", {"gamma": 0.9}), ("ConstantLR", {}), ("ConstantLR", {"factor": 0.5, "total_iters": 7})],
    *[("LinearLR", {}), ("LinearLR", {"start_factor": 0.1, "end_factor": 0.8, "total_iters": 12})],
    *[("PolynomialLR", {}), ("PolynomialLR", {"total_iters": 15, "power": 2.5})],
    *[("CosineAnnealingLR", {"T_max": 20}), ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01})],
    ("CosineAnnealingWarmRestarts", {"T_0": 5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.02}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 30}),
    ("OneCycleLR", {"max_lr": 0.5, "epochs": 6, "steps_per_epoch": 5}),
    ("OneCycleLR", {"max_lr": [0.5, 0.2], "total_steps": 30, "pct_start": 0.4, "anneal_strategy": "linear",
                    "div_factor": 10, "final_div_factor": 100}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 30, "three_phase": True, "base_momentum": 0.7, "max_momentum": 0.9}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 30, "cycle_momentum": False}),
    ("CyclicLR", {"base_lr": 0.05, "max_lr": 0.5, "step_size_up": 4}),
    ("CyclicLR", {"base_lr": 0.05, "max_lr": [0.5, 0.2], "step_size_up": 3, "step_size_down": 5,
                  "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": [0.05, 0.1], "max_lr": 0.5, "step_size_up": 4, "mode": "exp_range", "gamma": 0.9}),
    ("CyclicLR", {"base_lr": 0.05, "max_lr": 0.5, "step_size_up": 2, "base_momentum": 0.6,
                  "max_momentum": [0.7, 0.95]}),
    ("CyclicLR", {"base_lr": 0.05, "max_lr": 0.5, "step_size_up": 4, "cycle_momentum": False}),
]  # fmt: skip


def optimizers(kind="SGD", **options):
    """One of ours and one of PyTorch's, with two groups of different rates."""
    made = []
    for module, p in (
        (optim, [nn.Parameter([1.0]), nn.Parameter([2.0])]),
        (torch.optim, [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]),
    ):
        groups = [{"params": [p[0]]}, {"params": [p[1]], "lr": 0.3}]
        made.append(getattr(module, kind)(groups, lr=0.1, **options))
    for p in made[1].param_groups:
        p["params"][0].grad = torch.zeros(1)
    return made


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def agree(ours, theirs, at):
    np.testing.assert_allclose(rates(ours), rates(theirs), rtol=1e-9, atol=1e-12, err_msg=f"step {at}")
    for a, b in zip(ours.param_groups, theirs.param_groups):
        for key in ("momentum", "betas"):
            if key in b:
                np.testing.assert_allclose(a[key], b[key], rtol=1e-9, err_msg=f"{key} at step {at}")


def go(ours, theirs, a, b, steps=25):
    agree(ours, theirs, 0)
    for i in range(steps):
        theirs.step()  # or PyTorch warns
        a.step()
        b.step()
        agree(ours, theirs, i + 1)
        np.testing.assert_allclose(a.get_last_lr(), b.get_last_lr(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name, options", SCHEDULES, ids=str)
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_rates(name, options, kind):
    ours, theirs = optimizers(kind, **({"momentum": 0.9} if kind == "SGD" else {}))
    go(ours, theirs, getattr(O, name)(ours, **options), getattr(T, name)(theirs, **options))


def test_lambda():
    ours, theirs = optimizers()
    functions = [lambda t: 0.9**t, lambda t: 1 / (t + 1)]
    go(ours, theirs, O.LambdaLR(ours, functions), T.LambdaLR(theirs, functions))
    ours, theirs = optimizers()
    go(ours, theirs, O.LambdaLR(ours, functions[0]), T.LambdaLR(theirs, functions[0]))


def sequence(module, optimizer):
    """Warm-up, cosine, then a tail."""
    parts = [
        module.LinearLR(optimizer, 0.1, total_iters=4),
        module.CosineAnnealingLR(optimizer, 10),
        module.ExponentialLR(optimizer, 0.9),
    ]
    return module.SequentialLR(optimizer, parts, milestones=[4, 14])


def test_sequential():
    ours, theirs = optimizers()
    go(ours, theirs, sequence(O, ours), sequence(T, theirs))


def test_two_schedules_of_one_optimizer_chain():
    ours, theirs = optimizers()
    a = [O.ExponentialLR(ours, 0.9), O.StepLR(ours, 4, 0.5)]
    b = [T.ExponentialLR(theirs, 0.9), T.StepLR(theirs, 4, 0.5)]
    for i in range(15):
        theirs.step()
        for schedule in a + b:
            schedule.step()
        agree(ours, theirs, i + 1)


def test_a_rate_set_by_hand_is_kept():
    ours, theirs = optimizers()
    a, b = O.ExponentialLR(ours, 0.9), T.ExponentialLR(theirs, 0.9)
    for i in range(10):
        if i == 5:
            ours.param_groups[0]["lr"] = theirs.param_groups[0]["lr"] = 0.77
        theirs.step()
        a.step()
        b.step()
        agree(ours, theirs, i + 1)


@pytest.mark.parametrize("options", [
    {}, {"patience": 2}, {"mode": "max", "patience": 1}, {"factor": 0.5, "patience": 1, "cooldown": 2},
    {"threshold": 0.1, "patience": 0}, {"threshold": 0.1, "threshold_mode": "abs", "patience": 0},
    {"patience": 0, "min_lr": 0.05}, {"mode": "max", "threshold_mode": "abs", "patience": 1},
    {"mode": "max", "threshold": 0.2, "patience": 0, "min_lr": [0.01, 0.1]},
], ids=str)  # fmt: skip
def test_plateau(options):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        ours, theirs = optimizers()
        a, b = O.ReduceLROnPlateau(ours, **options), T.ReduceLROnPlateau(theirs, **options)
        figures = 1 / (1 + np.arange(25)) + 0.3 * rng.random(25)
        for i, figure in enumerate(figures * (1 if seed else -1)):
            a.step(figure)
            b.step(figure)
            agree(ours, theirs, i)
        assert a.best == pytest.approx(b.best)


@pytest.mark.parametrize(
    "name, options",
    [*SCHEDULES, ("sequence", {}), pytest.param("LambdaLR", {"lr_lambda": lambda t: 0.9**t}, id="LambdaLR")],
    ids=str,
)
def test_a_state_through_json_continues(name, options):
    def build():
        optimizer = optimizers(momentum=0.9)[0]
        return optimizer, sequence(O, optimizer) if name == "sequence" else getattr(O, name)(optimizer, **options)

    (a, first), (b, second) = build(), build()
    for _ in range(6):
        first.step()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for _ in range(12):
        assert rates(a) == rates(b)
        first.step()
        second.step()


def test_plateau_state():
    a, b = optimizers()[0], optimizers()[0]
    first, second = O.ReduceLROnPlateau(a, patience=2), O.ReduceLROnPlateau(b, patience=2)
    for figure in (3.0, 4.0, 5.0):
        first.step(figure)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for figure in (4.0, 4.0, 4.0):
        first.step(figure)
        second.step(figure)
        assert rates(a) == rates(b)
    assert rates(a) == pytest.approx([0.01, 0.03])


@pytest.mark.parametrize("make, match", [
    (lambda o: O.OneCycleLR(o, 0.1), "expected total_steps, or epochs"),
    (lambda o: O.OneCycleLR(o, [0.1], total_steps=3), "one max_lr for each of 2 groups, got 1"),
    (lambda o: O.StepLR(o, 0), "step_size >= 1"),
    (lambda o: O.LambdaLR(o, [abs]), "one function for each of 2 groups, got 1"),
    (lambda o: O.SequentialLR(o, [O.StepLR(o, 2)], [3]), "one schedule more than milestones"),
    (lambda o: O.ReduceLROnPlateau(o, factor=1.0), "factor < 1"),
])  # fmt: skip
def test_refusals(make, match):
    with pytest.raises(ValueError, match=match):
        make(optimizers()[0])


def test_one_cycle_ends():
    optimizer = optimizers(momentum=0.9)[0]
    schedule = O.OneCycleLR(optimizer, 0.5, total_steps=3)
    for _ in range(3):  # after each of the three batches
        schedule.step()
    with pytest.raises(ValueError, match="at most 3 steps"):
        schedule.step()


def test_cosine_needs_no_memory():
    """The rate is a formula of the step, so rounding does not add up over a long run."""
    optimizer = optim.SGD([nn.Parameter([1.0])], lr=1.0)
    schedule = O.CosineAnnealingLR(optimizer, 10_000)
    for _ in range(10_000):
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-15)
    assert math.isfinite(schedule.get_last_lr()[0])
