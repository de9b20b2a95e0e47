# SPDX-License-Identifier: Apache-2.0
"""A language model, with everything that is done with one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from prunecore._native.library import lib, written_text
from prunecore._native.names.tables import Compute, Weights
from prunecore.data.chat_template import chat_templates_of
from prunecore.data.text import load_tokenizer
from prunecore.data.verbs import verb
from prunecore.export.export import export as _export
from prunecore.export.verify import verify_export as _verify_export
from prunecore.generation.generate import generate as _generate
from prunecore.generation.generate_calibration import generate_calibration as _generate_calibration
from prunecore.importance.curve import curve as _curve
from prunecore.importance.score import score as _score
from prunecore.importance.statistics import statistics as _statistics
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
from prunecore.recovery.recover import recover as _recover
from prunecore.recovery.share import share as _share
from prunecore.recovery.shared import shared_weights as _shared_weights
from prunecore.recovery.sharing import sharing as _sharing
from prunecore.recovery.standing import standing_adapters
from prunecore.search.search import search as _search
from prunecore.shapley.play import shapley as _shapley

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from prunecore.recovery.adapters import Adapters
    from prunecore.recovery.shared import SharedWeight


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
    statistics = verb(_statistics)
    curve = verb(_curve)
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
    recover = verb(_recover)
    share = verb(_share)
    sharing = verb(_sharing)
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

    @property
    def shared_weights(self) -> tuple[SharedWeight, ...]:
        """The weights that are stored as those of others and deltas; see `share`."""
        return _shared_weights(self)

    def _recovered(self, adapters: Adapters) -> RecoveredModel:
        return RecoveredModel(self, adapters)

    def _shared(self, make: Callable[[Any], int]) -> SharedModel:
        return SharedModel(self, make)


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
        self.base = base
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


class SharedModel(Model):
    """A model some of whose weights are stored as those of others and deltas: `Model.share`.

    A `Model` of its own, which shares all other weights with the one that it was made of. It has
    the files of that one, such as the tokenizer; its weights are in memory. Exports as "hf_custom"
    open with the deltas that they have.

    Attributes
    ----------
    base : Model
        The one that it was made of.
    """

    def __init__(self, base: OpenModel, make: Callable[[Any], int]) -> None:
        self.directory = base.directory
        self._name, self._digest = base._name, base._digest
        self._configurations = base._configurations
        self.base = base
        self._own(make)

    @contextmanager
    def _in_float32(self) -> Iterator[OpenModel]:
        with TemporaryDirectory() as directory:
            path = Path(directory) / "shared"
            _export(self, path, Mask.all(self.shape.n_blocks), format="hf_custom")
            with OpenModel(path, "float32") as opened:
                yield opened

    @property
    def provenance(self) -> dict[str, str]:
        """What identifies the model in results, with a hash of its deltas' sizes and errors."""
        text = written_text(lib.prune_model_shared, self.handle)
        return {**super().provenance, "sharing_sha256": hashlib.sha256(text).hexdigest()}


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
