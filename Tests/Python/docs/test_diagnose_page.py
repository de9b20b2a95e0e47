# SPDX-License-Identifier: Apache-2.0
"""The page on diagnoses says what its benchmark found."""

from __future__ import annotations

import json
import re
from typing import Any

import prunecore as pc
import pytest
from pages import REPOSITORY

RESULTS = REPOSITORY / "benchmarks" / "results" / "diagnosis.json"


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))["models"]
    return found


@pytest.fixture(scope="module")
def rows() -> list[list[str]]:
    """The cells of the table of results."""
    page = (REPOSITORY / "docs" / "diagnose.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| model \|.*\n\|[-|]*\n((?:\|.*\n)+)", page, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()]


def test_losses_bytes_and_seconds_on_the_page_are_those_of_the_benchmark(
    models: dict[str, Any], rows: list[list[str]]
) -> None:
    written = [row[2:6] for row in rows if row[2]]
    measured = [
        [
            f"{each['loss']:.3f}",
            f"{each['loss_without']:.3f}",
            f"{each['parameter_bytes']:,}",
            f"{each['parameter_bytes_without']:,}",
        ]
        for model in models.values()
        for each in model["removals"]
    ]
    assert written == measured
    named = {row[0]: row[6] for row in rows if row[0]}
    for name, model in models.items():
        whole = sum(model["seconds"].values()) - model["seconds"]["one pass, with its losses"]
        assert float(named[name]) == pytest.approx(whole, rel=0.1)


def test_verdicts_on_the_page_are_those_of_the_benchmark(
    models: dict[str, Any], rows: list[list[str]]
) -> None:
    tales, smollm = (pc.Diagnosis.from_dict(model["diagnosis"]) for model in models.values())
    nearest = tales.verdict().nearest
    assert tales.identities == () and nearest is not None
    assert nearest.unit.replace(".", " ") in rows[0][1]
    wanted = [unit.removeprefix("block.") for unit in smollm.identities]
    assert re.findall(r"\d+", rows[2][1]) == [*wanted, "30"]
    for row, found in ((rows[1], tales), (rows[3], smollm)):
        units = found.verdict("sublayer").units
        numbers = [int(number) for number in re.findall(r"\d+", row[1])]
        attention = [int(unit.removeprefix("attn.")) for unit in units if unit[0] == "a"]
        assert numbers in (attention, [len(attention), len(units) - len(attention)])
