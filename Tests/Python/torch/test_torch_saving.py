# SPDX-License-Identifier: Apache-2.0
"""`save_pretrained` under a mask, what exports hold, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest

torch = pytest.importorskip("torch")
tf = pytest.importorskip("transformers")

from family_models import write_family  # noqa: E402
from prunecore.torch import wrap  # noqa: E402
from safetensors import safe_open  # noqa: E402
from torch_models import BLOCKS, own_logits, sequences, tiny  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

MASK = pc.Mask.remove(["attn.1", "block.2"], BLOCKS)
PLAIN = pc.Mask.remove(["block.2"], BLOCKS)
DATA = pc.Data(sequences())


def load(path: Path, trust: bool = True, **options: Any) -> Any:
    return tf.AutoModelForCausalLM.from_pretrained(path, trust_remote_code=trust, **options).eval()


def tensors(path: Path) -> dict[str, Any]:
    found = {}
    for file in sorted(path.glob("*.safetensors")):
        with safe_open(file, "pt") as held:
            found |= {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
    return found


def test_save_pretrained_under_a_mask(tmp_path: Path) -> None:
    module = tiny("qwen3")  # its head is the embedding
    with wrap(module) as model:
        adapters = model.recover(MASK, DATA, "low_rank", 2)
        with model.apply_mask(adapters=adapters):
            with torch.no_grad():  # adapters that were trained further
                next(p for n, p in module.named_parameters() if n.endswith(".up")).mul_(2)
            wanted = own_logits(module, sequences())
            module.save_pretrained(tmp_path / "pruned", max_shard_size=20_000)
    found = load(tmp_path / "pruned")
    torch.testing.assert_close(own_logits(found, sequences()), wanted, atol=1e-5, rtol=1e-5)
    held = tensors(tmp_path / "pruned")
    assert len(list((tmp_path / "pruned").glob("*.safetensors"))) > 1
    assert "lm_head.weight" not in held
    assert not any(name.startswith("model.layers.2.mlp.gate") for name in held)
    assert not any("layers.1.self_attn.q_proj" in name for name in held)
    assert held["model.layers.1.self_attn.down.weight"].shape == (2, 32)
    # What loads nothing of its own code does not take it for the whole model.
    with pytest.raises(ValueError, match="trust_remote_code"):
        load(tmp_path / "pruned", trust=False)
    # It is saved again as it is.
    found.save_pretrained(tmp_path / "again")
    torch.testing.assert_close(own_logits(load(tmp_path / "again"), sequences()), wanted)
    # Without the mask, it is the class's own function.
    assert "save_pretrained" not in vars(module)
    module.save_pretrained(tmp_path / "whole")
    whole = load(tmp_path / "whole", trust=False)
    torch.testing.assert_close(own_logits(whole, sequences()), own_logits(module, sequences()))


def test_states_that_are_given_are_saved(tmp_path: Path) -> None:
    module = tiny("llama")
    with wrap(module) as model, model.apply_mask(MASK):
        given = {name: 2 * tensor for name, tensor in module.state_dict().items()}
        module.save_pretrained(tmp_path / "out", state_dict=given)
        with pytest.raises(pc.ArgumentError, match="push_to_hub"):
            module.save_pretrained(tmp_path / "hub", push_to_hub=True)
    found = tensors(tmp_path / "out")
    whole = dict(module.named_parameters())
    assert torch.equal(
        found["model.layers.3.mlp.up_proj.weight"], 2 * whole["model.layers.3.mlp.up_proj.weight"]
    )


def test_without_any_attention_there_is_no_cache(tmp_path: Path) -> None:
    module = tiny("gpt2")
    mask = pc.Mask.remove([f"attn.{block}" for block in range(BLOCKS)], BLOCKS)
    prompt = torch.from_numpy(sequences()[1])[None]
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    with wrap(module) as model:
        model.export(tmp_path / "out", mask)
        wanted = model.generate(prompt, mask=mask, **options)
    assert torch.equal(load(tmp_path / "out").generate(prompt, **options), wanted)


def test_types_of_numbers(tmp_path: Path) -> None:
    module = tiny("mistral", torch.bfloat16)
    with wrap(module) as model:
        adapters = model.recover(MASK, DATA, "linear")
        path = model.export(tmp_path / "out", MASK, adapters)
        with model.apply_mask(MASK, adapters):
            wanted = own_logits(module, sequences())
        checked = model.verify_export(path, adapters=adapters)
        assert checked.same and checked.tolerance == 2e-2
        assert not model.verify_export(path, PLAIN).same
    held = tensors(path)
    assert held["model.layers.0.mlp.up_proj.weight"].dtype == torch.bfloat16
    assert held["model.layers.1.self_attn.linear.weight"].dtype == torch.float32
    for dtype in (torch.bfloat16, torch.float32):
        found = load(path, dtype=dtype)
        assert {parameter.dtype for parameter in found.parameters()} == {dtype}
        assert float((own_logits(found, sequences()) - wanted).abs().max()) < 0.05 * float(
            wanted.abs().max()
        )


@pytest.mark.parametrize("name", ["gemma3", "mixtral", "stablelm-parallel", "granite"])
def test_what_is_written_is_what_the_library_writes(name: str, tmp_path: Path) -> None:
    write_family(name, tmp_path / "whole")
    module = tf.AutoModelForCausalLM.from_pretrained(tmp_path / "whole").eval()
    ids = pc.Data(np.random.default_rng(2).integers(0, 61, (2, 9)))
    with pc.open(tmp_path / "whole") as native, wrap(module) as model:
        mask = pc.Mask.remove(["attn.0", "ffn.1"], model.shape.n_blocks)
        with native.recover(mask, ids, "low_rank", 2) as adapters:
            native.export(tmp_path / "native", mask, adapters, "hf_custom")
            model.export(tmp_path / "torch", mask, adapters, "hf_custom")
    configs = [json.loads((tmp_path / p / "config.json").read_text()) for p in ("native", "torch")]
    scales = [config["prunecore"].pop("update_scale") for config in configs]
    assert scales[0] == pytest.approx(scales[1])
    for key in ("architectures", "model_type", "auto_map", "per_layer_config", "prunecore"):
        assert configs[0][key] == configs[1][key], key
    # transformers gives what is in the place of a mixture the old name of its place.
    native_held, torch_held = (
        {name.replace("block_sparse_moe", "mlp"): tensor for name, tensor in held.items()}
        for held in (tensors(tmp_path / "native"), tensors(tmp_path / "torch"))
    )
    assert native_held.keys() == torch_held.keys()
    assert all(torch.equal(native_held[key], torch_held[key]) for key in native_held)
    for file in (tmp_path / "native").glob("*.py"):
        assert file.read_bytes() == (tmp_path / "torch" / file.name).read_bytes()
    records = [
        json.loads((tmp_path / p / "prunecore.json").read_text()) for p in ("native", "torch")
    ]
    assert records[0].keys() == records[1].keys()
    assert records[0]["adapters"] == records[1]["adapters"]


def test_hf_is_plain_where_that_can_say_it(tmp_path: Path) -> None:
    with wrap(tiny("llama")) as model:
        plain = model.export(tmp_path / "plain", PLAIN, provenance={"by": "test"})
        custom = model.export(tmp_path / "custom", MASK)
        with model.masked(PLAIN):
            assert model.verify_export(model.export(tmp_path / "own")).same
    kinds = [json.loads((path / "prunecore.json").read_text()) for path in (plain, custom)]
    assert [record["kind"] for record in kinds] == ["hf_plain", "hf_custom"]
    assert kinds[0]["notes"] == {"blocks": [0, 1, 3]}
    assert kinds[0]["provenance"] == {"by": "test"}
    assert "auto_map" not in json.loads((plain / "config.json").read_text())
    assert load(plain, trust=False).config.num_hidden_layers == 3


def test_zeros_are_those_of_the_last_products(tmp_path: Path) -> None:
    module = tiny("gpt2")
    with wrap(module) as model:
        path = model.export(tmp_path / "out", MASK, format="zeroed")
    held, whole = tensors(path), dict(module.named_parameters())
    zeros = {
        *(f"transformer.h.1.attn.c_proj.{part}" for part in ("weight", "bias")),
        *(
            f"transformer.h.2.{p}.c_proj.{part}"
            for p in ("attn", "mlp")
            for part in ("weight", "bias")
        ),
    }
    assert set(json.loads((path / "prunecore.json").read_text())["notes"]["zeroed"]) == zeros
    for name, tensor in held.items():
        assert torch.equal(tensor, torch.zeros_like(tensor) if name in zeros else whole[name])


def test_exports_are_replaced_whole(tmp_path: Path) -> None:
    with wrap(tiny("llama")) as model:
        path = model.export(tmp_path / "out", MASK)
        with pytest.raises(pc.FileError, match="exists already"):
            model.export(path, PLAIN)
        with pytest.raises(RuntimeError, match="on purpose"):
            model.export(path, PLAIN, replace=True, progress=_fail)
        with pytest.raises(pc.Cancelled):
            model.export(path, PLAIN, replace=True, progress=lambda *step: step[1] == 1)
        assert model.verify_export(path, MASK).same
        model.export(path, PLAIN, replace=True)
        assert model.verify_export(path, PLAIN).same
        (path / "mine.txt").write_text("")
        with pytest.raises(pc.FileError, match=r"mine\.txt"):
            model.export(path, MASK, replace=True)
        (tmp_path / "other").mkdir()
        with pytest.raises(pc.FileError, match="nothing that PruneCore exported"):
            model.export(tmp_path / "other", MASK, replace=True)
        weights = path / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
        assert "not as it was written" in model.verify_export(path).findings[0]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["other", "out"]


def _fail(_stage: str, done: int, _total: int, _seconds: float) -> None:
    if done == 1:
        raise RuntimeError("on purpose")


class OwnMLP(torch.nn.Module):
    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Any) -> Any:
        return 2 * self.inner(x)


def _quantised(module: Any) -> None:
    module.config.quantization_config = {"quant_method": "of_somebody"}


def _elsewhere(module: Any) -> None:
    module.model.layers[0].mlp.to("meta")


def _hooked(module: Any) -> None:
    module.model.layers[0].mlp.register_forward_hook(lambda *call: 2 * call[2])


def _replaced(module: Any) -> None:
    module.model.layers[0].mlp = OwnMLP(module.model.layers[0].mlp)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_quantised, "quantised"),
        (_elsewhere, "device meta"),
        (_hooked, "differs by"),
        (_replaced, r"mlp\.gate_proj\.weight, which the model has not"),
    ],
)
def test_what_cannot_be_saved_is_refused(change: Any, words: str, tmp_path: Path) -> None:
    module = tiny("llama")
    with wrap(module) as model, model.apply_mask(MASK):
        change(module)
        with pytest.raises(pc.UnsupportedError, match=words):
            module.save_pretrained(tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_classes_of_others_are_refused(tmp_path: Path) -> None:
    class MyForCausalLM(tf.LlamaForCausalLM):  # loads as what it is derived from
        pass

    module = tiny("llama")
    module.__class__ = MyForCausalLM
    with wrap(module) as model:
        assert model.verify_export(model.export(tmp_path / "out", MASK)).same

    class Changed(tf.LlamaConfig):
        pass

    module.config.__class__ = type("MyConfig", (tf.PreTrainedConfig,), dict(vars(Changed)))
    with wrap(module) as model, pytest.raises(pc.UnsupportedError, match="no code of others"):
        model.export(tmp_path / "other", MASK)


def test_formats_say_what_they_cannot_hold(tmp_path: Path) -> None:
    module = tiny("llama")
    with wrap(module) as model:
        adapters = model.recover(PLAIN, DATA, "bias")
        for mask, given, format_, words in (
            (MASK, None, "hf_plain", "one sublayer of block 1"),
            (PLAIN, adapters, "hf_plain", "no place for adapters"),
            (PLAIN, adapters, "zeroed", "no place for adapters"),
            (MASK, None, "deci", r"prunecore\.open"),
            (MASK, None, "gguf", r"prunecore\.open"),
        ):
            with pytest.raises(pc.UnsupportedError, match=words):
                model.export(tmp_path / "out", mask, given, format=format_)
        with pytest.raises(pc.ArgumentError, match="must be one of"):
            model.export(tmp_path / "out", format="onnx")
        with pytest.raises(pc.ArgumentError, match="shard_bytes"):
            model.export(tmp_path / "out", MASK, shard_bytes=0)
        with pytest.raises(pc.ArgumentError, match="type dict"):
            model.export(tmp_path / "out", MASK, tokenizer={})
        with pytest.raises(pc.ArgumentError, match="removes"):
            model.export(tmp_path / "out", MASK, adapters)
        module.train()
        with pytest.raises(pc.ArgumentError, match="training mode"):
            model.export(tmp_path / "out", MASK)
    assert list(tmp_path.iterdir()) == []


def test_weights_in_memory_are_exported_in_native_formats(tales_dir: Path, tmp_path: Path) -> None:
    module = tf.AutoModelForCausalLM.from_pretrained(tales_dir).eval()
    mask = pc.Mask.remove(["attn.3", "ffn.7"], 12)
    data = pc.Data(np.random.default_rng(4).integers(0, 2048, (2, 12)))
    with pc.from_torch(module) as model:
        adapters = model.recover(mask, data, "bias")
        for format_, given in (("hf", adapters), ("deci", None)):
            path = model.export(tmp_path / format_, mask, given, format_, tokenizer=tales_dir)
            assert model.verify_export(path, adapters=given, data=data).same
            assert (path / "tokenizer.json").is_file()
        with model.masked(pc.Mask.remove("block.2", 12)):
            path = model.export(tmp_path / "plain", format="hf_plain")
        record = json.loads((path / "prunecore.json").read_text())
        assert record["provenance"]["model"]["name"] == "tales-12l"
        gguf = model.export(tmp_path / "m.gguf", mask, format="gguf", tokenizer=str(tales_dir))
        assert gguf.stat().st_size > 1000
        with pytest.raises(pc.FileError, match="exists already"):
            model.export(path, mask)
    with pc.open(path) as opened:
        assert opened.shape.n_blocks == 11
    assert sorted(file.name for file in tmp_path.iterdir()) == ["deci", "hf", "m.gguf", "plain"]
