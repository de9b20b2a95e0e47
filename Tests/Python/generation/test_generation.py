# SPDX-License-Identifier: Apache-2.0
"""`Model.generate`: what it takes, when it ends, callbacks, and calibration text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest

PROMPTS = ("Once upon a time", "Question: Tom has 3 apples.", "The king")


def test_texts_tokens_and_costs_go_together(tales: pc.Model) -> None:
    made = tales.generate(PROMPTS, 20)
    assert len(made) == 3 and made.new_tokens == 60
    assert made.texts is not None and all(made.texts)
    assert made.reasons == ("length",) * 3
    assert made.prompt_tokens == sum(len(prompt) for prompt in made.prompts)
    assert made.seconds == made.prompt_seconds + made.decode_seconds > 0
    assert made.kv_bytes_peak > 0
    assert not made.tokens[0].flags.writeable
    assert tales.generate(PROMPTS[0], 20).texts == made.texts[:1]  # one text is one prompt
    ids = tales.generate([row.tolist() for row in made.prompts], 20)
    assert ids.texts == made.texts
    data = tales.generate(pc.Data(list(made.prompts)), 20)
    assert data.texts == made.texts
    record = json.loads(json.dumps(made.to_dict()))
    assert record["sequences"][1]["text"] == made.texts[1]
    assert record["sequences"][1]["tokens"] == made.tokens[1].tolist()


def test_generation_is_greedy_and_128_tokens_long_by_default(tales: pc.Model) -> None:
    made = tales.generate("Once upon a time", stop_at_eos=False)
    assert len(made.tokens[0]) == 128
    again = tales.generate("Once upon a time", stop_at_eos=False, top_k=3, top_p=0.1, seed=5)
    assert made.tokens[0].tolist() == again.tokens[0].tolist()  # greedy: nothing to sample


def test_a_mask_counts_for_the_call_or_from_the_model(tales: pc.Model) -> None:
    mask = pc.Mask.remove([f"attn.{block}" for block in (3, 5, 6, 9)], 12)
    whole, less = tales.generate("The king", 30), tales.generate("The king", 30, mask=mask)
    assert whole.tokens[0].tolist() != less.tokens[0].tolist()
    assert less.kv_bytes_peak * 12 == whole.kv_bytes_peak * 8
    with tales.masked(mask):
        assert tales.generate("The king", 30).tokens[0].tolist() == less.tokens[0].tolist()
    none = tales.generate("The king", 5, mask=np.zeros(24))
    assert none.kv_bytes_peak == 0 and none.new_tokens == 5


def test_the_same_seed_writes_the_same_whatever_the_batches(tales: pc.Model) -> None:
    options = {"temperature": 1.0, "top_p": 0.95, "stop_at_eos": False}
    first = tales.generate(PROMPTS, 40, seed=7, **options)
    for batch in ({"batch_sequences": 1}, {"batch_sequences": 2}, {"batch_tokens": 3}):
        again = tales.generate(PROMPTS, 40, seed=7, **options, **batch)
        assert [row.tolist() for row in again.tokens] == [row.tolist() for row in first.tokens]
    other = tales.generate(PROMPTS, 40, seed=8, **options)
    pairs = zip(first.tokens, other.tokens, strict=True)
    assert all(one.tolist() != two.tolist() for one, two in pairs)
    twins = tales.generate(["The king"] * 2, 40, seed=7, **options)
    assert twins.tokens[0].tolist() != twins.tokens[1].tolist()  # each has draws of its own


def test_bfloat16_writes_what_it_would_read(tales_dir: Path) -> None:
    """Losses over the cache are those of one pass, up to the rounding of activations to bf16."""
    try:
        model = pc.open(tales_dir, "bfloat16")
    except pc.UnsupportedError:
        pytest.skip("this CPU has no instructions for bf16")
    with model:
        for batch in (1, 9):  # few rows, and many: products of two kinds
            made = model.generate(
                PROMPTS * 3, 60, temperature=1.0, stop_at_eos=False, batch_sequences=batch
            )
            wholes = [np.concatenate(p) for p in zip(made.prompts, made.tokens, strict=True)]
            losses = model.token_losses(pc.Data(wholes))
            rows = np.split(losses, np.cumsum([len(whole) for whole in wholes])[:-1])
            found, wanted = np.concatenate(made.losses), np.concatenate([r[-60:] for r in rows])
            assert np.abs(found - wanted).max() < 0.15
            assert np.abs(found - wanted).mean() < 0.01


def test_generation_ends_at_stop_tokens_and_texts(tales: pc.Model) -> None:
    whole = tales.generate("Once upon a time", 40)
    (text,), (tokens,) = whole.texts or (), whole.tokens
    by_token = tales.generate("Once upon a time", 40, stop=int(tokens[6]))
    place = tokens.tolist().index(tokens[6])
    assert by_token.tokens[0].tolist() == tokens[: place + 1].tolist()
    assert by_token.reasons == ("stop",)
    by_text = tales.generate("Once upon a time", 40, stop=["nowhere to be found", "named Lily"])
    assert by_text.texts == (text[: text.index("named Lily")],)
    assert by_text.reasons == ("stop",)
    assert 0 < len(by_text.tokens[0]) < 40
    seen: list[str] = []
    tales.generate(
        "Once upon a time", 40, stop="named Lily", on_token=lambda t: seen.append(t.text)
    )
    assert "".join(seen) == by_text.texts[0]  # nothing of the stop text came out


def test_generation_ends_at_the_models_own_end_token(tales_dir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tales_dir, tmp_path / "model")
    with pc.open(tales_dir) as model:
        whole = model.generate(PROMPTS, 60)
    assert whole.reasons == ("length",) * 3
    ends = [int(row[place]) for row, place in zip(whole.tokens, (9, 20, 31), strict=True)]
    # A list, an id beyond the vocabulary among it; and config.json, where the other file is silent.
    (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": [*ends, 999_999]}))
    with pc.open(copy) as model:
        made = model.generate(PROMPTS, 60)
        assert made.reasons == ("stop",) * 3
        for row, all_ in zip(made.tokens, whole.tokens, strict=True):
            first = min(place for place, token in enumerate(all_) if token in ends)
            assert row.tolist() == all_[: first + 1].tolist()
        on = model.generate(PROMPTS, 60, stop_at_eos=False)
        assert [row.tolist() for row in on.tokens] == [row.tolist() for row in whole.tokens]
    (copy / "generation_config.json").write_text("{}")
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    (copy / "config.json").write_text(json.dumps(config | {"eos_token_id": ends[0]}))
    with pc.open(copy) as model:
        assert model.generate(PROMPTS[0], 60).reasons == ("stop",)
    (copy / "generation_config.json").write_text("[]")
    with pc.open(copy) as model, pytest.raises(pc.FormatError, match="generation_config"):
        model.generate(PROMPTS[0], 60)


def test_special_tokens_stop_by_name_and_are_no_text(tales: pc.Model) -> None:
    made = tales.generate(
        ["Once upon a time"] * 40,
        200,
        temperature=1e3,  # so that the start token, which no text has inside, is written, too
        stop="<s>",
        stop_at_eos=False,
    )
    ended = [row for row, reason in zip(made.tokens, made.reasons, strict=True) if reason == "stop"]
    assert ended and all(row[-1] == 1 and 1 not in row[:-1] for row in ended)
    assert "<s>" not in "".join(made.texts or ())


def test_generation_ends_at_a_full_context(tales: pc.Model) -> None:
    rng = np.random.default_rng(1)
    prompts = [rng.integers(3, 2000, length) for length in (1024, 1030, 1020, 4)]
    made = tales.generate(prompts, 10, stop_at_eos=False)
    assert made.reasons == ("context", "context", "context", "length")
    assert [len(row) for row in made.tokens] == [0, 0, 4, 10]
    assert made.prompt_tokens == 1024
    assert made.texts is not None and made.texts[0] == ""


def test_generation_tells_every_token(tales: pc.Model) -> None:
    told: list[pc.GeneratedToken] = []
    made = tales.generate(PROMPTS, 15, temperature=1.0, on_token=told.append)
    for prompt, (tokens, losses) in enumerate(zip(made.tokens, made.losses, strict=True)):
        own = [token for token in told if token.prompt == prompt]
        assert [token.token for token in own] == tokens.tolist()
        assert [token.loss for token in own] == pytest.approx(losses.tolist())
        assert [token.index for token in own] == list(range(len(own)))
        assert [token.reason for token in own[:-1]] == [None] * (len(own) - 1)
        assert own[-1].reason == made.reasons[prompt]
        assert "".join(token.text for token in own) == (made.texts or ())[prompt]


def test_a_true_answer_ends_one_sequence(tales: pc.Model) -> None:
    made = tales.generate(PROMPTS, 15, on_token=lambda t: t.prompt == 1 and t.index == 2)
    assert [len(row) for row in made.tokens] == [15, 3, 15]
    assert made.reasons == ("length", "callback", "length")


def test_exceptions_and_progress_stop_everything(tales: pc.Model) -> None:
    class Odd(Exception):
        pass

    def fail(token: pc.GeneratedToken) -> None:
        if token.index == 3:
            raise Odd("as it was")

    with pytest.raises(Odd, match="as it was"):
        tales.generate(PROMPTS, 15, on_token=fail)
    with pytest.raises(pc.Cancelled):
        tales.generate(PROMPTS, 15, progress=lambda *_: True)
    seen: list[tuple[str, int, int]] = []
    tales.generate(PROMPTS, 15, progress=lambda *report: seen.append(report[:3]))
    assert seen[-1] == ("generate", 45, 45)
    assert tales.generate("The king", 3).new_tokens == 3  # the model works as before


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"max_new_tokens": 2**40}, "max_new_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"seed": -1}, "seed"),
        ({"batch_sequences": 0}, "batch_sequences"),
        ({"batch_tokens": 0}, "batch_tokens"),
        ({"stop": [5000]}, "5000"),
        ({"stop": [-1]}, "stop"),
        ({"stop": ""}, "empty"),
        ({"mask": np.ones(4)}, "mask"),
    ],
)
def test_wrong_options_of_generation_are_named(
    tales: pc.Model, options: dict[str, object], part: str
) -> None:
    with pytest.raises(pc.ArgumentError, match=part):
        tales.generate("The king", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prompts", "kind"),
    [
        ([], pc.DataError),
        ([[]], pc.DataError),
        ([[1, 2048]], pc.DataError),
        ([[1, -1]], pc.DataError),
        (["text", [1, 2]], pc.ArgumentError),
    ],
)
def test_generation_refuses_wrong_prompts(
    tales: pc.Model, prompts: object, kind: type[pc.Error]
) -> None:
    with pytest.raises(kind):
        tales.generate(prompts)


def test_a_model_without_tokenizer_takes_and_gives_ids(tales_dir: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tales_dir / name, tmp_path)
    with pc.open(tmp_path) as model:
        made = model.generate([[1, 50, 60]], 5)
        assert made.texts is None and made.new_tokens == 5
        assert made.to_dict()["sequences"][0]["text"] is None
        with pytest.raises(pc.FileError, match="tokenizer"):
            model.generate("text")
        with pytest.raises(pc.FileError, match="tokenizer"):
            model.generate([[1]], stop="text")
        assert model.generate("text", 5, tokenizer=tales_dir).texts is not None
        assert model.generate_calibration(2, max_new_tokens=5).n_sequences == 2


def test_calibration_begins_with_the_prompts_in_turn(tales: pc.Model, tales_dir: Path) -> None:
    lines = (tales_dir / "maths.jsonl").read_text(encoding="utf-8").splitlines()[:3]
    texts = [json.loads(line)["text"] for line in lines]
    data = tales.generate_calibration(7, texts, prompt_tokens=5, max_new_tokens=30, seed=2)
    wanted = [row[:5].tolist() for row in tales.generate(texts, 1).prompts]
    assert data.n_sequences == 7
    assert [row[:5].tolist() for row in data.sequences] == [wanted[i % 3] for i in range(7)]
    assert all(6 <= len(row) <= 35 for row in data.sequences)
    again = tales.generate_calibration(7, texts, prompt_tokens=5, max_new_tokens=30, seed=2)
    assert again.digest == data.digest
    bare = tales.generate_calibration(3, max_new_tokens=10)
    assert {int(row[0]) for row in bare.sequences} == {1}
    by_ids = tales.generate_calibration(2, [[1, 7, 9, 11]], prompt_tokens=2, max_new_tokens=3)
    assert [row[:2].tolist() for row in by_ids.sequences] == [[1, 7]] * 2


def test_calibration_needs_something_to_begin_with(tales_dir: Path, tmp_path: Path) -> None:
    shutil.copy(tales_dir / "model.safetensors", tmp_path)
    config = json.loads((tales_dir / "config.json").read_text(encoding="utf-8"))
    config["bos_token_id"] = None
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pc.open(tmp_path) as model:
        with pytest.raises(pc.ArgumentError, match="bos_token_id"):
            model.generate_calibration(2)
        with pytest.raises(pc.ArgumentError, match="n_sequences"):
            model.generate_calibration(0, [[1]])
        with pytest.raises(pc.ArgumentError, match="prompt_tokens"):
            model.generate_calibration(1, [[1]], prompt_tokens=0)
