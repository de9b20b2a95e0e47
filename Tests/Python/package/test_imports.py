# SPDX-License-Identifier: Apache-2.0
"""The package is built in floors: no import leads up, none in a circle, and nothing leaks out."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import prunecore
import pytest

PACKAGE = Path(prunecore.__file__).parent

FLOORS = (
    ("_raw_generated",),
    ("errors",),
    ("_native",),
    ("masks", "tensors", "shape", "hub"),
    ("opened",),
    ("data",),
    ("measures",),
    ("importance", "generation", "recovery"),
    ("shapley", "export", "diagnosis"),
    ("search", "model"),
    ("hosts", "studies"),
    ("plots", "torch"),
    ("",),  # the face: prunecore itself
    ("cli", "integrations"),
    ("__main__",),
)
ROOMS = {room for floor in FLOORS for room in floor if room.strip("_") == room != ""}

EXCEPTIONS = {
    # Results draw themselves, late, through one helper.
    ("prunecore._native.draw", "prunecore.plots"),
    # Only types: what Adapters.attach and Data.from_choices return.
    ("prunecore.recovery.adapters", "prunecore.model"),
    ("prunecore.recovery.shared", "prunecore.model"),
    ("prunecore.data.data", "prunecore.data.choice_data"),
    # Data.from_choices forwards, late, to where questions become data.
    ("prunecore.data.data", "prunecore.data.choice_prompts"),
}

Graph = dict[str, dict[str, int]]


def sources(package: Path) -> dict[str, str]:
    """The text of every module, by its name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = ("prunecore", *path.relative_to(package).with_suffix("").parts)
        found[".".join(parts).removesuffix(".__init__")] = path.read_text(encoding="utf-8")
    return found


def import_graph(modules: Mapping[str, str]) -> Graph:
    """What each module imports of the package, and in which line.

    All imports count: those in functions, and those for type checkers alone.
    """
    return {name: dict(_imports(name, text, modules)) for name, text in modules.items()}


def _imports(name: str, text: str, modules: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: imports name their module in full"
            module = str(node.module)
            inner = [f"{module}.{alias.name}" for alias in node.names]
            named = [whole if whole in modules else module for whole in inner]
        else:
            continue
        for imported in named:
            if imported.partition(".")[0] == "prunecore":
                assert imported in modules, f"{name}:{node.lineno}: there is no {imported}"
                yield imported, node.lineno


def circles(graph: Graph) -> list[set[str]]:
    """Sets of modules each of which leads to all others of its set."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        open_, seen = list(graph[start]), set()
        while open_:
            name = open_.pop()
            if name not in seen:
                seen.add(name)
                open_ += graph.get(name, {})
        reached[start] = seen
    found: list[set[str]] = []
    for start, seen in reached.items():
        circle = {name for name in seen if start in reached.get(name, set())}
        if circle and circle not in found:
            found.append(circle)
    return found


def floor(module: str) -> int:
    """The floor that a module stands on."""
    room = module.removeprefix("prunecore").removeprefix(".").partition(".")[0]
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    raise AssertionError(f"{module} stands on no floor: name its room in FLOORS")


@pytest.fixture(scope="module")
def modules() -> dict[str, str]:
    return sources(PACKAGE)


def without_exceptions(graph: Graph) -> Graph:
    return {
        name: {to: line for to, line in imports.items() if (name, to) not in EXCEPTIONS}
        for name, imports in graph.items()
    }


def test_every_exception_is_needed_and_there_are_few(modules: dict[str, str]) -> None:
    graph = import_graph(modules)
    assert len(EXCEPTIONS) <= 5
    assert [pair for pair in EXCEPTIONS if pair[1] not in graph[pair[0]]] == []


def test_no_import_leads_to_a_higher_floor(modules: dict[str, str]) -> None:
    graph = without_exceptions(import_graph(modules))
    rising = [
        f"{name}:{line} imports {to}"
        for name, imports in graph.items()
        for to, line in imports.items()
        if floor(to) > floor(name)
    ]
    assert rising == []


def test_no_import_leads_in_a_circle(modules: dict[str, str]) -> None:
    assert circles(without_exceptions(import_graph(modules))) == []


@pytest.mark.parametrize(
    "planted",
    [
        "from prunecore.model import Model",
        "def late():\n    from prunecore.model import Model",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import prunecore.model",
    ],
    ids=["at run time", "in a function", "for a type"],
)
def test_a_planted_circle_is_found(modules: dict[str, str], planted: str) -> None:
    module = "prunecore.importance.score"
    changed = {**modules, module: f"{modules[module]}\n{planted}\n"}
    graph = without_exceptions(import_graph(changed))
    (found,) = circles(graph)
    assert {module, "prunecore.model"} <= found
    assert floor("prunecore.model") > floor(module)


def test_a_planted_module_without_a_floor_is_found() -> None:
    with pytest.raises(AssertionError, match=r"prunecore\.attic\.trunk stands on no floor"):
        floor("prunecore.attic.trunk")


def test_the_package_shows_what_it_declares_and_nothing_else() -> None:
    code = "import prunecore; print(*(n for n in dir(prunecore) if n.strip('_') == n))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown, declared = set(run.stdout.split()), set(prunecore.__all__) - {"__version__"}
    assert declared <= shown
    assert shown - declared <= ROOMS
    assert declared.isdisjoint(ROOMS)


def test_no_two_names_differ_by_an_underscore_alone(modules: dict[str, str]) -> None:
    bare = [".".join(part.lstrip("_") for part in name.split(".")) for name in modules]
    assert sorted(name for name in bare if bare.count(name) > 1) == []


def dataclasses_of(modules: Mapping[str, str]) -> set[str]:
    return {
        node.name
        for text in modules.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
        and any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    }


def test_records_are_made_with_names_for_their_fields(modules: dict[str, str]) -> None:
    """More than three positional arguments of a record could be swapped, and nobody would see."""
    records = dataclasses_of(modules)
    long = [
        f"{name}:{node.lineno} {ast.unparse(node.func)}"
        for name, text in modules.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] in records
        and len(node.args) > 3
    ]
    assert long == []


def test_options_are_given_by_name(modules: dict[str, str]) -> None:
    """A record of options takes nothing but names: many of its fields are of one type."""
    records = {
        f"{name}.{node.name}": [ast.unparse(decorator) for decorator in node.decorator_list]
        for name, text in modules.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Options")
    }
    assert "prunecore.search.options.SearchOptions" in records
    positional = {name for name, how in records.items() if how and "kw_only=True" not in how[0]}
    assert positional == set()
