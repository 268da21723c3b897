"""conv_sm90: what it refuses, which tile it chooses, what the driver and the compiler are asked for, what comes out."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import tempfile

import ml_dtypes  # noqa: F401  (makes the dtype known)
import pytest

import policy
import stub_driver
from policy import needs
from stub_driver import FakeArray
from weft.backends import compile, source, tensor_maps
from weft.backends.gpu import conv_sm90
from weft.backends.gpu.conv_sm90_configurations import forward, input_grad
from weft.backends.gpu.gemm_sm90 import TILES

BY_NAME = {tile.name: tile for tile in TILES}
LARGE, PAIR, SMALL = "128x256x64s3c2x1", "256x128x64s4c1x2", "64x64x64s8"


class Image(FakeArray):
    """A channels-last array (N, C, H, W) that a launch may look at."""

    itemsize = 2

    def __init__(self, pointer, shape):
        super().__init__(pointer, "bfloat16")
        n, c, h, w = self.shape = shape
        self.strides = (2 * h * w * c, 2, 2 * w * c, 2 * c)


@needs("nvrtc")
def test_launch_on_a_gpu():
    """What the driver is asked for: columns of 128 pixels by 64 channels, weights in halves for a cluster of two."""
    columns = dataclasses.replace(forward(128), stride=(2, 2), out_size=(28, 28))
    with stub_driver.driven(native=False) as stub:
        tensor_maps.MAPS.clear()
        run = conv_sm90.ConvSm90(columns).prepare(columns.product, BY_NAME[LARGE], 1)
        x, weight = Image(1 << 30, (64, 128, 56, 56)), Image(2 << 30, (256, 128, 3, 3))
        run(x, weight, Image(3 << 30, (64, 256, 28, 28)), None, None, None)
        (launch,) = stub.launches()
        (pixels,) = stub.calls("cuTensorMapEncodeIm2col")
        weights, out = stub.calls("cuTensorMapEncodeTiled")
        tensor_maps.MAPS.clear()
    assert launch["grid"] == [132, 1, 1] and launch["block"] == [384, 1, 1]
    assert launch["attributes"] == {"4": [2, 1, 1]} and launch["shared"] == 213_104
    assert pixels["shape"] == [128, 56, 56, 64] and pixels["strides"] == [256, 256 * 56, 256 * 56 * 56]
    assert (pixels["lower"], pixels["upper"], pixels["steps"]) == ([-1, -1], [-2, -2], [1, 2, 2, 1])
    assert (pixels["channels"], pixels["pixels"]) == (64, 128)
    assert weights["shape"] == [128, 3, 3, 256] and weights["box"] == [64, 1, 1, 128]
    assert out["shape"] == [256, 64 * 28 * 28] and out["box"] == [64, 64]


def test_refusals():
    """What TMA cannot gather goes to the other kernels, and is said."""
    plain = forward(64)
    wanted = {
        "wgmma on sm_80": {"capability": 80},
        "wgmma on sm_100": {"capability": 100},
        "float32": {"dtype": "float32"},
        "no multiple of 8": {"channels": 60},
        "taps 256 pixels apart": {"dilation": (128, 1)},
        "stride 9": {"stride": (1, 9)},
        "corners": {"first": (0, -129)},
        "31 bits": {"images": 1 << 20},
        "nothing to compute": {"images": 0},
    }
    for words, change in wanted.items():
        assert words in dataclasses.replace(plain, **change).refusal(), words
    assert not plain.refusal()
    assert "multiple of 8" in dataclasses.replace(input_grad(64, 1), outputs=60).refusal()
    with pytest.raises(ValueError, match="expected columns that TMA can gather, got wgmma on sm_80"):
        conv_sm90.compute(None, None, None, None, dataclasses.replace(plain, capability=80))


def test_large_layers_take_large_tiles_and_small_ones_parts():
    tile, parts = conv_sm90.choose(forward(256))
    assert tile.tile_m * tile.tile_n == 128 * 256 and parts == 1
    few = dataclasses.replace(forward(512, 512), images=8, size=(7, 7), out_size=(7, 7))
    assert conv_sm90.choose(few)[1] > 1
    for stride in (1, 2):
        tile, parts = conv_sm90.choose(input_grad(256, stride))
        assert tile.tile_m * tile.tile_n >= 128 * 128 and parts == 1


@pytest.mark.parametrize("channels, width", [(3, 8), (8, 8), (16, 16), (24, 32), (32, 32), (48, 64), (64, 64), (96, 32),
                                             (256, 64)])  # fmt: skip
def test_widths(channels, width):
    assert forward(channels).width == width


# -- what the compiler makes of it ------------------------------------------------------------------------------------

SERIALIZED = re.compile(r"C75\d\d|serializ|setmaxnreg ignored", re.IGNORECASE)
CASES = {
    "forward": (forward(64, activation="relu"), LARGE, ("4D.IM2COL", "4D.MULTICAST"), "2D"),
    "shared pixels": (forward(32), PAIR, ("4D.IM2COL.MULTICAST", "4D"), "2D"),
    "few channels": (forward(8), SMALL, ("4D.IM2COL", "4D"), "2D"),
    "input gradient": (input_grad(64, 1), LARGE, ("4D.IM2COL", "4D.MULTICAST"), "2D"),
    "a phase": (input_grad(64, 2), SMALL, ("4D.IM2COL", "4D"), "4D.IM2COL"),
}


@policy.needs("nvrtc", "cuobjdump")
@pytest.mark.parametrize("case", CASES)
def test_instructions(case):
    """No spills, no waits put in by ptxas, im2col and multicast loads, and a main loop of products alone."""
    columns, name, loads, stores = CASES[case]
    defines = conv_sm90.ConvSm90(columns).defines(columns.product, BY_NAME[name])
    made = compile.cubin(source.read("conv_sm90.cu"), source.definitions(defines), 90)
    used = made.resources["conv_sm90"]
    assert (used.spill_stores, used.spill_loads, used.stack) == (0, 0, 0)
    assert not SERIALIZED.search(made.log), made.log
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.code)
        file.flush()
        command = [policy.tool("cuobjdump"), "-sass", file.name]
        sass = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert not re.search(r"\b(LDL|STL)\b", sass)
    assert set(re.findall(r"UTMALDG\.(\S+)", sass)) == set(loads)
    assert set(re.findall(r"UTMASTG\.(\S+)", sass)) == {stores}
    assert ("tnspB" in sass) == columns.input_grad and "tnspA" not in sass
    lines = [re.sub(r"/\*.*?\*/", "", line).strip() for line in sass.splitlines()]
    code = [line for line in lines if line and not line.startswith(".")]
    products = [i for i, line in enumerate(code) if "HGMMA" in line]
    loop = code[products[0] : products[-1] + 1]
    forbidden = re.compile(r"\b(MEMBAR|BAR|LDS|STS|LDG|STG|LD|ST|F(ADD|MUL|FMA)|SHFL|VOTE)\b")
    assert not [line for line in loop if forbidden.search(line)]
    assert all("gsb0, 0x1" in line for line in loop if "DEPBAR" in line)
