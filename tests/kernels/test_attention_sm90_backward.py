"""attention_sm90_backward.cu: gradients against float64, the same bits in every schedule, a report of every bug."""

from __future__ import annotations

import re

import numpy as np
import pytest

import policy
from kernels.array_checks import build, on, require
from kernels.attention_sm90_checks import TINY_BACKWARD, check_backward, draw, gradients, problem
from kernels.checked import caught, same_bits
from kernels.sass_checks import asked, compiled, disassemble, in_registers, instructions
from kernels.test_attention_sm90 import LAYOUTS
from weft.backends import emulator
from weft.backends import reference as K
from weft.backends.gpu import attention_sm90_backward as backward
from weft.backends.gpu.attention_sm90_backward import Tile

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("hopper")]
#: B, H, heads of keys, S, T, D, Dv: two tiles of everything, ragged.
SHAPE = (1, 2, 1, 150, 140, 32, 32)


@pytest.fixture(scope="module", autouse=True)
def built(device):
    """The kernels of the quick cases, on all cores."""
    require(device)
    if device == "emulated":
        large, tiny = problem((1, 1, 1, 1, 1, 128, 128)), problem((1, 1, 1, 1, 1, 32, 32))
        with emulator.settings(arch=90):
            build([backward.compiled(large, k, backward.tile_of(128, 128, k)) for k in (True, False)]
                  + [backward.compiled(tiny, not i, t) for i, t in enumerate(TINY_BACKWARD)], device)  # fmt: skip


@pytest.mark.parametrize("visible", [None, 1, 30])
def test_shipped_tiles(visible, device):
    check_backward((1, 2, 1, 200, 180, 128, 128), device, visible=visible)


@pytest.mark.parametrize("visible", [None, 1, 41, -60, -149])
def test_causal(visible, device):
    """From the diagonal, with offsets to both sides; rows that see nothing, keys that nobody sees."""
    check_backward(SHAPE, device, tiles=TINY_BACKWARD, visible=visible)


@pytest.mark.parametrize("shape", [
    (2, 6, 2, 65, 64, 32, 32), (3, 1, 1, 1, 1, 32, 32), (1, 2, 2, 64, 128, 32, 32), (2, 3, 3, 100, 70, 24, 32),
    (1, 4, 1, 33, 200, 32, 8),
], ids=str)  # fmt: skip
def test_heads_and_sizes(shape, device):
    """Groups of heads, columns that are filled up, single rows, exact tiles."""
    for visible in (None, 1, shape[4] - shape[3] + 1):
        check_backward(shape, device, tiles=TINY_BACKWARD, visible=visible)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, device):
    check_backward((2, 3, 3, 70, 64, 32, 32), device, tiles=TINY_BACKWARD, lie=LAYOUTS[layout])


def test_sections(device, monkeypatch):
    """Heads whose keys do not fit into L2 together are taken in turn."""
    monkeypatch.setattr(backward, "NEAR", 3 * 140 * 64 * 2)
    check_backward((2, 4, 2, 150, 140, 32, 32), device, tiles=TINY_BACKWARD, visible=1)


@pytest.mark.slow
@pytest.mark.parametrize("char", "Ee")
@pytest.mark.parametrize("head", [64, 96, 128])
def test_every_width(head, char, device):
    for visible in (None, 1, 40):
        check_backward((1, 2, 1, 270, 290, head, head), device, char=char, visible=visible)


@pytest.mark.parametrize("causal", [False, True])
def test_the_primitive_runs_this_kernel(causal, device, monkeypatch):
    taken, run = [], backward.run
    monkeypatch.setattr(backward, "run", lambda work: taken.append(work) or run(work))
    rng = np.random.default_rng()
    q, k, v = draw(rng, (1, 2, 1, 70, 90, 128, 128), "E")
    g = rng.standard_normal(q.shape).astype(q.dtype)
    params = {"scale": -0.1, "causal": causal, "causal_offset": 20, "dropout": 0.0, "seed": 0, "offset": 0}
    placed = [on(device, x) for x in (q, k, v)]
    out, lse = K.attention(*placed, None, **params)
    found = K.attention_backward(on(device, g), *placed, None, out, lse, **params)
    assert len(taken) == 1
    exact = gradients(q, k, v, g, 21 if causal else 90, -0.1, None)
    for got, e in zip(found, exact, strict=True):
        np.testing.assert_allclose(got.get().astype("d"), e, atol=0.02 * np.abs(e).max())


def test_what_fits():
    good = (1, 2, 1, 128, 64, 64, 64)
    assert backward.fits(problem(good)) and backward.fits(problem(good, "e", visible=1))
    for options in ({"varlen": True}, {"head": 256}, {"head": 60}, {"keys": 32}, {"dropout": True}, {"capability": 80}):
        assert not backward.fits(problem(good, **options)), options


@pytest.mark.parametrize("tiles", [TINY_BACKWARD, (Tile(32, 3), Tile(32, 3))], ids=["two stages", "three stages"])
def test_no_report_and_the_same_bits(tiles, device):
    if device != "emulated":
        pytest.skip("checks are the emulated device's")
    run = lambda: check_backward(SHAPE, device, tiles=tiles, visible=1, seed=1)
    same_bits(run, arch=90, seed=3, multiprocessors=2)


# -- bugs -------------------------------------------------------------------------------------------------------------

NEXT = "    if (step > 1) mbarrier_wait(shared + FULL_AT + 8 * next.stage, next.phase);\n"
RELEASE = "    if (previous != 0 && lane == 0) mbarrier_arrive(previous);\n"
#: what is wrong -> (text, its replacement), and what is said of it where. That products wait for a block's own rows
#: cannot be tested: whoever waited for a later load counts as having waited for them.
BUGS = {
    "stages are loaded over those that are read": (
        ("    mbarrier_wait(shared + EMPTY_AT + 8 * at.stage, at.phase ^ 1);\n    mbarrier_arrive_expect_tx",
         "    mbarrier_arrive_expect_tx"),
        {"checked late": "", "checked early": "more arrivals|race|in flight"}),
    "numbers too": (
        ("    mbarrier_wait(shared + EMPTY_AT + 8 * at.stage, at.phase ^ 1);\n    for", "    for"),
        {"checked late": "", "checked early": "more arrivals|race|deadlock"}),
    "products start before rows have come": ((NEXT, ""), {"checked late": "wgmma of shared|in flight|race"}),
    "scores are read before their product ends": (
        ("    wgmma_wait<1>();  // for s", "    wgmma_wait<2>();  // for s"), {"fast late": ""}),
    "gradients are read before their product ends": (
        ("    wgmma_wait<OF_KEYS>();  // for d\n", "    wgmma_wait<2>();\n"), {"fast late": ""}),
    "a stage is released while it is read": (
        ("    wgmma_fence();\n    multiply_rows", RELEASE + "    previous = 0;\n    wgmma_fence();\n    multiply_rows"),
        {"checked late": "wgmma of shared|race"}),
    "sums are stored before their product ends": (
        ("  wgmma_wait<0>();\n  wgmma_hold(sums_x);", "  wgmma_hold(sums_x);"), {"fast late": ""}),
    "results overwrite rows that are still read": (
        ("  bar_sync(1 + warpgroup, 128);\n  const float scale", "  const float scale"), {"checked late": "race"}),
    "results are not fenced for TMA": (
        ("  fence_proxy_async();\n", ""), {"checked late": "without fence_proxy_async"}),
    "TMA stores before all have written": (
        ("  fence_proxy_async();\n  bar_sync(1 + warpgroup, 128);\n", "  fence_proxy_async();\n"),
        {"checked late": "race"}),
    "the block ends before its stores": (("    bulk_wait<0>();\n", ""), {"fast late": "before the thread exits"}),
    "the diagonal is one further": (("8 * j + i < bound", "8 * j + i < bound - 1"), {"fast late": ""}),
    "a tile of queries is left out": (
        ("max(0, row - p.visible + 1) / TILE_N", "(max(0, row - p.visible + 1) + TILE_N) / TILE_N"), {"fast late": ""}),
    "a head of the group counts twice": (("head * p.group + i", "head * p.group"), {"fast late": ""}),
    "deltas of the wrong columns": (("numbers + TILE_N + 8 * j", "numbers + TILE_N + 8 * (j ^ 1)"), {"fast late": ""}),
}  # fmt: skip
QUICK = list(BUGS)[::3]


@pytest.mark.parametrize("bug", [pytest.param(bug, marks=[pytest.mark.slow] * (bug not in QUICK)) for bug in BUGS])
def test_bugs_are_caught(patched, bug, device):
    if device != "emulated":
        pytest.skip("checks are the emulated device's")
    (text, replacement), said = BUGS[bug]
    patched("attention_sm90_backward.cu", text, replacement)
    run = lambda: check_backward(SHAPE, device, tiles=TINY_BACKWARD, visible=1, seed=1)
    caught(run, said, arch=90, multiprocessors=2)


# -- the compiler -----------------------------------------------------------------------------------------------------


def made(head, of_keys):
    tile = backward.tile_of(head, head, of_keys)
    return compiled("attention_sm90_backward.cu", backward.defines("bfloat16", head, head, of_keys, tile))


@pytest.fixture(scope="module")
def at_once(request):
    disassemble([made(*case) for case in asked(request, "head", "of_keys")])


@policy.needs("nvrtc", "nvdisasm")
@pytest.mark.parametrize("of_keys", [True, False])
@pytest.mark.parametrize("head", [64, 128])
def test_instructions(head, of_keys, at_once):
    """No spills; in the main loop no product is waited for before there is work to do behind it."""
    sass = in_registers(made(head, of_keys), "attention_sm90_backward")
    for name in ("UTMALDG.4D", "UTMASTG.4D", "USETMAXREG", "STSM", "MUFU.EX2", "tnspB"):
        assert name in sass, name
    assert ("LDGSTS" in sass) == of_keys
    kinds = r"(@!?U?P\d )?(HGMMA\S*|WARPGROUP.DEPBAR\S* \S* 0x\d|MUFU.EX2)"
    marks = [m[0] for m in (re.match(kinds, words) for _, words in instructions(sass)) if m]
    names = [re.sub(r"^@\S+ ", "", m).split(".")[0] + (m[-3:] if "DEPBAR" in m else "") for m in marks]
    runs = [name for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    first = "".join({"HGMMA": "P", "MUFU": "e", "WARPGROUP0x1": "1", "WARPGROUP0x0": "0"}[n] for n in runs)
    # products, a wait for the first, exponentials, (a product,) a wait for the second, a product ...
    assert first.startswith("P1eP1P" if of_keys else "P1e0P"), first
