# SPDX-License-Identifier: Apache-2.0
"""Merged blocks against PyTorch: weights, logits, and the search for what to merge."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
import torch
import transformers as tf
from torch_models import CONFIGURATIONS, VOCABULARY

TOKENS = pc.Data(np.random.default_rng(3).integers(0, VOCABULARY, (3, 24)))
KINDS = (torch.nn.Linear, tf.pytorch_utils.Conv1D)


@pytest.fixture(autouse=True)
def _one_thread(one_torch_thread: None) -> None:
    pass


def saved(name: str, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """A random model of transformers in which no norm and no bias is trivial, saved."""
    torch.manual_seed(5)
    model = tf.AutoModelForCausalLM.from_config(CONFIGURATIONS[name]()).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.to(dtype).save_pretrained(folder)
    return model


def layers_of(model: Any) -> torch.nn.ModuleList:
    return next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) > 2)


def merged(model: Any, low: int, others: list[int], weight: float, rule: str) -> Any:
    """A copy with blocks merged, in double; what was merged is taken out."""
    made = copy.deepcopy(model)
    layers = layers_of(made)
    sources = [dict(layers_of(model)[block].named_modules()) for block in others]
    for name, module in layers[low].named_modules():
        if not isinstance(module, KINDS):
            continue
        for part in ("weight", "bias"):
            own = getattr(module, part, None)
            if own is None:
                continue
            first = own.data.double()
            value = first.clone()
            for source in sources:
                other = getattr(source[name], part).data.double()
                value += weight * (other - (first if rule == "sum" else value))
            own.data = value.to(own.dtype)
    for block in sorted(others, reverse=True):
        del layers[block]
    for number, layer in enumerate(layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = number
    made.config.num_hidden_layers = len(layers)
    kinds = getattr(made.config, "layer_types", None)
    if kinds is not None:
        made.config.layer_types = [kind for n, kind in enumerate(kinds) if n not in others]
    return made


def logits_of(model: Any) -> np.ndarray:
    with torch.no_grad():
        rows = [
            model(torch.tensor(row[None].astype(np.int64)), use_cache=False).logits[0]
            for row in TOKENS.sequences
        ]
    return torch.cat(rows).float().numpy()


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen2", "gpt_neox", "phi3"])
@pytest.mark.parametrize("rule", ["sum", "running"])
def test_merged_models_compute_what_pytorch_does(name: str, rule: str, tmp_path: Path) -> None:
    torch_model = saved(name, tmp_path)
    wanted = logits_of(merged(torch_model, 0, [1, 2], 0.4, rule))
    edit = {"kind": "merge", "into": 0, "from": [1, 2], "weight": 0.4, "rule": rule}
    mask = pc.Mask.remove(["block.1", "block.2"], 4).with_edits([edit])
    with pc.open(tmp_path) as model, model.edited(mask) as edited:
        found = edited.logits(TOKENS, mask)
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()
    assert np.abs(wanted - logits_of(torch_model)).max() > 1e-2 * np.abs(wanted).max()


def test_plain_checkpoints_of_merged_models_are_those_of_transformers(tmp_path: Path) -> None:
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 1e-4)):
        source, out = tmp_path / f"{dtype}", tmp_path / f"{dtype}-out"
        torch_model = saved("llama", source, dtype)
        edit = {"kind": "merge", "into": 1, "from": [2], "weight": 0.5}
        mask = pc.Mask.remove("block.2", 4).with_edits([edit])
        with pc.open(source) as model, model.edited(mask) as edited:
            edited.export(out, mask, format="hf_plain")
            ours = edited.logits(TOKENS, mask)
        loaded = tf.AutoModelForCausalLM.from_pretrained(out, dtype=dtype)
        by_hand = merged(torch_model, 1, [2], 0.5, "sum")
        for (name, tensor), (_, wanted) in zip(
            sorted(loaded.state_dict().items()), sorted(by_hand.state_dict().items()), strict=True
        ):
            assert torch.equal(tensor, wanted), name
        theirs = logits_of(loaded.float())
        assert np.linalg.norm(ours - theirs) < tolerance * np.linalg.norm(theirs)


def test_a_running_merge_of_weight_one_is_the_top_block_with_the_norms_of_the_lowest(
    tmp_path: Path,
) -> None:
    torch_model = saved("llama", tmp_path)
    made = copy.deepcopy(torch_model)
    low, top = made.model.layers[0], made.model.layers[2]
    low.self_attn, low.mlp = top.self_attn, top.mlp
    low.self_attn.layer_idx = 0
    made.model.layers[3].self_attn.layer_idx = 1
    del made.model.layers[1:3]
    edit = {"kind": "merge", "into": 0, "from": [1, 2], "weight": 1, "rule": "running"}
    mask = pc.Mask.remove(["block.1", "block.2"], 4).with_edits([edit])
    with pc.open(tmp_path) as model, model.edited(mask) as edited:
        found = edited.logits(TOKENS, mask)
    wanted = logits_of(made)
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


class Released:
    """Sliding layer merging as its authors' program does it, with the merge that is pending at the
    end made: whole models are copied and run for every look."""

    def __init__(self, directory: Path, rows: list[np.ndarray], weight: float, rule: str) -> None:
        self.model = tf.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
        self.rows = [torch.tensor(row[None].astype(np.int64)) for row in rows]
        self.weight, self.rule = weight, rule
        self.whole = self.states(self.model)

    def states(self, model: Any) -> list[torch.Tensor]:
        with torch.no_grad():
            return [
                model(row, output_hidden_states=True, use_cache=False).hidden_states[-1].flatten()
                for row in self.rows
            ]

    def run(self, threshold: float) -> tuple[list[list[int]], list[tuple[int, int, float]]]:
        """The blocks that became one, and what was looked at: low, high, similarity."""
        model, records, looks = self.model, [], []
        high = len(model.model.layers) - 2
        low = high - 1
        while low >= 0:
            made = self.merge(model, low, high)
            pairs = zip(self.whole, self.states(made), strict=True)
            cosines = [torch.cosine_similarity(a[None], b[None]).item() for a, b in pairs]
            looks.append((low, high, float(np.mean(cosines))))
            if looks[-1][2] > threshold:
                low -= 1
                continue
            if low + 1 != high:
                model = self.merge(model, low + 1, high)
                records.append(list(range(low + 1, high + 1)))
            high = low
            low = high - 1
        if high > 0:
            records.append(list(range(high + 1)))
        return records, looks

    def merge(self, model: Any, low: int, high: int) -> Any:
        made = merged(model, low, list(range(low + 1, high + 1)), self.weight, self.rule)
        for parameter in made.model.layers[low].parameters():
            parameter.data = parameter.data.bfloat16().float()  # as the checkpoint stores them
        return made


@pytest.mark.parametrize(
    ("rule", "weight", "threshold"), [("running", 1.0, 0.86), ("sum", 0.4, 0.79)]
)
def test_the_search_takes_the_way_of_the_released_program(
    rule: Any, weight: float, threshold: float, model: pc.Model, tales_dir: Path
) -> None:
    text = pc.Data.from_text(tales_dir / "stories.jsonl", model, 48)[:4]
    wanted, looks = Released(tales_dir, list(text.sequences), weight, rule).run(threshold)
    found = model.merge_blocks(text, threshold=threshold, weight=weight, rule=rule)
    assert len({len(record) for record in wanted}) > 0
    assert [[edit["into"], *edit["from"]] for edit in found.mask.edits] == wanted
    assert [(step.low, step.high) for step in found.steps] == [look[:2] for look in looks]
    for step, (_, _, similarity) in zip(found.steps, looks, strict=True):
        assert abs(step.similarity - similarity) < 1e-5
        assert step.accepted == (similarity > threshold)
    removed = [f"block.{block}" for record in wanted for block in record[1:]]
    assert found.mask == pc.Mask.remove(removed, 12).with_edits(found.mask.edits)
    assert found.similarity == [step.similarity for step in found.steps if step.accepted][-1]
