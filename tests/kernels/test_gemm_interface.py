"""gemm beyond its kernels: views and errors, entries and gradients, the model's choices and measured ones."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest

import policy
import weft
from kernels.gemm_checks import BF16, draw
from weft.backends import emulator
from weft.backends import reference as K
from weft.backends.gpu import gemm_choice, gemm_configurations, gemm_tune, gemm_vendor
from weft.backends.gpu.array import empty, from_host
from weft.backends.gpu.gemm import FAMILIES, explain, gemm
from weft.cli import main

pytestmark = policy.needs("emulator")


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch):
    """An Ampere, default precision, and a cache folder of the test's own for what is measured."""
    monkeypatch.setattr(gemm_tune, "path", lambda: tmp_path / "gemm.json")
    with emulator.settings(arch=80):
        yield
    weft.set_float32_matmul_precision("highest")
    gemm_choice.choose.cache_clear()


# -- what gemm takes


def test_out_by_columns_is_the_transposed_product(rng):
    a, b, r = draw(rng, (33, 20), "f"), draw(rng, (20, 17), "f"), draw(rng, (33, 17), "f")
    for bias in (draw(rng, (17,), "f"), draw(rng, (33, 1), "f")):
        out = empty((17, 33), "f", "emulated").swapaxes(0, 1)
        aux = empty((17, 33), "f", "emulated").swapaxes(0, 1)
        gemm(
            from_host(a), from_host(b), out=out, bias=from_host(bias), aux=aux, residual=from_host(r),
            activation="relu",
        )  # fmt: skip
        np.testing.assert_allclose(out.get(), np.maximum(a @ b + bias, 0) + r, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(aux.get(), a @ b + bias, rtol=1e-4, atol=1e-5)


def test_no_k_leaves_the_epilogue(rng):
    bias, old = draw(rng, (5,), "f"), draw(rng, (3, 5), "f")
    out = from_host(old)
    gemm(empty((3, 0), "f", "emulated"), empty((0, 5), "f", "emulated"), out=out, beta=2.0, bias=from_host(bias))
    np.testing.assert_allclose(out.get(), 2 * old + bias, rtol=1e-6)


def test_strided_both_ways_is_copied(rng):
    a, b = from_host(draw(rng, (12, 40), "f")), from_host(draw(rng, (40, 30), "f"))
    got = gemm(a[::2, ::2], b[::2, ::3])
    np.testing.assert_allclose(got.get(), a.get()[::2, ::2] @ b.get()[::2, ::3], rtol=1e-4, atol=1e-5)


def test_broadcast_rows_and_reversed_rows(rng):
    a, b = from_host(draw(rng, (1, 40), "f")), from_host(draw(rng, (40, 30), "f"))
    got = gemm(a, b[::-1])
    np.testing.assert_allclose(got.get(), a.get() @ b.get()[::-1], rtol=1e-4, atol=1e-5)


def test_many_batch_axes_that_no_two_strides_tell(rng):
    a = from_host(draw(rng, (3, 2, 2, 5, 4), "f")).swapaxes(0, 2)
    b = from_host(draw(rng, (2, 1, 3, 4, 6), "f"))
    np.testing.assert_allclose(gemm(a, b).get(), a.get() @ b.get(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "what,error,words",
    [
        ({"a": (3, 4), "b": (5, 6)}, ValueError, r"gemm: expected \(..., M, K\) and \(..., K, N\), got"),
        ({"a": (2, 3, 4), "b": (3, 4, 6)}, ValueError, "leading axes that broadcast"),
        ({"b_dtype": "d"}, TypeError, "one dtype"),
        ({"out_dtype": "d"}, TypeError, "out_dtype float32, got float64"),
        ({"beta": 1.0}, ValueError, "expected out with beta"),
        ({"bias": (5,)}, ValueError, "expected bias"),
        ({"activation": "swish"}, ValueError, "expected activation of none, relu"),
        ({"residual": (3, 5)}, ValueError, "expected residual of shape"),
        ({"out": (4, 6)}, ValueError, "expected out of shape"),
        ({"kernel": "gemm_best"}, ValueError, "expected a kernel of gemm_simt, gemm_mma"),
        ({"kernel": "gemm_simt/1x1x1"}, ValueError, "no tile 1x1x1"),
        ({"kernel": "gemm_mma"}, ValueError, "set_float32_matmul_precision"),
    ],
)
def test_errors_name_what_was_expected(what, error, words):
    a = empty(what.get("a", (3, 4)), "f", "emulated")
    b = empty(what.get("b", (4, 6)), what.get("b_dtype", "f"), "emulated")
    options = {name: what[name] for name in ("out_dtype", "beta", "activation", "kernel") if name in what}
    arrays = {name: empty(what[name], "f", "emulated") for name in ("bias", "residual", "out") if name in what}
    with pytest.raises(error, match=words):
        gemm(a, b, **options, **arrays)


def test_integers_take_no_scale():
    x = from_host(np.ones((3, 3), np.int32))
    with pytest.raises(ValueError, match="expected alpha 1"):
        gemm(x, x, alpha=0.5)


# -- the entries of matmul and linear


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64", "bool"])
def test_matmul_of_every_rank(dtype, rng):
    dtype = BF16 if dtype == "bfloat16" else np.dtype(dtype)
    shapes = [((5,), (5,)), ((5,), (5, 3)), ((4, 5), (5,)), ((2, 4, 5), (5, 3)), ((2, 1, 4, 5), (3, 5, 3))]
    for left, right in shapes:
        a, b = draw(rng, left, dtype), draw(rng, right, dtype)
        got = K.matmul(from_host(a), from_host(b))
        assert K.matmul.select((got, got)) is not K.matmul.reference
        wide = (np.float64 if dtype.kind in "fV" else dtype)
        want = np.matmul(a.astype(wide), b.astype(wide))
        assert got.shape == want.shape and got.dtype == dtype
        tolerance = {2: 2e-2, 4: 1e-5}.get(dtype.itemsize, 1e-12) if dtype.kind in "fV" else 0
        np.testing.assert_allclose(got.get().astype(wide), want.astype(dtype).astype(wide), rtol=0, atol=tolerance * 5)


@pytest.mark.parametrize("shape", [(7, 12), (2, 3, 12), (12,), (0, 12)])
def test_linear_and_its_gradients_are_the_cpus(shape, rng):
    x, w, b = (draw(rng, s, "f") for s in (shape, (9, 12), (9,)))
    g = draw(rng, (*shape[:-1], 9), "f")
    results = []
    for device in ("cpu", "emulated"):
        tensors = [weft.asarray(v, device=device) for v in (x, w, b)]
        for t in tensors:
            t.requires_grad = True
        y = weft.linear(*tensors)
        y.backward(weft.asarray(g, device=device))
        results.append([y.numpy(), *(t.grad.numpy() for t in tensors)])
    for cpu, gpu in zip(*results):
        np.testing.assert_allclose(gpu, cpu, rtol=1e-4, atol=1e-5)


def test_matmul_and_its_gradients_are_the_cpus(rng):
    a, b = draw(rng, (2, 5, 7), "f"), draw(rng, (7, 4), "f")
    results = []
    for device in ("cpu", "emulated"):
        x, y = (weft.asarray(v, device=device) for v in (a, b))
        x.requires_grad = y.requires_grad = True
        (x @ y).sum().backward()
        results.append([x.grad.numpy(), y.grad.numpy()])
    for cpu, gpu in zip(*results):
        np.testing.assert_allclose(gpu, cpu, rtol=1e-4, atol=1e-5)


# -- the choice


def product(m, n, k, dtype="bfloat16", layout="NT", capability=80, access=16, **options):
    return gemm_configurations.product(dtype, layout, capability, access, m=m, n=n, k=k, **options)


def test_float32_is_ieee_unless_asked():
    x = from_host(np.full((64, 64), 1 + 2.0**-20, np.float32))
    assert weft.which("matmul", x, x).startswith("gpu.matmul: gemm_simt/")
    exact = gemm(x, x).get()
    weft.set_float32_matmul_precision("high")
    assert weft.get_float32_matmul_precision() == "high"
    assert weft.which("matmul", x, x).startswith("gpu.matmul: gemm_mma/")
    assert (gemm(x, x).get() == 64).all() and (exact > 64).all()
    with pytest.raises(ValueError, match="expected highest or high"):
        weft.set_float32_matmul_precision("medium")


def test_the_kernel_follows_generation_and_dtype():
    for capability, dtype, family in (
        (75, "float16", "gemm_mma"), (75, "bfloat16", "gemm_simt"), (80, "bfloat16", "gemm_mma"),
        (90, "bfloat16", "gemm_sm90"), (100, "bfloat16", "gemm_mma"), (90, "float64", "gemm_simt"),
    ):  # fmt: skip
        name = gemm_choice.describe(product(4096, 4096, 4096, dtype, capability=capability, tf32=False))
        assert name.startswith(family + "/"), (capability, dtype, name)


def test_portable_kernels_can_be_forced(monkeypatch):
    monkeypatch.setattr(gemm_choice, "kernels", "portable")
    assert gemm_choice.describe(product(4096, 4096, 4096, capability=90)).startswith("gemm_mma/")


def test_few_tiles_are_cut_along_k_and_many_are_not():
    few = gemm_choice.describe(product(128, 128, 65536))
    assert int(few.split("/")[2]) >= 8
    assert gemm_choice.describe(product(8192, 8192, 8192)).count("/") == 1
    assert gemm_choice.describe(product(4096, 4096, 64)).count("/") == 1


def test_tiles_grow_with_the_product():
    areas = []
    for size in (128, 512, 4096):
        tile = gemm_choice.choose(product(size, size, size), None, gemm_choice.settings())[1]
        areas.append(tile.tile_m * tile.tile_n)
    assert areas == sorted(areas) and areas[0] < areas[-1] >= 128 * 128


def test_skinny_products_take_skinny_tiles():
    tile = gemm_choice.choose(product(8, 4096, 4096), None, gemm_choice.settings())[1]
    assert tile.tile_m <= 32


def test_more_multiprocessors_take_less_time():
    family, tile = FAMILIES["gemm_mma"], FAMILIES["gemm_mma"].configurations[2]
    costs = [gemm_choice.cycles(family, tile, product(4096, 4096, 4096, multiprocessors=c)) for c in (20, 108, 200)]
    assert costs == sorted(costs, reverse=True) and costs[0] > 4 * costs[1]
    assert costs[1] == gemm_choice.cycles(family, tile, product(4096, 4096, 4096))  # an A100 is typical


def test_every_product_has_a_kernel_on_every_generation():
    for capability, dtype, layout, access in itertools.product(
        (75, 80, 86, 89, 90, 100, 120), ("float16", "bfloat16", "float32", "float64", "int32", "bool"), ("NN", "TT"),
        (1, 2, 4, 16),
    ):  # fmt: skip
        for tf32 in (True, False):
            one = product(100, 70, 300, dtype, layout, capability, access, tf32=tf32)
            cost = min(gemm_choice.cycles(FAMILIES[f], c, one, p) for f, c, p in gemm_choice.candidates(one))
            assert 0 < cost < 1e7


def test_cost_grows_with_every_size():
    family, tile = FAMILIES["gemm_mma"], FAMILIES["gemm_mma"].configurations[2]
    base = gemm_choice.cycles(family, tile, product(2048, 2048, 2048))
    for sizes in ((4096, 2048, 2048), (2048, 4096, 2048), (2048, 2048, 4096)):
        assert gemm_choice.cycles(family, tile, product(*sizes)) > 1.5 * base


def test_vendor_is_for_cuda_alone(monkeypatch, rng):
    monkeypatch.setattr(gemm_choice, "kernels", "vendor")
    one = product(512, 512, 512)
    assert gemm_choice.describe(dataclasses.replace(one, device="emulated")).startswith("gemm_mma/")
    assert gemm_choice.describe(one).startswith("vendor/")


def test_vendors_epilogue_is_the_same(monkeypatch, rng):
    """With the emulated device's own product in place of cuBLAS's."""
    a, b, old, r = (from_host(draw(rng, s, "f")) for s in ((20, 12), (12, 16), (20, 16), (20, 16)))
    bias, outs, auxes = from_host(draw(rng, (16,), "f")), [], []
    plain = K.matmul
    for kernel in (None, "vendor"):
        if kernel:
            monkeypatch.setattr(gemm_vendor, "multiply", plain)
            monkeypatch.setattr(gemm_vendor.Vendor, "refusal", lambda self, product, configuration: "")
        for activation in ("relu", "gelu", "gelu_tanh", "silu"):
            out, aux = from_host(old.get()), empty((20, 16), "f", "emulated")
            gemm(
                a, b, out=out, alpha=0.5, beta=2.0, bias=bias, activation=activation, aux=aux, residual=r,
                kernel=kernel,
            )  # fmt: skip
            outs.append(out.get()), auxes.append(aux.get())
    np.testing.assert_allclose(outs[:4], outs[4:], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(auxes[:4], auxes[4:], rtol=1e-4, atol=1e-5)


# -- measured choices


def timer_that_likes(wanted):
    def timer(launch):
        launch()
        return 1e-6 if launch.args == (wanted,) else 2e-6

    return timer


def test_the_measured_best_is_kept_and_used():
    def chosen(dtype):
        return explain(empty((64, 96), dtype, "emulated"), empty((96, 80), dtype, "emulated"))

    before = chosen(BF16)
    names = [gemm_choice.spelled(*c) for c in gemm_choice.candidates(product(64, 80, 96, layout="NN"))]
    wanted = next(name for name in names if name != before and name.startswith(("gemm_mma/32x32", "gemm_mma/64x64")))
    rows = gemm_tune.tune(64, 80, 96, "NN", "bfloat16", "emulated", timer_that_likes(wanted))
    assert rows[0] == (wanted, 1e-6) and len(rows) > 1
    assert chosen(BF16) == wanted
    assert chosen("e") == before  # not measured
    kept = json.loads(gemm_tune.path().read_text())
    assert [list(row.values()) for row in kept.values()] == [[wanted]]
    assert list(kept) == [gemm_tune.identity("emulated")]


def test_another_source_finds_nothing(monkeypatch):
    gemm_tune.tune(64, 80, 96, "NN", "bfloat16", "emulated", lambda launch: 1e-6)
    monkeypatch.setattr(gemm_tune, "source_hash", lambda: "another")
    one = dataclasses.replace(product(64, 80, 96, layout="NN", tf32=False), device="emulated")
    assert gemm_tune.lookup(one) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": {"b": 1}}'])
def test_a_damaged_file_is_refused(text):
    gemm_tune.path().write_text(text)
    with pytest.raises(ValueError, match="expected measured kernels in .*gemm.json.*remove the file"):
        gemm_tune.stored()


def test_tune_at_the_terminal(capsys, monkeypatch):
    from weft.cli import tune

    monkeypatch.setattr(gemm_tune, "events", lambda: lambda launch: launch() or 1e-6)
    monkeypatch.setattr(tune, "DEVICE", "emulated")
    assert main(["tune", "32", "40", "48", "--layout", "TN", "--dtype", "float32"]) == 0
    said = capsys.readouterr().out
    assert "TN float32 32 x 40 x 48" in said and "gemm_simt/" in said and "kept in" in said
    assert main(["tune", "0", "40", "48", "--layout", "TN"]) == 1
    assert "expected sizes of 1 or more" in capsys.readouterr().err
