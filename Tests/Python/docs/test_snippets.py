# SPDX-License-Identifier: Apache-2.0
"""Every block of code in the documentation is run, by a test of its page or else by this one.

A page needs nothing to be tested: its Python blocks run in order in one namespace, and so do its
`sh` blocks; its C and C++ blocks are compiled, each by itself, and linked if they have a `main`.
They run in a folder where `examples/` leads to that of the repository. `console` blocks show
commands with placeholders: of these, only the names of commands and options are checked.

What a page takes for granted stands in BEFORE; what cannot be run stands in NOT_RUN, with the
reason. A test that runs a page's blocks of a language, and looks at what comes of them, says so in
a `RUNS_BLOCKS_OF` of its module: {page: languages}. Such blocks are not run here again.
"""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
from pages import LANGUAGES, REPOSITORY, Page, checked, compiled, pages, run_python, run_shell
from prunecore.cli import main

# Code that is run before the blocks of a page and a language, or before one of them, by its number
# from 0. Of C and C++: the parameters that the page takes for granted; its blocks are then bodies.
Key = tuple[str, str] | tuple[str, str, int]
BEFORE: dict[Key, str] = {}

# Blocks of a page and a language, or one of them, that cannot be run, and why.
NOT_RUN: dict[Key, str] = {
    ("docs/lm-eval.md", "python"): "needs lm-evaluation-harness: make test-lm-eval",
}


def claimed() -> dict[tuple[str, str], str]:
    """Which test runs the blocks of a page and a language, from every RUNS_BLOCKS_OF."""
    found = {}
    for file in sorted((REPOSITORY / "Tests").rglob("test_*.py")):
        text = file.read_text(encoding="utf-8")
        if "RUNS_BLOCKS_OF" not in text:
            continue
        for statement in ast.parse(text).body:
            if (
                isinstance(statement, ast.Assign)
                and isinstance(statement.targets[0], ast.Name)
                and statement.targets[0].id == "RUNS_BLOCKS_OF"
            ):
                claims: dict[str, tuple[str, ...]] = ast.literal_eval(statement.value)
                for page, languages in claims.items():
                    found |= {(page, language): file.name for language in languages}
    return found


CLAIMED = claimed()
FOUND = [
    (page, language) for page in pages() for language in LANGUAGES if Page(page).code(language)
]
LEFT = [each for each in FOUND if each not in CLAIMED and each not in NOT_RUN]


def left(language: str) -> list[str]:
    return [page for page, found in LEFT if found == language]


def to_run(page: str, language: str) -> list[str]:
    """The blocks, each after what it takes for granted."""
    code = [BEFORE.get((page, language), "")]
    for number, block in enumerate(Page(page).code(language)):
        if (page, language, number) not in NOT_RUN:
            code += [BEFORE.get((page, language, number), ""), block]
    return code


@pytest.mark.parametrize("page", left("python"))
def test_python_blocks_run_one_after_the_other(page: str, workplace: Path) -> None:
    run_python(to_run(page, "python"), workplace)


@pytest.mark.parametrize("page", left("sh"))
def test_shell_blocks_run_one_after_the_other(page: str, workplace: Path) -> None:
    run_shell(to_run(page, "sh"), workplace)


@pytest.mark.parametrize(("page", "language"), [each for each in LEFT if each[1] in ("c", "cpp")])
def test_compiled_blocks_compile_without_a_warning(
    page: str, language: str, tmp_path: Path
) -> None:
    for number, code in enumerate(Page(page).code(language)):
        if (page, language, number) in NOT_RUN:
            continue
        if re.search(r"\bmain\s*\(", code):
            compiled(code, language, tmp_path)
            continue
        parameters = BEFORE.get((page, language))
        if parameters is not None:
            lines = code.splitlines()
            included = [line for line in lines if line.startswith("#include")]
            body = [line for line in lines if line not in included]
            extra = ["#include <stddef.h>", "#include <stdint.h>", "#include <stdio.h>"]
            head = [f"void block({parameters});", f"void block({parameters}) {{"]
            code = "\n".join([*extra, *included, *head, *body, "}", ""])
        checked(code, language, tmp_path, "-Wno-unused-variable")


def commands(page: str) -> list[list[str]]:
    """The words of every line that calls `prunecore`, in blocks that are run and that are not."""
    found = []
    for code in (*Page(page).code("sh"), *Page(page).code("console")):
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words and words[0].rpartition("/")[2] == "prunecore":
                found.append(words[1:])
    return found


@pytest.mark.parametrize("page", [page for page in pages() if commands(page)])
def test_commands_of_a_page_have_the_options_that_it_names(
    page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for words in commands(page):
        if not words or words[0].startswith("-"):
            continue
        name = words[: 2 if words[0] in ("mask", "study") else 1]
        assert main([*name, "--help"]) == 0, words
        shown = capsys.readouterr().out
        for word in words:
            if word.startswith("--"):
                assert re.search(rf"{word}\b", shown), f"prunecore {' '.join(name)} has no {word}"


def test_nothing_is_listed_that_no_page_has() -> None:
    """A page that was renamed, or that lost its blocks, leaves no entry behind."""
    entries = {entry[:2] for entry in (*BEFORE, *NOT_RUN, *CLAIMED)}
    assert entries <= set(FOUND), sorted(entries - set(FOUND))
    for entry in NOT_RUN:
        if len(entry) == 3:
            assert len(Page(entry[0]).code(entry[1])) > entry[2]
