"""What tests of compiled kernels share: their SASS, the loop that multiplies, and what none of them may come to."""

from __future__ import annotations

import bisect
import collections
import itertools
import re
import struct
import subprocess
import tempfile

import policy
from weft.backends import compile, source

#: The code of each kernel of a cubin, by (target, the cubin).
DISASSEMBLED: dict[tuple[str, bytes], dict[str, str]] = {}

#: ptxas: products of wgmma are serialized (C7510 and its like), or registers cannot be handed over.
SERIALIZED = re.compile(r"C75\d\d|serializ|setmaxnreg ignored", re.IGNORECASE)
#: Values in local memory, and arithmetic in float64.
LOCAL = re.compile(r"\b(LDL|STL)\b")
DOUBLE = re.compile(r"\b(DADD|DMUL|DFMA|DSETP|F2F\.F64\S*|MUFU\.\S*64H)\b")


def compiled(file, defines, capability=90):
    return compile.cubin(source.read(file), source.definitions(defines), capability)


def asked(request, *names):
    """What those tests of a file that run are given as parameters by these names, each combination once."""
    items = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    given = [item.callspec.params for item in items if {*names} <= {*item.callspec.params}]
    return list(dict.fromkeys(tuple(map(params.get, names)) for params in given))


def machine_code(cubin):
    """{kernel: its instructions in bytes}: the sections .text.kernel of an ELF file."""
    (table,) = struct.unpack_from("<Q", cubin, 0x28)
    size, count, names = struct.unpack_from("<HHH", cubin, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", cubin, table + i * size) for i in range(count)]
    start = sections[names][4]
    named = [(cubin[start + s[0] : cubin.index(b"\0", start + s[0])].decode(), s[4], s[5]) for s in sections]
    return {name[6:]: cubin[at : at + length] for name, at, length in named if name.startswith(".text.")}


def disassemble(cubins):
    """Have the SASS of these cubins ready: all of a target in one process, which takes half a second to begin."""
    for target in sorted({made.target for made in cubins}):
        wanted = dict.fromkeys(made.code for made in cubins if made.target == target)
        parts = [
            (cubin, kernel, code)
            for cubin in wanted
            if (target, cubin) not in DISASSEMBLED
            for kernel, code in machine_code(cubin).items()
        ]
        if not parts:
            continue
        with tempfile.NamedTemporaryFile(suffix=".bin") as file:
            file.write(b"".join(code for _, _, code in parts))
            file.flush()
            command = [policy.tool("nvdisasm"), "--binary", target.replace("sm_", "SM"), file.name]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        lines = [[] for _ in parts]
        ends = list(itertools.accumulate(len(code) for _, _, code in parts))
        for line in said.splitlines():
            if found := re.match(r"\s+/\*([0-9a-f]{4,})\*/", line):
                lines[bisect.bisect_right(ends, int(found[1], 16))].append(line)
        for (cubin, kernel, _), mine in zip(parts, lines, strict=True):
            DISASSEMBLED.setdefault((target, cubin), {})[kernel] = "\n".join(mine)


def sass(made, kernel=None):
    """The code of a cubin, or of one kernel in it."""
    disassemble([made])
    found = DISASSEMBLED[made.target, made.code]
    return found[kernel] if kernel else "\n".join(found.values())


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
