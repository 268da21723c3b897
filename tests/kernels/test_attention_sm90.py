"""attention_sm90.cu against attention in float64: types, heads, ragged sizes, causal order, layouts."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.array_checks import build, dtype, on, require
from kernels.attention_sm90_checks import (
    TINY,
    attended,
    check,
    check_varlen,
    close,
    draw,
    near,
    problem,
    run,
    weights,
)
from weft.backends import emulator
from weft.backends import reference as K
from weft.backends.gpu import attention_sm90, namespace
from weft.backends.gpu.array import empty
from weft.backends.gpu.attention_sm90 import Tile

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("hopper")]


@pytest.fixture(scope="module", autouse=True)
def built(device):
    """The kernels of the quick cases, on all cores."""
    require(device)
    if device == "emulated":
        wanted = [((1, 1, 1, 1, 1, 128, 128), c, v) for c, v in (("E", None), ("E", 0), ("e", None))]
        wanted += [((1, 1, 1, 200, 1, 64, 64), "E", None)]
        problems = [problem(*case) for case in wanted]
        tiny = [problem((1, 1, 1, 1, 1, 32, 32)), problem((1, 1, 1, 1, 1, 96, 64))]
        with emulator.settings(arch=90):
            build([attention_sm90.compiled(p, attention_sm90.choose(p)) for p in problems]
                  + [attention_sm90.compiled(p, TINY) for p in tiny], device)  # fmt: skip


#: B, H, heads of keys, S, T, D, Dv: two tiles of rows and keys, ragged.
SHAPE = (1, 2, 2, 130, 300, 128, 128)


@pytest.mark.parametrize("char", "Ee")
def test_all_keys(char, device):
    check(SHAPE, device, char=char)


@pytest.mark.parametrize("visible", [1, 171, -60, -129, 299])
def test_causal(visible, device):
    """From the diagonal, with offsets to both sides; rows that see nothing, and a last row that sees nothing."""
    check(SHAPE, device, visible=visible)


def test_three_warpgroups(device):
    assert attention_sm90.choose(problem((1, 1, 1, 192, 64, 64, 64))).consumers == 3
    check((2, 2, 1, 200, 270, 64, 64), device, tile=Tile(3, 128))
    check((2, 2, 1, 200, 270, 64, 64), device, tile=Tile(3, 128), visible=70)


@pytest.mark.parametrize("shape", [
    (2, 6, 2, 65, 33, 32, 32), (1, 4, 1, 129, 97, 32, 32), (3, 1, 1, 1, 1, 32, 32), (1, 2, 2, 64, 32, 32, 32),
    (1, 1, 1, 128, 64, 96, 64), (2, 3, 3, 100, 40, 72, 40), (1, 1, 1, 70, 50, 8, 8), (1, 2, 1, 300, 5, 80, 56),
], ids=str)  # fmt: skip
def test_heads_and_sizes(shape, device):
    """Groups of heads, columns that are filled up, single rows, exact tiles."""
    for visible in (None, 1, shape[4] - shape[3] + 1):
        check(shape, device, tile=TINY, visible=visible)


def test_sections(device, monkeypatch):
    """Heads whose keys do not fit into L2 together are taken in turn."""
    monkeypatch.setattr(attention_sm90, "NEAR", 3 * 40 * 64 * 2)
    check((2, 4, 2, 200, 40, 32, 32), device, tile=TINY, visible=1)
    check((1, 7, 7, 200, 40, 32, 32), device, tile=TINY)


LAYOUTS = {
    "rows before heads": lambda x: on_axes(x, lambda v: v.transpose(0, 2, 1, 3), lambda v: v.transpose(0, 2, 1, 3)),
    "one of three": lambda x: on_axes(x, lambda v: np.stack([v * 0, v, v * 0], 3), lambda v: v[:, :, :, 1]),
    "longer rows": lambda x: on_axes(x, lambda v: np.pad(v, [(0, 0)] * 3 + [(0, 8)]), lambda v: v[..., :-8]),
    "backwards": lambda x: on_axes(x, lambda v: v[:, :, ::-1], lambda v: v[:, :, ::-1]),
}


def on_axes(x, put, take):
    """The values of x in other memory of its device."""
    return take(on(x.device_name, np.ascontiguousarray(put(x.get()))))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, device):
    check((2, 3, 3, 70, 40, 32, 32), device, tile=TINY, lie=LAYOUTS[layout])


def test_repeated_heads_are_copied(device):
    shape = (1, 3, 3, 70, 40, 32, 32)
    q, k, v = draw(np.random.default_rng(), shape, "E")
    k, v = k[:, :1], v[:, :1]
    repeat = lambda x: x if x.shape[1] == 3 else namespace.broadcast_to(x, (1, 3, 40, 32))
    out, _ = run(problem(shape), q, k, v, 0.2, device, tile=TINY, lie=repeat)
    w, _ = weights(q.astype("d"), k.astype("d"), 40, 0.2)
    close(out, attended(w, v.astype("d"), 3), attended(w, np.abs(v.astype("d")), 3))


def test_results_in_the_memory_format_of_queries(device):
    """Rows before heads; what lies beside the result stays as it was."""
    shape = (2, 2, 2, 70, 40, 32, 40)
    q, k, v = draw(np.random.default_rng(), shape, "E")
    whole = on(device, np.full((2, 70, 3, 48), 7, dtype("E")))
    out = whole[:, :, :2, :40].transpose(0, 2, 1, 3)
    got, _ = run(problem(shape), q, k, v, 0.2, device, tile=TINY, out=out)
    w, _ = weights(q.astype("d"), k.astype("d"), 40, 0.2)
    close(got, attended(w, v.astype("d"), 2), attended(w, np.abs(v.astype("d")), 2))
    kept = whole.get().astype("f")
    assert (kept[:, :, 2] == 7).all() and (kept[..., 40:] == 7).all()


@pytest.mark.parametrize("spread", [30.0, 1e-3])
def test_scores_of_any_size(spread, device):
    """Weights that are 0 or 1, whose running maximum rises again and again, and weights that are all alike."""
    check((1, 2, 2, 130, 97, 32, 32), device, tile=TINY, spread=spread)
    check((1, 2, 2, 130, 97, 32, 32), device, tile=TINY, spread=spread, visible=1)


def test_values_that_are_not_numbers_stay_with_their_keys(device):
    shape = (1, 1, 1, 70, 64, 32, 32)
    q, k, v = draw(np.random.default_rng(), shape, "E")
    k[0, 0, 40:] = np.nan  # of keys that no row before number 40 sees
    out, lse = run(problem(shape, visible=1), q, k, v, 0.2, device, tile=TINY)
    assert np.isfinite(out[:, :, :40].astype("f")).all() and np.isfinite(lse[:, :, :40]).all()
    assert np.isnan(out[:, :, 40:64].astype("f")).all() and np.isnan(lse[:, :, 40:64]).all()


def test_more_tiles_than_blocks(device):
    check((3, 4, 2, 300, 70, 32, 32), device, tile=TINY, visible=-20)


LENGTHS = [(130, 97), (1, 1), (0, 5), (64, 32), (70, 0), (200, 33)]


@pytest.mark.parametrize("visible, bottom_right", [(None, False), (1, False), (1, True), (-3, True)])
def test_sequences_of_different_lengths(visible, bottom_right, device):
    """Next to each other: a sequence's values never meet another's, and its rows overwrite nobody's."""
    check_varlen(LENGTHS, device, visible=visible, bottom_right=bottom_right)
    check_varlen(LENGTHS[::-1], device, visible=visible, bottom_right=bottom_right, columns=(64, 40))


@pytest.mark.slow
@pytest.mark.parametrize("head", [64, 128, 256])
def test_sequences_in_every_tile(head, device):
    wide = next(w for w in attention_sm90.TILES if head <= w)
    for tile in attention_sm90.TILES[wide]["full"]:
        check_varlen([(tile.m + 10, tile.n + 7), (5, 9), (70, 100)], device, columns=(head, head), tile=tile)


@pytest.mark.slow
@pytest.mark.parametrize("head", [64, 96, 128, 192, 256])
@pytest.mark.parametrize("char", "Ee")
def test_every_tile(char, head, device):
    wide = next(w for w in attention_sm90.TILES if head <= w)
    for order, tiles in attention_sm90.TILES[wide].items():
        for tile in tiles:
            for visible in (None,) if order == "full" else (1, 40):
                shape = (1, 2, 1, 2 * tile.m + 10, 3 * tile.n + 7, head, head)
                check(shape, device, char=char, visible=visible, tile=tile)


@pytest.mark.parametrize("causal", [False, True])
def test_the_primitive_runs_this_kernel(causal, device, monkeypatch):
    taken, forward = [], attention_sm90.forward
    monkeypatch.setattr(attention_sm90, "forward", lambda call: taken.append(call.problem) or forward(call))
    q, k, v = draw(np.random.default_rng(), (1, 2, 1, 70, 90, 128, 128), "E")
    params = {"scale": 0.1, "causal": causal, "causal_offset": 20, "dropout": 0.0, "seed": 0, "offset": 0}
    out, lse = K.attention(*[on(device, x) for x in (q, k, v)], None, **params)
    q, k, v = (x.astype("d") for x in (q, k, v))
    exact, exact_lse = K.attention.reference(q, k, v, None, **params)
    assert len(taken) == 1 and taken[0].causal == causal
    close(out.get(), exact, K.attention.reference(q, k, np.abs(v), None, **params)[0])
    near(lse.get(), exact_lse, q, k, 0.1)


def test_the_primitive_of_sequences_runs_this_kernel(device, monkeypatch):
    taken, forward = [], attention_sm90.forward
    monkeypatch.setattr(attention_sm90, "forward", lambda call: taken.append(call.problem) or forward(call))
    q, k, v = (x[0].swapaxes(0, 1) for x in draw(np.random.default_rng(), (1, 2, 1, 100, 90, 128, 128), "E"))
    until = np.array([0, 70, 70, 100], np.int32), np.array([0, 33, 40, 90], np.int32)
    params = {"scale": 0.1, "causal": True, "causal_offset": 0, "bottom_right": True, "longest_queries": 70,
              "longest_keys": 50, "dropout": 0.0, "seed": 0, "offset": 0}  # fmt: skip
    out, lse = K.attention_varlen(*[on(device, np.ascontiguousarray(x)) for x in (q, k, v)],
                                  *[on(device, x) for x in until], **params)  # fmt: skip
    q, k, v = (x.astype("d") for x in (q, k, v))
    exact, exact_lse = K.attention_varlen.reference(q, k, v, *until, **params)
    assert len(taken) == 1
    close(out.get(), exact, K.attention_varlen.reference(q, k, np.abs(v), *until, **params)[0])
    np.testing.assert_allclose(lse.get(), exact_lse, rtol=1e-5, atol=1e-5)


def test_what_fits():
    good = (1, 2, 1, 128, 64, 64, 64)
    assert attention_sm90.fits(problem(good, varlen=True, bottom_right=True))
    assert attention_sm90.fits(problem(good)) and attention_sm90.fits(problem(good, "e", visible=1))
    no = [{"capability": 80}, {"capability": 100}, {"mask": "bool"}, {"dropout": True}, {"padded": 0},
          {"head_v": 60}, {"queries": 32}, {"keys": 0}, {"dtype": "float32"}]  # fmt: skip
    for options in no:
        assert not attention_sm90.fits(problem(good, **options)), options


def test_shared_memory_fits():
    for head, kinds in attention_sm90.TILES.items():
        for tiles in kinds.values():
            for tile in tiles:
                assert attention_sm90.shared_bytes(head, head, tile)[0] <= attention_sm90.SHARED, (head, tile)


def test_empty_is_no_memory_of_another(device):
    """Results do not depend on what their memory held."""
    shape = (1, 1, 1, 70, 40, 32, 32)
    q, k, v = draw(np.random.default_rng(), shape, "E")
    seen = set()
    for filling in (0, np.nan):
        out = empty((1, 1, 70, 32), dtype("E"), device)
        out.fill(filling)
        seen.add(run(problem(shape), q, k, v, 0.2, device, tile=TINY, out=out)[0].tobytes())
    assert len(seen) == 1
