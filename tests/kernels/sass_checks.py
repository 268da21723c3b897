"""What tests of compiled kernels share: their SASS, the loop that multiplies, and what none of them may come to."""

from __future__ import annotations

import collections
import re
import subprocess
import tempfile

import policy
from weft.backends import compile, source

#: ptxas: products of wgmma are serialized (C7510 and its like), or registers cannot be handed over.
SERIALIZED = re.compile(r"C75\d\d|serializ|setmaxnreg ignored", re.IGNORECASE)
#: Values in local memory, and arithmetic in float64.
LOCAL = re.compile(r"\b(LDL|STL)\b")
DOUBLE = re.compile(r"\b(DADD|DMUL|DFMA|DSETP|F2F\.F64\S*|MUFU\.\S*64H)\b")


def compiled(file, defines, capability=90):
    return compile.cubin(source.read(file), source.definitions(defines), capability)


def sass(made, kernel=None):
    """The code of a cubin, or of one kernel in it."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.code)
        file.flush()
        command = [policy.tool("cuobjdump"), "-sass", *(["-fun", kernel] if kernel else []), file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def instructions(code):
    """[(address, words)] of SASS."""
    return [(int(at, 16), words) for at, words in re.findall(r"/\*([0-9a-f]{4,})\*/\s+([^;]+);", code)]


def in_registers(made, kernel):
    """The SASS of a kernel whose values all stay in registers, and whose products do not wait for each other."""
    used, code = made.resources[kernel], sass(made)
    assert (used.spill_stores, used.spill_loads, used.stack) == (0, 0, 0)
    assert not SERIALIZED.search(made.log), made.log
    assert not LOCAL.search(code)
    return code


def main_loop(file, defines, capability):
    """How often each instruction stands in the loop that multiplies, and the whole code's."""
    code = instructions(sass(compiled(file, defines, capability)))
    names = [re.sub(r"^@!?U?P\w+\s+", "", words).split()[0] for _, words in code]
    places = {at: i for i, (at, _) in enumerate(code)}
    loops = []
    for i, (at, words) in enumerate(code):
        jump = re.search(r"\bBRA\b.*?0x([0-9a-f]+)", words)
        if jump and int(jump[1], 16) < at and int(jump[1], 16) in places:
            loops.append(collections.Counter(name.split(".")[0] for name in names[places[int(jump[1], 16)] : i + 1]))
    multiplications = [sum(loop[name] for name in ("HMMA", "FFMA", "DFMA")) for loop in loops]
    return loops[multiplications.index(max(multiplications))], collections.Counter(names)
