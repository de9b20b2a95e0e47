# SPDX-License-Identifier: Apache-2.0
"""scripts/check-swift-order.py reports what a folder of the core uses of a later one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def check(root: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "check-swift-order.py"), "--root", str(root)],
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "Sources" / "PruneCore", tmp_path / "Sources" / "PruneCore")
    return tmp_path


def plant(root: Path, file: str, text: str) -> None:
    path = root / "Sources" / "PruneCore" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_the_core_keeps_the_order():
    code, said = check(ROOT)
    assert code == 0, said


@pytest.mark.parametrize(
    ("file", "text", "name", "home"),
    [
        (
            "Numerics/Planted.swift",
            "struct Planted {\n    var search: Search?\n}\n",
            "Search",
            "Search",
        ),
        (
            "Checkpoint/Planted.swift",
            "func planted() {\n    _ = planText(of: 3)\n}\n",
            "planText",
            "Recovery",
        ),
        ("Files/Planted.swift", "let planted = [Model].self\n", "Model", "Model"),
        (
            "Host/Planted.swift",
            'let planted = "the \\(NativeModel.self)"\n',
            "NativeModel",
            "Engine",
        ),
        (
            "Model/Planted.swift",
            "func planted(_ model: any Model) -> Bool {\n    model.generates\n}\n",
            "generates",
            "Evaluation",
        ),
    ],
    ids=["type", "function", "global", "interpolation", "member of an extension"],
)
def test_a_reference_to_a_later_folder_is_found(
    copy: Path, file: str, text: str, name: str, home: str
):
    plant(copy, file, text)
    code, said = check(copy)
    line = next(number for number, own in enumerate(text.split("\n"), 1) if name in own)
    assert code == 1
    assert (
        f"Sources/PruneCore/{file}:{line}: {file.split('/')[0]} uses {name}, which {home} declares"
        in said
    )


def test_comments_and_strings_refer_to_nothing(copy: Path):
    plant(
        copy,
        "Files/Planted.swift",
        "/// A `Model`.\n/* Search /* Game */ Model */\n"
        'let planted = "Model \\" Game" + """\n    "Search"\n    """\n',
    )
    code, said = check(copy)
    assert code == 0, said


def test_a_folder_outside_the_order_is_refused(copy: Path):
    plant(copy, "Elsewhere/Planted.swift", "let planted = 1\n")
    code, said = check(copy)
    assert code == 1
    assert "Elsewhere" in said
