# SPDX-License-Identifier: Apache-2.0
"""Writes docs/command.md, the reference of the command line, from the commands themselves.

python scripts/write-command-page.py           writes the page
python scripts/write-command-page.py --check   says whether it is up to date, by its exit code
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prunecore.cli.app import app
from typer.main import get_command

PAGE = Path(__file__).resolve().parents[1] / "docs" / "command.md"

HEAD = """\
# The command line

<!-- Written by scripts/write-command-page.py. Do not edit: the texts are those of the commands. -->

`prunecore COMMAND --help` shows the same texts on the terminal.

With `--json`, standard output is one JSON object and nothing else; progress goes to standard error.
Losses are under the key `loss`: mean negative log-likelihood per token, in nats. The exit code is 0
for success, 2 for bad input (with one sentence on standard error), 130 for a run that was
cancelled, and 1 for a fault of PruneCore itself or an export that `verify` finds to differ.

"""


def commands(command: Any, name: str = "prunecore") -> Iterator[tuple[str, Any]]:
    """All commands below one, with their full names, in the order of `--help`."""
    for part, each in getattr(command, "commands", {}).items():
        if hasattr(each, "commands"):
            yield from commands(each, f"{name} {part}")
        else:
            yield f"{name} {part}", each


def page() -> str:
    """The page as it should be."""
    found = list(commands(get_command(app)))
    contents = "".join(
        f"- [`{name}`](#{name.replace(' ', '-')}): {summary(each)}\n" for name, each in found
    )
    return HEAD + contents + "".join(section(name, each) for name, each in found)


def summary(command: Any) -> str:
    """The first paragraph of a command's help."""
    return paragraphs(command)[0]


def paragraphs(command: Any) -> list[str]:
    """The paragraphs of a command's help."""
    return [" ".join(part.split()) for part in command.help.split("\n\n")]


def section(name: str, command: Any) -> str:
    """One command: what it does, its arguments and its options."""
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    shown = [each for each in options if each.name != "help" and not each.hidden]
    needed = [f"{flag(each)} {each.metavar}" for each in shown if each.required]
    usage = " ".join([name, *(argument(each) for each in arguments), *needed, "[OPTIONS]"])
    rows = [(argument(each), text(each)) for each in arguments]
    rows += [(f"{flags(each)} {each.metavar or ''}".strip(), text(each)) for each in shown]
    described = "\n\n".join(paragraphs(command))
    table = "".join(f"| `{left}` | {right} |\n" for left, right in rows)
    return (
        f"\n## {name}\n\n{described}\n\n```\n{usage}\n```\n\n"
        f"| Option | Meaning |\n|---|---|\n{table}"
    )


def argument(parameter: Any) -> str:
    """An argument as usage lines show it."""
    return str(parameter.metavar) if parameter.required else f"[{parameter.metavar}]"


def flag(parameter: Any) -> str:
    """The option's long flag."""
    return str(parameter.opts[-1])


def flags(parameter: Any) -> str:
    """The option's flag, and the one that switches it off where there is that."""
    return " / ".join([flag(parameter), *parameter.secondary_opts])


def text(parameter: Any) -> str:
    """What an option means, whether it must be given, and its default."""
    words = " ".join(parameter.help.split()).replace("|", "\\|")
    if parameter.required:
        return words + " Required."
    value = parameter.default
    if value is None or value is False or parameter.secondary_opts:
        return words
    return f"{words} Default: `{value}`."


def main() -> int:
    """Writes or checks the page."""
    wanted = page()
    if sys.argv[1:] == ["--check"]:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == wanted else 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
