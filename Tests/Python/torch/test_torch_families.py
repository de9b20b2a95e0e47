# SPDX-License-Identifier: Apache-2.0
"""`prunecore.torch.wrap` takes apart every family of the table, as an oracle of its own does.

The oracle's blocks are written from the classes' `forward`: see family_plans. It runs one sequence
at a time, computes whole texts for each token, and differentiates all at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import prunecore as pc
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from family_models import CASES, OF_MODULES  # noqa: E402
from family_norms import load_family  # noqa: E402
from family_oracle import Update, forget_longer_sequences  # noqa: E402
from family_plans import is_block  # noqa: E402
from family_subjects import FamilySubject, FamilySubjects  # noqa: E402
from prunecore.torch import WrappedModel, wrap  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore::prunecore.ContextWarning"),
]

CLOSE = 1e-5  # of the largest value
# Settings of attention and experts, which modules compute themselves.
INNER = ("-old", "-biases", "-window", "-clip", "-gelu", "qk-norm", "-no-", "-alpha")
ROTARY = ("-linear", "-yarn", "-longrope", "-llama3", "-partial", "qkv-bias", "-plain-norm")
OWN_BLOCKS = "llama-mix-ln"  # of a class that transformers does not have
ALL = [
    name
    for name in (*CASES, *OF_MODULES)
    if name != OWN_BLOCKS and not any(end in name for end in INNER)
]
SHAPES = [name for name in ALL if not any(end in name for end in (*ROTARY, "-dynamic"))]


@dataclass
class Door:
    """A checkpoint, the oracle of it, and the module that is wrapped."""

    subject: FamilySubject

    @cached_property
    def module(self) -> Any:
        return load_family(self.subject.directory)

    @cached_property
    def model(self) -> WrappedModel:
        return wrap(self.module)

    @property
    def mask(self) -> np.ndarray:
        return self.subject.masks["random-0"]

    def own_logits(self) -> np.ndarray:
        """What the module computes as it is now, a sequence at a time."""
        rows = []
        for ids in self.subject.sequences:
            forget_longer_sequences(self.module)
            with torch.no_grad():
                rows.append(self.module(torch.from_numpy(ids)[None], use_cache=False).logits[0])
        return torch.cat(rows).numpy()

    def written(self, cache: bool) -> list[int]:
        """What the module writes as it is now."""
        prompt = torch.from_numpy(self.subject.sequences[1][:9])[None]
        made = self.module.generate(
            prompt, max_new_tokens=8, do_sample=False, use_cache=cache, pad_token_id=0
        )
        return made[0, 9:].tolist()


def apart(found: np.ndarray, wanted: np.ndarray) -> float:
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Door]:
    families = FamilySubjects(tmp_path_factory.mktemp("families"))

    class Doors(dict[str, Door]):
        def __missing__(self, name: str) -> Door:
            self[name] = Door(families(name))
            return self[name]

    return Doors()


@pytest.mark.parametrize("name", ALL)
def test_logits_under_masks(name: str, doors: dict[str, Door]) -> None:
    door = doors[name]
    assert door.model.granularity == "sublayer"
    for mask in door.subject.masks.values():
        wanted = door.subject.oracle.run(door.subject.sequences, mask).logits
        assert apart(door.model.logits(door.subject.data, mask), wanted) < CLOSE
    assert door.model.live_states == 0


@pytest.mark.parametrize("name", SHAPES)
def test_applied_masks(name: str, doors: dict[str, Door]) -> None:
    door = doors[name]
    names = [(name, id(part)) for name, part in door.module.named_modules()]
    logits = door.own_logits()
    counts = [own.parameters for own in door.model.sublayers]
    whole = sum(part.numel() for part in door.module.parameters())
    for mask in list(door.subject.masks.values())[1:3]:
        with door.model.apply_mask(mask):
            wanted = door.subject.oracle.run(door.subject.sequences, mask).logits
            assert apart(door.own_logits(), wanted) < CLOSE
            left = sum(part.numel() for part in door.module.parameters())
            layers = [part for part in door.module.modules() if is_block(part)]
            gone = door.subject.n_blocks - len(layers)
            shared = 2 * door.module.config.hidden_size  # of a norm that both sublayers read
            assert 0 <= whole - left - sum(np.array(counts)[mask == 0]) <= gone * shared
    assert door.own_logits().tobytes() == logits.tobytes()
    assert [(name, id(part)) for name, part in door.module.named_modules()] == names
    with door.model.apply_mask(door.mask):
        prompt = door.subject.sequences[1][:9]
        wanted, _ = door.subject.oracle.greedy(prompt, 8, door.mask)
        assert door.written(cache=True) == door.written(cache=False) == wanted.tolist()


@pytest.mark.parametrize("name", SHAPES)
def test_gradients(name: str, doors: dict[str, Door]) -> None:
    door = doors[name]
    # Of a state that a removed sublayer should norm, the norm is still to come.
    mask = door.subject.masks["none" if name == "opt-post-norm" else "random-0"]
    wanted = door.subject.oracle.gradient(door.subject.sequences, mask)
    for place in (0, 1, 3):
        found = door.model.gradient(door.subject.data, "ce", place, mask)
        assert found.loss == pytest.approx(wanted.loss, rel=1e-5)
        length = np.linalg.norm(wanted.values[place])
        assert np.linalg.norm(found.values - wanted.values[place]) < 1e-4 * length


@pytest.mark.parametrize("name", SHAPES)
def test_adapters_in_place(name: str, doors: dict[str, Door]) -> None:
    door, data = doors[name], doors[name].subject.data
    mask = pc.Mask.remove(["ffn.0", "block.1"], door.subject.n_blocks)
    adapters = door.model.recover(mask, data, "linear", input="raw", ridge=0.1)
    updates = {adapter.sublayer: _update(adapters, adapter) for adapter in adapters}
    assert sorted(updates) == [1, 2]  # one for all of a block
    wanted = door.subject.oracle.run_with(door.subject.sequences, mask.keep, updates).logits
    with adapters.attach(door.model) as recovered:
        assert apart(recovered.logits(data), wanted) < CLOSE
    with door.model.apply_mask(adapters=adapters):
        assert apart(door.own_logits(), wanted) < CLOSE
        assert door.written(cache=True) == door.written(cache=False)


def _update(adapters: pc.Adapters, adapter: pc.Adapter) -> Update:
    bias = torch.from_numpy(adapters.get(adapter.sublayer, "bias"))
    matrix = torch.from_numpy(adapters.get(adapter.sublayer, "matrix"))
    return lambda hidden: bias + hidden @ matrix.T


@pytest.mark.parametrize("name", ["cohere", "stablelm-parallel", "falcon-multi-query"])
def test_a_norm_that_both_sublayers_read_stays_while_one_does(
    name: str, doors: dict[str, Door]
) -> None:
    door = doors[name]
    layer = next(part for part in door.module.modules() if is_block(part))
    for removed, norm_is_left in (("attn.0", True), ("ffn.0", True)):
        with door.model.apply_mask(pc.Mask.remove([removed], door.subject.n_blocks)):
            assert ("input_layernorm" in dict(layer.named_children())) == norm_is_left


@pytest.mark.parametrize("name", ["falcon", "falcon-multi-query", "gpt-bigcode", "mixtral", "opt"])
def test_costs_of_keys_and_values_are_those_of_the_cache(name: str, doors: dict[str, Door]) -> None:
    door = doors[name]
    ids = torch.from_numpy(door.subject.sequences[1])[None]
    with torch.no_grad():
        cache = door.module(ids, use_cache=True).past_key_values.layers[0]
    held = cache.keys.nbytes + cache.values.nbytes
    assert door.model.sublayers[0].kv_bytes * ids.shape[1] == held


def test_every_row_of_the_table_has_a_case(doors: dict[str, Door]) -> None:
    types = {case.model_type for case in (*CASES.values(), *OF_MODULES.values())}
    rows = pc.architectures()
    assert {row.model_type for row in rows} == types
    assert len({row.name for row in rows}) == len(rows)
    assert {row.name for row in rows if not row.opens} > {"FalconForCausalLM", "BloomForCausalLM"}


@pytest.mark.parametrize("name", OF_MODULES)
def test_what_runs_in_pytorch_alone_is_not_opened(name: str, doors: dict[str, Door]) -> None:
    with pytest.raises(pc.UnsupportedError, match=r"runs in PyTorch alone: prunecore\.torch\.wrap"):
        pc.open(doors[name].subject.directory)


@pytest.mark.parametrize(
    ("name", "key"),
    [("bloom", "apply_residual_connection_post_layernorm"), ("gpt2", "add_cross_attention")],
)
def test_other_blocks_of_a_family_are_whole(name: str, key: str) -> None:
    case = {**CASES, **OF_MODULES}[name]
    config = transformers.AutoConfig.for_model(case.model_type, **case.configuration, **{key: True})
    module = AutoModelForCausalLM.from_config(config).eval()
    with wrap(module) as model:
        assert model.granularity == "block"


def test_blocks_of_an_unknown_class_are_whole(doors: dict[str, Door]) -> None:
    door = doors[OWN_BLOCKS]
    mask = pc.Mask.remove(["block.1"], door.subject.n_blocks)
    wanted = door.subject.oracle.run(door.subject.sequences, mask.keep).logits
    with door.model as model:
        assert model.granularity == "block"
        assert apart(model.logits(door.subject.data, mask), wanted) < CLOSE
