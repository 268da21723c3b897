"""A scalar Python function read into a program, without being run; what cannot be read is named with file and line.

The part of Python that is understood: numbers, arithmetic, comparisons, `and`, `or`, `not`, conditional expressions,
`if`, `for ... in range(...)`, `while`, assignment, and calls: of `math`, of NumPy's and Weft's functions of the same
names, of `abs`, `min`, `max`, and of other scalar functions. Global names and those of an enclosing function must be
numbers, modules or functions, and count as they are when the function is registered.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import itertools
import textwrap
from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from weft.custom.scalar import FOLDED, OPERATIONS, Assign, Const, For, If, Program, Var, While

BINARY = {
    ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide", ast.FloorDiv: "floor_divide",
    ast.Mod: "remainder", ast.Pow: "pow",
}  # fmt: skip
COMPARE = {
    ast.Lt: "less", ast.LtE: "less_equal", ast.Gt: "greater", ast.GtE: "greater_equal", ast.Eq: "equal",
    ast.NotEq: "not_equal",
}  # fmt: skip
#: Names of functions that differ from the operation's own.
OTHER_NAMES = {
    "fabs": "abs", "absolute": "abs", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh",
    "arccosh": "acosh", "arctanh": "atanh", "arctan2": "atan2", "power": "pow", "mod": "remainder", "rint": "round",
    "where": "select", "true_divide": "divide", "min": "minimum", "max": "maximum", "neg": "negative",
}  # fmt: skip


class NotScalar(TypeError):
    """A function is not one that can be compiled; the message names its file and line."""


def parse(function: Callable[..., Any], constants: Mapping[str, Any] | None = None) -> Program:
    """The program of `function`; keyword-only parameters have the values of `constants`, else their defaults."""
    return Reader(function, dict(constants or {}), itertools.count(), ()).program()


def tree_of(function: Any) -> tuple[ast.FunctionDef, str]:
    """The syntax tree of a function, with the line numbers of its file, and the file."""
    code = function.__code__
    where = f"{code.co_filename}:{code.co_firstlineno}"
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, SyntaxError):
        raise NotScalar(f"elementwise: {where}: expected a function whose source is in a file, got none") from None
    ast.increment_lineno(tree, first - 1)
    found = tree.body[0]
    if not isinstance(found, ast.FunctionDef):
        raise NotScalar(f"elementwise: {where}: expected a function made by def, got a lambda")
    return found, code.co_filename


class Reader:
    """Reads one function; functions that it calls are read by Readers of their own into the same program."""

    def __init__(self, function: Any, constants: dict[str, Any], numbers: Any, outer: tuple[Any, ...]):
        self.function = function
        self.tree, self.file = tree_of(function)
        self.line = self.tree.lineno
        self.numbers = numbers
        self.outer = (*outer, function)
        self.prefix = "" if not outer else f"{function.__name__}_{next(numbers)}_"
        self.known: set[str] = set()  # names that have a value on every path to here
        self.body: list[Any] = []
        self.constants = self.keyword_constants(constants)

    def error(self, words: str, node: Any = None) -> NotScalar:
        line = getattr(node, "lineno", self.line)
        return NotScalar(f"elementwise: {self.function.__name__}: {self.file}:{line}: {words}")

    def keyword_constants(self, given: dict[str, Any]) -> dict[str, Any]:
        arguments = self.tree.args
        if arguments.vararg or arguments.kwarg or arguments.defaults:
            raise self.error("expected plain parameters, and keyword-only ones for constants (*, k=1.0), got others")
        defaults = self.function.__kwdefaults__ or {}
        names = [a.arg for a in arguments.kwonlyargs]
        unknown = [name for name in given if name not in names]
        values = {name: given.get(name, defaults.get(name)) for name in names}
        missing = [name for name, value in values.items() if not isinstance(value, (bool, int, float, np.generic))]
        if unknown or missing:
            what = f"{unknown[0]!r}" if unknown else f"{values[missing[0]]!r} for {missing[0]}"
            raise self.error(f"expected numbers for {', '.join(names) or 'no keyword'}, got {what}")
        return values

    def program(self) -> Program:
        parameters = tuple(a.arg for a in (*self.tree.args.posonlyargs, *self.tree.args.args))
        if not parameters:
            raise self.error("expected one parameter at least, got none")
        self.known = set(parameters)
        result = self.result()
        return Program(self.function.__name__, parameters, tuple(self.body), result, self.file, self.tree.lineno)

    def result(self) -> Any:
        """Read the whole body; the atom that it returns."""
        target = f"{self.prefix}_result"
        if not self.block(self.tree.body, target):
            raise self.error("expected a return on every path, got one without")
        last = self.body[-1]
        if isinstance(last, Assign) and last.target == target and last.operation == "copy":
            self.body.pop()
            return last.args[0]
        return Var(target)

    # -- statements ----------------------------------------------------------------------------------------------------

    def block(self, nodes: list[ast.stmt], target: str | None) -> bool:
        """Read statements; True if they have returned, which they do by assigning `target` (None: must not)."""
        for at, node in enumerate(nodes):
            self.line = node.lineno
            if isinstance(node, ast.Return):
                if target is None:
                    raise self.error("expected no return inside a loop, got one", node)
                if node.value is None:
                    raise self.error("expected return with a value, got none", node)
                self.assign(target, self.value(node.value))
                return True
            if isinstance(node, ast.If) and any(isinstance(n, ast.Return) for n in ast.walk(node)):
                rest = nodes[at + 1 :]
                test = self.truth(node.test)
                self.branch(test, node.body + rest, node.orelse + rest, target, node)
                return True
            self.statement(node)
        return False

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if node.value is None or len(targets) != 1:
                raise self.error("expected one assignment, got several or none", node)
            self.assignment(targets[0], node.value)
        elif isinstance(node, ast.AugAssign):
            name = self.target(node.target)
            value = self.operation(BINARY.get(type(node.op)), node, self.name(name, node), self.value(node.value))
            self.store(name, value)
        elif isinstance(node, ast.If):
            self.branch(self.truth(node.test), node.body, node.orelse, None, node)
        elif isinstance(node, ast.For):
            self.loop(node)
        elif isinstance(node, ast.While) and not node.orelse:
            self.while_loop(node)
        elif not (isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))):
            raise self.error(f"expected assignments, if, for, while and return, got {kind_name(node)}", node)

    def target(self, node: ast.expr) -> str:
        if not isinstance(node, ast.Name):
            raise self.error(f"expected a name to assign to, got {ast.unparse(node)}", node)
        return node.id

    def assignment(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            values = [self.settled(self.value(v)) for v in value.elts]
            for one, atom in zip(target.elts, values):
                self.store(self.target(one), atom)
            return
        self.store(self.target(target), self.value(value))

    def settled(self, atom: Any) -> Any:
        """A copy of a variable's value, which a later assignment does not change."""
        return self.emit("copy", atom) if isinstance(atom, Var) else atom

    def store(self, name: str, atom: Any) -> None:
        self.known.add(name)
        self.constants.pop(name, None)
        self.assign(self.prefix + name, atom)

    def assign(self, target: str, atom: Any) -> None:
        last = self.body[-1] if self.body else None
        if isinstance(last, Assign) and isinstance(atom, Var) and last.target == atom.name and temporary(atom.name):
            self.body[-1] = last._replace(target=target)  # what only this assignment would read
        else:
            self.body.append(Assign(target, "copy", (atom,), self.line))

    def inside(self, nodes: list[ast.stmt], target: str | None) -> tuple[tuple[Any, ...], bool]:
        """Statements that are read into a body of their own."""
        outer, self.body = self.body, []
        returned = self.block(nodes, target)
        inner, self.body = self.body, outer
        return tuple(inner), returned

    def branch(self, test: Any, then: Any, other: Any, target: str | None, node: ast.stmt) -> None:
        before = set(self.known)
        first, returned = self.inside(then, target)
        known, self.known = self.known, before
        second, also = self.inside(other, target)
        if target is not None and not (returned and also):
            raise self.error("expected a return on every path, got one without", node)
        self.known &= known
        self.body.append(If(test, first, second, node.lineno))

    def loop(self, node: ast.For) -> None:
        call = node.iter
        if not isinstance(call, ast.Call) or self.object(call.func) is not range or call.keywords or node.orelse:
            raise self.error("expected for ... in range(...), got another loop", node)
        bounds = [self.value(argument) for argument in call.args]
        if not 1 <= len(bounds) <= 3:
            raise self.error(f"expected range with one to three integers, got {len(bounds)}", node)
        start, stop, step = (Const(0), bounds[0], Const(1)) if len(bounds) == 1 else (*bounds, Const(1))[:3]
        name = self.target(node.target)
        before = set(self.known)
        self.known.add(name)
        body, _ = self.inside(node.body, None)
        self.known = before
        self.body.append(For(self.prefix + name, start, stop, step, body, node.lineno))

    def while_loop(self, node: ast.While) -> None:
        outer, self.body = self.body, []
        test = self.truth(node.test)
        tested, self.body = tuple(self.body), outer
        before = set(self.known)
        body, _ = self.inside(node.body, None)
        self.known = before
        self.body.append(While(tested, test, body, node.lineno))

    # -- expressions: each becomes an atom -----------------------------------------------------------------------------

    def emit(self, name: str, *args: Any) -> Any:
        if name in FOLDED and all(isinstance(a, Const) for a in args):
            try:
                return Const(FOLDED[name](*[a.value for a in args]))
            except (ArithmeticError, ValueError):
                pass  # as it comes out when it runs
        target = f"_{next(self.numbers)}"
        self.body.append(Assign(target, name, args, self.line))
        return Var(target)

    def operation(self, name: str | None, node: Any, *args: Any) -> Any:
        if name is None:
            raise self.error(f"expected + - * / // % **, got {ast.unparse(node)}", node)
        return self.emit(name, *args)

    def value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
            return Const(node.value)
        if isinstance(node, ast.Name):
            return self.name(node.id, node)
        if isinstance(node, ast.Attribute):
            return self.constant(self.object(node), node)
        if isinstance(node, ast.BinOp):
            return self.operation(BINARY.get(type(node.op)), node, self.value(node.left), self.value(node.right))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            value = self.value(node.operand)
            return self.emit("negative", value) if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.IfExp):
            return self.emit("select", self.truth(node.test), self.value(node.body), self.value(node.orelse))
        if isinstance(node, ast.Compare | ast.BoolOp) or (isinstance(node, ast.UnaryOp) and type(node.op) is ast.Not):
            return self.truth(node)
        if isinstance(node, ast.Call):
            return self.call(node)
        raise self.error(f"expected a number, got {ast.unparse(node)}", node)

    def truth(self, node: ast.expr) -> Any:
        """A condition."""
        if isinstance(node, ast.Compare):
            values = [self.value(v) for v in (node.left, *node.comparators)]
            found = None
            for sign, a, b in zip(node.ops, values, values[1:]):
                if type(sign) not in COMPARE:
                    raise self.error(f"expected < <= > >= == !=, got {ast.unparse(node)}", node)
                one = self.emit(COMPARE[type(sign)], a, b)
                found = one if found is None else self.emit("logical_and", found, one)
            return found
        if isinstance(node, ast.BoolOp):
            name = "logical_and" if isinstance(node.op, ast.And) else "logical_or"
            found = self.truth(node.values[0])
            for other in node.values[1:]:
                found = self.emit(name, found, self.truth(other))
            return found
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self.emit("logical_not", self.truth(node.operand))
        return self.emit("bool", self.value(node))

    def name(self, name: str, node: Any) -> Any:
        if name in self.known:
            return Var(self.prefix + name)
        if name in self.function.__code__.co_varnames and name not in self.constants:
            raise self.error(f"expected {name} to have a value here on every path, got one without", node)
        if name in self.constants:
            return self.constant(self.constants[name], node)
        return self.constant(self.object(node if isinstance(node, ast.Name) else ast.Name(name)), node)

    def constant(self, value: Any, node: Any) -> Const:
        if isinstance(value, np.generic):
            value = value.item()
        if not isinstance(value, (bool, int, float)):
            raise self.error(f"expected a number, got {ast.unparse(node)}, a {type(value).__name__}", node)
        return Const(value)

    def object(self, node: ast.expr) -> Any:
        """What a name or a dotted name of the function's surroundings stands for."""
        if isinstance(node, ast.Attribute):
            module = self.object(node.value)
            if not isinstance(module, ModuleType) or not hasattr(module, node.attr):
                raise self.error(f"expected a number or function of a module, got {ast.unparse(node)}", node)
            return getattr(module, node.attr)
        if isinstance(node, ast.Name):
            free = dict(zip(self.function.__code__.co_freevars, self.function.__closure__ or ()))
            try:
                if node.id in free:
                    return free[node.id].cell_contents
            except ValueError:
                pass
            for names in (self.function.__globals__, vars(builtins)):
                if node.id in names:
                    return names[node.id]
            raise self.error(f"expected a name that is known here, got {node.id}", node)
        raise self.error(f"expected a name, got {ast.unparse(node)}", node)

    # -- calls ---------------------------------------------------------------------------------------------------------

    def call(self, node: ast.Call) -> Any:
        function = self.object(node.func)
        inner = getattr(function, "function", function)  # of an elementwise function
        words = ast.unparse(node.func)
        if any(isinstance(a, ast.Starred) for a in node.args):
            raise self.error(f"expected plain arguments, got {ast.unparse(node)}", node)
        name = operation_name(function)
        ours = getattr(inner, "__module__", "").startswith("weft.")
        if name is None and isinstance(inner, FunctionType) and not ours:
            return self.inlined(inner, node)
        if name is None or node.keywords:
            raise self.error(f"expected a function of math, or a scalar function, got {words}", node)
        if name == "select" and node.args:
            return self.emit(name, self.truth(node.args[0]), *[self.value(a) for a in node.args[1:]])
        args = [self.value(a) for a in node.args]
        if name in ("minimum", "maximum") and len(args) > 2:
            found = args[0]
            for other in args[1:]:
                found = self.emit(name, found, other)
            return found
        if len(args) != OPERATIONS[name].arity:
            raise self.error(f"expected {OPERATIONS[name].arity} arguments of {words}, got {len(args)}", node)
        return self.emit(name, *args)

    def inlined(self, function: FunctionType, node: ast.Call) -> Any:
        """The statements of another scalar function, on the arguments of this call."""
        if function in self.outer:
            raise self.error(f"expected no recursion, got {ast.unparse(node)}", node)
        keywords = {}
        for keyword in node.keywords:
            value = self.value(keyword.value)
            if keyword.arg is None or not isinstance(value, Const):
                raise self.error(f"expected a constant for {keyword.arg}, got {ast.unparse(keyword.value)}", node)
            keywords[keyword.arg] = value.value
        args = [self.value(a) for a in node.args]
        reader = Reader(function, keywords, self.numbers, self.outer)
        names = [a.arg for a in (*reader.tree.args.posonlyargs, *reader.tree.args.args)]
        if len(names) != len(args):
            raise self.error(f"expected {len(names)} arguments of {function.__name__}, got {len(args)}", node)
        reader.body = self.body
        for name, atom in zip(names, args):
            reader.store(name, atom)
        return reader.result()


def temporary(name: str) -> bool:
    """Whether a name is one that reading made for a single use."""
    return name[0] == "_" and name[1:].isdigit()


def kind_name(node: ast.AST) -> str:
    return type(node).__name__.lower()


def operation_name(function: Any) -> str | None:
    """The operation that a library's function is, or None."""
    if function in (abs, min, max, pow, round, float, int, bool):
        return OTHER_NAMES.get(function.__name__, function.__name__)
    module = getattr(function, "__module__", None) or ("numpy" if isinstance(function, np.ufunc) else "")
    if module.split(".")[0] not in ("math", "numpy") and not module.startswith("weft.ops."):
        return None
    name = OTHER_NAMES.get(function.__name__, function.__name__)
    return name if name in OPERATIONS else None
