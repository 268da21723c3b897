"""Multi-tensor optimizer steps against their references in float64 and against PyTorch's optimizers."""

import hashlib

import numpy as np
import pytest

import weft
from backends.image_checks import elsewhere
from policy import needs
from weft.backends import reference as K

pytestmark = needs("native")

CHECK = "from backends.test_optimizer_kernels import check\nfor seed in range(30): check(seed)"
DIGEST = "from backends.test_optimizer_kernels import digest\nprint(digest())"
SHAPES = [(3,), (17, 5), (), (0, 4), (129, 300), (1, 1, 7), (64,), (40000,)]


def options_of(rng, name):
    """Every flag both ways, now and then."""
    flip = lambda: bool(rng.random() < 0.5)
    some = {"lr": float(rng.uniform(1e-3, 1)), "weight_decay": float(rng.choice([0, 0.1])), "maximize": flip()}
    if name == "sgd":
        momentum = float(rng.choice([0, 0.9]))
        extra = {"dampening": float(rng.choice([0, 0.3])), "nesterov": flip(), "first": flip()}
        return {**some, "momentum": momentum, **extra}, (momentum != 0,)
    if name == "adam":
        amsgrad, step = flip(), int(rng.choice([1, 2, 1000]))
        extra = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decoupled": flip(), "step": step, "amsgrad": amsgrad}
        return {**some, **extra}, (True, True, amsgrad)
    if name == "lion":
        return {**some, "beta1": 0.9, "beta2": 0.99}, (True,)
    momentum, centered = float(rng.choice([0, 0.9])), flip()
    extra = {"alpha": 0.99, "eps": 1e-8, "momentum": momentum, "centered": centered}
    return {**some, **extra}, (True, centered, momentum != 0)


def lists(rng, shapes, states):
    """Parameters, gradients and states; squares are positive, and larger than the square of an average."""
    made = [[np.asarray(rng.standard_normal(s, dtype=np.float32)) for s in shapes] for _ in range(2)]
    for k, used in enumerate(states):
        scale = rng.random
        made.append(
            [np.asarray(scale(s, dtype=np.float32) + (2 if k == 0 else 0.1), np.float32) for s in shapes]
            if used
            else []
        )
    return made


def check(seed):
    rng = np.random.default_rng(seed)
    shapes = [SHAPES[i] for i in rng.integers(0, len(SHAPES), rng.integers(1, 12))]
    for name in ("sgd", "adam", "rmsprop", "lion"):
        options, states = options_of(rng, name)
        mine = lists(rng, shapes, states)
        exact = [[a.astype(np.float64) for a in one] for one in mine]
        grads = [g.copy() for g in mine[1]]
        primitive = getattr(K, name)
        assert primitive.select(tuple(mine)) is not primitive.reference
        primitive(*mine, **options)
        primitive.reference(*exact, **options)
        for k, (one, other) in enumerate(zip(mine, exact)):
            for a, b in zip(one, other, strict=True):
                assert a.dtype == np.float32
                np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6, err_msg=f"{name} {options}, list {k}")
        for g, before in zip(mine[1], grads):
            np.testing.assert_array_equal(g, before)
    arrays = [np.asarray(rng.standard_normal(s, dtype=np.float32)) for s in shapes]
    want = sum([float((a.astype(np.float64) ** 2).sum()) for a in arrays])
    assert K.sum_of_squares(arrays) == pytest.approx(want, rel=1e-12)


def test_against_the_references():
    for seed in range(30):
        check(seed)


def test_on_every_instruction_set():
    for isa in weft._cpu.supported_isas():
        elsewhere(CHECK, WEFT_ISA=isa)


def digest():
    rng = np.random.default_rng(0)
    found = []
    for name in ("sgd", "adam", "rmsprop", "lion"):
        options, states = options_of(rng, name)
        made = lists(rng, [(129, 300), (7,), (40000,)], states)
        getattr(K, name)(*made, **options)
        found += [a.tobytes() for one in made for a in one]
    found.append(repr(K.sum_of_squares(made[0])).encode())
    return hashlib.sha256(b"".join(found)).hexdigest()


def test_the_number_of_threads_changes_no_bit():
    assert len({elsewhere(DIGEST, WEFT_NUM_THREADS=n) for n in ("1", "2", "5")}) == 1


ADAM = {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
ADAM = {**ADAM, "decoupled": False, "step": 1, "amsgrad": False, "maximize": False}


def test_arrays_that_are_not_plain_take_the_reference():
    rng = np.random.default_rng(1)
    strided = np.zeros((4, 6), np.float32)[:, ::2]
    strided[...] = 1
    for odd in (strided, np.asfortranarray(rng.standard_normal((4, 3), dtype=np.float32)), np.ones((4, 3), np.float64)):
        params = [np.ones((2, 2), np.float32), odd]
        grads = [np.ones_like(p) for p in params]
        m, v = ([np.zeros_like(p) for p in params] for _ in range(2))
        before = [p.copy() for p in params]
        K.adam(params, grads, m, v, [], **ADAM)
        for p, b in zip(params, before):
            np.testing.assert_allclose(p, b - 0.1, rtol=1e-6)
        assert params[1] is odd
        assert K.sum_of_squares([np.ones(3, np.float32), odd]) == pytest.approx(3 + float((odd.astype("d") ** 2).sum()))


def test_a_read_only_parameter_is_not_written():
    p = np.ones(3, np.float32)
    p.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        K.adam([p], [p], [np.zeros(3, np.float32)], [np.zeros(3, np.float32)], [], **ADAM)


def test_nan_gradients_reach_their_own_element_alone():
    p, g = np.ones(40, np.float32), np.ones(40, np.float32)
    g[7] = np.nan
    m, v = np.zeros(40, np.float32), np.zeros(40, np.float32)
    K.adam([p], [g], [m], [v], [], **ADAM)
    assert np.flatnonzero(np.isnan(p)).tolist() == [7]
    assert np.isnan(K.sum_of_squares([g]))


def test_16_bit_parameters_are_stepped_in_float32():
    p = [np.full(5, 1.0, np.float16)]
    g, m, v = ([np.full(5, x, np.float16)] for x in (1.0, 0.0, 0.0))
    K.adam(p, g, m, v, [], **ADAM)
    assert p[0].dtype == np.float16
    np.testing.assert_allclose(p[0], 0.9, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "theirs", "options"),
    [
        ("sgd", "SGD", {"lr": 0.1}),
        ("sgd", "SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
        ("sgd", "SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        ("sgd", "SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "maximize": True}),
        ("adam", "Adam", {"lr": 0.01}),
        ("adam", "Adam", {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True}),
        ("adam", "AdamW", {"lr": 0.01, "weight_decay": 0.1}),
        ("adam", "AdamW", {"lr": 0.01, "weight_decay": 0.1, "maximize": True}),
        ("rmsprop", "RMSprop", {"lr": 0.01}),
        ("rmsprop", "RMSprop", {"lr": 0.01, "momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ],
)
def test_against_torch(name, theirs, options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    params = [rng.standard_normal(s, dtype=np.float32) for s in ((20, 30), (7,))]
    its = [torch.nn.Parameter(torch.tensor(p)) for p in params]
    optimizer = getattr(torch.optim, theirs)(its, **options)
    states = [[np.zeros_like(p) for p in params] for _ in range(3)]
    defaults = {"weight_decay": 0.0, "maximize": False}
    for step in range(1, 6):
        grads = [rng.standard_normal(p.shape, dtype=np.float32) for p in params]
        for t, g in zip(its, grads):
            t.grad = torch.tensor(g)
        optimizer.step()
        if name == "sgd":
            extra = {"momentum": 0.0, "dampening": 0.0, "nesterov": False, "first": step == 1}
            used = states[:1] if options.get("momentum") else [[]]
        elif name == "adam":
            decoupled = theirs == "AdamW"
            extra = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False, "decoupled": decoupled, "step": step}
            used = [*states[:2], states[2] if options.get("amsgrad") else []]
        else:
            extra = {"alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False}
            used = [states[0], states[1] if "centered" in options else [], states[2] if "momentum" in options else []]
        getattr(K, name)(params, grads, *used, **{**defaults, **extra, **options})
    for p, t in zip(params, its):
        np.testing.assert_allclose(p, t.detach().numpy(), rtol=1e-5, atol=1e-6)
