"""What attention_sm90 becomes on sm_90a: no spills, Hopper's instructions, and the softmax behind the products."""

from __future__ import annotations

import re

import pytest

import policy
from kernels.sass_checks import SERIALIZED, asked, disassemble, in_registers, instructions
from kernels.sass_checks import compiled as of_file
from weft.backends import compile, source
from weft.backends.gpu.attention_sm90 import TILES, defines

pytestmark = policy.needs("nvrtc", "nvdisasm")
KERNEL = "attention_sm90.cu"
CASES = [(64, "bfloat16", "causal", 0), (64, "float16", "full", 1), (128, "bfloat16", "causal", 0),
         (128, "bfloat16", "full", 0), (256, "bfloat16", "full", 0)]  # fmt: skip


def made(head, dtype, order, i):
    return of_file(KERNEL, defines(dtype, head, head, TILES[head][order][i]))


@pytest.fixture(scope="module", autouse=True)
def at_once(request):
    disassemble([made(*case) for (case,) in asked(request, "case")])


def compiled(*case):
    """The SASS of a tile."""
    return in_registers(made(*case), "attention_sm90")


def main_loop(code):
    """The innermost loop with both products in it."""
    found = []
    for at, text in code:
        jump = re.search(r"BRA\S* .*?(0x[0-9a-f]+)", text)
        if jump and int(jump[1], 16) < at:
            body = [line for place, line in code if int(jump[1], 16) <= place <= at]
            kinds = {"gdesc" in line and "tnspB" in line for line in body if "HGMMA" in line}
            if kinds == {False, True}:
                found.append(body)
    return min(found, key=len)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_instructions(case):
    sass = compiled(*case)
    head, dtype, order, i = case
    kind = ".BF16" if dtype == "bfloat16" else ""
    assert f"HGMMA.64x{TILES[head][order][i].n}x16.F32{kind} " in sass and f"HGMMA.64x{head}x16.F32{kind} " in sass
    for name in ("UTMALDG.4D", "UTMASTG.4D", "USETMAXREG", "SYNCS", "STSM", "MUFU.EX2", "tnspB"):
        assert name in sass, name
    assert sass.count("USETMAXREG") == 2


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_softmax_runs_behind_the_product_of_the_values(case):
    """In the main loop: scores are waited for with one product under way, and all exponentials but those that scale
    the sums stand before the wait for it; weights and sums are touched behind it."""
    head, _, order, i = case
    tile, body = TILES[head][order][i], main_loop(instructions(compiled(*case)))
    at = lambda words: [k for k, line in enumerate(body) if re.search(words, line)]
    (scores,), (sums,) = at(r"DEPBAR\.LE gsb0, 0x1"), at(r"DEPBAR\.LE gsb0, 0x0")
    assert scores < sums
    exponentials = [k for k in at(r"MUFU\.EX2") if scores < k < sums]
    assert len(exponentials) >= tile.n // 2
    assert not [k for k in at(r"F2FP") if k < sums]
    products = at("HGMMA")
    assert len(products) == head // 16 + tile.n // 16 and max(products) < scores
    assert sum("gsb0" in body[k] for k in products) == 2, "one group each"
    assert len(at(r"BAR\.SYNC")) == len(at(r"BAR\.ARV")) == int(tile.turns)
    assert not at(r"\b(LDS|STS|LDG|STG|LD|ST|MEMBAR|CALL)\b")


@pytest.mark.parametrize("wait", ["<1>", "<0>"])
def test_ptxas_tells_of_a_missing_wait(wait):
    """A bug that the emulated device finds by values alone has its message in the compiler's log."""
    whole = source.read(KERNEL)
    hold = "wgmma_hold(s);" if wait == "<1>" else "wgmma_hold(sums);"
    text = f"        wgmma_wait{wait}();\n        {hold}"
    assert text in whole.text
    without = whole._replace(text=whole.text.replace(text, f"        {hold}"))
    which = defines("bfloat16", 64, 64, TILES[64]["full"][1])
    assert SERIALIZED.search(compile.cubin(without, source.definitions(which), 90).log)
