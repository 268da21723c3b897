"""The tape: orders, memory, in-place writes, depth, hooks, threads."""

import gc
import threading
import tracemalloc

import numpy as np
import pytest

import weft
from weft import autograd, ops
from weft.testing import gradcheck, gradgradcheck


def leaf(*shape, seed=0):
    return weft.Tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True)


def test_backward_accumulates_into_leaves_only():
    x, y = leaf(3), weft.Tensor(np.ones(3))
    z = x * y
    z.sum().backward()
    (x * 2).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 3)
    assert y.grad is None and z.grad is None


def test_broadcast_is_undone_on_both_sides():
    x, y = leaf(3, 1), leaf(2, 1, 4)
    ((x + y) * np.ones((2, 3, 4))).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.full((3, 1), 8.0))
    np.testing.assert_allclose(y.grad.numpy(), np.full((2, 1, 4), 3.0))


def test_gradient_takes_the_dtype_of_its_input():
    x = weft.Tensor(np.ones(3, np.float32), requires_grad=True)
    (x * np.ones(3)).sum().backward()
    assert x.grad.dtype == np.float32


def test_numpy_on_the_left_is_recorded():
    x = leaf(3)
    for y in (np.ones(3) * x, np.ones(3) - x, np.float64(2) * x, np.ones((3, 3)) @ x):
        assert isinstance(y, weft.Tensor) and y.requires_grad
    with pytest.raises(TypeError, match=r"numpy.heaviside"):
        np.heaviside(np.ones(3), x)


def test_fifty_recorded_adds_hold_one_array():
    gc.disable()
    tracemalloc.start()
    try:
        x = weft.Tensor(np.ones(131072), requires_grad=True)  # 1 MiB
        z = x
        for _ in range(50):
            z = z + 1.0
        held = tracemalloc.get_traced_memory()[0] - x.nbytes
        assert held < 1.2 * 2**20
        loss = z.sum()
        del z
        (g,) = autograd.grad(loss, [x], create_graph=True)
        assert g.numpy().min() == g.numpy().max() == 1
        del loss, g, x
        assert tracemalloc.get_traced_memory()[0] < 2**18
    finally:
        tracemalloc.stop()
        gc.enable()


def test_two_thousand_layers_and_memory_freed_on_the_way_back():
    weights = [leaf(4, 4, seed=i) for i in range(2000)]
    y = ops.ones((8, 4), dtype=np.float64)
    for w in weights:
        y = ops.tanh(y @ w)
    y.sum().backward()
    assert all(np.isfinite(w.grad.numpy()).all() for w in weights)

    n = 2**17
    x = weft.Tensor(np.full(n, 0.1), requires_grad=True)
    for create_graph in (False, True):
        y = x
        for _ in range(40):
            y = ops.exp(y * 0.1)
        total = y.sum()
        del y
        if create_graph:
            autograd.grad(total, x, create_graph=True)
            continue
        tracemalloc.start()
        total.backward()
        now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 6 * n * 8, "gradients of passed layers are kept"
        assert total.node.parents == []


def test_deep_graph_is_dropped_without_recursion():
    x = leaf(2)
    y = x
    for _ in range(50_000):
        y = y + 1.0
    del y
    y = x
    for _ in range(5_000):
        y = ops.tanh(y)
    autograd.grad(y.sum(), x, create_graph=True)


def test_second_backward_through_a_freed_graph_raises():
    x = leaf(3)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="freed by an earlier backward; pass retain_graph=True"):
        y.backward()


@pytest.mark.parametrize("write", ["assign", "setitem", "in-place add", "view", "touch"])
def test_write_to_a_saved_array_raises_and_names_both_ops(write):
    w = leaf(2)
    y = (w * w).sum()
    with weft.no_grad():
        if write == "assign":
            w.assign(np.zeros(2), by="SGD.step")
        elif write == "setitem":
            w[0] = 3.0
        elif write == "in-place add":
            w += 1.0
        elif write == "view":
            w[1:].assign(np.zeros(1), by="a view")
        else:
            w.data[0] = 1
            w.touch("Adam.step")
    author = {"assign": "SGD.step", "view": "a view", "touch": "Adam.step", "in-place add": "in-place add"}.get(
        write, write
    )
    with pytest.raises(RuntimeError, match=rf"multiply saved an array of shape \(2,\) that {author} has written"):
        y.backward()


def test_write_to_an_intermediate_result_raises():
    x = leaf(3)
    h = ops.exp(x)
    with weft.no_grad():
        h[0] = 0.0
    with pytest.raises(RuntimeError, match="exp saved .* setitem"):
        h.sum().backward()


def test_harmless_write_passes():
    w = leaf(2)
    y = (w + w).sum()
    w.assign(np.zeros(2))
    y.backward()
    np.testing.assert_array_equal(w.grad.numpy(), [2, 2])


def test_write_next_to_what_was_saved_passes():
    memory = weft.Tensor(np.ones(4))
    x = leaf(2)
    y = (x * memory[:2]).sum()
    memory[2:].assign(np.zeros(2))
    y.backward()


def test_replay_refuses_changed_leaves():
    w = leaf(2)
    y = (w + w * 2).sum()
    w.assign(np.zeros(2), by="step")
    with pytest.raises(RuntimeError, match="step"):
        autograd.grad(y, w, create_graph=True)


def test_in_place_on_a_leaf_that_is_recorded_raises():
    w = leaf(2)
    with pytest.raises(RuntimeError, match="leaf"):
        w += 1.0
    with weft.no_grad():
        kept = w
        w -= 0.5
    assert kept is w


def test_third_order_through_a_mixture():
    m = np.random.default_rng(1).standard_normal((6, 4))

    def f(x):
        h = ops.layer_norm(x) @ m
        left, right = ops.split(ops.tanh(h), 2, axis=-1)
        return left * ops.exp(right)

    x = np.random.default_rng(0).standard_normal((4, 6))
    gradcheck(f, [x])
    gradgradcheck(f, [x])
    gradgradcheck(f, [x], order=3, rtol=1e-4)


def test_functional_gradients_nest():
    f = lambda x: ops.sin(x).sum()
    x = weft.Tensor(np.array([0.3, 1.2]))
    g = weft.grad(f)
    gg = weft.grad(lambda x: g(x).sum())
    ggg = weft.grad(lambda x: gg(x).sum())
    np.testing.assert_allclose(g(x).numpy(), np.cos(x.numpy()))
    np.testing.assert_allclose(gg(x).numpy(), -np.sin(x.numpy()))
    np.testing.assert_allclose(ggg(x).numpy(), -np.cos(x.numpy()))
    assert not g(x).requires_grad
    value, (a, b) = weft.value_and_grad(lambda a, b: (a * b).sum(), argnums=(0, 1))(x, x * 2)
    np.testing.assert_allclose(a.numpy(), 2 * x.numpy())
    np.testing.assert_allclose(b.numpy(), x.numpy())
    assert value.item() == pytest.approx(2 * (0.3**2 + 1.2**2))


def test_hessian_vector_product():
    a = np.random.default_rng(0).standard_normal((4, 4))
    f = lambda x: (x @ (a @ x)) * 0.5 + (x**3).sum()
    x, v = np.random.default_rng(1).standard_normal((2, 4))
    want = 0.5 * (a + a.T) @ v + 6 * x * v
    np.testing.assert_allclose(weft.hessian_vector_product(f, weft.Tensor(x), v).numpy(), want)
    np.testing.assert_array_equal(weft.hessian_vector_product(lambda x: x.sum(), weft.Tensor(x), v).numpy(), 0)


def test_hooks_see_and_replace_gradients():
    x = leaf(3)
    h = x * 2
    seen = []
    remove = h.register_hook(lambda g: seen.append(g.numpy().copy()))
    h.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    (h * 3).sum().backward()
    np.testing.assert_array_equal(seen[0], [3, 3, 3])
    np.testing.assert_array_equal(x.grad.numpy(), [61, 61, 61])
    remove()
    h.register_hook(lambda g: g[:1])
    with pytest.raises(RuntimeError, match="freed"):
        h.sum().backward()
    y = x * 1
    y.register_hook(lambda g: g[:1])
    with pytest.raises(ValueError, match=r"hook: expected a gradient of shape \(3,\), got \(1,\)"):
        y.sum().backward()


def test_custom_op_gets_every_order():
    @weft.op
    def cube(x):
        return x * x * x, (lambda g: 3 * g * x * x,)

    x = np.random.default_rng(0).standard_normal(5)
    gradcheck(cube, [x])
    gradgradcheck(cube, [x], order=3, rtol=1e-4)

    @weft.op
    def wrong(x):
        return x * x, (lambda g: g * x,)

    with pytest.raises(AssertionError, match="gradcheck: wrong, input 0"):
        gradcheck(wrong, [x])
    with pytest.raises(ValueError, match="gradcheck: expected float64"):
        gradcheck(cube, [x.astype("f")])


def test_checkpoint_recomputes_and_agrees():
    from weft import random

    w = leaf(4, 4)
    x = leaf(3, 4, seed=1)
    calls = []

    def f(x, scale):
        calls.append(1)
        return ops.dropout(ops.tanh(x @ w) * scale, p=0.3)

    random.seed(7)
    y = f(x, 2.0)
    (y * y).sum().backward()
    want = x.grad.numpy().copy(), w.grad.numpy().copy()
    x.grad = w.grad = None
    random.seed(7)
    z = weft.checkpoint(f, x, 2.0)
    np.testing.assert_array_equal(z.numpy(), y.numpy())
    before = random.get_state()
    (z * z).sum().backward()
    assert random.get_state() == before
    np.testing.assert_allclose(x.grad.numpy(), want[0], rtol=1e-14)
    np.testing.assert_allclose(w.grad.numpy(), want[1], rtol=1e-14)
    assert len(calls) == 3
    gradgradcheck(lambda x: weft.checkpoint(lambda x: ops.tanh(x @ w), x), [x.numpy()])


def test_checkpoint_keeps_one_segment():
    x = weft.Tensor(np.ones(2**17), requires_grad=True)  # 1 MiB

    def segment(x):
        for _ in range(10):
            x = ops.exp(x * 0.01)
        return x

    tracemalloc.start()
    y = x
    for _ in range(5):
        y = weft.checkpoint(segment, y)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 8 * 2**20  # 50 exps would hold 50 MiB


def test_no_grad_is_per_thread_and_nests():
    inside = []
    with weft.no_grad():
        thread = threading.Thread(target=lambda: inside.append(weft.is_recording()))
        thread.start()
        thread.join()
        with weft.enable_grad():
            assert weft.is_recording()
        assert not weft.is_recording()

        @weft.enable_grad()
        def f():
            return weft.is_recording()

        assert f() and not weft.is_recording()
    assert inside == [True]


def test_threads_add_to_one_parameter():
    w = leaf(64)

    def work():
        for _ in range(50):
            (w * 1.0).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    np.testing.assert_array_equal(w.grad.numpy(), 200)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x: (x * 2).backward(), ValueError, r"expected a gradient of shape \(3,\), got none"),
        (lambda x: (x * 2).backward(np.ones(2)), ValueError, r"expected a gradient of shape \(3,\), got \(2,\)"),
        (lambda x: weft.ones(3).backward(), RuntimeError, "expected a recorded Tensor"),
        (lambda x: autograd.grad(x.sum(), leaf(2)), RuntimeError, "no output depends on input 0"),
        (lambda x: autograd.grad(x.sum(), weft.ones(2)), ValueError, "input 0 of shape .* does not"),
        (lambda x: weft.grad(lambda i: (i * 1.5).sum())(weft.asarray([1, 2])), TypeError, r"got int64 \(2,\)"),
        (lambda x: weft.asarray([1, 2]).assign([1.5, 2.5]), TypeError, "assign: expected a value for int64, got float"),
        (
            lambda x: weft.asarray([1, 2]).__iadd__(1.5),
            TypeError,
            "in-place add: expected a result of int64, got float32",
        ),
        (lambda x: x.assign(np.ones(2)), ValueError, r"assign: expected a value of shape \(3,\), got \(2,\)"),
        (lambda x: weft.grad(lambda x: x)(x), ValueError, "grad: expected f to return a Tensor of one value"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(leaf(3))


def test_what_numpy_returns_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        weft.ones(3).numpy()[0] = 1


def test_unused_output_of_a_tuple():
    x = leaf(2, 4)
    left, _ = ops.split(x, 2, axis=1)
    left.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[1, 1, 0, 0]] * 2)


def test_indices_get_no_gradient():
    x = leaf(3, 4)
    values, order = ops.sort(x, axis=1), ops.argsort(x, axis=1)
    assert values.requires_grad and not order.requires_grad


@pytest.mark.parametrize("n", [5, 40_000])
def test_sums_of_gradients_touch_nobodys_array(n):
    """One array reaches several inputs; sums that backward adds to in place must be its own."""
    x, y = (weft.Tensor(np.random.default_rng(i).standard_normal(n).astype("f"), requires_grad=True) for i in (0, 1))
    h = x * 2.0
    z = h + h + h + y + h[: n // 2].sum() + h[1] + h
    seed = np.random.default_rng(2).standard_normal(n).astype("f")
    before = seed.copy()
    seen = []
    h.register_hook(lambda g: seen.append(g))
    z.backward(seed)
    np.testing.assert_array_equal(seed, before)
    np.testing.assert_array_equal(y.grad.numpy(), before)
    want = 4.0 * before
    want[: n // 2] += before.sum(dtype=np.float64)
    want[1] += before.sum(dtype=np.float64)
    np.testing.assert_allclose(x.grad.numpy(), 2 * want, rtol=2e-4, atol=1e-3)
    np.testing.assert_array_equal(seen[0].numpy() * 2, x.grad.numpy())


def test_each_leaf_has_a_gradient_of_its_own():
    """`a + b` sends one array to both; whoever then writes into a gradient must meet it once."""
    x, y, one = leaf(3), leaf(3), leaf(1)
    seed = np.ones(3)
    (x + y).backward(weft.Tensor(seed))
    one.sum().backward()
    weft.nn.utils.clip_grad_norm_([x, y, one], 0.7)
    np.testing.assert_allclose(np.concat([t.grad.numpy() for t in (x, y, one)]), np.full(7, 0.7 / np.sqrt(7)), 1e-5)
    np.testing.assert_array_equal(seed, np.ones(3))


def test_slices_of_one_array_share_a_buffer_on_the_way_back():
    x = weft.Tensor(np.ones((4, 2**15)), requires_grad=True)  # 1 MiB
    h = x * 1.0
    total = sum([(h[i] * (i + 1.0)).sum() for i in range(4)])
    tracemalloc.start()
    total.backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.5 * x.nbytes
    np.testing.assert_array_equal(x.grad.numpy()[:, 0], [1, 2, 3, 4])


def test_checkpoints_leave_nothing_behind():
    gc.collect()
    tracemalloc.start()
    for _ in range(20):
        x = weft.Tensor(np.ones(2**15), requires_grad=True)
        weft.checkpoint(ops.exp, x).sum().backward()
    del x
    gc.collect()
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert left < 2**18


def test_deepcopy_of_leaves_only():
    import copy

    x = leaf(3)
    (x * 2).sum().backward()
    y = copy.deepcopy(x)
    assert y.data is not x.data and y.requires_grad and y.grad is not x.grad
    np.testing.assert_array_equal(y.grad.numpy(), x.grad.numpy())
    with pytest.raises(RuntimeError, match="deepcopy: expected a leaf, got the result of multiply"):
        copy.deepcopy(x * 2)


def test_where_of_two_numbers():
    mask = weft.asarray([True, False])
    np.testing.assert_array_equal(weft.where(mask, 1.0, 0).numpy(), np.float32([1, 0]))
    assert weft.where(mask, 1.0, 0).dtype == np.float32 and weft.where(mask, 1, 0).dtype == np.int64
