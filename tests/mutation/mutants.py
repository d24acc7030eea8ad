"""Small wrong versions of a source file: one sign flipped, one mask dropped, one bound swapped at a time."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

SWAPPED_CALLS = {
    "minimum": "maximum",
    "maximum": "minimum",
    "min": "max",
    "max": "min",
    "amax": "amin",
    "amin": "amax",
    "argmax": "argmin",
    "exp": "expm1",
    "expm1": "exp",
}
"""Functions and tensor methods that are taken for each other."""

DROPPED_CALLS = {"masked_fill", "where", "detach", "clamp", "abs", "square", "sign", "log", "sqrt", "rsqrt", "float"}
"""Tensor methods that are forgotten: x.method(...) becomes x."""

SWAPPED_OPERATORS: dict[type[ast.AST], list[type[ast.AST]]] = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Mult],
    ast.Pow: [ast.Mult],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
    ast.And: [ast.Or],
    ast.Or: [ast.And],
    ast.Lt: [ast.LtE, ast.Gt],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.Lt],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}


@dataclass(frozen=True)
class Mutant:
    """One wrong version of a file. `name` says where and what, without line numbers: edits above do not change it."""

    name: str
    line: int
    tree: ast.Module


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of this source, in the order of its lines."""
    tree = ast.parse(source)
    seen: dict[str, int] = {}
    for path, node, scope in _places(tree):
        for what, replacement in _replacements(node):
            before = ast.unparse(node)
            name = f"{scope}: {before} -> {what or ast.unparse(replacement)}"
            seen[name] = seen.get(name, 0) + 1
            unique = name if seen[name] == 1 else f"{name} (#{seen[name]})"
            yield Mutant(unique, getattr(node, "lineno", 0), _replaced(tree, path, replacement))


Path = tuple[tuple[str, int | None], ...]


def _places(tree: ast.Module) -> Iterator[tuple[Path, ast.AST, str]]:
    """Every node that runs, how to reach it from the root, and the function or class it stands in."""

    def walk(node: ast.AST, path: Path, scope: str) -> Iterator[tuple[Path, ast.AST, str]]:
        if _is_inert(node):
            return
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            scope = f"{scope}.{node.name}" if scope != "module" else node.name
        yield path, node, scope
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list"):
                continue
            for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(child, ast.AST):
                    yield from walk(child, (*path, (field, index)), scope)

    yield from walk(tree, (), "module")


def _is_inert(node: ast.AST) -> bool:
    """Texts, imports, messages and type-only code: what no result depends on."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Raise)


def _replacements(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Wrong versions of one node, each with words for it (empty: its own source says it)."""
    match node:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            yield "", left
            yield "", right
        case ast.BinOp(op=operator) | ast.BoolOp(op=operator):
            for other in SWAPPED_OPERATORS.get(type(operator), []):
                yield "", _with(node, op=other())
        case ast.Compare(ops=[operator]):
            for other in SWAPPED_OPERATORS.get(type(operator), []):
                yield "", _with(node, ops=[other()])
        case ast.UnaryOp(op=ast.USub() | ast.Invert() | ast.Not(), operand=operand):
            yield "", operand
        case ast.Constant(value=bool(value)):
            yield "", ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield "", ast.Constant(value + 1)
            if value:
                yield "", ast.Constant(-value)
        case ast.Call(func=ast.Attribute(value=receiver, attr=name) as function):
            if name in DROPPED_CALLS:
                yield "", receiver
            if name in SWAPPED_CALLS:
                yield "", _with(node, func=_with(function, attr=SWAPPED_CALLS[name]))
        case ast.Call(func=ast.Name(id=name)) if name in SWAPPED_CALLS:
            yield "", _with(node, func=ast.Name(SWAPPED_CALLS[name], ast.Load()))
        case ast.IfExp(body=body, orelse=orelse):
            yield "", body
            yield "", orelse
        case ast.If(test=test):
            yield f"if not ({ast.unparse(test)})", _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.Assert():
            yield "pass", ast.Pass()


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _replaced(tree: ast.Module, path: Path, replacement: ast.AST) -> ast.Module:
    """A copy of the tree with one node replaced; only the nodes on the way are new."""
    if not path:
        assert isinstance(replacement, ast.Module)
        return replacement
    root = copy.copy(tree)
    node: ast.AST = root
    for depth, (field, index) in enumerate(path):
        is_last = depth == len(path) - 1
        value = getattr(node, field)
        child = replacement if is_last else copy.copy(value if index is None else value[index])
        if index is None:
            setattr(node, field, child)
        else:
            setattr(node, field, [*value[:index], child, *value[index + 1 :]])
        node = child
    return ast.fix_missing_locations(root)
