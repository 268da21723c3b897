"""optimizer.cu: steps over many tensors against the references in float64, in any memory; clipping; skipping."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import policy
import weft
from kernels.array_checks import ROUNDING, dtype, on, runs  # noqa: F401
from kernels.checked import same_under_every_schedule
from opcheck import never_waiting
from weft import nn, optim
from weft.backends import reference as K
from weft.backends.gpu import optimizer as steps

pytestmark = pytest.mark.gpu

#: With a block's 4096 elements: one, two, a ragged third; vectors and what is left of them; nothing; a number.
SHAPES = [(3,), (17, 5), (), (0, 4), (2, 4096), (1, 1, 7), (8193,), (640,)]

RULES = {
    "sgd": [
        dict(momentum=0.0, dampening=0.0, nesterov=False, first=True),
        dict(momentum=0.9, dampening=0.0, nesterov=False, first=True),
        dict(momentum=0.9, dampening=0.3, nesterov=False, first=False),
        dict(momentum=0.9, dampening=0.0, nesterov=True, first=False),
    ],
    "adam": [
        dict(decoupled=False, step=1, amsgrad=False),
        dict(decoupled=True, step=7, amsgrad=False),
        dict(decoupled=True, step=1000, amsgrad=True),
    ],
    "rmsprop": [
        dict(momentum=0.0, centered=False),
        dict(momentum=0.9, centered=False),
        dict(momentum=0.9, centered=True),
    ],
    "lion": [dict(beta1=0.9, beta2=0.99), dict(beta1=0.0, beta2=0.5)],
}
FIXED = {
    "sgd": {},
    "adam": dict(beta1=0.9, beta2=0.999, eps=1e-8),
    "rmsprop": dict(alpha=0.99, eps=1e-8),
    "lion": {},
}
CASES = [(name, k) for name, rules in RULES.items() for k in range(len(rules))]


def options_of(name, k, *, weight_decay=0.1, maximize=False):
    return {**FIXED[name], **RULES[name][k], "lr": 0.03, "weight_decay": weight_decay, "maximize": maximize}


def used(name, o):
    """Which lists of state a step has."""
    return {
        "sgd": (bool(o.get("momentum")),),
        "adam": (True, True, bool(o.get("amsgrad"))),
        "rmsprop": (True, bool(o.get("centered")), bool(o.get("momentum"))),
        "lion": (True,),
    }[name]


def draw(rng, name, o, char, masters=False, shapes=SHAPES):
    """Lists as the primitive takes them, in NumPy: parameters, gradients, states, and masters where asked for.

    Squares are larger than the square of an average. Lion's gradients are not near where the sign turns.
    """
    kind, state = dtype(char), dtype("d" if char == "d" else "f")
    normal = lambda s, t: np.asarray(rng.standard_normal(s)).astype(t) if s else np.array(rng.standard_normal(), t)
    params, grads = ([normal(s, kind) for s in shapes] for _ in range(2))
    states = []
    for place, wanted in enumerate(used(name, o)):
        low = 0.5 if name in ("adam", "rmsprop") and place != {"adam": 0, "rmsprop": 1}[name] else -0.5
        states.append([np.array(rng.uniform(low, low + 1, s), state) for s in shapes] if wanted else [])
    if name == "lion":
        for g, m in zip(grads, states[0]):
            g[...] = np.where(g > 0, np.abs(g) + 1, -np.abs(g) - 1).astype(kind)
            m[...] = np.copysign(m, g.astype(m.dtype))
    lists = [params, grads, *states]
    if masters:
        copies = [np.array(p.astype("f") * (1 + rng.uniform(-1, 1, p.shape) * 2.0**-13), "f") for p in params]
        for p, c in zip(params, copies):
            p[...] = c.astype(kind)
        lists.append(copies)
    return lists


def exact(lists):
    return [[np.array(a, "d") for a in one] for one in lists]


def check(name, lists, o, place=lambda a: a, device="emulated", exact_options=None):
    """The step on the device against the reference in float64, within twice the error of the same precision's."""
    host = [[np.array(a) for a in one] for one in lists]
    wide = exact(lists)
    masters, options = len(lists) > 2 + len(used(name, o)), exact_options or o
    if masters:  # what moves in float64 is the copy
        wide[0] = wide.pop()
    getattr(K, name).reference(*wide, **options)
    if masters:
        wide.append(wide[0])
    getattr(K, name).reference(*host, **options)
    there = [[place(on(device, a)) for a in one] for one in lists]
    primitive = getattr(K, name)
    assert primitive.select(tuple(there)) is not primitive.reference
    with never_waiting():
        primitive(*there, **o)
    for number, (got, same, want, before) in enumerate(zip(there, host, wide, lists)):
        for g, s, w, b in zip(got, same, want, before, strict=True):
            value = g.get()
            assert value.dtype == b.dtype and value.shape == b.shape
            if number == 1:
                np.testing.assert_array_equal(value, b)
                continue
            if not w.size:
                continue
            unit = ROUNDING[value.dtype.char]
            size = max(np.abs(w).max(), np.abs(b.astype("d")).max())  # a step may end near 0
            bound = 2 * np.abs(s.astype("d") - w).max() + 4 * unit * size + 1e-7 * size * (value.dtype != np.float64)
            worst = np.abs(value.astype("d") - w).max()
            assert worst <= bound, f"{name}, list {number}, {w.shape}: {worst} over {bound}"
    return there


@pytest.mark.sanitized
@pytest.mark.parametrize("char", ["f", "e", "E", "d"])
@pytest.mark.parametrize(("name", "k"), CASES)
def test_steps(name, k, char, device, rng):
    for maximize in (False, True):
        o = options_of(name, k, weight_decay=0.1 * (not maximize), maximize=maximize)
        check(name, draw(rng, name, o, char), o, device=device)


@pytest.mark.parametrize("char", ["e", "E"])
@pytest.mark.parametrize(("name", "k"), CASES)
def test_master_copies(name, k, char, device, rng):
    """The copy moves in float32 and the parameter is its rounding, bit for bit."""
    o = options_of(name, k)
    params, *_, masters = check(name, draw(rng, name, o, char, masters=True), o, device=device)
    for p, c in zip(params, masters):
        np.testing.assert_array_equal(p.get(), c.get().astype(p.dtype))


@pytest.mark.parametrize("char", ["e", "E"])
def test_a_copy_starts_again_where_another_has_written(char, device, rng):
    o = options_of("lion", 0, weight_decay=0.0)
    kind = dtype(char)
    p, g, m = (np.full(300, x, kind if k < 2 else "f") for k, x in enumerate((1.0, 1.0, 1.0)))
    master = np.full(300, 1.0 + 2.0**-14, "f")  # rounds to 1
    p[7] = 3.0
    there = [[on(device, a)] for a in (p, g, m, master)]
    K.lion(*there, **o)
    want = np.where(np.arange(300) == 7, np.float32(3), master) - np.float32(0.03)
    np.testing.assert_allclose(there[3][0].get(), want, rtol=1e-7)
    np.testing.assert_array_equal(there[0][0].get(), there[3][0].get().astype(kind))


@pytest.mark.parametrize("char", ["f", "E"])
@pytest.mark.parametrize(("name", "k"), CASES)
def test_what_is_known_on_the_device_alone(name, k, char, device, rng):
    """Rate, factor, number of the step and skipping, read through pointers."""
    o = options_of(name, k)
    lists = draw(rng, name, o, char)
    number = 1 if o.get("first") else o.get("step", 4)
    at = lambda x, kind: on(device, np.array(x, kind))
    there = {**o, "lr": at(0.03, "f"), "scale": at(0.25, "f"), "skip": at(0, "i")}
    if name in ("adam", "sgd"):
        there["step"] = at(number, "i")
    if name == "sgd":
        there["first"] = False
    lr = float(np.float32(0.03))
    check(name, lists, there, device=device, exact_options={**o, "lr": lr, "scale": 0.25})
    skipped = {**there, "skip": at(1, "i")}
    arrays = [[on(device, a) for a in one] for one in lists]
    getattr(K, name)(*arrays, **skipped)
    for one, before in zip(arrays, lists):
        for a, b in zip(one, before):
            np.testing.assert_array_equal(a.get().view("u1") if b.ndim else a.get(), b.view("u1") if b.ndim else b)


LYING = {
    "transposed": lambda a: on_transposed(a),
    "gaps": lambda a: with_gaps(a),
    "off 16 bytes": lambda a: shifted(a),
}


def on_transposed(a):
    return a if a.ndim < 2 else (a.T.copy()).T


def with_gaps(a):
    if not a.ndim:
        return a
    wide = np.full((*a.shape[:-1], 2 * a.shape[-1] + 1), np.nan, "d").astype(a.dtype)
    out = on(a.device_name, wide)[..., 1::2]
    out[...] = a
    return out


def shifted(a):
    buffer = on(a.device_name, np.full(a.size + 1, np.nan).astype(a.dtype))
    out = buffer[1:].reshape(a.shape)
    out[...] = a
    return out


@pytest.mark.parametrize("char", ["f", "E"])
@pytest.mark.parametrize("kind", LYING)
@pytest.mark.parametrize("part", ["all", "parameters", "gradients"])
def test_memory(part, kind, char, device, rng):
    """Parameters, gradients and states that lie transposed, with gaps, or where no vector may begin."""
    o = options_of("adam", 1)
    lists = draw(rng, "adam", o, char, shapes=[(33, 5), (4, 3, 9), (70,), ()])
    host, wide = [[np.array(a) for a in one] for one in lists], exact(lists)
    K.adam.reference(*wide, **o)
    there = [[on(device, a) for a in one] for one in lists]
    chosen = {"all": (0, 1, 2, 3), "parameters": (0,), "gradients": (1,)}[part]
    for k in chosen:
        there[k] = [LYING[kind](a) for a in there[k]]
    K.adam(*there, **o)
    K.adam.reference(*host, **o)
    for got, same, want, before in zip(there, host, wide, lists):
        for g, s, w, b in zip(got, same, want, before):
            size = max(np.abs(w).max(), np.abs(b.astype("d")).max())  # a step may end near 0
            bound = 2 * np.abs(s.astype("d") - w).max() + 5 * ROUNDING[s.dtype.char] * size
            assert (np.abs(g.get().astype("d") - w) <= bound).all()


def test_one_launch_over_many_tensors(device, rng, monkeypatch):
    """What the parameters of a launch have no room for stands in memory, which is written when it is new."""
    o = options_of("adam", 1)
    launched = []

    def launch(kernel, *arguments):
        launched.append(kernel.name)
        return real(kernel, *arguments)

    real = steps.launch
    monkeypatch.setattr(steps, "launch", launch)
    there = [[on(device, np.ones(5, "f")) for _ in range(steps.TENSORS + 1)] for _ in range(4)]
    for _ in range(2):
        K.adam(*there, [], **o)
    assert launched == ["keep_table", "adam", "adam"]


def test_more_tensors_than_a_table_holds(device, rng):
    o = options_of("adam", 1)
    count = 2 * steps.TENSORS + 3
    lists = draw(rng, "adam", o, "f", shapes=[(int(n),) for n in rng.integers(0, 40, count)])
    check("adam", lists, o, device=device)
    arrays = [on(device, a) for a in lists[0]]
    want = sum([float((a.astype("d") ** 2).sum()) for a in lists[0]])
    assert K.sum_of_squares(arrays).item() == pytest.approx(want, rel=1e-13)


def test_nothing_to_step(device):
    o = options_of("lion", 0)
    nothing = [[on(device, np.zeros((0, 3), "f"))] for _ in range(3)]
    K.lion(*nothing, **o)
    assert K.sum_of_squares(nothing[0]).item() == 0


def test_nan_reaches_its_own_element_alone(device, rng):
    for name in RULES:
        o = options_of(name, 0)
        lists = draw(rng, name, o, "f", shapes=[(500,)])
        lists[1][0][123] = np.nan
        there = [[on(device, a) for a in one] for one in lists]
        getattr(K, name)(*there, **o)
        assert np.flatnonzero(np.isnan(there[0][0].get())).tolist() == [123], name


# -- gradients


@pytest.mark.sanitized
@pytest.mark.parametrize("char", ["f", "e", "E", "d"])
def test_sum_of_squares(char, device, rng):
    arrays = [np.asarray(rng.standard_normal(s)).astype(dtype(char)) for s in (*SHAPES, (5, 6))]
    want = sum([float((a.astype("d") ** 2).sum()) for a in arrays])
    there = [on(device, a) for a in arrays[:-1]] + [on(device, np.repeat(arrays[-1], 2, 1))[:, ::2]]
    got = K.sum_of_squares(there)
    assert got.dtype == np.float64 and got.shape == ()
    assert got.item() == pytest.approx(want, rel=1e-13)
    assert np.isnan(K.sum_of_squares([*there, on(device, np.array([np.nan], dtype(char)))]).item())


def test_sum_of_squares_of_mixed_dtypes(device, rng):
    arrays = [rng.standard_normal(40).astype(dtype(c)) for c in "fEfd"]
    want = sum([float((a.astype("d") ** 2).sum()) for a in arrays])
    assert K.sum_of_squares([on(device, a) for a in arrays]).item() == pytest.approx(want, rel=1e-13)


@pytest.mark.parametrize("char", ["f", "e", "E", "d"])
@pytest.mark.parametrize("of", ["number", "float32", "float64"])
def test_scaling(of, char, device, rng):
    arrays = [np.asarray(rng.standard_normal(s)).astype(dtype(char)) for s in (*SHAPES, (5, 6))]
    there = [on(device, a) for a in arrays[:-1]] + [on(device, np.repeat(arrays[-1], 2, 1))[:, ::2]]
    factor = 0.3 if of == "number" else on(device, np.array(0.3, of))
    K.scale_arrays(there, factor=factor)
    for got, a in zip(there, arrays):
        want = a.astype("d") * 0.3
        rounding = ROUNDING["f"] if char != "d" or of == "float32" else ROUNDING["d"]
        bound = (2.02 * rounding + 1.01 * ROUNDING[char]) * np.abs(want) + 2.0**-25 * (char == "e")
        assert (np.abs(got.get().astype("d") - want) <= bound).all()


@pytest.mark.parametrize("max_norm", [None, 0.5, 1e9])
@pytest.mark.parametrize("loss_scale", [None, 1024.0])
def test_gradient_scale(loss_scale, max_norm, device, rng):
    values = [rng.standard_normal(s).astype("f") * (loss_scale or 1) for s in ((30, 5), (7,))]
    at = None if loss_scale is None else weft.asarray(np.float32(loss_scale), device=device)
    for kind in (device, "cpu"):
        params = [nn.Parameter(v) for v in values]
        for p, v in zip(params, values):
            p.grad = weft.asarray(v, device=kind)
        scale_at = at if kind != "cpu" or at is None else weft.asarray(np.float32(loss_scale), device="cpu")
        norm, scale, skip = nn.utils.gradient_scale(params, max_norm, scale_at)
        true = np.sqrt(sum([(v.astype("d") ** 2).sum() for v in values])) / (loss_scale or 1)
        want = min(1.0, max_norm / (true + 1e-6)) if max_norm is not None else 1.0
        assert norm.item() == pytest.approx(true, rel=1e-6) and skip.item() == 0 and skip.dtype == np.int32
        assert scale.item() == pytest.approx(want / (loss_scale or 1), rel=1e-6) and scale.dtype == np.float32
        assert norm.device == scale.device == skip.device == params[0].grad.device
        params[0].grad.data[3, 3] = np.inf
        assert nn.utils.gradient_scale(params, max_norm, scale_at).skip.item() == 1


# -- the front end


def trained(make, device, steps=6, char="f", captured=False):
    """Parameters after a few steps, plain or recorded, with every second gradient infinite somewhere."""
    rng = np.random.default_rng(3)
    draw = lambda s: rng.standard_normal(s).astype(dtype(char))
    params = [nn.Parameter(weft.asarray(draw(s), device=device)) for s in ((9, 4), (5,))]
    optimizer = make(params)

    def step(*grads):
        for p, g in zip(params, grads):
            p.grad = g * 1
        _, scale, skip = nn.utils.gradient_scale(params, 1.0)
        optimizer.step(scale=scale, skip=skip)

    run = weft.capture(step) if captured else step
    for i in range(steps):
        grads = [draw(p.shape) for p in params]
        if i % 2:
            grads[1][2] = np.inf
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (1 + i)
        there = [weft.asarray(g, device=device) for g in grads]
        with never_waiting(), np.errstate(invalid="ignore"):
            run(*there)
    assert not captured or not steps or run.captures == 1
    return optimizer, [p.numpy().astype("d") for p in params]


MAKE = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5),
    "adamw": lambda p: optim.AdamW(p, lr=0.1, amsgrad=True),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.1, momentum=0.5),
    "lion": lambda p: optim.Lion(p, lr=0.1, weight_decay=0.1),
}


def in_turn(case):
    """Each optimizer captured in one type, and plain in the other."""
    name, captured, char = case
    return (list(MAKE).index(name) + captured + (char == "E")) % 2 == 0


@pytest.mark.parametrize(
    "case",
    policy.mostly_slow(itertools.product(MAKE, (False, True), "fE"), in_turn),
    ids=lambda case: "-".join(map(str, case)),
)
def test_clipped_and_skipped_steps_never_wait(case, device):
    name, captured, char = case
    on_cpu, want = trained(MAKE[name], "cpu", char=char)
    there, got = trained(MAKE[name], device, char=char, captured=captured)
    for g, w in zip(got, want):
        np.testing.assert_allclose(g, w, rtol=2e-5 if char == "f" else 2e-2, atol=2e-6)
    states = [o.state_dict()["state"] for o in (on_cpu, there)]
    assert states[0].keys() == states[1].keys()
    for i in states[0]:
        assert states[0][i]["step"] == states[1][i]["step"] == 3 and states[0][i].keys() == states[1][i].keys()
        assert ("master" in states[0][i]) == (char == "E")


@pytest.mark.parametrize("name", MAKE)
def test_state_goes_on_where_it_was(name, device):
    """Saved on a device with its counts there, loaded on the CPU, and moved there in the middle."""
    optimizer, _ = trained(MAKE[name], device)
    other, _ = trained(MAKE[name], "cpu", steps=0)
    other.load_state_dict(optimizer.state_dict())
    for a, b in zip(other.parameters(), optimizer.parameters()):
        a.assign(b.numpy())
        a.grad = weft.full(a.shape, 0.5, device="cpu")
        b.grad = weft.full(b.shape, 0.5, device=device)
    optimizer.step()
    other.step()
    for a, b in zip(other.parameters(), optimizer.parameters()):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=2e-5, atol=1e-6)
    assert other.state_dict()["state"][0]["step"] == optimizer.state_dict()["state"][0]["step"] == 4


def test_small_moves_are_kept_by_the_copy(device):
    """bfloat16 near 1 knows steps of 2^-8; a hundred moves of 1e-4 add up all the same."""
    p = nn.Parameter(weft.asarray(np.ones(5, dtype("E")), device=device))
    optimizer = optim.Lion([p], lr=1e-4)
    for _ in range(100):
        p.grad = weft.asarray(np.ones(5, dtype("E")), device=device)
        optimizer.step()
    np.testing.assert_allclose(p.numpy().astype("d"), 0.99, atol=2.0**-9)


@policy.needs("emulator")
@pytest.mark.parametrize("char", ["f", "E"])
def test_checked_under_every_schedule(char, rng):
    """No report, and the same bits."""
    jobs = []
    for name, k in (("sgd", 3), ("adam", 2), ("rmsprop", 2), ("lion", 0)):
        o = options_of(name, k)
        jobs.append((name, o, draw(rng, name, o, char, masters=char == "E", shapes=[(4100,), (33,), (7, 3)])))

    def run():
        found = []
        for name, o, lists in jobs:
            there = [[on("emulated", a) for a in one] for one in lists]
            at = {"lr": on("emulated", np.float32(0.1)), "skip": on("emulated", np.int32(0))}
            squares = K.sum_of_squares(there[1])
            _, at["scale"], _ = K.gradient_scale(squares, max_norm=1.0)
            if name in ("adam", "sgd"):
                at["step"] = on("emulated", np.int32(3))
                K.count_step(at["step"], at["skip"])
            getattr(K, name)(*there, **{**o, **at})
            K.scale_arrays(there[1], factor=at["scale"])
            found += [squares.get(), *[a.get() for one in there for a in one]]
        return found

    same_under_every_schedule(run)
