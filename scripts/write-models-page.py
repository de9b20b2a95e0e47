# SPDX-License-Identifier: Apache-2.0
"""Writes docs/models.md, what works for which family of models, from measurements.

python scripts/write-models-page.py           measures every family, and writes the page
python scripts/write-models-page.py --check   measures, and says by its exit code whether the page
                                              is up to date; errors may differ in their size

Takes a minute or two. A capability that is less exact than it has to be is named, and nothing is
written.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "models.md"
sys.path.insert(0, str(REPOSITORY / "Tests" / "Python" / "support"))
# Modelling files of exports are copied there, and not to the user's own directory.
_MODULES = tempfile.TemporaryDirectory(prefix="prunecore-modules-")
os.environ["HF_MODULES_CACHE"] = _MODULES.name

import prunecore as pc  # noqa: E402
import torch  # noqa: E402
from family_checks import CAPABILITIES  # noqa: E402
from family_models import CASES, FAMILIES  # noqa: E402
from family_refusals import measured  # noqa: E402
from family_subjects import FamilySubjects  # noqa: E402
from transformers.utils import logging  # noqa: E402

# In the order of the table; the others are in the parity tests alone.
COLUMNS = [name for name in CAPABILITIES if name not in ("loss", "states")]

HEAD = """\
# Models

<!-- Written by scripts/write-models-page.py. Do not edit: it is measured. -->

PruneCore opens Hugging Face directories of the families below and computes them itself. This page
says what works for each family, and how far the results are from those of transformers.

Every family is tried on small random checkpoints that transformers wrote, in every setting that
changes what is computed ([below](#what-was-tried)): windows, rotary rules, norms, biases,
multipliers, experts. Llamas with LayerNorm Scaling (arXiv 2502.05795) and Mix-LN (arXiv 2412.13795)
are transformers' modules with the norms of these papers. Both sides compute in fp32 on the CPU.
**yes** is followed by the worst error over these checkpoints; numbers in brackets lead to what
PruneCore says where it refuses.

"""


class Notes:
    """Reasons for refusals, each with its number and the checkpoints that it is said of."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def number(self, reason: str, case: str) -> int:
        """The number of a reason, which is new or not."""
        # Files are named by the checkpoint; the reason is the same for all of them.
        words = " ".join(reason.replace(f"{case}/", "").split())
        names = self._names.setdefault(words, [])
        if case not in names:
            names.append(case)
        return list(self._names).index(words) + 1

    def lines(self) -> Iterator[str]:
        """The list of all reasons."""
        for number, (words, names) in enumerate(self._names.items(), 1):
            of = ", ".join(f"`{name}`" for name in names)
            yield f'{number}. <a id="note-{number}"></a>{words} ({of})\n'


def cases_of(family: str) -> list[str]:
    """The checkpoints of a family."""
    return [name for name, case in CASES.items() if case.family == family]


def cell(family: str, capability: str, found: dict[str, float | str], notes: Notes) -> str:
    """Whether a family has a capability: the worst error, and where it is refused."""
    errors = [each for each in found.values() if isinstance(each, float)]
    numbers = sorted(
        {notes.number(each, case) for case, each in found.items() if isinstance(each, str)}
    )
    words = f"yes {rounded(max(errors))}" if errors else "no"
    return " ".join([words, *(f"[[{number}]](#note-{number})" for number in numbers)])


def rounded(error: float) -> str:
    """An error to one digit, not less than it is."""
    if error == 0:
        return "0"
    digit, exponent = f"{error:.0e}".split("e")
    if float(f"{digit}e{exponent}") < error:
        digit = str(int(digit) + 1)
    return f"{float(f'{digit}e{exponent}'):.0e}".replace("e-0", "e-")


def page() -> tuple[str, list[str]]:
    """The page as it should be, and what is less exact than it has to be."""
    notes, bad = Notes(), []
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        subjects = FamilySubjects(Path(folder))
        for family in FAMILIES:
            cells = []
            for name in COLUMNS:
                found = {case: measured(subjects(case), name) for case in cases_of(family)}
                limit = CAPABILITIES[name].tolerance
                bad += [
                    f"{case}: {name} is off by {error:.1e}"
                    for case, error in found.items()
                    if isinstance(error, float) and not error <= limit
                ]
                cells.append(cell(family, name, found, notes))
            rows.append(f"| {family} | {' | '.join(cells)} |\n")
            print(rows[-1], end="", file=sys.stderr)
    titles = [CAPABILITIES[name].name for name in COLUMNS]
    table = f"| family | {' | '.join(titles)} |\n|{'---|' * (len(titles) + 1)}\n{''.join(rows)}"
    text = HEAD + table + meanings() + "\n## What is refused\n\n"
    return text + "".join(notes.lines()) + tried(), bad


def meanings() -> str:
    """What the columns are."""
    words = {
        "logits": "nothing removed",
        "masks": "three random masks over attention and feed-forward sublayers",
        "generation": "greedy text over the cache, against the whole text computed for each token;"
        " the same tokens, and the error of their losses",
        "gradients": "of the mean loss, by the hidden states before every sublayer",
        "closed_form": "biases and matrices of adapters, against least squares; and the model with"
        " them",
        "hf_plain": "a whole block removed; run by transformers, and opened again",
        "hf_custom": "a random mask, and a mask with adapters in its places; run by transformers",
        "deci": "two sublayers removed; run by transformers",
        "gguf": "a whole block removed; run in NumPy as llama.cpp's graphs are",
        "bf16": "products in bf16, against fp32; of mixtures, the median over tokens: rounding"
        " sends some tokens to other experts",
    }
    rows = "".join(
        f"| {CAPABILITIES[name].name} | {words[name]} | {CAPABILITIES[name].unit} |"
        f" {CAPABILITIES[name].tolerance:g} |\n".replace("e-0", "e-")
        for name in COLUMNS
    )
    return f"\n| column | what is measured | errors are | limit |\n|---|---|---|---|\n{rows}"


def tried() -> str:
    """The checkpoints, and what is set in each beside the sizes."""
    rows = []
    for family in FAMILIES:
        for name in cases_of(family):
            case = CASES[name]
            fields = [f"`{key}`" for key, value in case.fields.items() if value != "dropped"]
            fields += ["config.json as in earlier checkpoints"] * (case.edit is not None)
            fields += ["tensors as in earlier checkpoints"] * (case.pack is not None)
            rows.append(f"| {family} | `{name}` | {', '.join(fields) or 'sizes alone'} |\n")
    head = "\n## What was tried\n\n| family | checkpoint | what is set |\n|---|---|---|\n"
    return head + "".join(rows)


def without_sizes(text: str) -> str:
    """A page without the sizes of errors, which depend on the processor."""
    return re.sub(r"yes \S+", "yes", text)


def main() -> int:
    """Writes or checks the page."""
    if not pc.runtime_info().bf16_kernels:
        print("this CPU has no products in bf16: take another one", file=sys.stderr)
        return 1
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    wanted, bad = page()
    if bad:
        print("not exact enough:", *bad, sep="\n  ", file=sys.stderr)
        return 1
    if sys.argv[1:] == ["--check"]:
        held = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
        return 0 if without_sizes(held) == without_sizes(wanted) else 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
