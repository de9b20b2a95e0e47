# SPDX-License-Identifier: Apache-2.0
"""Options that are generated from the header are shown, documented and checked by each call."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import prunecore as pc
import pytest
from prunecore._native.options import Options
from prunecore._native.options_generated import ExportOptions, ScoreOptions, TimeOptions
from prunecore._native.signatures import takes
from prunecore.generation.generate import GenerateOptions
from prunecore.measures.options import CoalitionOptions
from prunecore.recovery.options import RecoverOptions
from prunecore.search.options import SearchOptions, SearchRunOptions
from prunecore.shapley.options import GameOptions, GameRunOptions

Kinds = tuple[type[Options], ...]
TAKING: list[tuple[Callable[..., Any], Kinds]] = [
    (pc.Model.search, (SearchOptions, SearchRunOptions, CoalitionOptions)),
    (pc.Model.shapley, (GameOptions, GameRunOptions, CoalitionOptions)),
    (pc.Model.recover, (RecoverOptions,)),
    (pc.Model.generate, (GenerateOptions,)),
    (pc.Model.score, (ScoreOptions,)),
    (pc.Model.export, (ExportOptions,)),
    (pc.Model.damages, (CoalitionOptions,)),
    (pc.Model.token_times, (TimeOptions,)),
    (pc.Search, (SearchOptions,)),
    (pc.Game, (GameOptions,)),
]


@pytest.mark.parametrize(("call", "kinds"), TAKING, ids=lambda each: getattr(each, "__name__", ""))
def test_every_option_is_in_the_signature_and_the_documentation(
    call: Callable[..., Any], kinds: Kinds
) -> None:
    parameters = inspect.signature(call).parameters
    documentation = inspect.getdoc(call) or ""
    assert not any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    for kind in kinds:
        for name, option in kind.OPTIONS.items():
            assert name in parameters, name
            entry = re.search(
                rf"^(\w+, )*{name}(, \w+)* : .*\n((?:    .*\n?)+)", documentation, re.MULTILINE
            )
            assert entry is not None, f"{name} is not documented"
            assert option.text.split()[0]
    assert documentation.count("\nParameters\n---") == 1


def test_parameters_come_before_other_sections() -> None:
    documentation = inspect.getdoc(pc.Model.recover) or ""
    sections = re.findall(r"^(\w+)\n-+$", documentation, re.MULTILINE)
    assert sections == ["Parameters", "Returns", "Raises"]
    parameters = documentation.split("Returns\n---")[0]
    assert "clip_norm : float, optional\n" in parameters
    assert "Infinity = no bound. Default: 1." in " ".join(parameters.split())


def test_unknown_options_name_the_nearest_one() -> None:
    with pytest.raises(TypeError, match=r"Game\(\) has no option 'buget': did you mean 'budget'"):
        pc.Game(4, buget=8)
    with pytest.raises(TypeError, match=r"has no option 'zzz'$"):
        pc.Game(4, zzz=8)


def test_a_call_without_a_section_of_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="has no section 'Parameters'"):

        @takes(GameOptions)
        def call(**_options: Any) -> None:
            """Does nothing."""


def test_the_package_works_without_docstrings() -> None:
    code = "import inspect, prunecore as pc; print(*inspect.signature(pc.Model.search).parameters)"
    command = [sys.executable, "-OO", "-c", code]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert {"exchanges", "remove", "batch_tokens"} <= set(done.stdout.split())
