# SPDX-License-Identifier: Apache-2.0
"""Exports as somebody finds them who has transformers, and no PruneCore.

Run as a program with a folder: each folder in it holds an export, and `tokens.npy`; the name of the
folder ends in "-trusted" where its code is to be run. It leaves `found.npz` beside each.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

PROMPT, NEW = 9, 8


def load_all(folder: Path) -> None:
    """Has another process load and run every export in a folder."""
    command = [sys.executable, __file__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _run(place: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    tokens = torch.from_numpy(np.load(place / "tokens.npy"))
    options = {"trust_remote_code": True} if place.name.endswith("-trusted") else {}
    model, report = AutoModelForCausalLM.from_pretrained(
        place / "export",
        dtype=torch.float32,
        attn_implementation="eager",
        output_loading_info=True,
        **options,
    )
    assert not any(report.values()), f"{place}: {report}"
    with torch.no_grad():
        logits = model(tokens, use_cache=False).logits
        written = model.generate(
            tokens[:1, :PROMPT], max_new_tokens=NEW, do_sample=False, pad_token_id=0
        )
    np.savez(place / "found.npz", logits=logits.numpy(), written=written.numpy())


if __name__ == "__main__":
    sys.modules["prunecore"] = None  # type: ignore[assignment]  # it cannot be imported
    import torch as _torch

    _torch.set_num_threads(1)
    for _place in sorted(Path(sys.argv[1]).iterdir()):
        _run(_place)
