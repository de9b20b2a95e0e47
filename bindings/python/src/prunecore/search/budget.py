# SPDX-License-Identifier: Apache-2.0
"""How much a search is to remove."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from prunecore._native.library import ffi
from prunecore._native.numbers import checked_count, checked_positive, optional_count
from prunecore.errors import ArgumentError
from prunecore.measures.token_times import TokenTimes


@dataclass(frozen=True, kw_only=True)
class SearchBudget:
    """The bounds of a search: see `Search`. Where there are several, all must hold."""

    remove: int | None = None
    remove_attention: int | None = None
    remove_feed_forward: int | None = None
    remove_parameters: float | None = None
    parameter_bytes: int | None = None
    kv_bytes: int | None = None
    prefill_ms: float | None = None
    decode_ms: float | None = None
    times: TokenTimes | None = None
    max_loss_increase: float | None = None
    max_damage: float | None = None

    @property
    def needs_times(self) -> bool:
        """Whether a bound is one of milliseconds, and no times are given to count them by."""
        bounded = self.prefill_ms is not None or self.decode_ms is not None
        return bounded and self.times is None

    def fill(self, options: Any, n_blocks: int) -> list[Any]:
        """Writes the bounds into the options for C, checked where C would take a 0 for none.

        Returns
        -------
        list
            What must live as long as the options do.
        """
        if self.remove_attention is not None or self.remove_feed_forward is not None:
            # Of these two a 0 leaves the kind alone, which the other one says as well.
            for name in ("remove_attention", "remove_feed_forward"):
                value = getattr(self, name)
                setattr(options, name, 0 if value is None else checked_count(name, value, 0))
            if not options.remove_attention and not options.remove_feed_forward:
                raise ArgumentError("remove_attention and remove_feed_forward remove nothing")
        options.remove = optional_count("remove", self.remove)
        if self.remove_parameters is not None:
            options.remove_parameters = checked_positive(
                "remove_parameters", self.remove_parameters, below=1
            )
        options.parameter_bytes = optional_count("parameter_bytes", self.parameter_bytes)
        options.kv_bytes = optional_count("kv_bytes", self.kv_bytes)
        for name in ("prefill_ms", "decode_ms"):
            if getattr(self, name) is not None:
                setattr(options, name, checked_positive(name, getattr(self, name)))
        if self.max_loss_increase is not None:
            options.max_loss_increase = checked_positive(
                "max_loss_increase", self.max_loss_increase
            )
        if self.max_damage is not None:
            options.max_damage = checked_positive("max_damage", self.max_damage)
        if self.times is None:
            return []
        if self.times.n_blocks != n_blocks:
            raise ArgumentError(
                f"the times are of {self.times.n_blocks} blocks, but the model has {n_blocks}"
            )
        table = self.times.table()
        options.times = ffi.from_buffer("prune_token_time[]", table)
        options.n_times = len(table)
        return [table]

    def to_dict(self) -> dict[str, Any]:
        """The bounds that are given, for JSON."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.times is not None:
            given["times"] = self.times.to_dict()
        return {name: value for name, value in given.items() if value is not None}
