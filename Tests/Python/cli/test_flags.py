# SPDX-License-Identifier: Apache-2.0
"""Flags follow from the options of the header, and flags that commands share are written once."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import typer
from prunecore._native.options import Options
from prunecore._native.options_generated import ExportOptions, ScoreOptions
from prunecore.cli.app import app
from prunecore.cli.flags import Generated, expanded
from prunecore.cli.options import Machine
from prunecore.generation.generate import GenerateOptions
from prunecore.measures.options import CoalitionOptions
from prunecore.recovery.options import RecoverOptions
from prunecore.search.options import SearchOptions, SearchRunOptions
from prunecore.shapley.options import GameOptions, GameRunOptions
from typer.main import get_command

COMMANDS: list[tuple[str, tuple[type[Options], ...]]] = [
    ("search", (SearchOptions, SearchRunOptions, CoalitionOptions)),
    ("shapley", (GameOptions, GameRunOptions, CoalitionOptions)),
    ("recover", (RecoverOptions,)),
    ("generate", (GenerateOptions,)),
    ("score", (ScoreOptions,)),
    ("export", (ExportOptions,)),
]
OTHER_FLAGS = {"max_new_tokens": "--max-tokens"}


@pytest.mark.parametrize(("name", "kinds"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_every_option_of_the_header_is_a_flag(name: str, kinds: tuple[type[Options], ...]) -> None:
    command: Any = get_command(app)
    parameters = {flag: each for each in command.commands[name].params for flag in each.opts}
    for kind in kinds:
        for option, found in kind.OPTIONS.items():
            flag = OTHER_FLAGS.get(option, "--" + option.replace("_", "-"))
            assert flag in parameters, flag
            if option != "seed":  # which also draws the data
                assert parameters[flag].help.startswith(found.help)


def test_a_command_is_given_its_groups_and_generated_options() -> None:
    given: dict[str, Any] = {}

    @expanded
    def command(
        options: Annotated[dict[str, Any], Generated(RecoverOptions, leave_out=("seed",))],
        *,
        machine: Machine,
        words: Annotated[str, typer.Option("--words")] = "none",
    ) -> None:
        given.update(options=options, machine=machine, words=words)

    small = typer.Typer()
    small.command()(command)
    get_command(small).main(
        ["--rank", "auto", "--clip-norm", "inf", "--kind", "low-rank", "--threads", "2"],
        standalone_mode=False,
    )
    assert given["machine"] == Machine(threads=2)
    assert given["words"] == "none"
    options = given["options"]
    assert options["rank"] == "auto" and options["clip_norm"] == float("inf")
    assert options["kind"] == "low_rank" and options["steps"] is None
    assert "seed" not in options


def test_a_flag_that_two_groups_have_is_refused() -> None:
    with pytest.raises(TypeError, match="has the flag compute twice"):

        @expanded
        def command(one: Machine, other: Machine) -> None:
            """Does nothing."""
