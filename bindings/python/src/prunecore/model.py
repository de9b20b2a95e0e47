# SPDX-License-Identifier: Apache-2.0
"""A language model, with everything that is done with one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prunecore._native.library import lib
from prunecore._native.names.tables import COMPUTE, Compute, Weights
from prunecore.data.chat_template import chat_templates_of
from prunecore.data.text import load_tokenizer
from prunecore.data.verbs import verb
from prunecore.diagnosis.diagnose import diagnose as _diagnose
from prunecore.export.export import export as _export
from prunecore.export.verify import verify_export as _verify_export
from prunecore.generation.generate import generate as _generate
from prunecore.generation.generate_calibration import generate_calibration as _generate_calibration
from prunecore.importance.curve import curve as _curve
from prunecore.importance.neuron_scores import neuron_scores as _neuron_scores
from prunecore.importance.score import score as _score
from prunecore.importance.statistics import statistics as _statistics
from prunecore.importance.topology import topology as _topology
from prunecore.masks.edits import edits_text
from prunecore.masks.mask import Mask
from prunecore.measures.damages import damages as _damages
from prunecore.measures.evaluate import evaluate as _evaluate
from prunecore.measures.evaluate import evaluate_masks as _evaluate_masks
from prunecore.measures.evaluate_choices import evaluate_choices as _evaluate_choices
from prunecore.measures.gradients import gradient as _gradient
from prunecore.measures.gradients import vjp as _vjp
from prunecore.measures.token_times import token_times as _token_times
from prunecore.measures.token_values import hidden_states as _hidden_states
from prunecore.measures.token_values import logits as _logits
from prunecore.measures.token_values import token_losses as _token_losses
from prunecore.opened import OpenModel
from prunecore.recovery.heal import heal as _heal
from prunecore.recovery.recover import recover as _recover
from prunecore.recovery.standing import standing_adapters
from prunecore.search.merge_blocks import merge_blocks as _merge_blocks
from prunecore.search.search import search as _search
from prunecore.shapley.play import shapley as _shapley

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from prunecore.recovery.adapters import Adapters


class Model(OpenModel):
    """A decoder-only language model. `prunecore.open` makes one from a directory.

    Several threads may measure one model at once. Setting its mask, and closing it, is for one
    thread.

    Parameters
    ----------
    directory : path
        A Hugging Face model directory: `config.json` and `model.safetensors`, or the shards that
        `model.safetensors.index.json` names. Weights stay memory-mapped, unless `weights` says
        otherwise.
    compute : {"float32", "bfloat16"}, optional
        What matrix products multiply in; see `prunecore.open`.
    weights : {"mapped", "memory"}, optional
        Where the weights are; see `prunecore.open`.

    Attributes
    ----------
    directory : Path or None
        Where the model was opened; None if it did not come from a directory. It then has no
        tokenizer: functions that read text need to be given one.

    Raises
    ------
    FileError, FormatError, UnsupportedError
        A file is missing; damaged; or holds a model that this version, or this CPU, does not
        compute.
    """

    # Each is documented where it is defined.
    score = verb(_score)
    neuron_scores = verb(_neuron_scores)
    statistics = verb(_statistics)
    topology = verb(_topology)
    curve = verb(_curve)
    diagnose = verb(_diagnose)
    evaluate = verb(_evaluate)
    evaluate_masks = verb(_evaluate_masks)
    evaluate_choices = verb(_evaluate_choices)
    damages = verb(_damages)
    token_times = verb(_token_times)
    token_losses = verb(_token_losses)
    logits = verb(_logits)
    hidden_states = verb(_hidden_states)
    vjp = verb(_vjp)
    gradient = verb(_gradient)
    shapley = verb(_shapley)
    search = verb(_search)
    merge_blocks = verb(_merge_blocks)
    recover = verb(_recover)
    heal = verb(_heal)
    generate = verb(_generate)
    generate_calibration = verb(_generate_calibration)
    export = verb(_export)
    verify_export = verb(_verify_export)

    @property
    def adapters(self) -> Adapters | None:
        """A copy of the adapters that the model has; None if it has none.

        A checkpoint with adapters opens with them. Of a recovered model, see there.
        """
        found = standing_adapters(self)
        return found if len(found) else None

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own: that of its directory, or the one that a GGUF file holds.

        Raises
        ------
        FileError
            There is none.
        FormatError, UnsupportedError
            It cannot be read; it is of a kind that is not known.
        """
        return load_tokenizer(self)

    @property
    def chat_templates(self) -> dict[str, str]:
        """Jinja templates that make a conversation one text, by name; "default" is the usual one.

        As the model's directory or GGUF file has them; none for a model in memory.
        """
        return {} if self.directory is None else chat_templates_of(self.directory)

    def edited(self, edits: Mask | Iterable[Mapping[str, Any]]) -> EditedModel:
        """The model with other weights in the places of some: a `Model` of its own.

        What edits change takes memory of its own, in the type in which it is stored; quantised
        weights become bf16. All else is shared with this model, which does not change. A mask that
        comes with edits removes sublayers of the model that they make.

        Parameters
        ----------
        edits : sequence of mapping, or Mask
            Applied in order, each to what those before it made: docs/merging.md and
            docs/narrowing.md say what they are. Of a mask, its own.

        Raises
        ------
        FormatError
            An edit is none, or names a block beyond the last; the text says which, and what of it.
        ArgumentError
            A block, or a part of it, was removed before the model was opened.
        UnsupportedError
            Blocks that are merged differ in the shapes of their weights; or the model is one of a
            host, or has adapters, which were made for its weights as they are.
        """
        if not isinstance(edits, Mask):
            return EditedModel(self, edits)
        made = len(self.edits)  # a mask for what this model becomes has those of the model, too
        own = edits.edits
        return EditedModel(self, own[made:] if own[:made] == self.edits else own)

    def _edited(self, edits: Iterable[Mapping[str, Any]]) -> EditedModel:
        return self.edited(edits)

    def _recovered(self, adapters: Adapters) -> RecoveredModel:
        return RecoveredModel(self, adapters)

    def _healed(self, make: Callable[[Any], int], digest: str) -> HealedModel:
        return HealedModel(self, make, digest)


class HealedModel(Model):
    """A model some of whose weights were trained, which shares all others with it.

    `Model.heal` makes it. Closing it leaves the other model as it is.

    Attributes
    ----------
    base : Model
        The model before.
    """

    def __init__(self, base: OpenModel, make: Callable[[Any], int], digest: str) -> None:
        self.directory = base.directory
        self._name, self._digest = base._name, base._digest
        self._configurations = base._configurations
        self.base, self.edits = base, base.edits
        self.is_recovered = base.is_recovered
        self._healing_digest = digest
        self._own(make)

    @contextmanager
    def _in_float32(self) -> Iterator[OpenModel]:
        def make(out: Any) -> int:
            return int(lib.prune_model_with_compute(self.handle, COMPUTE.value("float32"), out))

        with HealedModel(self.base, make, self._healing_digest) as opened:
            yield opened

    @property
    def provenance(self) -> dict[str, str]:
        """What identifies the model in results: that of the one before, and the training's hash."""
        return {**self.base.provenance, "healing_sha256": self._healing_digest}


class EditedModel(Model):
    """A model after edits of its weights, which shares all others with it.

    `Model.edited` makes it. Closing it leaves the other model as it is.

    Attributes
    ----------
    base : Model
        The model before.
    """

    def __init__(self, base: Model, edits: Iterable[Mapping[str, Any]]) -> None:
        self.directory = base.directory
        self._name, self._digest = base._name, base._digest
        self._configurations = base._configurations
        self.base = base
        text = edits_text(edits).encode()
        self._own(lambda out: int(lib.prune_model_edit(base.handle, text, out)))
        # As the library writes them: a mask's are compared with these.
        self._own_edits = Mask.all(base.shape.n_blocks).with_edits(json.loads(text)).edits
        self.edits = base.edits + self._own_edits

    @contextmanager
    def _in_float32(self) -> Iterator[OpenModel]:
        with self.base._in_float32() as base, EditedModel(base, self._own_edits) as edited:  # type: ignore[arg-type]
            yield edited

    @property
    def provenance(self) -> dict[str, str]:
        """What identifies the model in results: that of the one before, and the edits' hash."""
        text = json.dumps(self.edits, sort_keys=True).encode()
        return {**super().provenance, "edits_sha256": hashlib.sha256(text).hexdigest()}


class RecoveredModel(Model):
    """A pruned model with adapters: a `Model` of its own, which shares the weights of another.

    `Adapters.attach` makes it. Masks for it speak of its own sublayers: removing one that is an
    adapter takes the adapter away. Later changes of the adapters do not reach it; closing it leaves
    the other model as it is.

    Attributes
    ----------
    base : Model
        The full model.
    """

    is_recovered = True

    def __init__(self, base: OpenModel, adapters: Adapters) -> None:
        self.directory = base.directory
        self._name, self._digest = base._name, base._digest
        self._configurations = base._configurations
        self.base, self.edits = base, base.edits
        self._attached = adapters
        self._adapters_digest = adapters.digest
        self._own(lambda out: int(lib.prune_model_attach(base.handle, adapters.handle, out)))

    @property
    def adapters(self) -> Adapters:
        """What was attached; those that `base` has itself are not among them."""
        return self._attached

    @contextmanager
    def _in_float32(self) -> Iterator[OpenModel]:
        with self.base._in_float32() as base, self._attached.attach(base) as recovered:
            yield recovered

    @property
    def provenance(self) -> dict[str, str]:
        """What identifies the model in results: that of the full model, and the adapters' hash."""
        return {**super().provenance, "adapters_sha256": self._adapters_digest}


def open(
    directory: str | os.PathLike[str],
    compute: Compute | None = None,
    *,
    weights: Weights = "mapped",
) -> Model:
    """Opens a language model.

    Parameters
    ----------
    directory : path
        A Hugging Face model directory: `config.json` and `model.safetensors`, or its shards. Or a
        GGUF file, of a model in several parts the first. Or, where no such path is, a name on the
        Hugging Face hub, "org/name" or "org/name/file.gguf", with "@revision" after the first two
        parts if need be: taken from the local cache, else downloaded into it.
    compute : {"float32", "bfloat16"}, optional
        What matrix products multiply in; sums, residual stream, norms and softmax are float32
        either way. "float32" widens the weights exactly. "bfloat16" rounds activations before
        each product, as PyTorch does in a bf16 model, and takes down to half the time. Default:
        what the environment variable PRUNECORE_COMPUTE names, else bfloat16 for weights stored
        in bf16 on a CPU with AVX512-BF16, else float32. `model.shape.compute` says which it is.
    weights : {"mapped", "memory"}, optional
        Where the weights are. "mapped", the default: in the files, read when they are needed. If
        a file is cut or written over in place meanwhile, calls raise `FileError`; one that is
        replaced by rename, or deleted, does no harm. "memory": read when the model is opened, so
        that nothing that happens to the files matters; for network file systems, and for files
        that programs write over in place.

    Returns
    -------
    Model
        Close it, or use it in a `with` block; the end of its last reference closes it, too.

    Raises
    ------
    FileError, FormatError, UnsupportedError
        A file is missing; damaged; or holds a model that this version, or this CPU, does not
        compute.
    """
    return Model(directory, compute, weights=weights)
