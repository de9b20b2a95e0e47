#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the order of the folders in Sources/PruneCore: none uses what only a later one declares.

The core is one module, so the compiler does not check this. The script collects the names by which
a folder can be reached (types, free functions, members added to types of other folders) and
reports every reference to a name that no folder in reach declares, with its file and line.

    check-swift-order.py [--root DIR]     DIR holds Sources/PruneCore; by default this tree

It cannot see a reference to a member that shares its name with one in reach, such as an overload.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# From the bottom to the top. A folder may use itself and every floor below its own; folders of one
# floor do not know each other. "." stands for the files outside folders: errors and progress.
ORDER = [
    ["."],
    ["System"],  # locks, memory that can be had, sizes that do not overflow
    ["Files"],  # mapped and atomic files, JSON, byte documents, checksums, stored tensors
    ["Numerics"],  # BLAS, kernels, matrix products, threads, random numbers
    ["Checkpoint"],  # config.json and safetensors: the only folder that parses untrusted models
    ["Model"],  # the seam: the Model protocol, data, masks, granularity, adapters
    ["Engine", "Host"],  # what runs a model: our own engine, or a host by callbacks
    ["Edits"],  # changes of kept weights: merged blocks, narrower feed-forwards
    ["Coalition"],  # many masks evaluated as one walk over their prefix tree, and what is measured
    ["Importance"],  # scores of units: static metrics, Taylor, leave one out
    ["Evaluation"],  # losses, choices, generation
    ["Shapley", "Search"],  # estimators of Shapley values; which sublayers to remove
    ["Recovery"],  # adapters: closed form, trained, saved, folded
    ["Sharing"],  # weights that later sublayers share with earlier ones, and deltas of low rank
    ["Export"],  # checkpoints for other runtimes
]
FLOOR = {folder: floor for floor, folders in enumerate(ORDER) for folder in folders}

# Members of ours that have the name of one of Swift's own.
SWIFT = {"split"}
TYPES = {"actor", "class", "enum", "extension", "protocol", "struct"}
TOKEN = re.compile(r"[A-Za-z_]\w*|`\w+`|\S")
WORD = re.compile(r"[A-Za-z_]\w*")


MARK = re.compile(r'"""|"|//[^\n]*|/\*|\(|\)')
COMMENT_MARK = re.compile(r"/\*|\*/")


def code_of(text: str) -> str:
    """The text without comments and strings. Lines stay, and so do interpolations."""
    out: list[str] = []
    # What surrounds the place: the parentheses that are open in code, or the delimiter of a string.
    around: list[int | str] = [0]
    here = 0
    while here < len(text):
        inner = around[-1]
        if isinstance(inner, str):
            found = re.compile(rf"\\\(|\\.|{inner}", re.DOTALL).search(text, here)
            end = found.end() if found else len(text)
            out.append("\n" * text.count("\n", here, end))
            if found and found.group() == inner:
                around.pop()
            elif found and found.group() == "\\(":
                around.append(0)
            here = end
            continue
        found = MARK.search(text, here)
        if not found:
            out.append(text[here:])
            break
        out.append(text[here : found.start()] + " ")
        mark, here = found.group(), found.end()
        if mark.startswith('"'):
            around.append(mark)
        elif mark == "/*":
            depth = 1
            while depth and (end := COMMENT_MARK.search(text, here)):
                depth += 1 if end.group() == "/*" else -1
                out.append("\n" * text.count("\n", here, end.end()))
                here = end.end()
        elif mark == ")" and inner == 0 and len(around) > 1:
            around.pop()
        elif mark in "()":
            around[-1] = inner + (1 if mark == "(" else -1)
            out.append(mark)
    return "".join(out)


def tokens_of(code: str) -> list[tuple[str, int]]:
    """Words and other characters, each with its line."""
    return [
        (found.group().strip("`"), number)
        for number, line in enumerate(code.split("\n"), 1)
        for found in TOKEN.finditer(line)
    ]


def offered(
    tokens: list[tuple[str, int]], types: dict[str, set[str]], folder: str
) -> Iterator[str]:
    """The names by which others reach into a file: types, free functions, and what it adds to
    types of other folders."""
    # What each open brace belongs to: whether names declared in it are offered.
    scopes: list[bool] = [True]
    opens: bool | None = None
    for index, (token, _) in enumerate(tokens):
        following = tokens[index + 1][0] if index + 1 < len(tokens) else ""
        before = tokens[index - 1][0] if index else ""
        if token == "{":
            scopes.append(bool(opens))
            opens = None
        elif token == "}" and len(scopes) > 1:
            scopes.pop()
        elif (
            token in TYPES
            and WORD.fullmatch(following)
            and following not in {"func", "var", "let"}
            and before != "."
        ):
            if token == "extension":
                opens = folder not in types.get(following, {folder})
            else:
                opens = False
                if scopes[-1]:
                    yield following
        elif scopes[-1] and token in {"func", "typealias"} and WORD.fullmatch(following):
            yield following
        elif scopes[-1] and token in {"let", "var"}:
            yield from bound(tokens, index + 1)


def declared(tokens: list[tuple[str, int]]) -> Iterator[str]:
    """Every name that a file declares anywhere: a reference may mean any of them."""
    for index, (token, _) in enumerate(tokens):
        following = tokens[index + 1][0] if index + 1 < len(tokens) else ""
        if token in TYPES - {"extension"} | {"func", "typealias", "associatedtype"}:
            if WORD.fullmatch(following):
                yield following
        elif token in {"let", "var", "for", "case", "inout"}:
            yield from bound(tokens, index + 1)
        elif WORD.fullmatch(token) and token[0].islower() and following in {":", "in"}:
            yield token


def bound(tokens: list[tuple[str, int]], start: int) -> Iterator[str]:
    """The names after `let`, `var`, `for` or `case`, up to where their types or values begin."""
    depth = 0
    for token, _ in tokens[start:]:
        if token == "(":
            depth += 1
        elif token == ")":
            depth -= 1
        elif token in {":", "=", "{", "}", ".", "in", "?"} or depth < 0:
            return
        elif WORD.fullmatch(token):
            if depth == 0 or token[0].islower():
                yield token
        elif token != ",":
            return


def references(tokens: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """The words that refer to something: types, members after a dot, functions called."""
    for index, (token, line) in enumerate(tokens):
        if not WORD.fullmatch(token):
            continue
        before = tokens[index - 1][0] if index else ""
        following = tokens[index + 1][0] if index + 1 < len(tokens) else ""
        if before in {"func", "@", "#"}:
            continue
        if token[0].isupper() or before == "." or following == "(":
            yield token, line


def check(root: Path) -> int:
    core = root / "Sources" / "PruneCore"
    files = sorted(core.rglob("*.swift"))
    if not files:
        print(f"{core} has no Swift files", file=sys.stderr)
        return 2
    sources: list[tuple[Path, str, list[tuple[str, int]]]] = []
    for file in files:
        folder = file.relative_to(core).parts[0] if file.parent != core else "."
        if folder not in FLOOR:
            print(
                f"{file.relative_to(root)}: {folder} is missing in ORDER of {Path(__file__).name}"
            )
            return 1
        sources.append((file, folder, tokens_of(code_of(file.read_text()))))
    types: dict[str, set[str]] = {}
    known: dict[str, set[str]] = {}
    for _, folder, tokens in sources:
        for name in declared(tokens):
            known.setdefault(name, set()).add(folder)
        for index, (token, _) in enumerate(tokens[:-1]):
            if token in TYPES - {"extension"}:
                types.setdefault(tokens[index + 1][0], set()).add(folder)
    owners: dict[str, set[str]] = {}
    for _, folder, tokens in sources:
        for name in offered(tokens, types, folder):
            owners.setdefault(name, set()).add(folder)

    arrows = 0
    for file, folder, tokens in sources:
        for name, line in references(tokens):
            if (
                name in SWIFT
                or name not in owners
                or any(home == folder or FLOOR[home] < FLOOR[folder] for home in known[name])
            ):
                continue
            arrows += 1
            homes = " and ".join(sorted(owners[name]))
            print(f"{file.relative_to(root)}:{line}: {folder} uses {name}, which {homes} declares")
    if arrows:
        print(f"{arrows} references against the order: move the name down, or its user up")
    else:
        print(f"{len(files)} Swift files use nothing from a folder above their own")
    return 1 if arrows else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Checks the order of the folders in Sources/PruneCore."
    )
    parser.add_argument(
        "--root", type=Path, default=Path(__file__).resolve().parent.parent, help="tree to check"
    )
    sys.exit(check(parser.parse_args().root))
