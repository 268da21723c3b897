"""Kernel sources: where they lie, what they include, and the C declarations of the kernels in them."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', re.MULTILINE)
COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|("(?:\\.|[^"\\\n])*")', re.DOTALL)
WORD = re.compile(r"[A-Za-z_]\w*")


def folder(name: str) -> Path:
    """`kernels` or `csrc/emulator`: inside an installed package, else in the checkout around it."""
    for root in (PACKAGE, PACKAGE.parent.parent):
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(f"kernel sources: expected the folder {name} in {PACKAGE} or beside it, got neither")


class Source(NamedTuple):
    """A kernel file and every local file that it includes, directly or not."""

    path: Path
    text: str
    includes: tuple[tuple[str, str], ...]
    """(name as the includer writes it, text), in the order in which they are met."""
    written: bool = False
    """Whether the text was written in a program: `path` tells where, and is not what to compile."""

    def texts(self) -> list[str]:
        return [self.text, *(text for _, text in self.includes)]


def read(file: str, *, emulated: bool = False) -> Source:
    """The source `file` of kernels/ with its includes; those of the emulated device lie in csrc/emulator.

    An include that lies in neither folder is left to the compiler, which names it if it is needed.
    """
    folders = [folder("kernels")] + ([folder("csrc/emulator")] if emulated else [])
    path = folders[0] / file
    if not path.is_file():
        known = ", ".join(sorted(p.name for p in folders[0].glob("*.cu")))
        raise FileNotFoundError(f"kernel: expected a file of {folders[0]} ({known}), got {file!r}")
    return with_includes(path, path.read_text(), folders)


def of_text(text: str, path: Path, *, emulated: bool = False) -> Source:
    """A source that a program holds as text, written in the file `path`, beside which its includes may lie."""
    folders = [folder("kernels")] + ([folder("csrc/emulator")] if emulated else [])
    return with_includes(path, text, folders)._replace(written=True)


def with_includes(path: Path, text: str, folders: list[Path]) -> Source:
    found: dict[str, tuple[Path, str]] = {}
    gather(path, text, folders, found)
    return Source(path, text, tuple((name, text) for name, (_, text) in found.items()))


def gather(includer: Path, text: str, folders: list[Path], found: dict[str, tuple[Path, str]]) -> None:
    """Add to `found` what `text`, of the file `includer`, includes: by the name that is written, (path, text)."""
    for name in INCLUDE.findall(text):
        path = next((p for root in (includer.parent, *folders) if (p := root / name).is_file()), None)
        if name in found and path is not None and not path.samefile(found[name][0]):
            raise ValueError(f"{includer}: expected one file by the name {name}, got {found[name][0]} and {path}")
        if name not in found and path is not None:
            found[name] = path, path.read_text()
            gather(path, found[name][1], folders, found)


#: How scalars travel, by C type: the code of Python's struct module and the size in bytes.
SCALARS = {
    "bool": ("?", 1),
    "int": ("i", 4),
    "signed": ("i", 4),
    "signed int": ("i", 4),
    "unsigned": ("I", 4),
    "unsigned int": ("I", 4),
    "long": ("q", 8),
    "unsigned long": ("Q", 8),
    "size_t": ("Q", 8),
    "long long": ("q", 8),
    "long long int": ("q", 8),
    "unsigned long long": ("Q", 8),
    "unsigned long long int": ("Q", 8),
    "float": ("f", 4),
    "double": ("d", 8),
}

#: Element types whose arrays are checked, by C type: the dtype characters that may lie behind such a pointer.
#: Bytes, vectors and types of a kernel's own are read as they come.
POINTEES = {
    "float": "f",
    "tf32": "f",
    "double": "d",
    "f16": "e",
    "bf16": "E",
    "int": "iI",
    "unsigned": "iI",
    "unsigned int": "iI",
    "long long": "lLqQ",
    "unsigned long long": "lLqQ",
    "bool": "?B",
}

def definitions(defines: dict[str, Any]) -> dict[str, str]:
    """What the preprocessor is given: True is 1, False is 0, anything else as it prints."""
    return {name: str(int(v)) if isinstance(v, bool) else str(v) for name, v in defines.items()}


POINTER, TENSOR_MAP, STRUCT = "P", "T", "S"


class Parameter(NamedTuple):
    """One parameter of a kernel, as its C declaration has it."""

    name: str
    type: str
    kind: str
    """P pointer, T tensor map, S struct by value, or the struct code of a scalar (SCALARS)."""
    size: int
    """Bytes; 0 for a struct, whose size only the compiler knows."""
    dtypes: str
    """Of a pointer: the dtype characters it takes; "" takes all."""


@lru_cache(maxsize=1024)
def without_comments(text: str) -> str:
    return COMMENT.sub(lambda match: match.group(1) or " ", text)


def signature(source: Source, name: str, defines: dict[str, str]) -> tuple[Parameter, ...]:
    """The parameters of the kernel `name`, with `defines` put in place. LookupError names those there are."""
    for text in map(without_comments, source.texts()):
        match = re.search(rf"__global__\b[^;{{}}]*?\b{re.escape(name)}\s*\(", text)
        if match:
            end = closing(text, match.end())
            # Whole parameters that a define holds, such as map.cu's; a type's name may also be that of a parameter.
            lists = {name: value for name, value in defines.items() if value[:1] in ("", ",")}
            words = split(substitute(text[match.end() : end], lists))
            return tuple(parameter(declared, defines) for declared in words if declared != "void")
    names = re.findall(r"EXPORT_KERNEL\((\w+)\)", source.text)
    raise LookupError(f"kernel: expected one of {', '.join(names) or 'none'} of {source.path.name}, got {name!r}")


def closing(text: str, start: int) -> int:
    """Where the bracket that was opened just before `start` closes."""
    depth = 1
    for at in range(start, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return at
    raise ValueError("kernel: expected its parameters to end with ')', got the end of the file")


def split(text: str) -> list[str]:
    """The parts of `text` between the commas that lie in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "(<[") - (letter in ")>]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def parameter(words: str, defines: dict[str, str]) -> Parameter:
    """The parameter that `words` declare."""
    declared, name, array = re.fullmatch(r"(.*?)(\w+)\s*(\[[^\]]*\])?", words, re.DOTALL).groups()  # type: ignore[union-attr]
    type_ = substitute(declared, defines)
    type_ = " ".join(re.sub(r"\b(const|volatile|__restrict__|__grid_constant__)\b", " ", type_).split())
    if "*" in type_ or array:
        pointee = type_.replace("*", "", 1).strip()
        return Parameter(name, f"{pointee}*", POINTER, 8, POINTEES.get(pointee, ""))
    if type_ == "TensorMap":
        return Parameter(name, type_, TENSOR_MAP, 128, "")
    kind, size = SCALARS.get(type_, (STRUCT, 0))
    return Parameter(name, type_, kind, size, "")


def substitute(text: str, defines: dict[str, str]) -> str:
    """`text` with every word that `defines` knows replaced, until nothing changes (a word that names itself stays)."""
    for _ in range(len(defines) + 1):
        replaced = WORD.sub(lambda match: defines.get(match.group(), match.group()), text)
        if replaced == text:
            break
        text = replaced
    return text
