# SPDX-License-Identifier: Apache-2.0
"""Pruned and recovered models in lm-evaluation-harness, in process.

    import lm_eval
    from prunecore.integrations.lm_eval import PruneCoreLM

    model = PruneCoreLM("examples/models/tales-12l", mask="mask.json", adapters="adapters")
    lm_eval.simple_evaluate(model, tasks=["hellaswag"])

Importing this module registers the model as "prunecore" with the harness. It follows the harness's
own class for transformers, `hf`: the same tokens, the same truncation, the same numbers.
"""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

import prunecore
from prunecore._native.names.tables import Compute
from prunecore._native.numbers import optional_count
from prunecore._native.paths import PathLike
from prunecore.data.data import Data
from prunecore.data.text import load_tokenizer, tokenize
from prunecore.errors import ArgumentError, LoadError
from prunecore.generation.generate import configured_tokens
from prunecore.masks.mask import Mask
from prunecore.model import Model
from prunecore.recovery.adapters import Adapters

try:
    _harness: Any = importlib.import_module("lm_eval.api.model")
    _registry: Any = importlib.import_module("lm_eval.api.registry")
    _windows: Any = importlib.import_module("lm_eval.utils")
except ImportError as error:
    raise LoadError(
        "prunecore.integrations.lm_eval needs lm-evaluation-harness: pip install lm-eval"
    ) from error

Pair: TypeAlias = tuple[Any, list[int], list[int]]

LOGITS_AT_ONCE = 1 << 25  # numbers: 128 MiB
DEFAULT_NEW_TOKENS = 256


@_registry.register_model("prunecore")
class PruneCoreLM(_harness.TemplateLM):  # type: ignore[misc]  # the harness has no types
    """A model of PruneCore for lm-evaluation-harness.

    Parameters
    ----------
    model : Model or path
        The full model. Of a path, it is opened here.
    mask : Mask or path, optional
        What is removed: JSON as `Mask.save` writes it. Default: that of the adapters, or else the
        model's.
    adapters : Adapters or path, optional
        What stands in the places of removed sublayers.
    max_length : int, optional
        Tokens of context. Default: the model's context length.
    batch_tokens : int, optional
        Tokens computed together at most. Default: chosen by the library.
    compute : {"float32", "bfloat16"}, optional
        As for `prunecore.open`; for paths.
    batch_size, device : optional
        Given by the harness's command line to every model; not used.
    """

    def __init__(
        self,
        model: Model | PathLike,
        mask: Mask | PathLike | None = None,
        adapters: Adapters | PathLike | None = None,
        max_length: int | None = None,
        batch_tokens: int | None = None,
        compute: Compute | None = None,
        batch_size: int | str | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        opened = model if isinstance(model, Model) else prunecore.open(model, compute)
        chosen = mask if mask is None or isinstance(mask, Mask) else Mask.load(mask)
        given = (
            adapters
            if adapters is None or isinstance(adapters, Adapters)
            else Adapters.load(adapters)
        )
        if given is not None and chosen is not None:
            given.check_mask(chosen)
        # A recovered model keeps all it has: its adapters stand in the place of what was removed.
        self._model: Model = opened if given is None else given.attach(opened)
        self._mask = chosen if given is None else None
        self._tokenizer = load_tokenizer(opened)
        limit = optional_count("max_length", max_length)
        self.max_length: int = limit or self._model.shape.context_length or 2048
        self._batch_tokens = batch_tokens
        ends = configured_tokens(self._model, "eos_token_id")
        begins = configured_tokens(self._model, "bos_token_id")
        if not ends and not begins:
            raise ArgumentError(
                "the model's configuration names no token that begins or ends a text, which the "
                "harness puts before texts without context"
            )
        self._end = (ends or begins)[0]
        self._begin = (begins or ends)[0]

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self._end

    @property
    def prefix_token_id(self) -> int:
        """The token before texts without context: that which begins a text, if there is one."""
        return self._begin

    @property
    def max_gen_toks(self) -> int:
        """New tokens where a task does not say how many."""
        return DEFAULT_NEW_TOKENS

    @property
    def tokenizer_name(self) -> str:
        """What the harness tells caches of requests apart by."""
        return str(self._model.directory or self._model.provenance["name"]).replace("/", "__")

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Token ids of a text. A beginning that the text has already is not added again."""
        if add_special_tokens is False:
            ids: list[int] = self._tokenizer.encode(string, add_special_tokens=False).ids
            return ids
        return [int(token) for token in tokenize(self._tokenizer, string)]

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-likelihood of whole texts, in windows that fill the context."""
        pairs: list[Pair] = []
        owners: list[int] = []
        for index, request in enumerate(requests):
            windows = _windows.get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            for window in windows:
                context, continuation = _windows.make_disjoint_window(window)
                pairs.append((None, list(context), list(continuation)))
                owners.append(index)
        totals = [0.0] * len(requests)
        for owner, likelihood in zip(owners, self._rolling_scores(pairs), strict=True):
            totals[owner] += likelihood
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def _rolling_scores(self, pairs: Sequence[Pair]) -> list[float]:
        """Of each pair, the log-likelihood of its continuation: no logits are kept for these."""
        if not pairs:
            return []
        rows = [context + continuation for _, context, continuation in pairs]
        losses = self._model.token_losses(
            Data(rows), self._mask, batch_tokens=self._batch_tokens
        ).astype(np.float64)
        ends = np.cumsum([len(row) for row in rows])
        return [
            -float(losses[end - len(continuation) : end].sum())
            for end, (_, _, continuation) in zip(ends, pairs, strict=True)
        ]

    def _loglikelihood_tokens(
        self, requests: Sequence[Pair], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        """Log-likelihood of each continuation, and whether greedy writing would give it.

        What is too long loses tokens at its beginning. Requests that differ in their last token
        alone, as multiple-choice letters do, are computed once.
        """
        inputs: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, (_, context, continuation) in enumerate(requests):
            whole = (context + continuation)[-(self.max_length + 1) :]
            inputs[tuple(whole[:-1])].append(index)
        answers: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        for group in self._groups(sorted(inputs, key=len, reverse=True)):
            logits = self._model.logits(
                Data([list(row) for row in group]), self._mask, batch_tokens=self._batch_tokens
            )
            end = 0
            for row in group:
                end += len(row)
                for index in inputs[row]:
                    answers[index] = _score(logits[end - len(row) : end], requests[index][2])
                    if requests[index][0] is not None:
                        self.cache_hook.add_partial(
                            "loglikelihood", requests[index][0], answers[index]
                        )
        return answers

    def _groups(self, rows: Sequence[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
        """Rows whose logits fit into memory together."""
        most = max(1, LOGITS_AT_ONCE // self._model.shape.vocabulary_size)
        group: list[tuple[int, ...]] = []
        for row in rows:
            if group and sum(map(len, group)) + len(row) > most:
                yield group
                group = []
            group.append(row)
        if group:
            yield group

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Continues each context until one of its stop texts, greedily unless a task asks."""
        alike: dict[str, list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            alike[repr(sorted(request.args[1].items()))].append(index)
        found = [""] * len(requests)
        for indices in alike.values():
            options = dict(requests[indices[0]].args[1])
            texts = self._continue([requests[index].args[0] for index in indices], options)
            for index, text in zip(indices, texts, strict=True):
                found[index] = text
                self.cache_hook.add_partial("generate_until", requests[index].args, text)
        return found

    def _continue(self, contexts: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        until = options.get("until") or []
        stops = [until] if isinstance(until, str) else [text for text in until if text]
        new_tokens = int(options.get("max_gen_toks") or DEFAULT_NEW_TOKENS)
        room = self.max_length - new_tokens
        if room < 1:
            raise ArgumentError(
                f"{new_tokens} new tokens leave no room for a prompt in {self.max_length}"
            )
        made = self._model.generate(
            Data([self.tok_encode(context)[-room:] for context in contexts]),
            new_tokens,
            **_sampling(options),
            stop=stops,
            mask=self._mask,
            tokenizer=self._tokenizer,
            batch_tokens=self._batch_tokens,
        )
        return [
            _cut(self._tokenizer.decode(row.tolist(), skip_special_tokens=True), stops)
            for row in made.tokens
        ]


def _score(logits: Any, continuation: Sequence[int]) -> tuple[float, bool]:
    """Of the last rows, that predict the continuation: its log-likelihood; whether it is greedy."""
    rows = logits[len(logits) - len(continuation) :].astype(np.float64)
    tokens = np.asarray(continuation)
    highest = rows.max(axis=1)
    norms = highest + np.log(np.exp(rows - highest[:, None]).sum(axis=1))
    chosen = rows[np.arange(len(tokens)), tokens]
    return float((chosen - norms).sum()), bool((rows.argmax(axis=1) == tokens).all())


def _sampling(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the harness calls sampling, in the words of `Model.generate`."""
    temperature = float(options.get("temperature") or 0.0)
    if options.get("do_sample") is False or temperature == 0.0:
        return {"temperature": 0.0}
    top_k, top_p = options.get("top_k"), options.get("top_p")
    return {
        "temperature": temperature,
        "top_k": int(top_k) if top_k else None,
        "top_p": float(top_p) if top_p else None,
        "seed": int(options.get("seed") or 0),
    }


def _cut(text: str, stops: Sequence[str]) -> str:
    """A text up to the first of its stop texts."""
    for stop in stops:
        text = text.split(stop, maxsplit=1)[0]
    return text
