# SPDX-License-Identifier: Apache-2.0
"""Statistics from activations: tensors of NumPy and PyTorch, and hooks in a transformers model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest

STATIC = tuple(name for name in pc.STATIC_METRICS if name != "magnitude")
SHAPE = (3, 70, 24)


def states(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    h = random.standard_normal(SHAPE).astype(np.float32)
    return h, h + 0.3 * random.standard_normal(SHAPE).astype(np.float32)


def expected(h: np.ndarray, g: np.ndarray) -> list[float]:
    """The six metrics by their definitions, in float64."""
    h, g = (np.asarray(x, dtype=np.float64).reshape(-1, x.shape[-1]) for x in (h, g))
    u = g - h
    norm = np.linalg.norm
    cosine = (h * g).sum(1) / (norm(h, axis=1) * norm(g, axis=1))
    l1, l2 = np.abs(u).sum(1), norm(u, axis=1)
    per_token = (
        1 - cosine,
        np.arccos(cosine) / np.pi,
        l1,
        l2,
        l1 / np.abs(h).sum(1),
        l2 / norm(h, axis=1),
    )
    return [float(values.mean()) for values in per_token]


def scores_of(h: Any, g: Any) -> list[float]:
    scores = pc.Statistics(n_blocks=1).update(h, g, unit="block.0").scores(granularity="block")
    return [float(scores[metric][0]) for metric in STATIC]


def test_numpy_arrays_of_any_layout() -> None:
    h, g = states()
    plain = scores_of(h, g)
    np.testing.assert_allclose(plain, expected(h, g), rtol=1e-11)
    wide = np.full((3, 80, 30), np.nan, dtype=np.float32)
    wide[:, 5:75, 3:27] = h
    by_width = np.ascontiguousarray(h.transpose(2, 0, 1)).transpose(1, 2, 0)
    backwards = np.ascontiguousarray(h[::-1, ::-1, ::-1])[::-1, ::-1, ::-1]
    shifted = np.frombuffer(b"\0" + h.tobytes(), dtype=np.uint8)[1:].view(np.float32).reshape(SHAPE)
    records = np.zeros(SHAPE, dtype=[("tag", "u1"), ("value", "<f4")])
    records["value"] = h
    read_only = h.copy()
    read_only.flags.writeable = False
    for same in (wide[:, 5:75, 3:27], by_width, backwards, shifted, records["value"], read_only):
        assert scores_of(same, g) == pytest.approx(plain, rel=1e-13)
        mirrored = [scores_of(g, same), scores_of(g, h)]
        assert mirrored[0] == pytest.approx(mirrored[1], rel=1e-13)
    assert scores_of(h.reshape(-1, 24), g.reshape(-1, 24)) == plain
    np.testing.assert_allclose(scores_of(h[:, :1], g[:, :1]), expected(h[:, :1], g[:, :1]))
    one = np.broadcast_to(h[:1, :1], SHAPE)  # every stride 0 but the last
    np.testing.assert_allclose(scores_of(one, g), expected(one, g), rtol=1e-11)
    half = h.astype(np.float16), g.astype(np.float16)
    np.testing.assert_allclose(scores_of(*half), expected(*half), rtol=1e-11)


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
def test_torch_tensors_are_not_copied(name: str) -> None:
    torch = pytest.importorskip("torch")
    h, g = (torch.from_numpy(x).to(getattr(torch, name)) for x in states())
    wanted = expected(h.float().numpy(), g.float().numpy())
    np.testing.assert_allclose(scores_of(h, g), wanted, rtol=1e-11)
    np.testing.assert_allclose(scores_of(h.clone().requires_grad_(), g), wanted, rtol=1e-11)
    by_token = h.transpose(0, 1).contiguous().transpose(0, 1)
    np.testing.assert_allclose(scores_of(by_token, g), wanted, rtol=1e-11)
    np.testing.assert_allclose(
        scores_of(h[:, 1:], g[:, 1:]),
        expected(h[:, 1:].float().numpy(), g[:, 1:].float().numpy()),
        rtol=1e-11,
    )
    one = h[:1, :1].expand(SHAPE)
    np.testing.assert_allclose(
        scores_of(one, g), expected(one.float().numpy(), g.float().numpy()), rtol=1e-11
    )
    from prunecore.tensors.views import view_of

    view = view_of("h", by_token[1])
    assert view.address == by_token[1].data_ptr() and view.strides == by_token[1].stride()


class Versioned:
    """A tensor of PyTorch that hands out what version 1 of DLPack defines."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __dlpack__(self) -> Any:
        return self.tensor.__dlpack__(max_version=(1, 0))


class Elsewhere(Versioned):
    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)


def test_statistics_take_dlpack_tensors() -> None:
    torch = pytest.importorskip("torch")
    h, g = states()
    versioned = Versioned(torch.from_numpy(h)[1]), Versioned(torch.from_numpy(g)[1])
    assert "dltensor_versioned" in repr(versioned[0].__dlpack__())
    assert scores_of(*versioned) == scores_of(h[1], g[1])
    with pytest.raises(pc.UnsupportedError, match="before is on another device"):
        scores_of(Elsewhere(torch.from_numpy(h)), g)
    for dtype in (torch.float64, torch.int32, torch.complex64):
        with pytest.raises(pc.UnsupportedError, match="after holds"):
            scores_of(h, torch.from_numpy(g).to(dtype))


def test_statistics_take_units_by_number_and_name() -> None:
    h, g = (x[0] for x in states())
    statistics = pc.Statistics(n_blocks=2)
    statistics.update(h, g, unit=3).update(h, h, unit="attn.0")
    statistics.update(h, g, unit=1, granularity="attention").update(g, g, unit="ffn.0")
    l2 = statistics.scores("l2")["l2"]
    assert l2[0] == l2[1] == 0 and l2[2] == l2[3] > 0
    with pytest.raises(pc.DataError, match=r"block\.0"):
        statistics.scores(granularity="block")
    statistics.update(h, g, unit="block.0").update(h, g, unit=1, granularity="block")
    assert (statistics.scores("l2", "block")["l2"] == l2[3]).all()
    provenance = statistics.scores().provenance
    assert provenance["updates"] == 6 and provenance["data_sha256"] == []
    assert statistics.scores("l2").prune(2).removed == ["attn.0", "ffn.0"]
    for unit in ("attn.2", "mlp.0", 4, -1, 1.5):
        with pytest.raises(pc.ArgumentError):
            statistics.update(h, g, unit=unit)  # type: ignore[arg-type]
    with pytest.raises(pc.ArgumentError, match="granularity"):
        statistics.update(h, g, unit=0, granularity="layer")


def test_misuse_is_refused_and_adds_nothing() -> None:
    h, g = states()
    statistics = pc.Statistics(n_blocks=1).update(h, g, unit="attn.0")
    before = statistics.scores("static", "attention").to_dict()
    bad = g.copy()
    bad[2, 5, 7] = np.inf
    with pytest.raises(pc.NonFiniteError, match=r"row 145 .*after attn\.0"):
        statistics.update(h, bad, unit=0)
    with pytest.raises(pc.NonFiniteError, match=r"part 2 of 3: row 5 .*after attn\.0"):
        statistics.update(h, np.concatenate([bad, bad], 1)[:, :70], unit=0)
    for wrong in (h[0], h[:, :5], h[..., :5], h.reshape(-1), h[None], [[1.0]], None, 3.0):
        with pytest.raises(pc.ArgumentError, match="before|after"):
            statistics.update(wrong, g, unit=0)
    with pytest.raises(pc.ArgumentError, match="contiguous"):
        statistics.update(np.broadcast_to(h[..., :1], SHAPE), g, unit=0)
    for dtype in ("float64", ">f4", "int8"):
        with pytest.raises(pc.UnsupportedError, match="before holds"):
            statistics.update(h.astype(dtype), g, unit=0)
    with pytest.raises(pc.ArgumentError, match="windows"):
        pc.Statistics(n_blocks=1, windows=True).update(h, g, unit=0)
    statistics.update(h[:0], g[:0], unit=0).update(h[:, :0], g[:, :0], unit=0)
    after = statistics.scores("static", "attention").to_dict()
    assert after.pop("provenance")["updates"] == 3 and before.pop("provenance")["updates"] == 1
    assert after == before


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
def test_hooks_in_a_transformers_model(name: str, tmp_path: Path) -> None:
    """What forward hooks see scores as the library's own pass over the same model does."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(7)
    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    model = transformers.LlamaForCausalLM(config).to(getattr(torch, name)).eval()
    model.save_pretrained(tmp_path)
    ids = torch.randint(64, (4, 20))
    statistics = pc.Statistics(n_blocks=3)
    residual: dict[int, Any] = {}

    def before_block(index: int, arguments: Any) -> None:
        residual[index] = arguments[0]

    def before_feed_forward(index: int, arguments: Any) -> None:
        # The second norm of a block reads the residual stream between its two sublayers.
        statistics.update(residual[index], arguments[0], unit=f"attn.{index}")
        residual[index + 100] = arguments[0]

    def after_block(index: int, output: Any) -> None:
        after = output[0] if isinstance(output, tuple) else output
        statistics.update(residual[index + 100], after, unit=f"ffn.{index}")
        statistics.update(residual[index], after, unit=f"block.{index}")

    for index, layer in enumerate(model.model.layers):
        layer.register_forward_pre_hook(lambda _, given, i=index: before_block(i, given))
        layer.post_attention_layernorm.register_forward_pre_hook(
            lambda _, given, i=index: before_feed_forward(i, given)
        )
        layer.register_forward_hook(lambda _, given, output, i=index: after_block(i, output))
    for rows in ids.split(2):
        model(rows)  # gradients on: hooks see tensors that require them
    # The model runs in its own type, the library in float32 over the same weights.
    tolerance = {"float32": 2e-6, "float16": 2e-3, "bfloat16": 2e-2}[name]
    with pc.open(tmp_path) as ours:
        for granularity in ("sublayer", "block"):
            wanted = ours.score(pc.Data(ids.numpy()), STATIC, granularity=granularity)
            got = statistics.scores(granularity=granularity)
            for metric in STATIC:
                np.testing.assert_allclose(got[metric], wanted[metric], rtol=tolerance)
