# SPDX-License-Identifier: Apache-2.0
"""docs/models.md has a row for every family, a word in every cell, and a reason for every no.

The numbers are not measured again: `python scripts/write-models-page.py --check` does that.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from family_models import CASES, FAMILIES
from family_refusals import REFUSED

HOW = "run python scripts/write-models-page.py"
CELL = re.compile(r"(yes (0|\d(\.\d)?e-\d+)|no)((?: \[\[\d+\]\]\(#note-\d+\))*)")


@pytest.fixture(scope="module")
def page(repository_root: Path) -> str:
    path = repository_root / "docs" / "models.md"
    assert path.is_file(), HOW
    return path.read_text(encoding="utf-8")


def rows(page: str) -> dict[str, list[str]]:
    table = page.split("\n\n")
    lines = next(part for part in table if part.startswith("| family | logits")).split("\n")[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: rest for name, *rest in cells}


def test_every_family_has_a_row(page: str) -> None:
    assert list(rows(page)) == list(FAMILIES), HOW
    for family, cells in rows(page).items():
        refused = {family, *(name for name, case in CASES.items() if case.family == family)}
        if not refused & set(REFUSED["open"]):
            assert cells[0].startswith("yes") and "note" not in cells[0], f"{family}: {HOW}"


def test_every_cell_says_yes_or_why_not(page: str) -> None:
    for family, cells in rows(page).items():
        assert len(cells) == 10
        for cell in cells:
            found = CELL.fullmatch(cell)
            assert found, f"{family}: {cell}"
            numbers = re.findall(r"note-(\d+)", cell)
            assert numbers or found[1] != "no", family
            assert all(f'<a id="note-{number}"></a>' in page for number in numbers)


def test_every_checkpoint_is_named(page: str) -> None:
    for name in CASES:
        assert f"| `{name}` |" in page, HOW
