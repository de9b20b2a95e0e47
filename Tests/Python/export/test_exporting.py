# SPDX-License-Identifier: Apache-2.0
"""`Model.export` without any runtime: what it takes, keeps, and refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
from prunecore.export.formats import EXPORT_FORMATS, Export


def document(directory: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((directory / "prunecore.json").read_text())
    return loaded


def test_it_gives_the_path_and_keeps_where_masks_come_from(tales: pc.Model, tmp_path: Path) -> None:
    mask = pc.Mask.remove("block.4", 12, {"method": "by hand"})
    out = tales.export(str(tmp_path / "out"), mask)
    assert out == tmp_path / "out"
    assert document(out)["removed"] == ["attn.4", "ffn.4"]
    assert document(out)["provenance"] == {"model": tales.provenance, "mask": {"method": "by hand"}}
    own = tales.export(out, mask, replace=True, provenance={"é": [1.5]})
    assert document(own)["provenance"] == {"é": [1.5]}


def test_the_mask_of_the_model_and_of_the_adapters(tales: pc.Model, tmp_path: Path) -> None:
    mask = pc.Mask.remove("attn.4", 12)
    tales.mask = mask
    assert document(tales.export(tmp_path / "a"))["removed"] == ["attn.4"]
    tales.mask = None
    assert document(tales.export(tmp_path / "b"))["removed"] == []
    data = pc.Data([np.arange(1, 90)])
    adapters = tales.recover(mask, data, kind="bias", held_out=data)
    out = tales.export(tmp_path / "c", adapters=adapters)
    assert document(out)["removed"] == ["attn.4"]
    assert document(out)["adapters"]["adapters"][0]["sublayer"] == "attn.4"
    assert document(out)["provenance"]["adapters"] == adapters.provenance
    with pytest.raises(pc.ArgumentError, match="another mask"):
        tales.export(tmp_path / "d", pc.Mask.remove("attn.5", 12), adapters)
    with adapters.attach(tales) as recovered:
        own = recovered.export(tmp_path / "d")
    assert (own / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


def test_export_tells_progress_and_stops_at_its_word(tales: pc.Model, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    tales.export(tmp_path / "out", progress=lambda *step: seen.append(step[:3]))
    assert seen[-1] == ("export", 110, 110)
    with pytest.raises(pc.Cancelled):
        tales.export(tmp_path / "new", progress=lambda *_: True)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tales.export(tmp_path / "new", progress=fail)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("error", "text", "arguments"),
    [
        (pc.ArgumentError, "'gguf2', but must be one of hf, ", {"format": "gguf2"}),
        (pc.ArgumentError, "shard_bytes is 0", {"shard_bytes": 0}),
        (pc.ArgumentError, "shard_bytes", {"shard_bytes": 2**63}),
        (pc.ArgumentError, "provenance", {"provenance": {"a": object()}}),
        (pc.ArgumentError, "provenance", {"provenance": {"a": float("nan")}}),
        (pc.ArgumentError, "NUL", {"directory": "a\0b"}),
        (pc.ArgumentError, "mask", {"mask": [1, 0, 1]}),
        (pc.FileError, "No such file", {"directory": "/proc/no/such/place"}),
        (pc.UnsupportedError, "hf_custom can", {"mask": "attn.0", "format": "hf_plain"}),
        (pc.UnsupportedError, "ffn.0", {"mask": "attn.0", "format": "deci"}),
    ],
)
def test_export_refuses_what_it_cannot_write(
    tales: pc.Model, tmp_path: Path, error: type[Exception], text: str, arguments: dict[str, Any]
) -> None:
    if isinstance(arguments.get("mask"), str):
        arguments = arguments | {"mask": pc.Mask.remove(arguments["mask"], 12)}
    with pytest.raises(error, match=re.escape(text)):
        tales.export(**({"directory": tmp_path / "out"} | arguments))
    assert not list(tmp_path.iterdir())


def test_other_export_formats_can_be_added(
    tales: pc.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Export] = []
    monkeypatch.setitem(EXPORT_FORMATS, "mine", asked.append)
    tales.export(tmp_path / "out", format="mine", replace=True, shard_bytes=7)
    assert asked[0].model is tales and asked[0].path == tmp_path / "out"
    assert asked[0].options.replace and asked[0].options.shard_bytes == 7
