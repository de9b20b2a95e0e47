# SPDX-License-Identifier: Apache-2.0
"""Shows the generated options of a call: in its signature, and in its documentation.

A call declares `**options: Unpack[...]`. `takes` gives it the signature and the docstring that it
would have if each option were written out, and refuses names that are none.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from prunecore._native.options import Option, Options

Taking = TypeVar("Taking", bound=Callable[..., Any])
WIDTH = 96


def takes(*kinds: type[Options]) -> Callable[[Taking], Taking]:
    """Decorates a function, or a class, that takes the options of `kinds` as `**options`."""

    def complete(taking: Taking) -> Taking:
        if isinstance(taking, type):
            own = vars(taking)["__init__"]
            made = _taking_function(own, taking.__name__, kinds)
            setattr(taking, "__init__", made)  # noqa: B010
            taking.__doc__ = completed_docstring(taking, made, kinds)
            return taking
        function = _taking_function(taking, taking.__name__, kinds)
        function.__doc__ = completed_docstring(taking, function, kinds)
        return function  # type: ignore[return-value]

    return complete


def shown_options(*kinds: type[Options]) -> Iterator[tuple[str, Option, inspect.Parameter]]:
    """Each plain option of some classes, with the parameter that stands for it."""
    for kind in kinds:
        for field in fields(kind):
            option = kind.OPTIONS.get(field.name)
            if option is None:
                continue
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            yield (
                field.name,
                option,
                inspect.Parameter(
                    field.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=default,
                    annotation=field.type,
                ),
            )


def _taking_function(
    function: Callable[..., Any], name: str, kinds: tuple[type[Options], ...]
) -> Callable[..., Any]:
    signature = inspect.signature(function)
    own = {
        each.name: each
        for each in signature.parameters.values()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    }
    added = {name: each for name, _, each in shown_options(*kinds) if name not in own}
    known = [*own, *added]

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        for given in options:
            if given not in known:
                raise TypeError(_unknown(name, given, known))
        return function(*arguments, **options)

    call.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own.values(), *added.values()]
    )
    return call


def _unknown(function: str, given: str, known: list[str]) -> str:
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    hint = f": did you mean '{near[0]}'?" if near else ""
    return f"{function}() has no option '{given}'{hint}"


def completed_docstring(
    described: Any, function: Callable[..., Any], kinds: tuple[type[Options], ...]
) -> str | None:
    """The docstring of `described`, with every option that it leaves out under "Parameters".

    None under `python -OO`, which takes docstrings away.
    """
    if described.__doc__ is None:
        return None
    text = inspect.cleandoc(described.__doc__)
    shown = inspect.signature(function).parameters
    entries = [
        entry_of(name, option, shown[name])
        for name, option, _ in shown_options(*kinds)
        if name in shown and not _is_described(text, name)
    ]
    begin = re.search(r"^Parameters\n-+\n", text, re.MULTILINE)
    if begin is None:
        raise ValueError(f"{described.__qualname__} has no section 'Parameters' in its docstring")
    following = re.search(r"^\S.*\n-+$", text[begin.end() :], re.MULTILINE)
    place = len(text) if following is None else begin.end() + following.start()
    before, after = text[:place].rstrip(), text[place:]
    return "\n".join([before, *entries]) + (f"\n\n{after}" if after else "")


def _is_described(text: str, name: str) -> bool:
    return re.search(rf"^(?:\w+, )*{name}(?:, \w+)* : ", text, re.MULTILINE) is not None


def entry_of(name: str, option: Option, parameter: inspect.Parameter) -> str:
    """An option as numpydoc writes it."""
    words, names = option.text, _described_names(option)
    if option.given_as:
        shown = {"0": "0", "inf": "Infinity", "auto": '"auto"'}[option.given_as]
        words += f" {shown} = {option.minus_one}."
    if names:
        type_ = "str"
    elif option.group is not None:
        type_ = "{" + ", ".join(f'"{each}"' for each in option.group.names) + "}"
    else:
        type_ = {"count": "int", "number": "float", "seed": "int", "switch": "bool"}[option.kind]
        type_ += ' or "auto"' if option.given_as == "auto" else ""
    if parameter.default is None:
        type_ += ", optional"
        words += f" Default: {option.default}." if option.default else ""
    else:
        type_ += f", default {parameter.default!r}".replace("'", '"')
    lines = [f"{name} : {type_}", *_filled(words, "    ")]
    for each in names:
        lines += _filled(each, "    ", "      ")
    return "\n".join(lines)


def _described_names(option: Option) -> list[str]:
    """What each name of a choice stands for, where the header says that in sentences."""
    if option.group is None:
        return []
    texts = {each: option.group.texts[each] for each in option.group.names}
    if not all(text.endswith(".") for text in texts.values()):
        return []
    return [f'- "{name}": {text}' for name, text in texts.items()]


def _filled(words: str, first: str, following: str | None = None) -> list[str]:
    return textwrap.wrap(
        words,
        WIDTH,
        initial_indent=first,
        subsequent_indent=first if following is None else following,
        break_long_words=False,
        break_on_hyphens=False,
    )
