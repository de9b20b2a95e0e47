# SPDX-License-Identifier: Apache-2.0
"""Writes the raw Python layer from the C header, so that the two cannot drift apart.

cffi reads declarations but runs no preprocessor, and a C compiler need not be there. This script
therefore takes the header's comments and preprocessor lines away itself, evaluates its integer
macros, and hands what is left to cffi in its out-of-line ABI mode. Macros that are real numbers,
which cffi has no place for, go into a table of their own. Anything it does not understand stops it:
nothing is skipped in silence.

Run it by hand after a change of the header (the build hook does so, too):

    python bindings/python/generate_raw.py
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import operator
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

MODULE = "prunecore._raw_generated"

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


def default_header() -> Path:
    """Where the header lies: at the repository root, or beside this script in an sdist."""
    here = Path(__file__).resolve().parent
    for candidate in (here.parents[1] / "include" / "prunecore.h", here / "prunecore.h"):
        if candidate.is_file():
            return candidate
    raise HeaderError(f"prunecore.h is neither in {here.parents[1] / 'include'} nor in {here}")


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


def generate(header: Path, output: Path) -> None:
    """Reads `header` and writes the Python module `output`."""
    from cffi import FFI

    text = header.read_text(encoding="utf-8")
    declared = declarations(text)
    builder = FFI()
    builder.cdef(declared)
    builder.set_source(MODULE, None)
    with tempfile.TemporaryDirectory() as folder:
        emitted = Path(folder) / "raw.py"
        with contextlib.redirect_stdout(None):  # cffi says which file it writes
            builder.emit_python_code(str(emitted))
        body = emitted.read_text(encoding="utf-8")
    names = "".join(f'    "{name}",\n' for name in function_names(declared))
    reals = "".join(f'    "{name}": {value!r},\n' for name, value in real_macros(text).items())
    content = (
        "# Generated from prunecore.h by generate_raw.py. Do not edit.\n# mypy: ignore-errors\n"
        f"{body}\n"
        f'HEADER_SHA256 = "{hashlib.sha256(text.encode()).hexdigest()}"\n'
        f"FUNCTION_NAMES = (\n{names})\n"
        f"REAL_MACROS = {{\n{reals}}}\n"
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    if not output.is_file() or output.read_text(encoding="utf-8") != content:
        output.write_text(content, encoding="utf-8")


def header_version(header: Path) -> str:
    """The version that the header states, "major.minor.patch"."""
    declared = declarations(header.read_text(encoding="utf-8"))
    values = dict(re.findall(r"^#define PRUNE_VERSION_(\w+) (\d+)$", declared, re.MULTILINE))
    return ".".join(values[part] for part in ("MAJOR", "MINOR", "PATCH"))


def main() -> None:
    """Runs the script."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Writes the raw Python layer from the C header.")
    parser.add_argument("--header", type=Path, default=None, help="the C header")
    parser.add_argument(
        "--out", type=Path, default=here / "src" / "prunecore" / "_raw_generated.py"
    )
    arguments = parser.parse_args()
    generate(arguments.header or default_header(), arguments.out)


if __name__ == "__main__":
    main()
