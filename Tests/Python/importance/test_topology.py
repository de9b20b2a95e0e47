# SPDX-License-Identifier: Apache-2.0
"""Topology of the embedded model and of a host: from prompts to scores, masks and files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from numpy_decoder import Decoder
from numpy_host import NumpyHost
from prunecore.importance import last_states as module
from prunecore.importance.zigzag import clique_complex, neighbour_edges, zigzag_bars

pytest.importorskip("gudhi", reason="gudhi is not installed: pip install gudhi")
pytest.importorskip("dionysus", reason="dionysus is not installed: pip install dionysus==2.1.1")


@pytest.fixture(scope="module")
def prompts(model: pc.Model, tales_dir: Path) -> pc.Data:
    text = pc.Data.from_text(tales_dir / "plays.jsonl", model, sequence_length=12, limit=50)
    return pc.Data([row[: 12 - index % 5] for index, row in enumerate(text.sequences)])


@pytest.fixture(scope="module")
def found(model: pc.Model, prompts: pc.Data) -> pc.Topology:
    return model.topology(prompts)


def last_rows(model: pc.Model, data: pc.Data, block: int) -> np.ndarray:
    ends = np.cumsum([len(row) for row in data.sequences]) - 1
    return model.hidden_states(data, 2 * block + 2)[ends]


def test_layers_are_the_last_tokens_after_each_block(
    found: pc.Topology, model: pc.Model, prompts: pc.Data
) -> None:
    layers = []
    for block in range(12):
        edges = neighbour_edges(last_rows(model, prompts, block), 5)
        layers.append(clique_complex(50, edges, 4))  # as published; loops need triangles only
    np.testing.assert_array_equal(found.bars, zigzag_bars(layers, 1))
    assert found.blocks == tuple(range(12))
    np.testing.assert_array_equal(found.betti, np.diag(found.similarity))
    assert found.betti.min() > 0


def test_scores_are_one_less_the_mean_similarity(
    found: pc.Topology, model: pc.Model, prompts: pc.Data
) -> None:
    shares = found.similarity / found.betti
    np.testing.assert_allclose(found.scores()["topology"], 1 - shares.mean(axis=1), rtol=1e-12)
    scores = model.score(prompts, ["topology", "cosine"], "block")
    assert scores.metrics == ("cosine", "topology")
    np.testing.assert_array_equal(scores["topology"], found.scores()["topology"])
    assert scores.provenance["topology"]["neighbours"] == 5
    alone = model.score(prompts, "topology", "block", neighbours=3)
    assert alone.metrics == ("topology",)
    fewer = model.topology(prompts, neighbours=3)
    np.testing.assert_array_equal(alone["topology"], fewer.scores()["topology"])
    assert not np.array_equal(alone["topology"], scores["topology"])


def test_rule_cuts_the_blocks_that_go_first(found: pc.Topology, model: pc.Model) -> None:
    mean = found.mean_similarity
    for ratio in (0.9, 0.8):
        wanted = [f"block.{i}" for i in range(12) if mean[i] >= ratio * mean.max()]
        assert found.cut(ratio) == pc.Mask.remove(wanted, 12)
        assert found.cut(ratio) == found.scores().prune(len(wanted))
        assert found.to_dict()["cut"][str(ratio)] == wanted
    assert found.cut(0.9).provenance["ratio"] == 0.9


def test_blocks_that_the_mask_lacks_are_no_layers(model: pc.Model, prompts: pc.Data) -> None:
    mask = pc.Mask.remove(["block.6", "attn.2"], 12)
    found = model.topology(prompts, mask)
    assert found.blocks == (0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11)
    assert len(found.similarity) == 11
    scores = found.scores()
    assert scores["topology"][6] == 0 and "block.6" not in scores.order()
    cut = found.cut(0.9)
    assert set(mask.removed) < set(cut.removed)
    with model.masked(mask):
        np.testing.assert_array_equal(model.topology(prompts).bars, found.bars)
        again = model.score(prompts, "topology", "block")
    np.testing.assert_array_equal(again["topology"], scores["topology"])
    with pytest.raises(pc.ArgumentError, match="removes all blocks"):
        model.topology(prompts, np.zeros(24, dtype=np.uint8))


def test_parts_of_the_prompts_give_the_same_as_the_whole(
    found: pc.Topology, model: pc.Model, prompts: pc.Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOKENS", 100)
    np.testing.assert_array_equal(model.topology(prompts).bars, found.bars)


def test_a_host_that_gives_its_states_has_the_topology_of_its_layers() -> None:
    decoder = Decoder()
    ids = np.random.default_rng(1).integers(0, decoder.sizes.vocabulary, (30, 6))
    states = [decoder.embedding[row] for row in ids]
    layers = []
    for block in range(decoder.sizes.blocks):
        for sublayer in (2 * block, 2 * block + 1):
            states = [decoder.apply(sublayer, state) for state in states]
        last = np.array([state[-1] for state in states])
        layers.append(clique_complex(30, neighbour_edges(last, 3), 2))
    with pc.from_host(NumpyHost(decoder)) as host:
        found = host.topology(pc.Data(list(ids.astype(np.int32))), neighbours=3)
    np.testing.assert_array_equal(found.bars, zigzag_bars(layers, 1))


def test_a_wrapped_model_has_the_topology_of_its_own_hidden_states(one_torch_thread: None) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    import prunecore.torch

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    config = transformers.LlamaConfig(vocab_size=64, num_hidden_layers=4, **sizes)
    module = transformers.LlamaForCausalLM(config).eval()
    ids = np.random.default_rng(0).integers(0, 64, (50, 8))
    with torch.no_grad():
        states = module(torch.tensor(ids), output_hidden_states=True).hidden_states
    # The last of them is after the final norm, so that the last block is left out.
    layers = [
        clique_complex(50, neighbour_edges(state[:, -1].numpy(), 5), 2) for state in states[1:4]
    ]
    data = pc.Data(list(ids.astype(np.int32)))
    with prunecore.torch.wrap(module) as wrapped:
        found = wrapped.topology(data, pc.Mask.remove(["block.3"], 4))
    np.testing.assert_array_equal(found.bars, zigzag_bars(layers, 1))
    assert len(found.bars) > 0


def test_of_questions_the_contexts_are_the_prompts(model: pc.Model, prompts: pc.Data) -> None:
    rows = list(prompts.sequences)
    questions = pc.ChoiceData(rows, [[[5, 6], [7, 8, 9]]] * len(rows), [0] * len(rows))
    found = model.topology(questions)
    np.testing.assert_array_equal(found.bars, model.topology(prompts).bars)


def test_topology_is_saved_and_read(found: pc.Topology, tmp_path: Path) -> None:
    found.save(tmp_path / "topology.json")
    again = pc.Topology.load(tmp_path / "topology.json")
    np.testing.assert_array_equal(again.bars, found.bars)
    assert again.blocks == found.blocks and again.mask == found.mask
    assert again.to_dict() == found.to_dict()
    record = json.loads((tmp_path / "topology.json").read_text())
    for wrong in ({"bars": [[0, 99]]}, {"bars": "x"}, {"blocks": [3]}, {"n_blocks": 0}):
        (tmp_path / "wrong.json").write_text(json.dumps({**record, **wrong}))
        with pytest.raises(pc.FormatError, match=r"wrong\.json"):
            pc.Topology.load(tmp_path / "wrong.json")


def test_too_few_prompts_are_refused(model: pc.Model, prompts: pc.Data) -> None:
    with pytest.raises(pc.ArgumentError, match="more than 5 prompts, but the data have 5"):
        model.topology(prompts[:5])
    with pytest.raises(pc.DataError, match="6 prompts have no cycles of dimension 1"):
        model.topology(prompts[:6])  # each is joined to all others: one clique
    with pytest.raises(pc.ArgumentError, match="neighbours"):
        model.topology(prompts, neighbours=0)
    with pytest.raises(pc.ArgumentError, match="homology"):
        model.topology(prompts, homology=4)


def test_topology_is_of_blocks_and_of_data(model: pc.Model, prompts: pc.Data) -> None:
    with pytest.raises(pc.ArgumentError, match="metric of blocks, but granularity is sublayer"):
        model.score(prompts, "topology")
    with pytest.raises(pc.ArgumentError, match="needs data"):
        model.score(metrics="topology", granularity="block")
    with pytest.raises(pc.ArgumentError, match="unknown metric 'topology'"):
        model.statistics(prompts).scores("topology")


def test_progress_tells_the_stages_and_stops_them(model: pc.Model, prompts: pc.Data) -> None:
    stages: list[str] = []
    model.topology(prompts, progress=lambda stage, *_: stages.append(stage))
    assert list(dict.fromkeys(stages)) == ["hidden states", "neighbour graphs", "zigzag"]
    for wanted in set(stages):
        with pytest.raises(pc.Cancelled):
            model.topology(prompts, progress=lambda stage, *_, last=wanted: stage == last)
