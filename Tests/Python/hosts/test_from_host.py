# SPDX-License-Identifier: Apache-2.0
"""A model that this program runs gives the numbers of the same model opened from its directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from numpy_decoder import Decoder
from numpy_host import EvaluatingHost, NumpyHost, WholeBlocksHost

MEASURES = ("loss", "logit_l2", "kl", "js")


class LogitsHost(NumpyHost):
    """Offers logits and values of states, and nothing that could be made of them."""

    token_losses = distances = compare = apply_adapter = None


class LossesHost(NumpyHost):
    """Offers the least that losses take."""

    logits = distances = compare = read = write = norm = apply_adapter = vjp = head_vjp = None


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder()


@pytest.fixture(scope="module")
def opened(decoder: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[pc.Model]:
    """The same model, run by the library."""
    directory: Path = tmp_path_factory.mktemp("decoder")
    decoder.save(directory)
    with pc.open(directory, compute="float32") as model:
        yield model


@pytest.fixture(scope="module")
def data(decoder: Decoder) -> pc.Data:
    random = np.random.default_rng(3)
    lengths = (17, 1, 30, 8, 23)
    ids = [random.integers(0, decoder.sizes.vocabulary, length) for length in lengths]
    return pc.Data(ids, [random.random(length) for length in lengths])


@pytest.fixture(scope="module", params=[NumpyHost, LogitsHost])
def model(decoder: Decoder, request: pytest.FixtureRequest) -> Iterator[pc.HostModel]:
    with pc.from_host(request.param(decoder)) as model:
        yield model
        assert model.live_states == 0


def near(found: object, wanted: object, tolerance: float = 1e-4) -> None:
    """Equal to a part of the largest value."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def masks(model: pc.Model) -> np.ndarray:
    """Some masks of a model with three blocks, all and none removed among them."""
    random = np.random.default_rng(5)
    some = random.random((5, 2 * model.shape.n_blocks)) < 0.6
    ends = np.array([[True], [False]]).repeat(2 * model.shape.n_blocks, 1)
    return np.concatenate([ends, some]).astype(np.uint8)


def test_shape_of_a_host_is_what_it_says(model: pc.HostModel) -> None:
    shape = model.shape
    assert (shape.architecture, shape.n_blocks, shape.hidden_size) == ("numpy", 3, 24)
    assert (shape.vocabulary_size, shape.context_length, shape.element_type) == (37, 128, "fp32")
    assert shape.can_read_states
    assert shape.has_gradients
    assert not shape.can_read_weights
    assert not shape.can_generate
    assert shape.runs_sublayers
    assert shape.removes_sublayers
    assert model.directory is None
    assert model.provenance["name"] == "numpy"
    assert repr(model) == "HostModel('numpy', 3 blocks)"


def test_metrics_over_a_host_are_those_of_the_model(
    model: pc.HostModel, opened: pc.Model, data: pc.Data
) -> None:
    names = ["cosine", "angular", "l1", "l2", "relative_l1", "relative_l2"]
    names += ["leave_one_out_loss", "leave_one_out_logit_l2"]
    for granularity in pc.GRANULARITIES:
        found = model.score(data, names, granularity)
        wanted = opened.score(data, names, granularity)
        for name in names:
            near(found[name], wanted[name])


def test_metrics_of_last_tokens_over_a_host_are_those_of_the_model(
    model: pc.HostModel, opened: pc.Model, data: pc.Data
) -> None:
    options = {"metrics": ["cosine", "relative_l1"], "tokens": "last", "relative_to": "output"}
    found, wanted = model.score(data, **options), opened.score(data, **options)
    near(found["cosine"], wanted["cosine"])
    near(found["relative_l1"], wanted["relative_l1"])


def test_windows_over_a_host_are_those_of_the_model(
    model: pc.HostModel, opened: pc.Model, data: pc.Data
) -> None:
    found = model.statistics(data, windows=True).windows()
    wanted = opened.statistics(data, windows=True).windows()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_rows_that_a_host_gives_are_those_of_the_model(
    model: pc.HostModel, opened: pc.Model, data: pc.Data
) -> None:
    mask = masks(model)[3]
    near(model.token_losses(data, mask), opened.token_losses(data, mask))
    near(model.logits(data, mask), opened.logits(data, mask))
    near(model.hidden_states(data, 3, mask), opened.hidden_states(data, 3, mask))


@pytest.mark.parametrize("measure", MEASURES)
def test_damages_over_a_host_are_those_of_the_model(
    model: pc.HostModel, opened: pc.Model, data: pc.Data, measure: str
) -> None:
    found, wanted = (m.damages(data, masks(model), measure) for m in (model, opened))
    near(found.values, wanted.values)
    assert found.report.sublayers_computed == wanted.report.sublayers_computed


def test_shapley_values_over_a_host_are_those_of_the_model(
    model: pc.HostModel, opened: pc.Model, data: pc.Data
) -> None:
    found, wanted = (
        m.shapley(data, estimator="stratified", budget=40, seed=4) for m in (model, opened)
    )
    near(found.values, wanted.values)
    near(found.standard_errors, wanted.standard_errors, 1e-3)


@pytest.mark.parametrize("kind", pc.ADAPTER_KINDS)
@pytest.mark.parametrize("inputs", ["normed", "raw"])
def test_closed_form_over_a_host_is_that_of_the_model(
    model: pc.HostModel, opened: pc.Model, data: pc.Data, kind: str, inputs: str
) -> None:
    mask = np.array([1, 0, 1, 1, 0, 1], dtype=np.uint8)
    options = {"kind": kind, "input": inputs, "ridge": 1e-3}
    if kind == "low_rank":
        options["rank"] = 4
    found, wanted = (m.recover(mask, data, **options) for m in (model, opened))
    for sublayer in (1, 4):
        ours, theirs = found.arrays(sublayer), wanted.arrays(sublayer)
        assert ours.keys() == theirs.keys()
        if kind == "low_rank":  # its factors have a sign and an order of their own
            product = theirs["up"] @ theirs["down"]
            near(ours["up"] @ ours["down"], product, 1e-3)
        for part in ours.keys() - {"up", "down"}:
            near(ours[part], theirs[part], 1e-3)
    with found.attach(model) as recovered, wanted.attach(opened) as reference:
        near(recovered.token_losses(data), reference.token_losses(data), 1e-3)


def test_training_over_a_host_is_that_of_the_model(
    model: pc.HostModel, opened: pc.Model, data: pc.Data
) -> None:
    mask = np.array([1, 1, 0, 1, 1, 0], dtype=np.uint8)
    options = {"kind": "low_rank", "rank": 2, "start": "zero", "steps": 4, "step_tokens": 40}
    options |= {"held_out_share": 0.3}
    for objective in ("mse", "ce", "kl", "js"):
        found, wanted = (
            m.recover(mask, data, objective=objective, **options) for m in (model, opened)
        )
        for sublayer in (2, 5):
            theirs = wanted.arrays(sublayer)
            for part, values in found.arrays(sublayer).items():
                near(values, theirs[part], 1e-3)


def test_gradients_over_a_host_are_those_of_the_model(
    model: pc.HostModel, opened: pc.Model, data: pc.Data
) -> None:
    mask = masks(model)[4]
    for objective in ("ce", "kl", "js"):
        found, wanted = (m.gradient(data, objective, 1, mask) for m in (model, opened))
        near(found.values, wanted.values)
        assert found.loss == pytest.approx(wanted.loss, rel=1e-4)
    random = np.random.default_rng(9)
    states, slopes = random.normal(size=(2, data.n_tokens, 24)).astype(np.float32)
    for sublayer in (2, 3):
        near(model.vjp(data, sublayer, states, slopes), opened.vjp(data, sublayer, states, slopes))


def test_host_of_losses_alone_evaluates_and_refuses_the_rest(
    decoder: Decoder, opened: pc.Model, data: pc.Data
) -> None:
    with pc.from_host(LossesHost(decoder)) as model:
        near(model.token_losses(data), opened.token_losses(data))
        near(model.damages(data, masks(model)).values, opened.damages(data, masks(model)).values)
        for refused, names in {
            lambda: model.score(data, "cosine"): "compare, or read",
            lambda: model.logits(data): "logits",
            lambda: model.hidden_states(data, 1): "read",
            lambda: model.damages(data, masks(model), "kl"): "distances, or logits",
            lambda: model.recover([1, 0, 1, 1, 1, 1], data, rank=2, input="raw"): "read",
            lambda: model.gradient(data): "vjp",
            lambda: model.score(metrics="magnitude"): "weights",
            lambda: model.score(data, "taylor"): "gradients",
        }.items():
            with pytest.raises(pc.UnsupportedError, match=names):
                refused()
        assert model.live_states == 0
        assert not model.shape.has_gradients


def test_adapters_of_a_host_without_norms_take_their_input_as_it_is(
    decoder: Decoder, data: pc.Data
) -> None:
    """None for a sublayer means that adapters take its input as it is; see the header."""

    class Without(NumpyHost):
        def norm(self, sublayer):
            return None

    with pc.from_host(Without(decoder)) as model:
        raw = model.recover([1, 0, 1, 1, 1, 1], data, rank=2, input="raw")
        assert "norm" not in raw.arrays(1)
        with pytest.raises(pc.UnsupportedError, match="norm"):
            model.recover([1, 0, 1, 1, 1, 1], data, rank=2, input="normed")


def test_host_of_whole_blocks_gives_the_models_numbers_by_block(
    decoder: Decoder, opened: pc.Model, data: pc.Data
) -> None:
    with pc.from_host(WholeBlocksHost(decoder)) as model:
        assert model.shape.runs_sublayers
        assert not model.shape.removes_sublayers
        for metric in ("cosine", "relative_l2", "leave_one_out_loss"):
            found, wanted = (m.score(data, metric, "block") for m in (model, opened))
            near(found[metric], wanted[metric])
        found, wanted = (
            m.shapley(data, granularity="block", estimator="exact") for m in (model, opened)
        )
        near(found.values, wanted.values)
        adapters = model.recover([1, 1, 0, 0, 1, 1], data, kind="bias", input="raw")
        reference = opened.recover([1, 1, 0, 0, 1, 1], data, kind="bias", input="raw")
        near(adapters.arrays(2)["bias"], reference.arrays(2)["bias"], 1e-3)
        with pytest.raises(pc.UnsupportedError, match="block 1"):
            model.evaluate(data, [1, 1, 0, 1, 1, 1])
        for granularity in ("sublayer", "attention", "feed_forward"):
            with pytest.raises(pc.UnsupportedError, match="whole blocks"):
                model.score(data, "leave_one_out_loss", granularity)
            with pytest.raises(pc.UnsupportedError, match="score blocks"):
                model.score(data, "cosine", granularity)


def test_a_host_that_evaluates_alone(decoder: Decoder, opened: pc.Model, data: pc.Data) -> None:
    host = EvaluatingHost(decoder)
    with pc.from_host(host) as model:
        rows = list(masks(model))
        found = [each.loss for each in model.evaluate_masks(data, rows)]
        near(found, [each.loss for each in opened.evaluate_masks(data, rows)])
        near(model.damages(data, rows).values, opened.damages(data, rows).values)
        left_out = (m.score(data, "leave_one_out_loss") for m in (model, opened))
        near(*(scores["leave_one_out_loss"] for scores in left_out))
        found, wanted = (m.shapley(data, estimator="exact", cap=None) for m in (model, opened))
        near(found.values, wanted.values)
        # Nobody knows the vocabulary, whose logarithm is the usual cap: there is none.
        assert model.shapley(data, estimator="exact").values.tolist() == found.values.tolist()
        with pytest.raises(pc.UnsupportedError, match="embed, apply"):
            model.score(data, "cosine")
        assert host.calls > 0
        assert not model.shape.runs_sublayers


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("n_blocks", 0, "n_blocks is 0"),
        ("n_blocks", -1, "n_blocks is -1"),
        ("n_blocks", "3", "n_blocks is '3', but must be a whole number"),
        ("hidden_size", 0, "hidden_size"),
        ("hidden_size", 2**80, "hidden_size"),
        ("vocabulary_size", 2**62, "vocabulary_size"),
        ("context_length", -5, "context_length is -5"),
        ("element_type", "int8", "element_type is 'int8'"),
        ("sublayers", [], "sublayers has 0 entries, but 3 blocks have 6"),
        ("embed", None, "embed"),
        ("apply", None, "apply"),
    ],
)
def test_from_host_refuses_hosts_with_wrong_attributes(
    decoder: Decoder, name: str, value: object, says: str
) -> None:
    host = NumpyHost(decoder)
    setattr(host, name, value)
    with pytest.raises(pc.ArgumentError, match=says):
        pc.from_host(host)


def test_from_host_refuses_what_is_not_a_host() -> None:
    with pytest.raises(pc.ArgumentError, match="derive it from prunecore.Host"):
        pc.from_host(object())


def test_host_costs_are_what_the_host_says(decoder: Decoder) -> None:
    host = NumpyHost(decoder)
    host.sublayers = [
        pc.Sublayer(u // 2, bool(u % 2), 100 + u, 400 + u, 0 if u % 2 else 48, 0) for u in range(6)
    ]
    host.fixed_parameters, host.fixed_parameter_bytes = 1000, 4000
    with pc.from_host(host) as model:
        assert model.sublayers == host.sublayers
        cost = model.cost([0, 1, 1, 1, 1, 0])
        kept = 1000 + 101 + 102 + 103 + 104
        assert cost == pc.Cost(2, kept, 4000 + 401 + 402 + 403 + 404, 96, kept)


def test_results_over_a_host_carry_its_names(decoder: Decoder, data: pc.Data) -> None:
    host = NumpyHost(decoder)
    host.name, host.digest = "my model", "0123"
    with pc.from_host(host) as model, pc.from_host(NumpyHost(decoder)) as plain:
        assert model.provenance["name"] == "my model"
        assert model.provenance["config_sha256"] == "0123"
        assert plain.provenance["config_sha256"] != "0123"
        played = model.shapley(data, granularity="block", estimator="exact")
        assert played.provenance["model"]["name"] == "my model"


def test_host_methods_get_the_arguments_promised(decoder: Decoder, data: pc.Data) -> None:
    """Types, shapes and order of what methods are given."""
    seen: dict[str, object] = {}

    class Looking(NumpyHost):
        def embed(self, batch):
            assert batch.token_ids.dtype == np.int32
            assert batch.sequence_lengths.dtype == np.int64
            assert [len(ids) for ids in batch.sequences] == batch.sequence_lengths.tolist()
            seen["tokens"] = seen.get("tokens", 0) + batch.n_tokens
            batch.token_ids.flags.writeable = True  # an array of its own
            return super().embed(batch)

        def token_losses(self, state, rows, tokens):
            assert rows.dtype == np.int64
            assert (np.diff(rows) >= 0).all()
            assert tokens.dtype == np.int32
            seen["losses"] = True
            return super().token_losses(state, rows, tokens).astype(np.float32).tolist()

        def write(self, like, values):
            assert not values.flags.writeable
            assert values.shape == like.rows.shape
            seen["write"] = True
            return super().write(like, values)

        def apply_adapter(self, adapter, state):
            assert adapter.sublayer == 1
            assert adapter.down.shape == (2, 24)
            assert adapter.up.shape == (24, 2)
            assert adapter.matrix is None
            assert not adapter.up.flags.writeable
            seen["adapter"] = True
            return super().apply_adapter(adapter, state)

    with pc.from_host(Looking(decoder)) as model:
        adapters = model.recover(
            [1, 0, 1, 1, 1, 1], data, rank=2, objective="ce", steps=1, held_out_share=0.3
        )
        model.evaluate(data, adapters=adapters)
        model.vjp(data, 0, *np.ones((2, data.n_tokens, 24)))
    assert seen.keys() == {"tokens", "losses", "write", "adapter"}
