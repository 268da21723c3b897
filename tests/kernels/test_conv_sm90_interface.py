"""conv_sm90: what it refuses, which tile it chooses, what the driver and the compiler are asked for, what comes out."""

from __future__ import annotations

import dataclasses
import re
import sys

import ml_dtypes  # noqa: F401  (makes the dtype known)
import pytest

import policy
import stub_driver
from kernels.sass_checks import asked, compiled, disassemble, in_registers
from stub_driver import FakeArray
from weft.backends import tensor_maps
from weft.backends.gpu import conv_choice
from weft.backends.gpu.conv_problem import FORWARD, INPUT_GRAD, WEIGHT_GRAD
from weft.backends.gpu.conv_sm90 import SM90_CONV, piece_of
from weft.backends.gpu.conv_sm90_configurations import launched, layer
from weft.backends.gpu.gemm_sm90 import TILES

BY_NAME = {tile.name: tile for tile in TILES}
LARGE, PAIR, SMALL = "128x256x64s3c2x1", "256x128x64s4c1x2", "64x64x64s8"


@policy.needs("nvrtc")
def test_launch_on_a_gpu(monkeypatch):
    """What the driver is asked for: columns of 128 pixels by 64 channels, filters in halves for a cluster of two."""
    monkeypatch.delitem(sys.modules, "cupy", raising=False)  # a test before imported it: the stub lacks its streams
    with stub_driver.driven(native=False) as stub:
        tensor_maps.MAPS.clear()
        run = SM90_CONV.prepare(layer(FORWARD, 128, stride=2), BY_NAME[LARGE], 1)
        run(*[FakeArray(i << 30, "bfloat16") for i in (1, 2, 3)], None)
        (launch,) = stub.launches()
        (pixels,) = stub.calls("cuTensorMapEncodeIm2col")
        filters, out = stub.calls("cuTensorMapEncodeTiled")
        tensor_maps.MAPS.clear()
    assert launch["grid"] == [132, 1, 1] and launch["block"] == [384, 1, 1]
    assert launch["attributes"] == {"4": [2, 1, 1]} and launch["shared"] == 213_104
    assert pixels["shape"] == [128, 56, 56, 64] and pixels["strides"] == [256, 256 * 56, 256 * 56 * 56]
    assert (pixels["lower"], pixels["upper"], pixels["steps"]) == ([-1, -1], [-2, -2], [1, 2, 2, 1])
    assert (pixels["channels"], pixels["pixels"]) == (64, 128)
    assert filters["shape"] == [128, 3, 3, 256] and filters["box"] == [64, 1, 1, 128]
    assert out["shape"] == [256, 64 * 28 * 28] and out["box"] == [64, 64]


def refusal(direction=FORWARD, **change):
    convolution = layer(direction, 64)
    names = {field.name for field in dataclasses.fields(convolution.shape)}
    shape = dataclasses.replace(convolution.shape, **{k: v for k, v in change.items() if k in names})
    rest = {k: v for k, v in change.items() if k not in names}
    return SM90_CONV.refusal(dataclasses.replace(convolution, shape=shape, **rest), BY_NAME[LARGE])


def test_refusals():
    """What TMA cannot gather goes to the other kernels, and is said."""
    assert not any(refusal(direction) for direction in (FORWARD, INPUT_GRAD, WEIGHT_GRAD))
    assert "wgmma on sm_80" in refusal(capability=80)
    assert "wgmma on sm_100" in refusal(capability=100)
    assert "float32" in refusal(dtype="float32")
    assert "groups" in refusal(groups=2)
    assert "no multiple of 8" in refusal(channels=3)
    assert "no multiple of 8" in refusal(WEIGHT_GRAD, outputs=4)
    assert "no multiple of 8" in refusal(INPUT_GRAD, channels=20, stride=(2, 1)) and not refusal(channels=20)
    assert "taps 256 pixels apart" in refusal(dilation=(128, 1), out=(1, 56), padding=(100, 1))
    assert "stride 9" in refusal(stride=(1, 9))
    assert "corners -129" in refusal(padding=(0, 129), out=(56, 312))


def test_large_layers_take_this_kernel_and_large_tiles():
    for direction in (FORWARD, INPUT_GRAD, WEIGHT_GRAD):
        for stride in (1, 2):
            name, tile, _ = conv_choice.choose(layer(direction, stride=stride), None, ())
            assert name == "conv_sm90" and tile.tile_m * tile.tile_n >= 128 * 128
    few = layer(FORWARD, 512, 512, images=8, size=7)
    assert conv_choice.choose(few, None, ())[2] > 1, "parts of K for few tiles"
    assert not conv_choice.describe(layer(FORWARD, capability=80)).startswith("conv_sm90")


@pytest.mark.parametrize("channels, piece, of_weights", [
    (8, 8, 8), (16, 16, 16), (24, 32, 8), (32, 32, 32), (48, 64, 16), (64, 64, 64), (96, 32, 32), (256, 64, 64),
])  # fmt: skip
def test_pieces(channels, piece, of_weights):
    assert piece_of(layer(FORWARD, channels)) == piece and piece_of(layer(WEIGHT_GRAD, channels)) == of_weights


# -- what the compiler makes of it ------------------------------------------------------------------------------------

CASES = {
    "forward": (launched(FORWARD, activation="relu"), LARGE, {"4D.IM2COL", "4D.MULTICAST"}),
    "shared pixels": (launched(FORWARD, 32), PAIR, {"4D.IM2COL.MULTICAST", "4D"}),
    "few channels": (launched(FORWARD, 8), SMALL, {"4D.IM2COL", "4D"}),
    "a phase": (launched(INPUT_GRAD, stride=2), SMALL, {"4D.IM2COL", "4D"}),
    "weights": (launched(WEIGHT_GRAD), LARGE, {"4D.IM2COL.MULTICAST", "2D"}),
    "weights, few channels": (launched(WEIGHT_GRAD, 8), PAIR, {"4D.IM2COL", "2D.MULTICAST"}),
}


def made(case):
    columns, name, _ = CASES[case]
    return compiled("conv_sm90.cu", SM90_CONV.defines(columns, BY_NAME[name]))


@pytest.fixture(scope="module")
def at_once(request):
    disassemble([made(case) for (case,) in asked(request, "case")])


@policy.needs("nvrtc", "nvdisasm")
@pytest.mark.parametrize("case", CASES)
def test_instructions(case, at_once):
    """No spills, no waits put in by ptxas, im2col and multicast loads, and a main loop of products alone."""
    columns, _, loads = CASES[case]
    sass = in_registers(made(case), "conv_sm90")
    assert set(re.findall(r"UTMALDG\.(\S+)", sass)) == loads
    assert set(re.findall(r"UTMASTG\.(\S+)", sass)) == {"4D.IM2COL" if columns.phased else "2D"}
    turned = columns.product.direction == WEIGHT_GRAD
    assert ("tnspA" in sass, "tnspB" in sass) == (turned, turned)
    lines = [re.sub(r"/\*.*?\*/", "", line).strip() for line in sass.splitlines()]
    code = [line for line in lines if line and not line.startswith(".")]
    products = [i for i, line in enumerate(code) if "HGMMA" in line]
    loop = code[products[0] : products[-1] + 1]
    forbidden = re.compile(r"\b(MEMBAR|BAR|LDS|STS|LDG|STG|LD|ST|F(ADD|MUL|FMA)|SHFL|VOTE)\b")
    assert not [line for line in loop if forbidden.search(line)]
    assert all("gsb0, 0x1" in line for line in loop if "DEPBAR" in line)
