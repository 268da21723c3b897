"""What the compiler makes of every kernel, on every architecture: no spills, no stack, registers within their ceiling.

A representative part of the table of configurations runs each time, all of it in the slow cases. What single kernels
become in SASS is tested beside them (test_gemm_sass.py and its like); here stand the instructions that each generation
must not be without.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import re

import pytest

import policy
from kernels.sass_checks import LOCAL, SERIALIZED, compiled, disassemble, sass
from weft.backends import compile, nvrtc
from weft.backends.gpu import attention_choice, gemm_configurations
from weft.backends.gpu.configurations import SOURCES, Configuration, configurations
from weft.backends.gpu.gemm_mma import MMA

pytestmark = policy.needs("nvrtc")

CAPABILITIES = (75, 80, 86, 89, 90, 100, 120)

#: Instructions that a kernel's code must hold, by (kernel, capability).
INSTRUCTIONS = {
    ("gemm_sm90", 90): ("HGMMA", "UTMALDG", "UTMASTG", "SYNCS"),
    ("attention_sm90", 90): ("HGMMA", "UTMALDG", "UTMASTG", "SYNCS", "USETMAXREG"),
    ("gemm_mma", 80): ("HMMA", "LDSM", "LDGSTS"),
    ("gemm_mma", 75): ("HMMA", "LDSM"),
    ("gemm_simt", 75): ("FFMA",),
    ("conv_mma", 80): ("HMMA", "LDSM", "LDGSTS"),
    ("attention_mma", 75): ("HMMA", "LDSM"),
    ("attention_mma", 80): ("HMMA", "LDSM", "LDGSTS"),
}


def built(job: tuple[Configuration, int]) -> compile.Cubin:
    configuration, capability = job
    return compiled(configuration.file, configuration.defines, capability)


def faults(jobs: list[tuple[Configuration, int]]) -> list[str]:
    """What is wrong with each of `jobs`, compiled on all cores."""
    found = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for (configuration, _), made in zip(jobs, pool.map(built, jobs)):
            used = made.resources[configuration.kernel]
            spills = used.stack, used.spill_stores, used.spill_loads
            name = f"{made.target} {configuration}"
            if any(spills[1:]) or used.stack > configuration.stack:
                found.append(f"{name}: {spills} bytes of stack, spill stores, spill loads")
            if used.registers > configuration.registers:
                found.append(f"{name}: {used.registers} registers, at most {configuration.registers} expected")
            found += [f"{name}: {line}" for line in made.log.splitlines() if SERIALIZED.search(line)]
    return found


def chosen(kernels: str, capability: int, most: int) -> list[tuple[Configuration, int]]:
    """At most `most` configurations of a row of SOURCES, spread over its table."""
    rows = [c for c in configurations(kernels) if c.runs_on(capability)]
    step = max(1, -(-len(rows) // most))
    # another part of the table for each architecture
    first = step * CAPABILITIES.index(capability) // len(CAPABILITIES)
    return [(c, capability) for c in rows[first::step]]


def every_time(row):
    """Hopper, and in turn Turing, Ampere and the Blackwell that is no data centre's."""
    kernel, capability = row
    return capability in (90, (75, 80, 120)[list(SOURCES).index(kernel) % 3])


@pytest.mark.parametrize(
    "row", policy.mostly_slow(itertools.product(SOURCES, CAPABILITIES), every_time), ids=lambda r: f"{r[0]}-{r[1]}"
)
def test_no_kernel_spills(row):
    kernel, capability = row
    jobs = chosen(kernel, capability, 1)
    if jobs:
        assert nvrtc.target(capability).startswith(f"sm_{capability}")
        assert not faults(jobs)


@pytest.mark.slow
@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("kernel", SOURCES)
def test_no_configuration_spills(kernel, capability):
    assert not faults(chosen(kernel, capability, 1 << 30))


def test_the_host_counts_with_static_shared_memory():
    """It says which tiles fit; with the gap before the dynamic part, which begins at 128 bytes."""
    for job in chosen("attention_mma", 80, 3):
        assert 0 < built(job).resources[job[0].kernel].shared <= attention_choice.HELD
    for dtype in ("float16", "float32"):
        product = gemm_configurations.product(dtype, "TT", 80)
        tile = MMA.configurations[-1]
        made = compiled("gemm_mma.cu", MMA.defines(product, tile), 80)
        assert made.resources["gemm_mma"].shared == MMA.static_bytes(product)


def test_every_capability_runs_something():
    for capability in CAPABILITIES:
        assert any(c.runs_on(capability) for c in configurations())


def test_the_gate_sees_spills(tmp_path):
    """A kernel that spills and takes many registers is told so: the gate can fail."""
    (tmp_path / "k.cu").write_text(
        'extern "C" __global__ void __launch_bounds__(1024, 2) k(float* x) {\n'
        "  float a[96];\n"
        "#pragma unroll\n"
        "  for (int i = 0; i < 96; i++) a[i] = x[i * 1024 + threadIdx.x];\n"
        "  __syncthreads();\n"
        "#pragma unroll\n"
        "  for (int i = 0; i < 96; i++) x[i * 1024 + threadIdx.x] = a[95 - i] * a[i];\n}\n"
    )
    said = faults([(Configuration(str(tmp_path / "k.cu"), "k", {}, 75, 16), 80)])
    assert len(said) == 2 and "spill stores" in said[0] and "at most 16 expected" in said[1]


@pytest.fixture(scope="module")
def at_once():
    disassemble([built(chosen(*case, 1)[0]) for case in INSTRUCTIONS])


@policy.needs("nvdisasm")
@pytest.mark.parametrize("kernel, capability", INSTRUCTIONS, ids=lambda value: str(value))
def test_the_instructions_of_each_generation_are_there(kernel, capability, at_once):
    (job,) = chosen(kernel, capability, 1)
    code = sass(built(job))
    missing = [name for name in INSTRUCTIONS[kernel, capability] if not re.search(rf"\b{name}\b", code)]
    assert not missing, f"{job[0]}"
    assert not LOCAL.search(code), f"{job[0]} keeps values in local memory"
