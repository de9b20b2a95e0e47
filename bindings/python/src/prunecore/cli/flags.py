# SPDX-License-Identifier: Apache-2.0
"""Flags that are written once and used by several commands.

A command is declared with `expanded`. A parameter of it may then stand for several flags:

- a class derived from `FlagGroup`: its fields are flags, and the command is given an instance;
- `Annotated[dict[str, Any], Generated(SearchOptions)]`: a flag for each plain option of the
  generated class, and the command is given those options as keyword arguments.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer

from prunecore._native.options import Option, Options
from prunecore._native.signatures import shown_options
from prunecore.errors import ArgumentError

Command = TypeVar("Command", bound=Callable[..., None])
Names = Mapping[str, str]

METAVARS = {"count": "N", "number": "X", "seed": "N", "choice": "NAME"}


@dataclass(frozen=True, kw_only=True)
class FlagGroup:
    """Flags that go together: fields of a derived class, each `Annotated` with its flag."""


@dataclass(frozen=True)
class Generated:
    """The flags of the plain options of a generated class.

    Attributes
    ----------
    options : type
        The class that has them.
    leave_out : tuple of str
        Options that the command has no flag for, or one of its own.
    flags : mapping
        Flags that are not the option's name with dashes.
    metavars : mapping
        What stands for the value where that is neither N nor X.
    """

    options: type[Options]
    leave_out: tuple[str, ...] = ()
    flags: Names = field(default_factory=dict)
    metavars: Names = field(default_factory=dict)

    def parameters(self) -> list[inspect.Parameter]:
        """One parameter for each flag, as typer reads them."""
        made = []
        for name, option, parameter in shown_options(self.options):
            if name not in self.leave_out:
                flag = "--" + self.flags.get(name, name).replace("_", "-")
                metavar = self.metavars.get(name, METAVARS.get(option.kind))
                text = help_text(option, parameter.default)
                info = typer.Option(flag, metavar=metavar, help=text)
                made.append(parameter.replace(annotation=Annotated[_type(option, parameter), info]))
        return made

    def value(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options as keyword arguments; names are checked before any long work."""
        shown = {name: option for name, option, _ in shown_options(self.options)}
        return {name: _read(name, shown[name], value) for name, value in given.items()}


def help_text(option: Option, default: Any) -> str:
    """What `--help` says about an option; typer adds a default that is a value."""
    words = [option.help]
    if option.group is not None:
        names = option.group.names
        words.append(f"One of {', '.join(names[:-1])} or {names[-1]}.")
    if option.given_as:
        words.append(f"{option.given_as} = {option.minus_one}.")
    if default is None and option.default and not option.default.startswith("no such"):
        words.append(f"Default: {option.default}.")
    return " ".join(words)


def _type(option: Option, parameter: inspect.Parameter) -> Any:
    if option.kind == "switch":
        return bool
    kind: Any = {"count": int, "number": float, "seed": int, "choice": str}[option.kind]
    if option.given_as == "auto":
        kind = str
    return kind if parameter.default is not None else kind | None


def _read(name: str, option: Option, value: Any) -> Any:
    """A value as Python's calls take it: a number or "auto" came as text."""
    if option.group is not None and value is not None:
        return option.group.parse(value, name)
    if option.given_as != "auto" or value is None:
        return value
    return number_or(("auto",), f"--{name.replace('_', '-')}", value, int)


def number_or(words: tuple[str, ...], flag: str, given: str, kind: type[int] | type[float]) -> Any:
    """A number, or one of the words that may stand in its place."""
    if given in words:
        return given
    try:
        return kind(given)
    except ValueError as error:
        known = ", ".join(["a number", *words[:-1]]) + f" or {words[-1]}"
        raise ArgumentError(f"{flag} is '{given}', but must be {known}") from error


def expanded(command: Command) -> Command:
    """Gives typer one parameter for each flag, and the command what it declares."""
    hints = get_type_hints(command, include_extras=True)
    shown: list[inspect.Parameter] = []
    parts: dict[str, tuple[list[str], Callable[[Mapping[str, Any]], Any]]] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        own, make = _expansion(hints[name], parameter)
        shown += own
        parts[name] = [each.name for each in own], make
    repeated = [each.name for each in shown if sum(o.name == each.name for o in shown) > 1]
    if repeated:
        raise TypeError(f"{command.__name__} has the flag {repeated[0]} twice")

    @functools.wraps(command)
    def call(**given: Any) -> None:
        command(
            **{
                name: make({each: given[each] for each in names})
                for name, (names, make) in parts.items()
            }
        )

    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in shown]
    )
    call.__annotations__ = {each.name: each.annotation for each in shown}
    del call.__wrapped__
    return call  # type: ignore[return-value]


def _expansion(
    hint: Any, parameter: inspect.Parameter
) -> tuple[list[inspect.Parameter], Callable[[Mapping[str, Any]], Any]]:
    """The flags that a parameter stands for, and what makes its value of theirs."""
    if isinstance(hint, type) and issubclass(hint, FlagGroup):
        return _group_parameters(hint), lambda given: hint(**given)
    if get_origin(hint) is Annotated:
        for extra in get_args(hint)[1:]:
            if isinstance(extra, Generated):
                return extra.parameters(), extra.value
    return [parameter.replace(annotation=hint)], lambda given: given[parameter.name]


def _group_parameters(group: type[FlagGroup]) -> list[inspect.Parameter]:
    """A group's flags; those of the classes that it derives from come last."""
    hints = get_type_hints(group, include_extras=True)
    bases = [kind for kind in group.__mro__ if issubclass(kind, FlagGroup)]

    def home(name: str) -> int:
        return max(i for i, kind in enumerate(bases) if name in inspect.get_annotations(kind))

    return [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if each.default is MISSING else each.default,
            annotation=hints[each.name],
        )
        for each in sorted(fields(group), key=lambda each: home(each.name))
    ]
