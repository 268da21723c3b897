"""weft.capture: recorded steps are the plain ones, on the emulated device launch by launch; what cannot be recorded."""

from __future__ import annotations

import copy
import gc
import warnings

import numpy as np
import pytest

import weft
from policy import needs
from weft import nn, optim

pytestmark = needs("emulator")

FEATURES, CLASSES, ROWS = 6, 3, 12


class Run:
    """A small model in training: batch norm, dropout, a schedule, clipping. `step` is plain or captured."""

    def __init__(self, device, captured, optimizer=None, accumulates=False, **options):
        weft.random.seed(3)
        self.model = nn.Sequential(
            nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, CLASSES)
        ).to(device)
        make = optimizer or (lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3))
        self.optimizer = make(self.model.parameters())
        self.schedule = optim.lr_scheduler.StepLR(self.optimizer, 2, 0.5)
        self.accumulates, self.device = accumulates, device
        self.captured = weft.capture(self.plain, **options)
        self.step = self.captured if captured else self.plain

    def plain(self, x, y):
        if not self.accumulates:
            self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(x), y)
        loss.backward()
        if not self.accumulates:
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
        return loss

    def losses(self, batches):
        out = []
        for x, y in batches:
            out.append(self.step(weft.asarray(x, device=self.device), weft.asarray(y, device=self.device)).item())
            self.schedule.step()
        return out

    def state(self):
        kept = {f"optimizer {k}": v for k, v in self.optimizer.state_dict()["state"][0].items()}
        return {**self.model.state_dict(), **kept, "random": weft.random.get_state()}


def batches(n, rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal((rows, FEATURES)).astype("f"), rng.integers(0, CLASSES, rows)) for _ in range(n)]


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.gpu
def test_a_recorded_step_is_the_plain_one(device):
    data = batches(7)
    plain, captured = Run(device, False), Run(device, True)
    expected, state = plain.losses(data), plain.state()
    weft.random.seed(3)
    captured = Run(device, True)
    assert captured.losses(data) == expected
    same(captured.state(), state)
    assert (captured.captured.captures, captured.captured.replays) == (1, 5)


@pytest.mark.gpu
def test_step_counts_go_on_from_replay_to_replay(device):
    """Adam's corrections of its means depend on the number of the step, which the device computes with in float32."""
    data, make = batches(7), lambda p: optim.AdamW(p, lr=0.02)
    plain = Run(device, False, make)
    expected, state = plain.losses(data), plain.state()
    captured = Run(device, True, make)
    np.testing.assert_allclose(captured.losses(data), expected, rtol=1e-4)
    assert captured.state()["optimizer step"] == state["optimizer step"] == 7
    assert captured.state()["random"] == state["random"]


def test_on_the_cpu_it_is_the_function():
    data = batches(3)
    plain = Run("cpu", False)
    expected, state = plain.losses(data), plain.state()
    captured = Run("cpu", True)
    assert captured.losses(data) == expected and captured.captured.captures == 0
    same(captured.state(), state)


@pytest.mark.gpu
def test_another_shape_is_recorded_for_itself(device):
    data = [*batches(3), *batches(3, rows=5, seed=1), *batches(2, seed=2)]
    plain = Run(device, False)
    expected, state = plain.losses(data), plain.state()
    captured = Run(device, True)
    assert captured.losses(data) == expected and captured.captured.captures == 2
    same(captured.state(), state)


@pytest.mark.gpu
def test_results_are_copies_and_arguments_any_nest(device):
    w = weft.ones((4,), device=device)

    @weft.capture
    def step(pair, *, scale, name="x"):
        w.assign(w + pair["a"])
        return {"w": w * scale, "all": [w.sum(), name, None]}

    a = weft.ones((4,), device=device)
    results = [step({"a": a * i}, scale=2.0) for i in range(4)]
    assert step.captures == 1 and step.replays == 2
    assert [r["w"].tolist()[0] for r in results] == [2.0, 4.0, 8.0, 14.0]  # 1, 1 + 1, ... + 2, ... + 3, twice
    assert [r["all"][0].item() for r in results] == [4.0, 8.0, 16.0, 28.0] and results[3]["all"][1:] == ["x", None]
    assert step({"a": a}, scale=3.0)["w"].tolist()[0] == 24.0 and step.captures == 1  # another constant warms up
    step.reset()
    assert step.recordings == {}


@pytest.mark.gpu
def test_gradients_add_up_where_nobody_drops_them(device):
    data = batches(5)
    runs = [Run(device, captured, accumulates=True) for captured in (False, True)]
    grads = []
    for run in runs:
        weft.random.seed(4)
        for i, (x, y) in enumerate(data):
            run.step(weft.asarray(x, device=device), weft.asarray(y, device=device))
            if i == 3:
                run.optimizer.zero_grad()
        grads.append([p.grad.numpy() for p in run.model.parameters()])
    for a, b in zip(*grads, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)
    assert runs[1].captured.captures == 1 and runs[1].captured.replays == 2  # until they were dropped


@pytest.mark.gpu
def test_gradients_are_there_after_a_replay(device):
    run, data = Run(device, True), batches(4)
    run.losses(data[:3])
    run.optimizer.zero_grad()
    run.losses(data[3:])
    other = Run(device, False)
    other.losses(data)
    assert run.captured.replays == 2
    for p, q in zip(run.model.parameters(), other.model.parameters(), strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), q.grad.numpy())


@pytest.mark.gpu
def test_what_the_recording_rests_on_is_looked_at(device):
    run = Run(device, True)
    data, step = batches(2), lambda: run.losses(data)
    step()
    assert run.captured.captures == 1
    changes = {
        "mode": run.model.eval,
        "back": run.model.train,
        "hyperparameter": lambda: run.optimizer.param_groups[0].update(momentum=0.8),
        "state": lambda: run.optimizer.load_state_dict(run.optimizer.state_dict()),
        "memory": lambda: setattr(run.model[0].weight, "data", run.model[0].weight.data.copy()),
    }
    for i, change in enumerate(changes.values()):
        change()
        step()
        assert run.captured.captures == 2 + i, list(changes)[i]
    step()
    assert run.captured.captures == 1 + len(changes) and run.captured.replays >= 2
    with pytest.warns(UserWarning, match="recorded 3 times for nothing, because a hyperparameter of SGD changes"):
        for momentum in (0.7, 0.6):
            run.optimizer.param_groups[0]["momentum"] = momentum
            step()


@pytest.mark.gpu
def test_random_numbers_follow_the_seed(device):
    @weft.capture
    def step(x):
        kept = weft.checkpoint(lambda x: weft.dropout(x, p=0.5), x)  # draws again, from where it began
        return kept, weft.random.uniform((3,), device=device), weft.random.normal((2,), device=device)

    def numbers():
        return [t.numpy() for t in step(weft.ones((8,), device=device))]

    for _ in range(2):
        numbers()
    weft.random.seed(7)
    got = [numbers(), numbers()]
    assert step.captures == 1 and step.replays == 2
    weft.random.seed(7)
    for drawn in got:
        kept, uniform, normal = (step.step(weft.ones((8,), device=device)))
        for a, b in zip(drawn, (kept, uniform, normal), strict=True):
            np.testing.assert_array_equal(a, b.numpy())


@pytest.mark.gpu
def test_a_replay_is_a_write(device):
    w = weft.Tensor(weft.ones((3,), device=device).data, requires_grad=True)
    step = weft.capture(lambda x: w.assign(w.detach() + x))
    x = weft.ones((3,), device=device)
    step(x), step(x)
    saved = (w * w).sum()
    step(x)
    with pytest.raises(RuntimeError, match="multiply saved an array of shape .* that assign has written since"):
        saved.backward()
    assert w.tolist() == [4.0] * 3 and step.replays == 1


@pytest.mark.gpu
def test_a_tensor_bound_anew_breaks_the_recording(device):
    state = weft.zeros((3,), device=device)

    @weft.capture
    def step(x):
        return x + state

    x, seen = weft.ones((3,), device=device), []
    for _ in range(5):
        seen.append(step(x).tolist()[0])
        state = state + 1
        gc.collect()
    assert seen == [1, 2, 3, 4, 5]


def test_an_argument_is_not_written(device):
    @weft.capture
    def step(x):
        x += 1
        return x

    x = weft.ones((3,), device=device)
    step(x)
    with pytest.raises(weft.CaptureError, match="a write into an argument"):
        step(x)


def test_a_method_has_recordings_for_each_object(device):
    class Counter:
        def __init__(self):
            self.total = weft.zeros((2,), device=device)

        @weft.capture
        def step(self, x):
            self.total[...] = self.total + x
            return self.total

    one, two, x = Counter(), Counter(), weft.ones((2,), device=device)
    totals = [(one.step(x).tolist()[0], two.step(2 * x).tolist()[0]) for _ in range(4)]
    assert totals == [(i, 2 * i) for i in range(1, 5)] and one.step.captures == two.step.captures == 1


def test_calls_that_never_repeat_are_named(device):
    step = weft.capture(lambda x, i: x * i)
    with pytest.warns(UserWarning, match="64 different shapes or constants"):
        for i in range(70):
            step(weft.ones((2,), device=device), i)
    assert len(step.warm) < 64


def forbidden(device):
    x = weft.ones((3,), device=device)
    parameter = nn.Parameter(weft.ones((3,), device=device))
    optimizer = optim.SGD([parameter], 0.1)
    schedule = optim.lr_scheduler.StepLR(optimizer, 2)
    norm = nn.BatchNorm1d(3, momentum=None).to(device)
    rows = weft.ones((4, 3), device=device)

    def first_gradient():
        parameter.grad = x
        optimizer.step()

    return {
        "item": (lambda: x.sum().item(), r"a copy of \(\) to the host \(item at test_capture.py:\d+\); return the"),
        "numpy": (lambda: x.numpy(), r"a copy of \(3,\) to the host \(numpy at"),
        "float": (lambda: float(x.sum()), r"a copy of \(\) to the host"),
        "branch": (lambda: 1 if x.sum() > 0 else 2, r"a copy of \(\) to the host"),
        "print": (lambda: repr(x), r"a copy of \(3,\) to the host \(__repr__ at"),
        "host array": (lambda: weft.asarray(np.ones(3, "f"), device=device), r"a copy of float32 \(3,\) from the host"),
        "assign": (lambda: x.assign(np.ones(3)), r"a copy of float64 \(3,\) from the host \(assign at"),
        "host draw": (lambda: weft.random.permutation(3), r"random numbers drawn on the host \(permutation at"),
        "cold": (lambda: weft.argsort(x), r"argsort, which has no kernel \(argsort at"),
        "schedule": (schedule.step, r"a step of a learning-rate schedule"),
        "no state": (first_gradient, r"the first gradient of a Tensor \(3,\)"),
        "mean over batches": (lambda: norm(rows), r"a copy of .* to the host"),
    }  # fmt: skip


@pytest.mark.parametrize("name", forbidden("cpu"))
def test_what_cannot_be_recorded_is_named(name):
    done = []

    def step():
        if done:
            action()
        done.append(1)

    weft.set_default_device("emulated")
    try:
        action, message = forbidden("emulated")[name]
        captured = weft.capture(step)
        captured()
        before = weft.random.get_state()
        with pytest.raises(weft.CaptureError, match=f"expected a step that stays on emulated, got {message}"):
            captured()
        assert weft.random.get_state() == before and captured.captures == 0
        action()  # outside, it may
    finally:
        weft.set_default_device("cpu")


def test_a_refused_step_has_not_run(device):
    """Parameters, their gradients, momenta, running statistics, random numbers: all as they were."""
    run = Run(device, True)
    data = [[weft.asarray(a, device=device) for a in batch] for batch in batches(2)]
    wrong = []

    @weft.capture
    def step(x, y):
        loss = run.plain(x, y)
        return loss.item() if wrong else loss

    step(*data[0])
    fresh = nn.Parameter(weft.ones((3,), device=device))  # that receives its first gradient while recording
    before, gradients = run.state(), [p.grad.numpy() for p in run.model.parameters()]
    wrong.append(1)
    original, run.plain = run.plain, lambda x, y: ((fresh * fresh).sum().backward(), original(x, y))[1]
    with pytest.raises(weft.CaptureError, match=r"a copy of \(\) to the host"):
        step(*data[1])
    same(run.state(), before)
    assert fresh.grad is None
    for p, g in zip(run.model.parameters(), gradients, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), g)


@pytest.mark.gpu
@pytest.mark.parametrize("frozen", [False, True])
def test_a_tensor_bound_anew_within_the_step_is_carried_on(frozen, device):
    class Recurrent:
        def __init__(self):
            self.h = self.last = weft.zeros((3,), device=device)

        def plain(self, x):
            self.h = (weft.tanh(self.h * 2) + x).detach()
            self.last = self.h * 3  # which nothing reads: no reason not to record
            return self.h.sum()

    def logs(x):
        log.last = x * 2
        return log.last + 1

    x = weft.asarray(np.linspace(0, 1, 3, dtype="f"), device=device)
    expected, run, log = Recurrent(), Recurrent(), Recurrent()
    step = weft.capture(run.plain)
    step(x)
    if frozen:
        gc.freeze()  # as servers do before they fork: the collector lists these Tensors no more
    with pytest.warns(UserWarning, match=r"plain binds a Tensor \(3,\) anew .* runs as it is"):
        got = [step(x).item()]
    assert bool(gc.get_freeze_count()) or not frozen
    got += [step(x).item() for _ in range(3)]
    assert got == [expected.plain(x).item() for _ in range(5)][1:] and step.captures == 0
    step = weft.capture(logs)
    assert [step(i * x).tolist() for i in range(4)] == [(i * x * 2 + 1).tolist() for i in range(4)]
    assert step.captures == 1 and log.last.tolist() == (6 * x).tolist()


def test_constants_are_told_apart_by_their_digits(device):
    step = weft.capture(lambda x, a: x / (x * a))
    x = weft.ones((1,), device=device)
    for a in (0.0, -0.0, np.float32(-0.0), float("nan")):
        for _ in range(3):
            with np.errstate(divide="ignore", invalid="ignore"):
                np.testing.assert_array_equal(step(x, a).numpy(), 1 / (np.ones(1, "f") * a))
    assert step.captures == step.replays == 4


def test_a_copied_object_records_for_itself(device):
    class Counter:
        def __init__(self):
            self.total = weft.zeros((2,), device=device)

        def add(self, x):
            self.total[...] = self.total + x
            return self.total

        step = weft.capture(add)  # under another name

    one, x = Counter(), weft.ones((2,), device=device)
    for _ in range(3):
        one.step(x)
    two = copy.deepcopy(one)
    assert two.step(x).tolist() == one.step(x).tolist() == [4, 4]
    assert one.step.captures == 1 and one.step.replays == 2 and two.step.captures == 0


def test_what_is_refused():
    with pytest.raises(ValueError, match="warmup >= 1, got 0"):
        weft.capture(lambda: None, warmup=0)
    step = weft.capture(warmup=2)(lambda x: x)
    with pytest.raises(weft.CaptureError, match=r"arguments without gradients, got a Tensor \(2,\)"):
        step(weft.Tensor(np.ones(2, "f"), requires_grad=True))
    with pytest.raises(weft.CaptureError, match="Tensors and constants as arguments, got ndarray"):
        step(np.ones(2))


def test_no_warning_of_a_run_that_rests():
    run = Run("emulated", True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.losses(batches(4))
