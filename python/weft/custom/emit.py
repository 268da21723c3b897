"""A scalar program written as a Python function for Numba to compile: every number in one type, the lines those of the
user's file, so that whatever Numba says of it names them.

No text is run: the function's tree is built here, out of a program that `parse` read from a function of this process.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from weft.custom.scalar import (
    BOOL,
    FLOAT,
    INT,
    OPERATIONS,
    Assign,
    Const,
    For,
    If,
    Program,
    While,
    kind_of,
    kinds_of,
    result_kind,
)

EXPANDED = 16  # integer powers up to this one are products

#: Operations as expressions of their arguments 0, 1, 2; `one`, `zero`, `infinity` are numbers of the float type.
TEMPLATES = {
    "add": "{0} + {1}", "subtract": "{0} - {1}", "multiply": "{0} * {1}", "divide": "{0} / {1}", "negative": "-{0}",
    "abs": "abs({0})", "copy": "{0}", "pow": "{0} ** {1}", "floor_divide": "floor({0} / {1})",
    "sign": "one if {0} > zero else (-one if {0} < zero else {0})",
    "less": "{0} < {1}", "less_equal": "{0} <= {1}", "greater": "{0} > {1}", "greater_equal": "{0} >= {1}",
    "equal": "{0} == {1}", "not_equal": "{0} != {1}", "logical_and": "{0} & {1}", "logical_or": "{0} | {1}",
    "logical_not": "not {0}", "isnan": "{0} != {0}", "isinf": "abs({0}) == infinity", "isfinite": "abs({0}) < infinity",
    "bool": "{0} != {0} * 0", "int": "int({0})", "float": "{0}", "select": "{1} if {0} else {2}",
    "sigmoid": "one / (one + exp(-{0}))", "exp2": "exp({0} * log_of_2)", "log2": "log({0}) * log2_of_e",
}  # fmt: skip
#: Those that take two steps; t is what the first one gave.
STEPS: dict[str, tuple[str, ...]] = {
    "minimum": ("{0} if {0} < {1} else {1}", "{0} if {0} != {0} else {t}"),  # NaN wins
    "maximum": ("{0} if {0} > {1} else {1}", "{0} if {0} != {0} else {t}"),
    "remainder": ("fmod({0}, {1})", "{t} + {1} if {t} * {1} < zero else {t}"),
}
ON_INTEGERS = {"floor_divide": "{0} // {1}", "remainder": "{0} % {1}", "bool": "{0} != 0", "abs": "abs({0})"}


class Writer:
    """Writes the statements of one program; `functions` are what its operations call."""

    def __init__(self, program: Program, dtype: Any, functions: Mapping[str, Any]):
        self.program = program
        self.kinds = kinds_of(program)
        self.float = np.dtype(dtype).type
        self.globals: dict[str, Any] = dict(functions)
        for name, value in {"one": 1, "zero": 0, "infinity": math.inf, "log_of_2": math.log(2),
                            "log2_of_e": 1 / math.log(2)}.items():  # fmt: skip
            self.globals[name] = self.float(value)
        self.globals["real"] = self.float
        self.count = 0

    # -- expressions, as text

    def constant(self, value: Any) -> str:
        """The name of a number of the float type."""
        number = self.float(value)
        name = f"k_{np.asarray(number).tobytes().hex()}"
        self.globals[name] = number
        return name

    def atom(self, one: Any, kind: str) -> str:
        """An atom as a number of `kind`."""
        if isinstance(one, Const):
            return self.constant(one.value) if kind == FLOAT else repr(one.value)
        known = self.kinds[one.name]
        return f"real({one.name})" if kind == FLOAT and known != FLOAT else one.name

    def statement(self, one: Assign) -> list[str]:
        """An assignment as lines of text."""
        kind = result_kind(one, self.kinds)
        taken = kind
        if OPERATIONS[one.operation].result != "same":
            kinds = [kind_of(a, self.kinds) for a in one.args]
            whole = kind == BOOL and FLOAT not in kinds
            taken = (BOOL if BOOL in kinds else INT) if whole else FLOAT
        args = [self.atom(a, taken) for a in one.args]
        if (
            one.operation == "divide"
            and isinstance(one.args[1], Const)
            and one.args[1].value
            and self.float is np.float32
        ):
            return [f"{one.target} = {args[0]} * {self.constant(1 / one.args[1].value)}"]  # a tenth of the time
        if one.operation == "select":
            args[0] = self.atom(one.args[0], BOOL)
        if one.operation == "int" and kind_of(one.args[0], self.kinds) != FLOAT:
            return [f"{one.target} = int({self.atom(one.args[0], INT)})"]
        lines = self.power(one, args) if one.operation == "pow" and kind == FLOAT else None
        if lines is None:
            steps = self.steps(one.operation, taken, len(args))
            lines = []
            temporary = f"{one.target}_step"
            for step in steps[:-1]:
                lines.append(f"{temporary} = {step.format(*args)}")
            lines.append(f"{one.target} = {steps[-1].format(*args, t=temporary)}")
        if self.kinds[one.target] == FLOAT and kind != FLOAT:
            head, _, value = lines[-1].partition(" = ")
            lines[-1] = f"{head} = real({value})"
        return lines

    def steps(self, operation: str, kind: str, count: int) -> tuple[str, ...]:
        """The expressions, one after the other, that an operation on numbers of `kind` is."""
        if kind != FLOAT and operation in ON_INTEGERS:
            return (ON_INTEGERS[operation],)
        if operation in STEPS:
            return STEPS[operation]
        call = f"{operation}({', '.join(f'{{{i}}}' for i in range(count))})"
        return (TEMPLATES.get(operation, call),)

    def power(self, one: Assign, args: Sequence[str]) -> list[str] | None:
        """A power by a small integer as products, by one half as a root; None where it is a general one."""
        exponent = one.args[1].value if isinstance(one.args[1], Const) else None
        if exponent == 0.5:
            return [f"{one.target} = sqrt({args[0]})"]
        if exponent is None or exponent != int(exponent) or abs(exponent) > EXPANDED:
            return None
        n, base, lines = abs(int(exponent)), f"{one.target}_base", []
        lines.append(f"{base} = {args[0]}")
        product = ""
        while n:
            if n & 1:
                lines.append(f"{one.target} = {product} * {base}" if product else f"{one.target} = {base}")
                product = one.target
            n >>= 1
            if n:
                lines.append(f"{base} = {base} * {base}")
        if not product:
            lines.append(f"{one.target} = one")
        if exponent < 0:
            lines.append(f"{one.target} = one / {one.target}")
        return lines

    # -- statements, as trees

    def block(self, body: Sequence[Any]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for one in body:
            if isinstance(one, Assign):
                made = at(one.line, "\n".join(self.statement(one)))
            elif isinstance(one, If):
                made = at(one.line, f"if {self.atom(one.test, BOOL)}:\n pass\nelse:\n pass")
                made[0].body = self.block(one.then) or made[0].body  # type: ignore[attr-defined]
                made[0].orelse = self.block(one.other)  # type: ignore[attr-defined]
            elif isinstance(one, For):
                bounds = ", ".join(self.atom(a, INT) for a in (one.start, one.stop, one.step))
                made = at(one.line, f"for {one.name} in range({bounds}):\n pass")
                made[0].body = self.block(one.body) or made[0].body  # type: ignore[attr-defined]
            elif isinstance(one, While):
                made = at(one.line, f"while True:\n if not ({self.atom(one.test, BOOL)}):\n  break")
                made[0].body = [*self.block(one.before), *made[0].body, *self.block(one.body)]  # type: ignore[attr-defined]
            out += made
        return out

    def result(self) -> str:
        return self.atom(self.program.result, FLOAT)

    def built(self, name: str, parameters: Sequence[str], body: list[ast.stmt]) -> Any:
        """The Python function of these statements."""
        made = at(self.program.line, f"def {name}({', '.join(parameters)}):\n pass")
        made[0].body = body  # type: ignore[attr-defined]
        code = compile(ast.Module(made, []), self.program.file, "exec")
        inner = next(c for c in code.co_consts if isinstance(c, CodeType))
        return FunctionType(inner, {"__name__": __name__, "__builtins__": __builtins__, **self.globals})


def at(line: int, text: str) -> list[ast.stmt]:
    """Statements that all claim to stand on `line`."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):
            node.lineno = node.end_lineno = line  # type: ignore[attr-defined]
    return tree.body


def scalar_function(program: Program, dtype: Any, functions: Mapping[str, Any]) -> Any:
    """The program as a Python function of scalars."""
    writer = Writer(program, dtype, functions)
    body = writer.block(program.body) + at(program.line, f"return {writer.result()}".replace("return", "result =", 1))
    tree = at(program.line, "def f():\n return result")
    body.append(tree[0].body[0])  # type: ignore[attr-defined]
    return writer.built(program.name, program.parameters, body)


def loop_function(program: Program, dtype: Any, functions: Mapping[str, Any], held: int) -> Any:
    """The program over arrays, as a Python function of (count, pointers, strides): the first of each is the result's.

    held: bit k: operand k is one number for all. Strides count elements. Where they are all 1 there is a loop of its
    own, which LLVM turns into vector code.
    """
    writer = Writer(program, dtype, functions)
    operands = range(len(program.parameters))
    moving = [k for k in operands if not held >> k & 1]
    head = ["w_out = w_pointers[0]", "w_step = w_strides[0]"]
    for k in operands:
        head += [f"w_p{k} = w_pointers[{k + 1}]", f"w_s{k} = w_strides[{k + 1}]"]
        if k not in moving:
            head.append(f"w_v{k} = w_p{k}[0]")
    plain = " and ".join(["w_step == 1", *(f"w_s{k} == 1" for k in moving)])
    loops: list[list[ast.stmt]] = []
    for strided in (False, True):
        load = []
        for k in operands:
            where = f"w_p{k}[w_i * w_s{k}]" if strided else f"w_p{k}[w_i]"
            load.append(f"{program.parameters[k]} = {where if k in moving else f'w_v{k}'}")
        loop = at(program.line, "for w_i in range(w_count):\n pass")
        store = f"w_out[w_i * w_step] = {writer.result()}" if strided else f"w_out[w_i] = {writer.result()}"
        loop[0].body = [*at(program.line, "\n".join(load)), *writer.block(program.body), *at(program.line, store)]  # type: ignore[attr-defined]
        loops.append(loop)
    choice = at(program.line, f"if {plain}:\n pass\nelse:\n pass")
    choice[0].body, choice[0].orelse = loops  # type: ignore[attr-defined]
    body = [*at(program.line, "\n".join(head)), *choice]
    return writer.built(program.name, ("w_count", "w_pointers", "w_strides"), body)
