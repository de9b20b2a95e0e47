# SPDX-License-Identifier: Apache-2.0
"""What a check of an export found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class OtherRun:
    """What another runtime made of an export, besides the one that it is checked in.

    Attributes
    ----------
    runtime : str
        The runtime, with its version.
    difference : float or None
        ||theirs - ours|| / ||ours|| over the logits of all tokens; None if it was not run.
    agreement : float or None
        Share of tokens after which both find the same token the likeliest.
    reason : str or None
        Why it was not run, in the runtime's words.
    """

    runtime: str
    difference: float | None = None
    agreement: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Verification:
    """What a check of an export found.

    Attributes
    ----------
    path : Path
        The export.
    format : {"hf_plain", "hf_custom", "deci", "mlx", "zeroed", "gguf"}
        What it is.
    runtime : str
        What ran it, with its version.
    same : bool
        Whether it computes what the model does, and is as it was written.
    findings : list of str
        What speaks against it, in sentences; none if it is the same.
    tokens : int
        Tokens compared; 0 if nothing was run.
    difference : float or None
        ||theirs - ours|| / ||ours|| over the logits of all tokens; None if nothing was run.
    tolerance : float
        The largest difference that is the same.
    agreement : float or None
        Share of tokens after which both find the same token the likeliest.
    others : list of OtherRun
        Of directories of the kinds hf_plain and deci: mlx-lm, where it is installed. Of deci, a
        difference there is a finding; what mlx-lm makes of a plain checkpoint is its own matter.
    """

    path: Path
    format: str
    runtime: str
    same: bool
    findings: list[str]
    tokens: int
    difference: float | None
    tolerance: float
    agreement: float | None
    others: list[OtherRun] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return {**asdict(self), "path": str(self.path)}
