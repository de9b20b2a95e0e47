# SPDX-License-Identifier: Apache-2.0
"""What `wrap` and `from_torch` refuse, and in which words: tokens that see the future, other kinds
of models, weights that are not there. And what looks odd, but is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest

torch = pytest.importorskip("torch")
tf = pytest.importorskip("transformers")

from prunecore.torch import wrap  # noqa: E402
from torch_models import VOCABULARY, own_logits, sequences, tiny  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
LLAMA = {**SIZES, "num_key_value_heads": 2}


def made(kind: str, configuration: Any) -> Any:
    torch.manual_seed(1)
    return getattr(tf, kind)(configuration).eval()


def llama(**settings: Any) -> Any:
    return made("LlamaForCausalLM", tf.LlamaConfig(**{**LLAMA, **settings}))


class Lookahead(torch.nn.Module):
    """A layer whose tokens from some place on get a little of the next one."""

    def __init__(self, layer: Any, first: int, share: float) -> None:
        super().__init__()
        self.layer, self.first, self.share = layer, first, share

    def forward(self, hidden_states: Any, **named: Any) -> Any:
        seen = torch.zeros_like(hidden_states)
        seen[:, self.first : -1] = hidden_states[:, self.first + 1 :]
        return self.layer(hidden_states + self.share * seen, **named)


class BesideOthers(Lookahead):
    """A layer whose sequences get a little of the first one of their batch."""

    def forward(self, hidden_states: Any, **named: Any) -> Any:
        others = hidden_states[:1].mean(1, keepdim=True) * (len(hidden_states) > 1)
        return self.layer(hidden_states + self.share * others, **named)


def altered(kind: type[Lookahead], first: int, share: float, dtype: Any) -> Any:
    module = llama()
    module.model.layers[0] = kind(module.model.layers[0], first, share)
    return module.to(dtype).eval()


SEEING: dict[str, Callable[[], Any]] = {
    "bert": lambda: made("BertForMaskedLM", tf.BertConfig(**SIZES)),
    "roberta": lambda: made("RobertaForCausalLM", tf.RobertaConfig(**SIZES)),
    "xlnet": lambda: made(
        "XLNetLMHeadModel",
        tf.XLNetConfig(d_model=32, n_layer=2, n_head=2, d_inner=32, vocab_size=VOCABULARY),
    ),
    "llama": lambda: llama(is_causal=False),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", SEEING)
def test_models_that_see_the_future_are_refused(name: str, dtype: str) -> None:
    with pytest.raises(pc.UnsupportedError, match=r"no causal language model.*tokens behind"):
        wrap(SEEING[name]().to(getattr(torch, dtype)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("first", [0, 3, 7])
def test_one_token_that_is_seen_a_little_is_enough(first: int, dtype: Any) -> None:
    with pytest.raises(pc.UnsupportedError, match="tokens behind"):
        wrap(altered(Lookahead, first, 1e-2, dtype))
    with wrap(altered(Lookahead, first, 0, dtype)) as model:
        assert model.evaluate(pc.Data(sequences())).loss > 0


def test_known_causal_skips_the_test_of_causality_alone() -> None:
    module = altered(Lookahead, 7, 1e-6, torch.float32)  # less than sums in another order differ
    with wrap(module, known_causal=True) as model:
        assert model.evaluate(pc.Data(sequences())).loss > 0
    # Sequences must stay independent whatever the caller knows.
    with pytest.raises(pc.UnsupportedError, match="beside"):
        wrap(llama(is_causal=False), known_causal=True)


def test_sequences_that_see_each_other_are_refused() -> None:
    with pytest.raises(pc.UnsupportedError, match="beside another sequence"):
        wrap(altered(BesideOthers, 0, 1e-1, torch.float32))


def test_layers_of_a_state_space_and_of_rwkv_are_whole_blocks() -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": VOCABULARY}
    modules = [
        made("MambaForCausalLM", tf.MambaConfig(**sizes)),
        made(
            "RwkvForCausalLM", tf.RwkvConfig(**sizes, attention_hidden_size=32, context_length=64)
        ),
        made("BertLMHeadModel", tf.BertConfig(**SIZES, is_decoder=True)),
    ]
    ids = sequences()
    for module in modules:
        with wrap(module) as model:
            assert model.granularity == "block"
            wanted = own_logits(module, ids).numpy()
            np.testing.assert_allclose(model.logits(pc.Data(ids)), wanted, atol=1e-4)
            assert model.evaluate(pc.Data(ids), [0, 0, 1, 1]).loss > 0
    with wrap(modules[0]) as model:
        assert model.sublayers[0].kv_bytes == 0


OTHERS: dict[str, tuple[Callable[[], Any], type[pc.Error], str]] = {
    "no head": (
        lambda: tf.AutoModel.from_config(tf.LlamaConfig(**LLAMA)),
        pc.ArgumentError,
        "AutoModelForCausalLM in the place of AutoModel",
    ),
    "classifier": (
        lambda: made("LlamaForSequenceClassification", tf.LlamaConfig(**LLAMA, pad_token_id=0)),
        pc.ArgumentError,
        "gives no logits of tokens.*AutoModelForCausalLM",
    ),
    "tagger": (
        lambda: made("LlamaForTokenClassification", tf.LlamaConfig(**LLAMA)),
        pc.ArgumentError,
        "gives no logits of tokens",
    ),
    "answers": (
        lambda: made("LlamaForQuestionAnswering", tf.LlamaConfig(**LLAMA)),
        pc.ArgumentError,
        "gives no logits of tokens",
    ),
    "t5": (
        lambda: made(
            "T5ForConditionalGeneration",
            tf.T5Config(d_model=32, d_ff=32, num_layers=2, num_heads=2, d_kv=16, vocab_size=97),
        ),
        pc.UnsupportedError,
        "an encoder with a decoder",
    ),
    "pictures": (
        lambda: made(
            "ViTForImageClassification",
            tf.ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2),
        ),
        pc.ArgumentError,
        "gives no logits of tokens",
    ),
    "quantised": (
        lambda: torch.ao.quantization.quantize_dynamic(
            llama(), {torch.nn.Linear}, dtype=torch.qint8
        ),
        pc.UnsupportedError,
        "quantised",
    ),
    "meta": (lambda: llama().to("meta"), pc.UnsupportedError, "device.*meta"),
    "path": (lambda: "some/model", pc.ArgumentError, r"some/model.*prunecore\.open.*from_pretr"),
    "Path": (lambda: Path("some/model"), pc.ArgumentError, r"prunecore\.open"),
    "configuration": (lambda: tf.LlamaConfig(**LLAMA), pc.ArgumentError, "from_config"),
    "class": (lambda: tf.LlamaForCausalLM, pc.ArgumentError, "class LlamaForCausalLM"),
    "weights": (lambda: llama().state_dict(), pc.ArgumentError, "from_arrays"),
    "None": (lambda: None, pc.ArgumentError, "NoneType"),
    "a part": (lambda: llama().model.layers, pc.ArgumentError, "is a ModuleList"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("way", [wrap, pc.from_torch])
@pytest.mark.parametrize("name", OTHERS)
def test_other_things_are_refused_with_what_to_give(name: str, way: Callable[..., Any]) -> None:
    make, kind, says = OTHERS[name]
    with pytest.raises(kind, match=says) as caught:
        way(make())
    assert "\n" not in str(caught.value)


def test_a_tokenizer_and_an_open_model_are_refused(tales_dir: Path) -> None:
    tokenizer = tf.AutoTokenizer.from_pretrained(tales_dir)
    with pc.open(tales_dir) as opened:
        for way in (wrap, pc.from_torch):
            with pytest.raises(pc.ArgumentError, match="tokenizer.*the model that it belongs to"):
                way(tokenizer)
            with pytest.raises(pc.ArgumentError, match="of prunecore already"):
                way(opened)


def test_exported_models_are_lent_but_not_wrapped(tales_dir: Path, tmp_path: Path) -> None:
    with pc.open(tales_dir) as opened:
        opened.export(tmp_path / "pruned", pc.Mask.remove(["attn.1"], opened.shape.n_blocks))
    module = tf.AutoModelForCausalLM.from_pretrained(tmp_path / "pruned", trust_remote_code=True)
    with pytest.raises(pc.UnsupportedError, match=r"PruneCore exported.*made of") as caught:
        wrap(module)
    assert "prunecore.torch.wrap" not in str(caught.value)
    # Its tensors are those of a model that lacks what was removed.
    with pc.from_torch(module) as lent, pc.open(tmp_path / "pruned") as opened:
        data = pc.Data([[5, 6, 7, 8]])
        assert lent.shape.absent == opened.shape.absent == ("attn.1",)
        np.testing.assert_allclose(lent.logits(data), opened.logits(data), rtol=0, atol=1e-4)


class Peft(torch.nn.Module):
    """What peft puts around a model, as far as is looked at."""

    def __init__(self, model: Any, learns_prompts: bool) -> None:
        super().__init__()
        self.base_model = model
        kind = type("Config", (), {"is_prompt_learning": learns_prompts})
        self.peft_config = {"default": kind()}

    def get_base_model(self) -> Any:
        return self.base_model


def test_what_is_around_a_model_is_taken_off() -> None:
    module = tiny("llama")
    data = pc.Data(sequences())
    with wrap(module) as model:
        wanted = model.evaluate(data).loss
    arounds = (
        torch.compile(module, backend="eager"),
        torch.nn.DataParallel(module),
        torch.nn.DataParallel(torch.compile(module, backend="eager")),
        Peft(module, learns_prompts=False),
    )
    for around in arounds:
        with wrap(around) as model, pc.from_torch(around) as borrowed:
            assert model.module is module
            assert model.evaluate(data).loss == pytest.approx(wanted, rel=1e-6)
            assert borrowed.evaluate(data).loss == pytest.approx(wanted, rel=1e-5)
    for way in (wrap, pc.from_torch):
        with pytest.raises(pc.UnsupportedError, match="prompts that were learnt"):
            way(Peft(module, learns_prompts=True))


def test_what_torch_raises_is_one_sentence_with_its_cause() -> None:
    module = llama()
    module.model.layers[1].mlp.down_proj.weight = torch.nn.Parameter(torch.zeros(3, 3))
    with pytest.raises(pc.UnsupportedError, match="cannot be run on token ids alone") as caught:
        wrap(module)
    assert isinstance(caught.value.__cause__, RuntimeError) and "\n" not in str(caught.value)
    module = llama()
    data = pc.Data(sequences())
    with wrap(module) as model:
        module.model.layers[1].mlp.down_proj.weight = torch.nn.Parameter(torch.zeros(3, 3))
        with pytest.raises(pc.HostError, match="PyTorch failed in apply: RuntimeError") as failed:
            model.evaluate(data)
        assert isinstance(failed.value.__cause__, RuntimeError)
        assert model.live_states == 0


def test_longer_sequences_than_there_are_positions() -> None:
    configuration = tf.GPT2Config(
        n_embd=32, n_layer=2, n_head=2, vocab_size=VOCABULARY, n_positions=12
    )
    with wrap(made("GPT2LMHeadModel", configuration)) as model:
        assert model.evaluate(pc.Data(sequences((12, 3)))).loss > 0
        with pytest.raises(pc.DataError, match="13 tokens, but GPT2LMHeadModel has positions for"):
            model.evaluate(pc.Data(sequences((13,))))


@pytest.mark.parametrize("context", [1, 2, 3, 5])
def test_short_contexts_are_tested_as_far_as_they_go(context: int) -> None:
    with wrap(llama(max_position_embeddings=context)) as model:
        assert model.shape.context_length == context
    if context > 1:
        with pytest.raises(pc.UnsupportedError, match="tokens behind"):
            wrap(llama(max_position_embeddings=context, is_causal=False))
