# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/models-from-tensors.md run as they are written, in all three languages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from pages import Page, compiled, output_of, run_python

PAGE = "docs/models-from-tensors.md"
RUNS_BLOCKS_OF = {"docs/models-from-tensors.md": ("python", "c", "cpp")}


def test_python_blocks_of_the_tensors_page(
    workplace: Path, tales: pc.Model, tales_dir: Path
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    lines = run_python(Page(PAGE).code("python"), workplace)
    data = pc.Data.from_text(tales_dir / "stories.jsonl", tales, sequence_length=128, limit=4)
    assert lines[0] == "TorchWeights('tales-12l', 12 blocks) bf16"
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


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_compiled_blocks_of_the_tensors_page(
    language: str, tales_dir: Path, tales: pc.Model, tmp_path: Path
) -> None:
    write_engine(tales_dir, tmp_path)
    program = compiled(
        Page(PAGE).only(language), language, tmp_path, "weights.s", flags=("-Wno-conversion",)
    )
    *magnitudes, last = output_of([program], tmp_path).splitlines()
    assert "the library is done with them" in last
    wanted = tales.score(metrics="magnitude")["magnitude"]
    np.testing.assert_allclose(np.array(magnitudes, float), wanted, rtol=1e-15)
