# SPDX-License-Identifier: Apache-2.0
"""Options and names that are generated from the header: what is read, and what is refused."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import prunecore as pc
import pytest
from prunecore._native import names_generated, options_generated
from prunecore._native.names.choice import Choice
from prunecore._native.options import Options

GENERATED = ("names_generated.py", "options_generated.py")
HEADER = """
/* How much. */
typedef int32_t prune_way;
enum {
    PRUNE_WAY_DEFAULT = 0, /* PRUNE_WAY_LONG */
    /* The long way,
     * around the hill. */
    PRUNE_WAY_LONG = 1,
    PRUNE_WAY_SHORT = 2 /* through it */
};
typedef uint64_t prune_marks;
enum {
    PRUNE_MARK_RED = 1,
    PRUNE_MARK_BLUE = 2,
    PRUNE_MARK_ALL = 3
};
typedef struct prune_walk_options {
    uint32_t struct_size;
    /* Which way. 0 = the long one. */
    prune_way way;
    int32_t reserved; /* 0 */
    /* Seed of the steps. */
    uint64_t seed;

    /* Number of steps, at 0.5 m each. Rests do not count. 0 = as many as it takes.
       -1 = none at all. Counted by the walker. */
    int64_t steps;
    /* Longest rest. 0 = 1.5. -1 = no bound. */
    double rest;
    /* Number of guides. 0 = 1. -1 = chosen by the weather. */
    int32_t guides;
    /* Whether a dog comes along. 0 = no. 1 means yes. */
    int32_t dog;
    /* Marks that are looked for. */
    prune_marks marks;
    /* Where to go. NULL = home. */
    const double *places;
    /* Length of `places`. */
    size_t n_places;
    prune_progress_fn progress; /* NULL = none */
    void *user_data;
} prune_walk_options;
"""


def test_enum_groups_are_read_with_their_comments(generator: ModuleType) -> None:
    way, marks = generator.enum_groups(HEADER)
    assert [(each.name, each.value, each.text) for each in way.named] == [
        ("long", 1, "The long way, around the hill."),
        ("short", 2, "through it"),
    ]
    assert [each.name for each in way.special] == ["default"]
    assert marks.is_bit_set and not way.is_bit_set
    assert [each.name for each in marks.named] == ["red", "blue"]
    assert [each.name for each in marks.special] == ["all"]


def test_plain_options_are_read_with_their_comments(generator: ModuleType) -> None:
    (walk,) = generator.option_structs(HEADER)
    found = {
        each.name: each for each in generator.plain_fields(walk, generator.enum_groups(HEADER))
    }
    assert list(found) == ["way", "seed", "steps", "rest", "guides", "dog"]
    assert (found["way"].kind, found["way"].default) == ("choice", "default")
    steps = found["steps"]
    assert steps.text == "Number of steps, at 0.5 m each. Rests do not count."
    assert (steps.default, steps.minus_one) == ("as many as it takes", "none at all")
    assert [each.given_as for each in found.values()] == ["", "", "0", "inf", "auto", ""]
    assert (found["rest"].default, found["dog"].kind) == ("1.5", "switch")


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("    double rest;", "    float rest;", "rest: an option of type float"),
        ("/* Longest rest. 0 = 1.5. -1 = no bound. */", "", "rest has no comment"),
        ("-1 = no bound.", "-1 = forever.", "rest: '-1 = forever'"),
        ("0 = 1.5. -1", "0 = 1.5. 0 = 2. -1", "rest: '0 = ' is said twice"),
        ("-1 = no bound.", "-1 = no bound", "rest: '-1 = no bound' does not end"),
        ("    double rest;", "    double rest[2];", "'double rest\\[2\\]' is not a field"),
        ("PRUNE_WAY_DEFAULT = 0,", "PRUNE_WAY_DEFAULT = 3,", "way: no value of prune_way is 0"),
        ("PRUNE_MARK_RED = 1,", "PRUNE_MARK_RED,", "prune_marks: 'PRUNE_MARK_RED' is not NAME"),
    ],
)
def test_what_is_not_understood_names_its_field(
    generator: ModuleType, before: str, after: str, reason: str
) -> None:
    assert before in HEADER
    changed = HEADER.replace(before, after)
    with pytest.raises(generator.HeaderError, match=reason):
        generator.options_module(generator.option_structs(changed), generator.enum_groups(changed))


def test_generated_modules_are_those_of_the_header(
    generator: ModuleType, repository_root: Path
) -> None:
    header = (repository_root / "include" / "prunecore.h").read_text(encoding="utf-8")
    groups = generator.enum_groups(header)
    wanted = (
        generator.names_module(groups),
        generator.options_module(generator.option_structs(header), groups),
    )
    folder = Path(options_generated.__file__).parent
    for name, content in zip(GENERATED, wanted, strict=True):
        assert (folder / name).read_text(encoding="utf-8") == content, (
            "the header has changed: run python bindings/python/generate_raw.py"
        )


def test_generated_modules_are_formatted(repository_root: Path) -> None:
    if importlib.util.find_spec("ruff") is None:
        pytest.skip("ruff is not present")
    folder = repository_root / "bindings" / "python" / "src" / "prunecore" / "_native"
    files = [str(folder / name) for name in GENERATED]
    for command in (["format", "--check"], ["check"]):
        # Files that git ignores are looked at if they are named.
        subprocess.run([sys.executable, "-m", "ruff", *command, *files], check=True)


def option_classes() -> list[type[Options]]:
    return [
        each
        for each in vars(options_generated).values()
        if isinstance(each, type) and issubclass(each, Options) and each is not Options
    ]


@pytest.mark.parametrize("kind", option_classes(), ids=lambda kind: kind.__name__)
def test_left_out_options_are_zeros_in_c(kind: type[Options]) -> None:
    given = kind()
    for name, option in kind.OPTIONS.items():
        assert given.in_c(name) == 0, name
        assert option.help in option.text


@pytest.mark.parametrize("kind", option_classes(), ids=lambda kind: kind.__name__)
def test_zeros_that_c_takes_for_the_default_are_refused(kind: type[Options]) -> None:
    for name, option in kind.OPTIONS.items():
        if option.kind in ("count", "number") and option.given_as != "0":
            with pytest.raises(pc.ArgumentError, match=rf"{name} is 0"):
                kind(**{name: 0}).in_c(name)
        elif option.kind == "choice":
            with pytest.raises(pc.ArgumentError, match=rf"{name} is 'nonsense'"):
                kind(**{name: "nonsense"}).in_c(name)


def test_values_that_are_minus_one_in_c() -> None:
    recover, search = options_generated.RecoverOptions, options_generated.SearchOptions
    assert search(exchanges=0).in_c("exchanges") == -1
    assert search(exchanges=2).in_c("exchanges") == 2
    assert recover(rank="auto").in_c("rank") == -1
    assert recover(clip_norm=float("inf")).in_c("clip_norm") == -1
    with pytest.raises(pc.ArgumentError, match="exchanges is -1"):
        search(exchanges=-1).in_c("exchanges")


def test_every_name_has_the_header_s_number() -> None:
    groups = [each for each in vars(names_generated).values() if isinstance(each, Choice)]
    assert len(groups) > 10
    for group in groups:
        assert [group.name(group.value(name)) for name in group.names] == list(group.names)
    assert names_generated.GRANULARITY.value("feed-forward") == 3
    assert names_generated.COMPUTE.value(None) == 0
