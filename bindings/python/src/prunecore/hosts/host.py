# SPDX-License-Identifier: Apache-2.0
"""What a Python program offers that runs a model itself: the base class of hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.names.tables import Kind
from prunecore.shape import Sublayer

State = Any
"""A hidden state of the host, of a batch: any Python object. The library never looks behind it."""

Distance = Literal["l2", "kl", "js"]
"""What `Host.distances` is asked for."""

HeadObjective = Literal["ce", "kl", "js"]
"""What `Host.head_vjp` is asked for."""

ElementType = Literal["fp32", "fp16", "bf16"]
"""In which a host's weights are stored."""

Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]
Values = npt.NDArray[np.float32]
Keep = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class HostBatch:
    """Some sequences that are computed together.

    Attributes
    ----------
    token_ids : array of int32, shape (n_tokens,)
        All sequences one after the other. A row of a state belongs to each token, in this order.
    sequence_lengths : array of int64, shape (n_sequences,)
        How many tokens each sequence has, at least 1.
    """

    token_ids: Ids
    sequence_lengths: Rows

    @property
    def n_tokens(self) -> int:
        """Tokens of all sequences: rows of a state."""
        return len(self.token_ids)

    @property
    def sequences(self) -> list[Ids]:
        """The token ids of each sequence."""
        return np.split(self.token_ids, np.cumsum(self.sequence_lengths)[:-1])


@dataclass(frozen=True)
class HostAdapter:
    """An adapter to apply in the place of a removed sublayer.

    It makes h + bias of a row h of a state; or h + bias + up @ (down @ x); or h + bias + matrix @
    x, with x = h, or norm_gain * h / sqrt(mean(h^2) + norm_epsilon) if there is a norm_gain.

    The arrays are read-only views of the library's memory: copy what is used after the call.

    Attributes
    ----------
    kind : {"bias", "low_rank", "linear"}
        Which of the three.
    sublayer : int
        In whose place it stands.
    bias : array of float32, shape (hidden_size,)
        Of every kind.
    down : array of float32, shape (rank, hidden_size), or None
        Of low_rank.
    up : array of float32, shape (hidden_size, rank), or None
        Of low_rank.
    matrix : array of float32, shape (hidden_size, hidden_size), or None
        Of linear.
    norm_gain : array of float32, shape (hidden_size,), or None
        None = x is h.
    norm_epsilon : float
        Of the norm; without meaning where there is none.
    norm_kind : {"rms", "layer"}
        "layer", which only hosts that have `layer_norm` are given: x is then norm_gain *
        (h - mean(h)) / sqrt(variance(h) + norm_epsilon) + norm_bias.
    norm_bias : array of float32, shape (hidden_size,), or None
        Of a layer norm; None = 0.
    """

    kind: Kind
    sublayer: int
    bias: Values
    down: Values | None
    up: Values | None
    matrix: Values | None
    norm_gain: Values | None
    norm_epsilon: float
    norm_kind: Literal["rms", "layer"] = "rms"
    norm_bias: Values | None = None


class Host:
    """A model that this program runs: a base class. `prunecore.from_host` makes a `Model` of it.

    A subclass sets the attributes and defines the methods that it offers. Needed are `embed` and
    `apply`, or `evaluate`. What it does not define is computed from what it does, or refused with
    `UnsupportedError` and the name of the method that is missing; `None` in a method's place takes
    an inherited one back. Which methods there are is read once, by `from_host`.

    ===================================  =======================================================
    static metrics                       compare, or read
    loss, Shapley values, leave-one-out  token_losses, or logits; or evaluate
    logit_l2, kl, js                     distances, or logits
    closed-form adapters                 read; norm for input "normed"; what adapters in place
                                         need, unless stream "full_model"
    adapters in place                    apply_adapter, or read and write
    trained adapters, vjp, gradient      vjp, read and write; and head_vjp, for any objective
                                         but "mse"
    ===================================  =======================================================

    **States** are Python objects of the host's own. The library keeps each until it needs it no
    more, and then drops its reference; that is all there is to do about their release. It may use
    a state many times, so that methods must not change the states they are given. Every state
    belongs to one batch; rows are numbered within it, one per token.

    **Arrays** given to methods are NumPy arrays of the method's own, unless the method says that
    they are views: those are read-only, and the memory behind them goes when the method returns.
    Arrays that methods return may be anything that `numpy.asarray` understands, of any real type;
    they are copied. Another shape, or another number of states, is a `HostError` that names method
    and sublayer.

    **Exceptions** of a method stop the call of the library that led to it, and come out of that
    call unchanged: the same object, with its traceback. So does KeyboardInterrupt.

    **Threads.** Methods are called on the thread of the call that needs them, and so by several at
    once where several threads use the model. They may use models of the library, this one too.

    Attributes
    ----------
    n_blocks : int
        Decoder layers, at least 1. Must be set.
    hidden_size, vocabulary_size : int
        At least 1; 0 where `evaluate` is all that is offered.
    architecture : str
        For people: of `ModelShape`.
    name, digest : str
        What identifies the model and its weights in results, and whether a game's checkpoint is of
        this model. Left empty, the architecture, and a hash of these attributes.
    context_length : int
        Positions the model was made for; 0 = not known.
    whole_blocks : bool
        True = `apply` is called with even sublayers only, and computes the whole block: both of its
        sublayers are removed, or none.
    element_type : {"fp32", "fp16", "bf16"}
        In which weights are stored.
    sublayers : sequence of Sublayer, or None
        The 2 * n_blocks sublayers in order, for costs; None = not known.
    fixed_parameters, fixed_parameter_bytes : int
        Of embeddings, final norm and head: what no mask removes; 0 = not known.
    known_causal : bool
        True = no token sees a later one or another sequence, for certain. Else the first call that
        runs the model tests that on a few tokens, and is refused with `UnsupportedError` where it
        is not so.
    """

    n_blocks: int = 0
    hidden_size: int = 0
    vocabulary_size: int = 0
    architecture: str = "host"
    name: str = ""
    digest: str = ""
    context_length: int = 0
    whole_blocks: bool = False
    element_type: ElementType = "fp32"
    sublayers: Sequence[Sublayer] | None = None
    fixed_parameters: int = 0
    fixed_parameter_bytes: int = 0
    known_causal: bool = False

    def embed(self, batch: HostBatch) -> State:
        """The state of a batch before sublayer 0."""
        raise NotImplementedError

    def apply(self, sublayer: int, states: list[State]) -> Sequence[State]:
        """States after a sublayer.

        Parameters
        ----------
        sublayer : int
            2i is the attention of block i, 2i + 1 its feed-forward.
        states : list
            States before it, of one batch or of several.

        Returns
        -------
        sequence
            A state after the sublayer for each of them, residual stream and all. An object may be
            given back as it came.
        """
        raise NotImplementedError

    def token_losses(self, state: State, rows: Rows, tokens: Ids) -> npt.ArrayLike:
        """Losses of tokens, from a state after the last sublayer: final norm and head are here.

        Parameters
        ----------
        rows : array of int64, shape (n,)
            Ascending; a row may come more than once.
        tokens : array of int32, shape (n,)
            The token that each of these rows is to predict.

        Returns
        -------
        array, shape (n,)
            -log p(tokens[i] | the tokens up to rows[i]), nats.
        """
        raise NotImplementedError

    def logits(self, state: State, first_row: int, n_rows: int) -> npt.ArrayLike:
        """Logits of n_rows rows from first_row on, from a state after the last sublayer.

        Returns
        -------
        array, shape (n_rows, vocabulary_size)
        """
        raise NotImplementedError

    def distances(
        self, state: State, reference: State, kind: Distance, rows: Rows
    ) -> npt.ArrayLike:
        """Distances of the logits of some rows to those of the same rows of another state.

        Parameters
        ----------
        state, reference : state
            Of one batch, after the last sublayer.
        kind : {"l2", "kl", "js"}
            Norm of the difference of the logits; KL(reference || state) of the next-token
            distributions, nats; their Jensen-Shannon divergence, nats.
        rows : array of int64, shape (n,)
            Ascending.

        Returns
        -------
        array, shape (n,)
        """
        raise NotImplementedError

    def compare(self, before: State, after: State, rows: Rows) -> npt.ArrayLike:
        """Compares some rows of two states of a batch, where they live.

        Parameters
        ----------
        before, after : state
            h and g: before and after some sublayers.
        rows : array of int64, shape (n,)
            Ascending.

        Returns
        -------
        array, shape (n, 6)
            sum |h|, sum h^2, sum |g|, sum g^2, sum |g - h|, sum (g - h)^2 of each row: the last
            two of the difference itself, in float32 or better.
        """
        raise NotImplementedError

    def read(self, state: State) -> npt.ArrayLike:
        """The values of a state, or of a gradient.

        Returns
        -------
        array, shape (n_tokens, hidden_size)
        """
        raise NotImplementedError

    def write(self, like: State, values: Values) -> State:
        """A state like another, of the same batch, with other values.

        Gradients are written so, too. What a state carries besides its hidden values is that of
        `like`.

        Parameters
        ----------
        like : state
            Not changed.
        values : array of float32, shape (n_tokens, hidden_size)
            A read-only view: copy it.
        """
        raise NotImplementedError

    def norm(self, sublayer: int) -> tuple[npt.ArrayLike, float] | None:
        """The root-mean-square norm at a sublayer's input: gain * h / sqrt(mean(h^2) + epsilon).

        Returns
        -------
        gain : array, shape (hidden_size,)
            What the normed values are multiplied with: one plus the weight, where a model stores
            that.
        epsilon : float
            None in the place of both = the sublayer's input is not normed so.
        """
        raise NotImplementedError

    def layer_norm(self, sublayer: int) -> tuple[npt.ArrayLike, npt.ArrayLike, float] | None:
        """The layer norm at a sublayer's input; not asked for one for which `norm` gives a norm.

        gain * (h - mean(h)) / sqrt(variance(h) + epsilon) + bias. A host that has this method is
        given adapters with such norms.

        Returns
        -------
        gain, bias : array, shape (hidden_size,)
            Ones and zeros where the model has none.
        epsilon : float
            None in the place of all = the sublayer's input is not normed so.
        """
        raise NotImplementedError

    def apply_adapter(self, adapter: HostAdapter, state: State) -> State:
        """The state after an adapter, where it lives. The adapter's arrays are views."""
        raise NotImplementedError

    def vjp(self, sublayer: int, states: list[State], gradients: list[State]) -> Sequence[State]:
        """Pulls gradients back through a sublayer, the residual path included.

        Gradients are states: `read` and `write` are given them, too.

        Parameters
        ----------
        states : list
            States before the sublayer.
        gradients : list
            Gradient of a scalar with respect to the state after it, for each.

        Returns
        -------
        sequence
            Gradient of that scalar with respect to the state before it, for each.
        """
        raise NotImplementedError

    def head_vjp(
        self,
        state: State,
        objective: HeadObjective,
        reference: State | None,
        rows: Rows,
        tokens: Ids | None,
        weights: Values,
    ) -> tuple[npt.ArrayLike, State]:
        """Losses of some rows, and the gradient of sum(weights * losses).

        Parameters
        ----------
        state : state
            After the last sublayer.
        objective : {"ce", "kl", "js"}
            -log p(tokens[i]), or as in `distances`, from the reference's distribution.
        reference : state or None
            None for "ce".
        rows : array of int64, shape (n,)
            Ascending.
        tokens : array of int32, shape (n,), or None
            None for "kl" and "js".
        weights : array of float32, shape (n,)
            Of the losses in the sum whose gradient is wanted.

        Returns
        -------
        losses : array, shape (n,)
            Not weighted, nats.
        gradient : state
            With respect to all rows of the state.
        """
        raise NotImplementedError

    def evaluate(
        self, batch: HostBatch, token_weights: Values | None, keep_masks: Keep
    ) -> npt.ArrayLike:
        """The loss of all of a data set under each of some masks.

        Used where neither token_losses nor logits are offered.

        Parameters
        ----------
        batch : HostBatch
            All of its sequences.
        token_weights : array of float32, shape (n_tokens,), or None
            How much the loss of predicting each token counts, the first of a sequence aside;
            None = all 1.
        keep_masks : array of uint8, shape (n_masks, 2 * n_blocks)
            1 = kept, 0 = removed.

        Returns
        -------
        array, shape (n_masks,)
            Mean over predicted tokens by their weights, nats.
        """
        raise NotImplementedError
