"""weft.elementwise: what is read, derived, compiled for the CPU and for devices, and what is said of what cannot be."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import policy
import weft
from kernels.array_checks import BF16, on, require
from kernels.elementwise_functions import as_python, draw, gelu, program_of, winding
from kernels.sass_checks import DOUBLE, machine_code, sass
from weft.backends import emulator
from weft.backends.device import place
from weft.backends.gpu import maps
from weft.cli import main
from weft.custom import device
from weft.custom import elementwise as decorator
from weft.custom.scalar import OPERATIONS
from weft.custom.scalar_op import Elementwise, Scalar

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "elementwise.py"
numba = policy.needs("numba", "native")


# -- compiled for the CPU ----------------------------------------------------------------------------------------------


@numba
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f", "d"])
def test_compiled_it_gives_what_python_gives(dtype):
    x, y = draw(40, 33, dtype=dtype), draw(40, 33, dtype=dtype)
    got = winding(weft.asarray(x), weft.asarray(y))
    assert got.dtype == dtype
    want = as_python(x, y)
    near = np.abs(want - got.numpy()) <= {4: 2e-5, 8: 1e-12}[x.itemsize] * (1 + np.abs(want))
    assert near.mean() > 0.995 and (dtype == np.float32 or near.all())  # a branch may turn on the last bit of float32
    again = winding(weft.asarray(x), weft.asarray(y), k=1.0, n=2).numpy()
    assert not np.allclose(again, want)


@numba
@pytest.mark.parametrize("name", ["exp", "log", "tanh", "erf", "sigmoid", "expm1", "floor", "pow", "remainder", "sign"])
def test_functions_of_float32_are_within_a_few_units(name):
    arity = OPERATIONS[name].arity
    rng = np.random.default_rng()
    span = [rng.uniform(-9, 9, 4000), rng.standard_normal(4000) * 1e-3, rng.uniform(-120, 120, 500)]
    x = np.concatenate([*span, [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan]]).astype(np.float32)
    x = np.abs(x) if name == "log" else x
    others = [np.full_like(x, 3.0)] * (arity - 1)
    got = Scalar(program_of(name), None, __name__)(x, *others)
    with np.errstate(all="ignore"):
        doubles = [v.astype(np.float64) for v in (x, *others)]
        if name == "sigmoid":
            want = 1 / (1 + np.exp(-doubles[0]))
        else:
            want = getattr(weft, name)(*map(weft.asarray, doubles)).numpy()
        cast = want.astype(np.float32)
    tiny = np.abs(want) < np.finfo(np.float32).tiny
    np.testing.assert_allclose(got[~tiny], cast[~tiny], rtol=1.2e-6 if name != "remainder" else 1e-5, atol=1e-30)
    np.testing.assert_allclose(got[tiny], 0, atol=1.2e-38)


@numba
def test_powers_that_are_products_and_names_that_change_places():
    @weft.elementwise(domain=(0.5, 2))
    def f(x, y):
        x, y = y, x
        x, y = x + y, x - y
        return x**-3 + 2 * y**7 - x**0 + x**0.5 + (x * 0.5) ** -0.5 + abs(y) ** 2.5 + 2.0**y

    x, y = (np.random.default_rng().uniform(0.5, 2, 50) for _ in range(2))
    rounding = 10 * 2.0**-53 * 45  # of ten operations, whose terms, up to 45 together, may cancel
    np.testing.assert_allclose(f(weft.asarray(x), weft.asarray(y)).numpy(), f.function(x, y), rtol=1e-12, atol=rounding)
    singles = f(weft.asarray(x.astype("f")), weft.asarray(y.astype("f"))).numpy()
    np.testing.assert_allclose(singles, f.function(x, y), rtol=1e-4, atol=1e-4)


@numba
def test_gelu_is_the_built_in_one_and_so_is_its_gradient():
    x = weft.asarray(draw(123, 77) * 3)
    g = weft.asarray(draw(123, 77))
    found = []
    for f in (gelu, weft.gelu):
        z = x.detach()
        z.requires_grad = True
        y = f(z)
        y.backward(g)
        found.append((y.numpy(), z.grad.numpy()))
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=3e-6, atol=1e-6)
    weft.testing.gradcheck(gelu, [draw(9, dtype=np.float64)])
    weft.testing.gradgradcheck(gelu, [draw(9, dtype=np.float64)])


@numba
def test_broadcasting_strides_scalars_and_types():
    @weft.elementwise
    def f(x, y):
        return x * 2 - y

    a = draw(6, 5, 4)
    for x, y in [
        (a, a[:, :1]), (a, a[0, 0]), (a.T, draw(5, 6)), (a[::2, :, ::-1], a[1::2]), (a[..., :1], draw(3)),
        (np.asfortranarray(a), a), (draw(), draw(7)), (draw(), draw()), (draw(0, 3), draw(3)), (draw(1, 1), draw(1)),
        (np.broadcast_to(draw(4, 1), (4, 9)), draw(9)), (draw(300, 301), draw(301)), (draw(300, 301), draw(300, 1)),
    ]:  # fmt: skip
        want = x * np.float32(2) - y
        got = f(weft.asarray(x), weft.asarray(y))
        np.testing.assert_array_equal(got.numpy(), want)
        assert got.dtype == np.float32 and got.shape == want.shape
    np.testing.assert_array_equal(f(weft.asarray(a), 0.5).numpy(), a * 2 - 0.5)
    np.testing.assert_array_equal(f(1, weft.asarray(a)).numpy(), 2 - a)
    whole = np.arange(5, dtype=np.int64)
    assert f(weft.asarray(whole), weft.asarray(whole)).dtype == np.float32
    for dtype in (np.float16, BF16):
        x = a.astype(dtype)
        got = f(weft.asarray(x), 1)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got.numpy(), (x.astype(np.float32) * 2 - 1).astype(dtype))
    records = np.zeros(5, [("pad", "u1"), ("x", "f4")])
    records["x"] = draw(5)
    np.testing.assert_array_equal(f(weft.Tensor(records["x"]), 0).numpy(), records["x"] * 2)


@numba
@pytest.mark.parametrize("where", ["cpu", "emulated"])
def test_shapes_that_do_not_broadcast_are_named(where):
    policy.require(*(["emulator"] if where == "emulated" else []))
    x, y = (weft.Tensor(place(draw(*shape), where)) for shape in ((3, 4), (3,)))
    with pytest.raises(ValueError, match=r"product_of_squares: expected shapes that broadcast, got .* and \(3,\)"):
        product_of_squares(x, y)


@numba
def test_gradients_of_broadcast_inputs_and_of_16_bits():
    for dtype in (np.float32, BF16):
        x, y = draw(8, 3).astype(dtype), draw(3).astype(dtype)
        found = []
        for f in (product_of_squares, lambda a, b: a * a * b):
            a, b = weft.Tensor(x, requires_grad=True), weft.Tensor(y, requires_grad=True)
            f(a, b).sum().backward()
            assert a.grad.dtype == b.grad.dtype == dtype
            found.append((a.grad.numpy().astype("f"), b.grad.numpy().astype("f")))
        for ours, theirs in zip(*found):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5 if dtype == np.float32 else 0.03, atol=1e-2)


@weft.elementwise
def product_of_squares(x, y):
    return x * x * y


@numba
def test_three_inputs_have_gradients_too():
    @weft.elementwise
    def f(x, y, z):
        return x * math.exp(y * z)

    points = [draw(5, dtype=np.float64) for _ in range(3)]
    weft.testing.gradcheck(f, points)
    weft.testing.gradgradcheck(f, points)


# -- on devices --------------------------------------------------------------------------------------------------------


@numba
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, BF16], ids=lambda d: np.dtype(d).name)
def test_devices_run_it(dtype, device):
    require(device)
    x = draw(9, 14, dtype=np.float64).astype(dtype) * dtype(2) if dtype != BF16 else draw(9, 14).astype(BF16)
    a = weft.Tensor(on(device, x), requires_grad=True)
    y = gelu(a[:, ::2])
    y.sum().backward()
    b = weft.Tensor(x, requires_grad=True)
    want = gelu(b[:, ::2])
    want.sum().backward()
    eps = float(ml_dtypes.finfo(dtype).eps)
    for got, cpu in ((y, want), (a.grad, b.grad)):
        assert got.dtype == dtype and got.device == a.device
        near = {"rtol": max(eps, 4e-6 if dtype != np.float64 else 1e-13), "atol": eps * 8}
        np.testing.assert_allclose(got.numpy().astype("d"), cpu.numpy().astype("d"), **near)


@numba
@pytest.mark.gpu
def test_devices_broadcast_take_numbers_and_derive_twice(device):
    require(device)
    x, y = draw(6, 1), draw(5)
    a, b = (weft.Tensor(on(device, v), requires_grad=True) for v in (x, y))
    np.testing.assert_allclose(product_of_squares(a, b).numpy(), x * x * y, rtol=1e-6)
    np.testing.assert_allclose(product_of_squares(a, 3).numpy(), x * x * 3, rtol=1e-6)
    (first,) = weft.autograd.grad([product_of_squares(a, b).sum()], [a], create_graph=True)
    (second,) = weft.autograd.grad([first.sum()], [b])
    rounding = 2 * 5 * 2.0**-24 * np.abs(2 * x).sum()  # of two sums of six numbers, which may cancel
    np.testing.assert_allclose(second.numpy(), np.broadcast_to(2 * x.sum(), 5), rtol=1e-6, atol=rounding)


@decorator(check=False)
def of_eight(a, b, c, d, e, f, g, h):
    return a * b - c / (2.0 + d * d) + max(e, f) * g + 3.0 * h


def slope_of_x(g, x, y, z):
    return g * y


def slope_of_y(g, x, y, z):
    return g * x


def slope_of_z(g, x, y, z):
    return 2.0 * g


@decorator(gradient=(slope_of_x, slope_of_y, slope_of_z))
def of_three(x, y, z):
    return x * y + 2.0 * z


@numba
@pytest.mark.gpu
def test_devices_take_eight_operands(device):
    require(device)
    values = [draw(5, 4, 9), draw(9), draw(4, 1), 0.25, draw(5, 4, 9)[:, ::-1], draw(1), draw(5, 1, 9), draw(5, 4, 9)]
    wanted = [weft.Tensor(v.astype("d"), requires_grad=True) if isinstance(v, np.ndarray) else v for v in values]
    given = [weft.Tensor(on(device, v), requires_grad=True) if isinstance(v, np.ndarray) else v for v in values]
    for tensors in (wanted, given):
        of_eight(*tensors).sum().backward()
    np.testing.assert_allclose(of_eight(*given).numpy(), of_eight(*wanted).numpy(), rtol=1e-6, atol=1e-6)
    for ours, cpu in zip(given, wanted):
        if isinstance(cpu, weft.Tensor):
            np.testing.assert_allclose(ours.grad.numpy(), cpu.grad.numpy(), rtol=1e-5, atol=1e-4)
    x, y, z = (weft.Tensor(on(device, draw(6, 7)), requires_grad=True) for _ in range(3))
    of_three(x, y, z).sum().backward()
    for tensor, slope in ((x, y.numpy()), (y, x.numpy()), (z, 2.0)):
        np.testing.assert_allclose(tensor.grad.numpy(), np.broadcast_to(slope, (6, 7)), rtol=1e-6)


@decorator(check=False)
def of_nine(a, b, c, d, e, f, g, h, j):
    return a * b + max(c, d) * e - f / (2.0 + g * g) + h * j


def slope_of_each(G, a, b, c, d, e, f, g, h):
    return 2.0 * G


@decorator(gradient=(slope_of_each,) * 8)
def sum_of_eight(a, b, c, d, e, f, g, h):
    return 2.0 * (a + b + c + d + e + f + g + h)


@decorator(check=False)
def halved_by_nine(a, b, c, d, e, f, g, h, j):
    while a > 1:
        a /= 2 + b * c * d * e * f * g * h * j
    return a


@numba
@pytest.mark.gpu
def test_devices_compute_more_operands_than_a_kernel_takes_by_arrays(device):
    require(device)
    values = [draw(4, 6)[:, ::-1], draw(6), draw(4, 1), 0.25, *[draw(4, 6) for _ in range(5)]]
    wanted = [weft.Tensor(v.astype("d"), requires_grad=True) if isinstance(v, np.ndarray) else v for v in values]
    given = [weft.Tensor(on(device, v), requires_grad=True) if isinstance(v, np.ndarray) else v for v in values]
    for tensors in (wanted, given):
        of_nine(*tensors).sum().backward()
    assert given[0].grad.device == device
    np.testing.assert_allclose(of_nine(*given).numpy(), of_nine(*wanted).numpy(), rtol=1e-6, atol=1e-6)
    for ours, cpu in zip(given, wanted):
        if isinstance(cpu, weft.Tensor):
            np.testing.assert_allclose(ours.grad.numpy(), cpu.grad.numpy(), rtol=1e-5, atol=1e-5)
    with pytest.raises(TypeError, match=r"halved_by_nine: .*test_elementwise.py: line \d+: .*, of at most 8 oper"):
        halved_by_nine(*[given[0].detach()] * 9)
    with pytest.raises(ValueError, match=r"of_nine: expected shapes that broadcast, got .*\(2, 5\)"):
        of_nine(*given[:3], *given[4:], given[0][:2, :5])
    total = sum_of_eight(*given[:3], *given[4:]).sum()
    before = given[0].grad.numpy()
    total.backward()
    np.testing.assert_allclose(given[0].grad.numpy(), before + 2, rtol=1e-6, atol=1e-5)


@decorator(check=False)
def of_numbers(a, b, c, d, e, f, g, h, j):
    if a > b:
        y = c
    elif a > c:
        y = c
    else:
        return 1.0
    return 2.0 * y + (d + e) + f // g + h * j


@numba
@pytest.mark.gpu
@pytest.mark.parametrize("numbers", [(True, True, 7, 0, 1 << 40, 1 << 40), (2**63 - 1, 2**63 - 1, -7, 2, 10**20, 3)])
def test_many_operands_meet_as_floats_whatever_they_are(numbers, device):
    require(device)
    a, b, c = draw(50), draw(50), draw(50)
    found = []
    for lie in (weft.Tensor, lambda v: weft.Tensor(on(device, v))):
        tensor = lie(c)
        tensor.requires_grad = True
        out = of_numbers(lie(a), lie(b), tensor, *numbers)
        out.backward(weft.ones_like(out))
        found.append((out.numpy(), tensor.grad.numpy()))
    for want, got in zip(*found):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_branches_that_leave_the_same_slope_are_registered():
    @weft.elementwise
    def f(a, b):
        if a > b:
            return a * b
        elif a > 0:
            return a
        return 1.0

    assert f(weft.asarray([3.0, 1.0, -2.0]), 2.0).tolist() == [6, 1, 1]


@numba
@pytest.mark.needs("emulator")
def test_linked_kernels_run_under_the_checks_too():
    x = weft.Tensor(on("emulated", draw(3, 50)))
    want = gelu(x).numpy()
    for schedule in ("lifo", "random"):
        with emulator.settings(checked=True, schedule=schedule, seed=5):
            np.testing.assert_array_equal(gelu(x).numpy(), want)


@policy.needs("numba", "numba_cuda", "nvrtc", "nvdisasm")
@pytest.mark.parametrize("capability", [75, 90, pytest.param(80, marks=pytest.mark.slow),
                                        pytest.param(100, marks=pytest.mark.slow),
                                        pytest.param(120, marks=pytest.mark.slow)])  # fmt: skip
def test_for_gpus_the_function_becomes_part_of_the_kernel(capability):
    x = on("emulated", draw(64))
    scalar = gelu.scalar({})
    for made in (scalar, scalar.part(0, 1)[0], of_eight.scalar({})):
        arity = len(made.program.parameters)
        device.run(made.program, (x,) * arity)
        plan = maps.make_plan(device.name_of(made.program), (x,) * arity, None, None, None, (0, 0, 0))
        cubin = plan.kernel.code(capability)
        uses = cubin.resources["map"]
        assert uses.registers <= 64 and not uses.spill_stores + uses.spill_loads + uses.stack, cubin.log
        code = sass(cubin)
        assert "MUFU" in code  # of exp, erf or a quotient, by the GPU's own function
        inlined = [*machine_code(cubin.code)] == ["map"] and b"user_" not in cubin.code and "CALL.ABS" not in code
        assert inlined, "the function's own name or code is left"
        assert not DOUBLE.search(code), "a number of float64 got in"


# -- without Numba, and around -----------------------------------------------------------------------------------------


def halvings(x):
    n = 0.0
    while x > 1:
        x /= 2
        n += 1
    return n + x


def test_without_numba_arrays_compute(monkeypatch):
    monkeypatch.setattr("weft.custom.scalar_op.loops", lambda: None)
    monkeypatch.setattr(device, "usable", lambda where: False)
    plain = Elementwise(winding.function, None, False, None)
    x, y = draw(7, 3), draw(3)
    got = plain(weft.asarray(x), weft.asarray(y)).numpy()
    np.testing.assert_allclose(got, winding.scalar({}, interpreted=True)(x, y), rtol=1e-6)
    half = plain(weft.asarray(x.astype(BF16)), 0.5)
    assert half.dtype == BF16
    op = Elementwise(halvings, None, False, None)
    z = weft.Tensor(np.array([0.5, 3.0, 100.0], "f"), requires_grad=True)
    np.testing.assert_allclose(op(z).numpy(), [0.5, 3 / 4 + 2, 100 / 128 + 7])
    op(z).sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), [1, 1 / 4, 1 / 128])

    def constant(x):
        return 2.0

    twos = Elementwise(constant, None, True, None)(weft.ones((2, 2)))
    np.testing.assert_array_equal(twos.numpy(), np.full((2, 2), 2))


@pytest.mark.needs("emulator")
def test_without_numba_devices_compute_too(monkeypatch):
    monkeypatch.setattr(device, "usable", lambda where: False)
    x = draw(5)
    got = Elementwise(gelu.function, None, False, None)(weft.Tensor(on("emulated", x)))
    np.testing.assert_allclose(got.numpy(), weft.gelu(weft.asarray(x)).numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match=r"halvings: .*line \d+: expected a condition that is one .*weft\[numba\]"):
        Elementwise(halvings, None, False, None)(weft.Tensor(on("emulated", x)))


def test_registering_loads_no_numba():
    code = (
        f"import sys; sys.path.insert(0, {str(EXAMPLE.parent)!r}); import elementwise; print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_decorated_keeps_its_name_and_doc():
    assert winding.__name__ == "winding" and "early returns" in winding.__doc__
    assert repr(gelu).startswith("<elementwise gelu of ") and decorator is weft.elementwise


@numba
def test_the_example_does_what_it_says():
    done = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    losses = [float(v) for v in re.findall(r"loss (\S+)", done.stdout)]
    assert losses[-1] < 0.05 * losses[0]
    assert "serf'(1) = 1.0837" in done.stdout and "serf'''(1) = -0.5894" in done.stdout


@numba
def test_weft_bench_takes_it(capsys, monkeypatch):
    from weft.bench import kernel

    monkeypatch.setattr(kernel, "ELEMENTS", 1000)
    monkeypatch.setattr(kernel, "dtypes", lambda made: ("float32",))
    assert main(["bench", "kernel", f"{EXAMPLE}:serf", "--device", "cpu", "--seconds", "0.01"]) == 0
    assert "serf float32" in capsys.readouterr().out


def test_the_doctor_says_what_compiles(monkeypatch):
    from weft.cli import doctor

    assert doctor.own_functions().what == "numba"
    monkeypatch.setattr(doctor, "version", lambda name: None)
    finding = doctor.own_functions()
    assert finding.state == doctor.NOTE and "NumPy code" in finding.text and "weft[numba]" in finding.mend
