# SPDX-License-Identifier: Apache-2.0
"""A PyTorch model as a host: its layers compute, where they are, what the library asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from prunecore.errors import DataError
from prunecore.hosts.host import (
    Distance,
    HeadObjective,
    Host,
    HostAdapter,
    HostBatch,
    Ids,
    Rows,
    Values,
)
from prunecore.torch import costs, head
from prunecore.torch.adapter_module import AdapterModule
from prunecore.torch.applied_mask import check_whole
from prunecore.torch.architectures import Parts
from prunecore.torch.decoder import Arguments, Decoder
from prunecore.torch.failures import computed
from prunecore.torch.gradients import pull
from prunecore.torch.groups import joined, joined_by, split, stacked, together
from prunecore.torch.layouts import Layout
from prunecore.torch.states import TorchState
from prunecore.torch.sublayers import InputNorm, attention, feed_forward, input_norm
from prunecore.torch.sum_norms import SumNorms

_CPU_TOKENS = 2048
_ACCELERATOR_TOKENS = 16384
"""Tokens that a sublayer computes together at most, unless one state has more."""

_COMPARED_ROWS = 8192
"""Rows that are compared at one time: in fp32, they take more memory than the states."""


class TorchHost(Host):
    """A causal language model of transformers, sublayer by sublayer or block by block.

    States stay on the device of the layer that made them, in the model's own type. Whoever makes
    one tests the model for causality.

    Parameters
    ----------
    decoder : Decoder
        Of the model.
    parts : Parts or None
        How its decoder layers are made; None = whole blocks.
    vocabulary_size : int
        Width of the logits.
    """

    known_causal = True

    def __init__(self, decoder: Decoder, parts: Parts | None, vocabulary_size: int) -> None:
        config = decoder.config
        self.decoder, self.parts = decoder, parts
        # The layers of the whole model, also while some are taken out of it.
        self._blocks = decoder.blocks
        self.n_blocks = len(self._blocks)
        self.hidden_size = int(config.hidden_size)
        self.vocabulary_size = vocabulary_size
        self.architecture = type(decoder.model).__name__
        self.context_length = max(0, int(getattr(config, "max_position_embeddings", None) or 0))
        self.whole_blocks = parts is None
        self._sum_norms = SumNorms(self._blocks, parts)
        self.element_type = costs.element_type(decoder.model)
        self.sublayers = costs.sublayers(decoder, parts)
        fixed = costs.fixed(decoder.model, self.sublayers)
        self.fixed_parameters, self.fixed_parameter_bytes = fixed
        self._embedded_ids = decoder.model.get_input_embeddings().weight.shape[0]
        self._positions = _learned_positions(decoder)

    @property
    def layers(self) -> list[nn.Module]:
        """The layers of the whole model, also while some are taken out of it."""
        return list(self._blocks)

    @computed
    def embed(self, batch: HostBatch) -> TorchState:
        self.decoder.check_evaluating()
        check_whole(self.decoder.model)
        self.check_tokens(int(batch.token_ids.max()), int(batch.sequence_lengths.max()))
        layout = Layout(self.decoder, batch.sequences)
        with torch.no_grad():
            return TorchState(layout, tuple(layout.embedded()))

    def check_tokens(self, largest: int, longest: int) -> None:
        """Raises `DataError` for a token, or a length of a sequence, that the model cannot take."""
        if largest >= self._embedded_ids:  # on a GPU, a fault that ends the process
            raise DataError(f"token {largest}, but only {self._embedded_ids} have an embedding")
        if self._positions is not None and longest > self._positions:  # on a GPU, the same fault
            raise DataError(
                f"a sequence has {longest} tokens, but {self.architecture} has positions for "
                f"{self._positions}: make the data with a shorter sequence_length"
            )

    @computed
    def apply(self, sublayer: int, states: list[TorchState]) -> list[TorchState]:
        made: list[TorchState | None] = [None] * len(states)
        for group in self._groups(states):
            members = [states[index] for index in group]
            with torch.no_grad():
                tensors = [
                    self._forward(sublayer, members, rectangle)(hidden, source)
                    for rectangle, hidden, source in joined(members, sublayer // 2)
                ]
            for index, parts in zip(group, split(tensors, len(group)), strict=True):
                made[index] = self._after(sublayer, states[index], parts)
        return [state for state in made if state is not None]

    @computed
    def token_losses(self, state: TorchState, rows: Rows, tokens: Ids) -> Values:
        made = np.empty(len(rows), dtype=np.float32)
        wanted = torch.tensor(tokens, dtype=torch.int64)
        with torch.no_grad():
            for span in self._spans(rows):
                logits = self.row_logits(state, rows[span])
                made[span] = head.token_losses(logits, wanted[span]).cpu().numpy()
        return made

    @computed
    def logits(self, state: TorchState, first_row: int, n_rows: int) -> Values:
        rows = np.arange(first_row, first_row + n_rows)
        made = np.empty((n_rows, self.vocabulary_size), dtype=np.float32)
        with torch.no_grad():
            for span in self._spans(rows):
                logits = self.row_logits(state, rows[span])
                made[span] = logits.float().cpu().numpy()
        return made

    @computed
    def distances(
        self, state: TorchState, reference: TorchState, kind: Distance, rows: Rows
    ) -> Values:
        made = np.empty(len(rows), dtype=np.float32)
        with torch.no_grad():
            for span in self._spans(rows):
                logits = self.row_logits(state, rows[span])
                wanted = self.row_logits(reference, rows[span])
                made[span] = head.distances(kind, logits, wanted).cpu().numpy()
        return made

    @computed
    def compare(
        self, before: TorchState, after: TorchState, rows: Rows
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        made = np.empty((len(rows), 6))
        # Apple's GPUs have no float64.
        exact = torch.float32 if after.device.type == "mps" else torch.float64
        with torch.no_grad():
            for first in range(0, len(rows), _COMPARED_ROWS):
                span = slice(first, first + _COMPARED_ROWS)
                found = after.rows(rows[span]).float()
                known = before.rows(rows[span]).float().to(found.device)
                sums = [
                    part
                    for values in (known, found, found - known)
                    for part in (
                        values.abs().sum(-1, dtype=exact),
                        values.square().sum(-1, dtype=exact),
                    )
                ]
                made[span] = torch.stack(sums, dim=1).cpu().numpy()
        return made

    @computed
    def read(self, state: TorchState) -> Values:
        values: Values = state.rows().detach().float().cpu().numpy()
        return values

    @computed
    def write(self, like: TorchState, values: Values) -> TorchState:
        return like.with_values(torch.tensor(values))

    @computed
    def norm(self, sublayer: int) -> tuple[Values, float] | None:
        found = self._input_norm(sublayer)
        if found is None or found.kind != "rms" or found.gain is None:
            return None
        return _values(found.gain), found.epsilon

    @computed
    def layer_norm(self, sublayer: int) -> tuple[Values, Values, float] | None:
        found = self._input_norm(sublayer)
        if found is None or found.kind != "layer":
            return None
        width = self.hidden_size
        gain = torch.ones(width) if found.gain is None else found.gain
        bias = torch.zeros(width) if found.bias is None else found.bias
        return _values(gain), _values(bias), found.epsilon

    def _input_norm(self, sublayer: int) -> InputNorm | None:
        if self.parts is None:
            return None
        return input_norm(self._blocks[sublayer // 2], self.parts, sublayer)

    @computed
    def apply_adapter(self, adapter: HostAdapter, state: TorchState) -> TorchState:
        arrays = {
            "bias": adapter.bias,
            "down": adapter.down,
            "up": adapter.up,
            "matrix": adapter.matrix,
            "norm": adapter.norm_gain,
            "norm_bias": adapter.norm_bias,
        }
        epsilon = None if adapter.norm_gain is None else adapter.norm_epsilon
        with torch.no_grad():
            module = AdapterModule.of(adapter.kind, arrays, epsilon, adapter.norm_kind)
            module = module.to(state.device)
            found = [
                self._sum_norms.settled(own, state.place, adapter.sublayer) for own in state.tensors
            ]
            made = state.plain(tuple(module(tensor) for tensor in found))
            return replace(made, place=self._sum_norms.place(adapter.sublayer))

    @computed
    def vjp(
        self, sublayer: int, states: list[TorchState], gradients: list[TorchState]
    ) -> list[TorchState]:
        made: list[TorchState | None] = [None] * len(states)
        block = sublayer // 2
        for group in self._groups(states):
            members = [states[index] for index in group]
            hiddens, sources = [], []
            for rectangle, hidden, source in joined(members, block):
                given = stacked([gradients[i].tensors[rectangle] for i in group])
                forward = self._forward(sublayer, members, rectangle)
                pulled = pull(forward, hidden, source, given.to(hidden.device))
                hiddens.append(pulled.hidden)
                if pulled.source is not None:
                    sources.append(pulled.source)
            apart = split(hiddens, len(group))
            ways = split(sources, len(group)) if sources else None
            for place, index in enumerate(group):
                gradient = states[index].plain(apart[place])
                if ways is not None:
                    gradient = replace(gradient, ways=ways[place], block=block)
                elif sublayer % 2 == 0 and gradients[index].block == block:
                    # What the feed-forward of this block read was the state before the attention.
                    gradient = joined_by(gradient, gradients[index].ways)
                made[index] = gradient
        return [gradient for gradient in made if gradient is not None]

    @computed
    def head_vjp(
        self,
        state: TorchState,
        objective: HeadObjective,
        reference: TorchState | None,
        rows: Rows,
        tokens: Ids | None,
        weights: Values,
    ) -> tuple[Values, TorchState]:
        losses = np.empty(len(rows), dtype=np.float32)
        pulled = []
        for span in self._spans(rows):
            wanted = None
            if reference is not None:
                with torch.no_grad():
                    wanted = self.row_logits(reference, rows[span])
            given = state.rows(rows[span]).detach().requires_grad_()
            with torch.enable_grad():
                logits = self.decoder.logits(
                    self._sum_norms.settled(given, state.place, 2 * self.n_blocks)
                )
                chosen = None if tokens is None else torch.tensor(tokens[span], dtype=torch.int64)
                found = head.objective(objective, logits, wanted, chosen)
                total = (found * torch.tensor(weights[span]).to(found)).sum()
            pulled.append(torch.autograd.grad(total, given)[0].float())
            losses[span] = found.detach().cpu().numpy()
        values = torch.cat(pulled) if pulled else state.rows(rows).float()
        return losses, state.sum_of_rows(values, rows)

    def _spans(self, rows: Rows) -> Iterable[slice]:
        return head.spans(self.decoder, self.vocabulary_size, len(rows))

    def _groups(self, states: list[TorchState]) -> list[list[int]]:
        cpu = not states or states[0].device.type == "cpu"
        return together(states, _CPU_TOKENS if cpu else _ACCELERATOR_TOKENS)

    def _forward(
        self, sublayer: int, members: list[TorchState], rectangle: int
    ) -> Callable[[Tensor, Tensor | None], Tensor]:
        """A sublayer, or a whole block, of states of one layout."""
        block = sublayer // 2
        layer, parts = self._blocks[block], self.parts
        layout = members[0].layout

        def arguments() -> Arguments:
            return layout.arguments(rectangle, block, len(members))

        def forward(hidden: Tensor, source: Tensor | None) -> Tensor:
            if parts is None:
                return self.decoder.run(layer, hidden, arguments())
            hidden = self._sum_norms.settled(hidden, members[0].place, sublayer)
            if sublayer % 2 == 0:
                return attention(layer, parts, hidden, arguments())
            return feed_forward(layer, parts, hidden, hidden if source is None else source)

        return forward

    def row_logits(self, state: TorchState, rows: Rows) -> Tensor:
        """Logits of some rows of a state, on its device. Gradients flow, if they are on."""
        hidden = self._sum_norms.settled(state.rows(rows), state.place, 2 * self.n_blocks)
        return self.decoder.logits(hidden)

    def _after(self, sublayer: int, before: TorchState, tensors: tuple[Tensor, ...]) -> TorchState:
        after = replace(before.plain(tensors), place=self._sum_norms.place(sublayer + 1))
        if self.parts is None or not self.parts.parallel or sublayer % 2:
            return after
        return replace(after, sources=before.tensors, block=sublayer // 2)


def _values(tensor: Tensor) -> Values:
    made: Values = tensor.detach().cpu().numpy()
    return made


def _learned_positions(decoder: Decoder) -> int | None:
    """How many positions have an embedding that was learnt; None if they are computed."""
    model = decoder.model
    body = model.get_decoder() if hasattr(model, "get_decoder") else model  # not of pictures
    for name, module in body.named_modules():
        own = name.rpartition(".")[2]
        if isinstance(module, torch.nn.Embedding) and ("position" in own or own == "wpe"):
            return int(getattr(decoder.config, "max_position_embeddings", module.num_embeddings))
    return None
