# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/models-from-tensors.md run as they are written, in all three languages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from prunecore._library import LIBRARY_PATH


@pytest.fixture
def text(repository_root: Path) -> str:
    return (repository_root / "docs" / "models-from-tensors.md").read_text(encoding="utf-8")


def run(workplace: Path, *command: str | Path) -> list[str]:
    done = subprocess.run(
        list(map(str, command)), cwd=workplace, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_python_examples(text: str, workplace: Path, tales: pc.Model, tales_dir: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    code = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    lines = run(workplace, sys.executable, "-c", code)
    data = pc.Data.from_text(tales_dir / "stories.jsonl", tales, sequence_length=128, limit=4)
    assert lines[0] == "Model('tales-12l', 12 blocks) bf16"
    whole, changed, again = map(float, lines[1:4])
    assert whole == again == tales.evaluate(data).loss and changed != whole
    printed = np.array(re.findall(r"\d+\.?\d*(?:e[+-]?\d+)?", " ".join(lines[4:])), float)
    np.testing.assert_allclose(printed, tales.score(metrics="magnitude")["magnitude"], rtol=1e-5)


def write_engine(tales_dir: Path, folder: Path) -> None:
    """What the page's programs have: weights in memory, here linked into them, and a table."""
    content = (tales_dir / "model.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    (folder / "weights.bin").write_bytes(content[8 + size :])
    entries = [
        f'    {{"{name}", bytes + {entry["data_offsets"][0]}, {len(entry["shape"])}, '
        f"{{{', '.join(map(str, entry['shape']))}}}}},\n"
        for name, entry in header.items()
    ]
    (folder / "weights.s").write_text(
        '.section .rodata\n.global bytes\nbytes:\n.incbin "weights.bin"\n'
        '.section .note.GNU-stack,"",@progbits\n'
    )
    config = json.dumps(json.dumps(json.loads((tales_dir / "config.json").read_text())))
    (folder / "engine.h").write_text(
        "#include <stddef.h>\n#include <stdint.h>\n"
        '#ifdef __cplusplus\n#define FROM_C extern "C"\n#else\n#define FROM_C extern\n#endif\n'
        "FROM_C const unsigned char bytes[];\n"
        "static const struct { const char *name; const void *elements; int32_t n_dimensions;"
        " int64_t shape[2]; } weights[] = {\n" + "".join(entries) + "};\n"
        "static const size_t n_weights = sizeof weights / sizeof weights[0];\n"
        f"static const char config_json[] = {config};\n"
    )


@pytest.mark.parametrize(
    ("language", "compiler", "standard"), [("c", "gcc", "c99"), ("cpp", "g++", "c++17")]
)
def test_compiled_examples(
    language: str,
    compiler: str,
    standard: str,
    text: str,
    tales_dir: Path,
    tales: pc.Model,
    repository_root: Path,
    tmp_path: Path,
) -> None:
    compiler = os.environ.get({"c": "CC", "cpp": "CXX"}[language], compiler)
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    (code,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    write_engine(tales_dir, tmp_path)
    (tmp_path / f"example.{language}").write_text(code, encoding="utf-8")
    (tmp_path / "libprunecore.so.1").symlink_to(Path(LIBRARY_PATH).resolve())
    run(
        tmp_path, compiler, f"-std={standard}", "-Wall", "-Wextra", "-Werror",
        f"-I{repository_root / 'include'}", f"-I{repository_root / 'bindings' / 'cpp'}",
        f"example.{language}", "weights.s", "libprunecore.so.1", f"-Wl,-rpath,{tmp_path}",
        "-o", "example",
    )  # fmt: skip
    *magnitudes, last = run(tmp_path, tmp_path / "example")
    assert "the library is done with them" in last
    wanted = tales.score(metrics="magnitude")["magnitude"]
    np.testing.assert_allclose(np.array(magnitudes, float), wanted, rtol=1e-15)
