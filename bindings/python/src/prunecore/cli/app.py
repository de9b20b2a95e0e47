# SPDX-License-Identifier: Apache-2.0
"""The commands' names, and how the process ends.

Exit code 0 is success; 2 is bad input, or a result that could not be written to its place, with one
sentence on standard error; 130, 143 and 129 are runs that Ctrl-C, SIGTERM and SIGHUP cancelled; 141
is output that nobody reads; 1 is a fault of PruneCore itself, or an export that `verify` finds to
differ.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.main import get_command

import prunecore
from prunecore.cli import (
    commands,
    demo,
    diagnose,
    export,
    generate,
    mask,
    recover,
    search,
    shapley,
    study,
    tasks,
)
from prunecore.cli.signals import Ending, ended_by_signals
from prunecore.errors import Cancelled, ContextWarning, Error, InternalError

EXIT_BAD_INPUT = 2
EXIT_FAULT = 1
EXIT_CANCELLED = 130
EXIT_CLOSED = 141

# The base class of wrong options and arguments: of click in older versions of typer, of its own
# copy in newer ones.
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="prunecore",
    help="Depth pruning of language models: score layers, remove the least important, measure.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("info")(commands.info)
app.command("score")(commands.score)
app.command("shapley")(shapley.shapley)
app.command("search")(search.search)
app.command("prune")(commands.prune)
app.command("evaluate")(commands.evaluate)
app.command("curve")(commands.curve)
app.command("diagnose")(diagnose.diagnose)
app.command("recover")(recover.recover)
app.command("generate")(generate.generate)
app.command("export")(export.export)
app.command("verify")(export.verify)
app.add_typer(mask.app, name="mask")
app.command("tasks")(tasks.tasks)
app.add_typer(study.app, name="study")
app.command("demo")(demo.demo)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)
    ] = False,
) -> None:
    if version:
        typer.echo(prunecore.__version__)
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if given == ["--version"]:  # a command is not needed for it
        print(prunecore.__version__)
        return 0
    _bear_any_text()
    with ended_by_signals() as ending, warnings.catch_warnings():
        warnings.simplefilter("always", ContextWarning)
        warnings.showwarning = _told_once(warnings.showwarning)
        try:
            return _run(given)
        except (KeyboardInterrupt, typer.Abort, Cancelled):
            return _fail(_cancelled(ending), ending.exit_code)
        except (SystemExit, BrokenPipeError):  # nobody reads what is printed any more
            return _closed()
        except Exception as error:
            return _fail(*_told(error))


def _told_once(usual: Callable[..., None]) -> Callable[..., None]:
    """Shows warnings of ours as sentences, each once."""
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *more: Any, **named: Any) -> None:
        if not issubclass(category, ContextWarning):
            usual(message, category, *more, **named)
        elif str(message) not in told:
            told.add(str(message))
            print(f"prunecore: warning: {message}", file=sys.stderr)

    return show


def _run(given: Sequence[str]) -> int:
    code = get_command(app).main(given, prog_name="prunecore", standalone_mode=False)
    if code == EXIT_CANCELLED:  # newer versions of typer turn Ctrl-C into this
        raise KeyboardInterrupt
    sys.stdout.flush()  # a full disk or a closed pipe shows here, not when the process has ended
    return code if isinstance(code, int) else 0


def _told(error: Exception) -> tuple[str, int]:
    """The sentence for what ended a command, and the exit code."""
    if isinstance(error, OSError) and not isinstance(error, Error):
        what = error.filename or "the output"
        return f"{what}: {error.strerror or error}", EXIT_BAD_INPUT
    if isinstance(error, (Error, ImportError)):
        is_fault = isinstance(error, InternalError)
        return str(error), EXIT_FAULT if is_fault else EXIT_BAD_INPUT
    if isinstance(error, _ClickException):
        return str(error.format_message()), EXIT_BAD_INPUT  # type: ignore[attr-defined]
    if isinstance(error, (MemoryError, RecursionError)):
        short = isinstance(error, MemoryError)
        said = "there is not enough memory" if short else "an input is nested too deep"
        return said, EXIT_BAD_INPUT
    kind = type(error).__name__
    return f"a fault of PruneCore itself, please report it: {kind}: {error}", EXIT_FAULT


def _cancelled(ending: Ending) -> str:
    if ending.by is None or ending.by is signal.SIGINT:
        return "cancelled"
    return f"cancelled by {ending.by.name}"


def _closed() -> int:
    # The interpreter flushes once more as it ends.
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return EXIT_CLOSED


def _bear_any_text() -> None:
    """Makes the outputs write "?" for what their encoding lacks; a closed one takes all."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif getattr(stream, "errors", "") in ("strict", "surrogateescape"):
            with contextlib.suppress(AttributeError, ValueError):  # not a stream of the system
                stream.reconfigure(errors="replace")


def _fail(sentence: str, code: int) -> int:
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(f"prunecore: {' '.join(sentence.split())}", file=sys.stderr)
    return code
