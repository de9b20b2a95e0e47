# SPDX-License-Identifier: Apache-2.0
"""A language model."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.handle import Handle, Owner
from prunecore._native.library import _check, ffi, lib, new_struct
from prunecore._native.names.compute import Compute, compute_value
from prunecore._native.progress import ProgressFunction
from prunecore.errors import ArgumentError
from prunecore.export.export import export as _export
from prunecore.export.verify import verify_export as _verify_export
from prunecore.generation.generate import generate as _generate
from prunecore.generation.generate_calibration import generate_calibration as _generate_calibration
from prunecore.importance.curve import Curve, trace
from prunecore.importance.score import score
from prunecore.importance.scores import Scores
from prunecore.importance.statistics import Statistics
from prunecore.masks.mask import Mask, as_keep, keep_pointer
from prunecore.measures import choice_evaluation
from prunecore.measures import evaluate as evaluation
from prunecore.measures.choice_evaluation import ChoiceEvaluation
from prunecore.measures.damages import damages as _damages
from prunecore.measures.evaluate import Evaluation
from prunecore.measures.gradients import gradient as _gradient
from prunecore.measures.gradients import vjp as _vjp
from prunecore.measures.token_times import token_times as _token_times
from prunecore.recovery.recover import recover as _recover
from prunecore.search.search import search as _search
from prunecore.shape import Cost, ModelShape, Sublayer, read_cost, read_shape, read_sublayers
from prunecore.shapley.play import shapley as _shapley

if TYPE_CHECKING:
    from typing_extensions import Self

    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.recovery.adapters import Adapters
    from prunecore.shapley.scores import ShapleyScores


class Model(Owner):
    """A decoder-only language model. `prunecore.open` makes one from a directory.

    Several threads may measure one model at once. Setting its mask, and closing it, is for one
    thread.

    Parameters
    ----------
    directory : path
        A Hugging Face model directory: `config.json` and `model.safetensors`, or the shards that
        `model.safetensors.index.json` names. Weights stay memory-mapped and must not change while
        it is open.
    compute : {"float32", "bfloat16"}, optional
        What matrix products multiply in; see `prunecore.open`.

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

    directory: Path | None
    _name: str
    _digest: str | None = None
    _configurations: tuple[Mapping[str, Any], ...] = ()

    def __init__(self, directory: str | os.PathLike[str], compute: Compute | None = None) -> None:
        self.directory = Path(directory)
        options = new_struct("prune_model_options")
        options.compute = compute_value(compute)
        path = os.fsencode(self.directory)
        if b"\0" in path:
            raise ArgumentError("the model's path holds a NUL character")
        self._name = self.directory.resolve().name
        self._own(lambda out: int(lib.prune_model_open(path, options, out)))

    @classmethod
    def _adopt(
        cls,
        make: Callable[[Any], int],
        *,
        name: str,
        digest: str,
        configurations: Sequence[Mapping[str, Any]] = (),
    ) -> Self:
        """A model that does not come from a directory.

        Parameters
        ----------
        make : callable
            Given a `prune_model **`, makes the handle and returns a status.
        name : str
            What results and `repr` call the model.
        digest : str
            Identifies its configuration in results, as the hash of config.json does for a
            directory.
        configurations : sequence of mapping
            What stands for generation_config.json and config.json, in this order: they name the
            tokens that begin and end a text.
        """
        made = cls.__new__(cls)
        made.directory = None
        made._name, made._digest = name, digest
        made._configurations = tuple(configurations)
        made._own(make)
        return made

    def _own(self, make: Callable[[Any], int]) -> None:
        self._handle = Handle("model", "prune_model", make, lib.prune_model_release)

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.shape.n_blocks} blocks"
        return f"{type(self).__name__}({str(self.directory or self._name)!r}, {state})"

    @cached_property
    def _shape(self) -> ModelShape:
        return read_shape(self.handle)

    @cached_property
    def _sublayers(self) -> tuple[Sublayer, ...]:
        return tuple(read_sublayers(self.handle, self.shape.n_blocks))

    @cached_property
    def _config_digest(self) -> str:
        if self.directory is None:
            return str(self._digest)
        return hashlib.sha256((self.directory / "config.json").read_bytes()).hexdigest()

    @property
    def shape(self) -> ModelShape:
        """Sizes of the model."""
        self._handle.pointer  # noqa: B018  raises if the model is closed
        return self._shape

    @property
    def sublayers(self) -> list[Sublayer]:
        """The 2 * n_blocks sublayers in order, and what removing each saves."""
        self._handle.pointer  # noqa: B018
        return list(self._sublayers)

    @property
    def provenance(self) -> dict[str, str]:
        """What identifies the model in results: its name, its configuration's hash, compute."""
        return {
            "name": self._name,
            "config_sha256": self._config_digest,
            "compute": self.shape.compute,
        }

    @property
    def mask(self) -> Mask:
        """The mask that calls use when they are given none. A new model keeps everything."""
        keep = np.empty(2 * self.shape.n_blocks, dtype=np.uint8)
        out = ffi.from_buffer("uint8_t[]", keep)
        _check(lib.prune_model_mask_get(self.handle, out, len(keep), ffi.NULL))
        return Mask(keep)

    @mask.setter
    def mask(self, mask: MaskLike | None) -> None:
        keep = as_keep(mask, self.shape.n_blocks)
        _check(lib.prune_model_mask_set(self.handle, *keep_pointer(keep)))

    @contextmanager
    def masked(self, mask: MaskLike | None) -> Iterator[Model]:
        """Uses a mask inside a `with` block, and puts the one before it back."""
        before = self.mask
        self.mask = mask
        try:
            yield self
        finally:
            if not self.closed:
                self.mask = before

    def cost(self, mask: MaskLike | None = None) -> Cost:
        """What a mask leaves of the model; None = the model's mask."""
        keep = as_keep(mask, self.shape.n_blocks)
        return read_cost(self.handle, *keep_pointer(keep))

    def score(
        self,
        data: Data | None = None,
        metrics: str | Sequence[str] = "static",
        granularity: str = "sublayer",
        mask: MaskLike | None = None,
        relative_to: Literal["input", "output"] = "input",
        tokens: Literal["all", "last"] = "all",
        batch_tokens: int | None = None,
        progress: ProgressFunction | None = None,
    ) -> Scores:
        """Scores every unit.

        Static metrics take one forward pass for all of them, leave-one-out one more per unit,
        taylor one forwards and backwards.

        Parameters
        ----------
        data : Data or None
            Calibration text. May be left out if magnitude is the only metric.
        metrics : str or sequence of str
            Any of cosine, angular, l1, l2, relative_l1, relative_l2, magnitude, leave_one_out_loss,
            leave_one_out_logit_l2, taylor; "static" is the first seven, "all" is all ten. Models
            whose weights cannot be read, as those that a host runs, have no magnitude and no
            taylor: "static" and "all" leave them out.
        granularity : {"sublayer", "block", "attention", "feed_forward"}
            What is scored as one unit.
        mask : Mask or array, optional
            The mask under which to score. Default: the model's.
        relative_to : {"input", "output"}
            Denominator of the relative metrics: the hidden state before the unit, or after it.
        tokens : {"all", "last"}
            The tokens that static metrics look at: all, or the last one of each sequence.
        batch_tokens : int, optional
            Tokens computed together at most. Default: chosen by the library.
        progress : callable, optional
            Called as `progress(stage, done, total, seconds)`; a true result stops the call with
            `Cancelled`, an exception stops it and is raised again.

        Raises
        ------
        DataError
            Ids outside the vocabulary, or nothing to predict.
        NonFiniteError
            NaN or infinity was met; the text names the layer.
        """
        return score(
            self, data, metrics, granularity, mask, relative_to, tokens, batch_tokens, progress
        )

    def evaluate(
        self,
        data: Data,
        mask: MaskLike | None = None,
        *,
        adapters: Adapters | None = None,
        batch_tokens: int | None = None,
        progress: ProgressFunction | None = None,
    ) -> Evaluation:
        """Loss and perplexity on data under a mask; None = the model's mask.

        With `adapters`, that of the recovered model: the mask is then that of the adapters, and may
        be left out.
        """
        if adapters is not None:
            if mask is not None:
                adapters.check_mask(mask)
            with adapters.attach(self) as recovered:
                return recovered.evaluate(data, batch_tokens=batch_tokens, progress=progress)
        masks = None if mask is None else [mask]
        return evaluation.evaluate(self, data, masks, batch_tokens, progress)[0]

    def evaluate_masks(
        self,
        data: Data,
        masks: Sequence[MaskLike],
        *,
        batch_tokens: int | None = None,
        progress: ProgressFunction | None = None,
    ) -> list[Evaluation]:
        """Loss and perplexity on data under each of several masks."""
        return evaluation.evaluate(self, data, list(masks), batch_tokens, progress)

    def evaluate_choices(
        self,
        data: Data,
        mask: MaskLike | None = None,
        *,
        batch_tokens: int | None = None,
        progress: ProgressFunction | None = None,
    ) -> ChoiceEvaluation:
        """Answers multiple-choice questions under a mask; None = the model's mask.

        Parameters
        ----------
        data : ChoiceData
            What `Data.from_choices` made.
        """
        return choice_evaluation.evaluate_choices(self, data, mask, batch_tokens, progress)

    def curve(
        self,
        data: Data,
        scores: Scores | ShapleyScores,
        metric: str | None = None,
        max_removed: int | None = None,
        *,
        only: Literal["attention", "feed_forward"] | str | None = None,
        batch_tokens: int | None = None,
        progress: ProgressFunction | None = None,
    ) -> Curve:
        """The loss with 0, 1, 2, .. of the least important units removed.

        Parameters
        ----------
        data : Data
            Held-out text: other than what the scores were made from.
        scores : Scores or ShapleyScores
            What says which units matter least.
        metric : str, optional
            Which of its metrics decides. May be left out where there is only one.
        max_removed : int, optional
            Where to stop. Default: all units.
        only : {"attention", "feed_forward"}, optional
            Remove only this kind, from scores of sublayers.
        """
        return trace(self, data, scores, metric, max_removed, only, batch_tokens, progress)

    # Documented where they are defined, with what they need.
    damages = _damages
    shapley = _shapley
    generate = _generate
    generate_calibration = _generate_calibration
    recover = _recover
    search = _search
    token_times = _token_times
    vjp = _vjp
    gradient = _gradient
    export = _export
    verify_export = _verify_export

    def statistics(
        self,
        data: Data | None = None,
        *,
        windows: bool = False,
        tokens: Literal["all", "last"] = "all",
    ) -> Statistics:
        """Statistics of this model, of `data` if that is given; more can be collected later."""
        made = Statistics(self.shape.n_blocks, windows=windows, tokens=tokens, model=self)
        return made if data is None else made.collect(data)

    def token_losses(
        self,
        data: Data,
        mask: MaskLike | None = None,
        *,
        batch_tokens: int | None = None,
        progress: ProgressFunction | None = None,
    ) -> npt.NDArray[np.float32]:
        """Loss of every token: -log p(token | those before it), in nats, not weighted.

        It is 0 for the first token of each sequence, which nothing predicts.

        Returns
        -------
        array of float32, shape (n_tokens,)
            All sequences one after the other.
        """
        function = lib.prune_model_token_losses
        rows = evaluation.read_rows(self, data, mask, 1, None, function, batch_tokens, progress)
        return rows.reshape(-1)

    def logits(
        self,
        data: Data,
        mask: MaskLike | None = None,
        *,
        batch_tokens: int | None = None,
        progress: ProgressFunction | None = None,
    ) -> npt.NDArray[np.float32]:
        """Logits of every token, for checks and small data.

        Returns
        -------
        array of float32, shape (n_tokens, vocabulary_size)
            Row t predicts what follows token t.
        """
        width, function = self.shape.vocabulary_size, lib.prune_model_logits
        return evaluation.read_rows(self, data, mask, width, None, function, batch_tokens, progress)

    def hidden_states(
        self,
        data: Data,
        sublayer: int,
        mask: MaskLike | None = None,
        *,
        batch_tokens: int | None = None,
        progress: ProgressFunction | None = None,
    ) -> npt.NDArray[np.float32]:
        """The residual stream before a sublayer.

        2 * n_blocks stands for that after the last sublayer, before the final norm.

        Returns
        -------
        array of float32, shape (n_tokens, hidden_size)
        """
        width, function = self.shape.hidden_size, lib.prune_model_hidden_states
        last = 2 * self.shape.n_blocks
        if not 0 <= sublayer <= last:
            raise ArgumentError(f"sublayer is {sublayer}, but must be from 0 to {last}")
        return evaluation.read_rows(
            self, data, mask, width, sublayer, function, batch_tokens, progress
        )
