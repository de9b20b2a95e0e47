# SPDX-License-Identifier: Apache-2.0
"""What a C preprocessor would do to the header, as far as cffi needs it.

cffi reads declarations but runs no preprocessor, and there may be no C compiler. The header's
comments and preprocessor lines are therefore taken away here, and its integer macros evaluated.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable

_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
}

_REAL = re.compile(r"(\()?\s*(-?\d+\.\d+(?:[eE][-+]?\d+)?)\s*(?(1)\))")


class HeaderError(Exception):
    """The header uses something that this generator does not understand."""


def strip_comments(text: str) -> str:
    """Takes both kinds of comments away; literals and line numbers stay as they are."""
    pattern = re.compile(
        r'"(?:\\.|[^"\\\n])*"' r"|'(?:\\.|[^'\\\n])*'" r"|//[^\n]*" r"|/\*.*?\*/", re.DOTALL
    )

    def replace(match: re.Match[str]) -> str:
        token = match.group()
        return " " + "\n" * token.count("\n") if token.startswith("/") else token

    stripped = pattern.sub(replace, text)
    if "/*" in re.sub(r'"(?:\\.|[^"\\\n])*"', "", stripped):
        raise HeaderError("a comment is opened and never closed")
    return stripped


def evaluate_integer(expression: str, known: dict[str, int]) -> int:
    """Value of an integer macro: literals, earlier macros, and + - * << >> | & ^ ~."""
    python = re.sub(r"\b(0[xX][0-9a-fA-F]+|\d+)[uUlL]+\b", r"\1", expression)

    def value(node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int(number)):
                return number
            case ast.Name(id=name) if name in known:
                return known[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -value(operand)
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                return ~value(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return _BINARY[type(op)](value(left), value(right))
            case _:
                raise HeaderError(f"not an integer expression: {expression}")

    try:
        return value(ast.parse(python.strip(), mode="eval").body)
    except SyntaxError as error:
        raise HeaderError(f"not an integer expression: {expression}") from error


def declarations(header: str) -> str:
    """What cffi is given: the header's declarations, with integer macros as `#define NAME VALUE`.

    Conditional parts are read as C reads them: `__cplusplus` is not defined, and neither is
    anything else that the header has not defined itself.
    """
    return _read(header)[0]


def real_macros(header: str) -> dict[str, float]:
    """The header's macros that are real numbers, such as `#define PRUNE_CAP_NONE (-1.0)`."""
    return _read(header)[1]


def _read(header: str) -> tuple[str, dict[str, float]]:
    lines = strip_comments(header.replace("\\\n", " ")).split("\n")
    integers: dict[str, int] = {}
    reals: dict[str, float] = {}
    defined: set[str] = set()
    taken: list[bool] = []  # one entry per open conditional: is its current branch read?
    out: list[str] = []
    for number, line in enumerate(lines, start=1):
        directive = re.match(r"\s*#\s*(\w+)\s*(.*)", line)
        if directive is None:
            if all(taken):
                out.append(line.rstrip())
            continue
        word, rest = directive.group(1), directive.group(2).strip()
        if word in ("ifdef", "ifndef"):
            taken.append((rest in defined) == (word == "ifdef"))
        elif word == "else" and taken:
            taken[-1] = not taken[-1]
        elif word == "endif" and taken:
            taken.pop()
        elif not all(taken) or word == "include":
            pass
        elif word == "define":
            _define(rest, number, integers, reals, defined, out)
        else:
            raise HeaderError(f"line {number}: #{word} is not understood")
    if taken:
        raise HeaderError("a conditional is opened and never closed")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip() + "\n", reals


def _define(
    rest: str,
    number: int,
    integers: dict[str, int],
    reals: dict[str, float],
    defined: set[str],
    out: list[str],
) -> None:
    macro = re.match(r"(\w+)(\(?)\s*(.*)", rest)
    if macro is None or macro.group(2):
        raise HeaderError(f"line {number}: macro is not understood: {rest}")
    name, body = macro.group(1), macro.group(3).strip()
    defined.add(name)
    # Include guards have no body; initialisers serve C callers, Python sets struct_size itself.
    if not body or body.startswith("{"):
        return
    if real := _REAL.fullmatch(body):
        reals[name] = float(real.group(2))
        return
    try:
        integers[name] = evaluate_integer(body, integers)
    except HeaderError as error:
        raise HeaderError(f"line {number}: {name}: {error}") from error
    out.append(f"#define {name} {integers[name]}")


def function_names(declared: str) -> list[str]:
    """Names of the functions that the declarations hold, sorted."""
    text = re.sub(r"^#.*$", "", declared, flags=re.MULTILINE)
    while "{" in text:
        shorter = re.sub(r"\{[^{}]*\}", "", text)
        if shorter == text:
            raise HeaderError("braces do not match")
        text = shorter
    names = []
    for statement in text.split(";"):
        found = re.match(r"(?!typedef\b)[\w\s*]*?\b(\w+)\s*\(", statement.strip())
        if found:
            names.append(found.group(1))
    return sorted(names)


def integer_macros(declared: str) -> dict[str, int]:
    """The integer macros that the declarations hold."""
    return {
        name: int(value)
        for name, value in re.findall(r"^#define (\w+) (-?\d+)$", declared, re.MULTILINE)
    }
