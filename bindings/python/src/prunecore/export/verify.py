# SPDX-License-Identifier: Apache-2.0
"""Whether an export computes, in its own runtime, what the model does: `Model.verify_export`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prunecore._native.paths import as_path
from prunecore.data.data import Data
from prunecore.errors import ArgumentError, Error, FormatError, UnsupportedError
from prunecore.export.exported_files import ExportedDirectory, deci_faults
from prunecore.export.mlx_runtime import MLX, has_mlx
from prunecore.export.runtimes import Runtime, Transformers
from prunecore.export.verification import OtherRun, Verification
from prunecore.masks.mask import Mask
from prunecore.measures.token_values import logits
from prunecore.recovery.standing import composition, standing_adapters
from prunecore.tensors.own import Overlaid, own_tensors
from prunecore.tensors.stored import StoredTensors

if TYPE_CHECKING:
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel
    from prunecore.recovery.adapters import Adapters

Logits = npt.NDArray[np.float32]

# Of ||theirs - ours|| / ||ours||, over the logits of all tokens. llama.cpp rounds the input of a
# product to the type of its matrix; a sublayer forgotten moves the logits by 0.1 and more.
TOLERANCES = {"F32": 1e-4, "F16": 5e-3, "BF16": 2e-2, "Q8_0": 6e-2}
GELU_TOLERANCE = TOLERANCES["F16"]  # what llama.cpp rounds in gelu
TOKENS = 160  # of each of two sequences


def verify_export(
    self: OpenModel,
    export: str | os.PathLike[str],
    mask: MaskLike | None = None,
    adapters: Adapters | None = None,
    *,
    data: Data | None = None,
    tolerance: float | None = None,
    trust_remote_code: bool = False,
) -> Verification:
    """Runs an export in its own runtime and compares its logits with the model's.

    Directories are run by transformers, those of the format mlx by mlx-lm, GGUF files by llama.cpp
    (llama-cpp-python), all on the CPU in float32; a model that lives in PyTorch computes in its
    own type. Where mlx-lm is installed, it runs directories of the formats hf_plain and deci, too.
    First the files are compared with the checksums in the export: where these differ, nothing of it
    is run. Of a deci directory, which vLLM and SGLang are to run, the configuration is compared
    field by field, and the tensors bit for bit, besides.

    The modelling files of an export are Python, which is run with the rights of this program. Only
    those that PruneCore writes are: they are compared with a list in this package, not with what
    the export says of itself.

    Parameters
    ----------
    export : path
        What `Model.export` wrote.
    mask : Mask or array, optional
        What was removed. Default: that of the adapters, else what the export says.
    adapters : Adapters, optional
        What was exported with it.
    data : Data, optional
        What is compared on. Default: 320 random tokens.
    tolerance : float, optional
        The largest difference that is the same. Default: 1e-4; of GGUF files whose matrices are
        not float32, or whose feed-forwards compute gelu, what llama.cpp's rounding takes; of models
        in memory that are not float32, what their own takes.
    trust_remote_code : bool
        Whether to run other Python files of the export, too.

    Raises
    ------
    FileError, FormatError
        It is not an export, or the runtime does not load it.
    LoadError
        The runtime is not installed.
    UnsupportedError
        The export carries code that PruneCore did not write, and `trust_remote_code` is not given.
    """
    path = as_path(export, "the export")
    if tolerance is not None and not tolerance >= 0:
        raise ArgumentError(f"tolerance is {tolerance}, but must not be negative")
    subject = _gguf(path) if path.is_file() else _directory(path, self)
    chosen: MaskLike | None = mask
    if mask is None and adapters is None:
        chosen = self.mask if len(standing_adapters(self)) else subject.mask
    if subject.mask.n_blocks != self.shape.n_blocks:
        raise ArgumentError(
            f"{path} comes from a model of {subject.mask.n_blocks} blocks, but this one has "
            f"{self.shape.n_blocks}"
        )
    asked, standing = composition(self, chosen, adapters)
    findings = [*subject.faults, *_record_faults(subject, asked, standing)]
    limit = subject.tolerance if tolerance is None else tolerance
    texts = _random_tokens(self, subject.context_length) if data is None else data
    runtime, compared = "none: it is not as it was written", None
    others: list[OtherRun] = []
    if not subject.damaged:
        loaded = subject.load(max(len(row) for row in texts.sequences), trust_remote_code)
        try:
            runtime = loaded.name
            theirs = np.concatenate([loaded.logits(row) for row in texts.sequences])
        finally:
            loaded.close()
        ours = _own_logits(self, texts, chosen, adapters)
        compared = _Comparison(ours, theirs)
        findings += compared.faults(limit)
        if subject.runs_in_mlx and has_mlx():
            other, faults = _in_mlx(path, texts, ours, limit)
            others.append(other)
            findings += faults if subject.format == "deci" else []
    return Verification(
        path=path,
        format=subject.format,
        runtime=runtime,
        same=not findings,
        findings=findings,
        tokens=0 if compared is None else texts.n_tokens,
        difference=None if compared is None else compared.difference,
        tolerance=limit,
        agreement=None if compared is None else compared.agreement,
        others=others,
    )


def _in_mlx(path: Path, texts: Data, ours: Logits, tolerance: float) -> tuple[OtherRun, list[str]]:
    """What mlx-lm makes of a directory, and what is wrong with it, in sentences."""
    try:
        loaded = MLX(path)
        try:
            theirs = np.concatenate([loaded.logits(row) for row in texts.sequences])
        finally:
            loaded.close()
    except FormatError as error:
        return OtherRun("mlx-lm", reason=str(error)), [str(error)]
    compared = _Comparison(ours, theirs)
    run = OtherRun(loaded.name, compared.difference, compared.agreement)
    return run, [f"in {loaded.name}, {fault}" for fault in compared.faults(tolerance)]


@dataclass(frozen=True)
class _Subject:
    """An export, before it is run."""

    path: Path
    format: str
    mask: Mask
    faults: list[str]
    damaged: bool
    tolerance: float
    context_length: int | None
    adapters_sha256: str | None
    runs_in_mlx: bool = False
    """Besides the runtime that it is checked in."""

    def load(self, tokens: int, trust_remote_code: bool) -> Runtime:
        """The export in its runtime, for sequences of so many tokens at most."""
        if self.format == "mlx":
            return MLX(self.path)
        if self.format != "gguf":
            return Transformers(self.path, trust_remote_code)
        from prunecore.export.gguf.llama_cpp_runtime import LlamaCpp

        return LlamaCpp(self.path, tokens)


class _Comparison:
    """The logits of two runtimes."""

    def __init__(self, ours: Logits, theirs: Logits) -> None:
        self._shapes = (ours.shape, theirs.shape)
        self.difference: float | None = None
        self.agreement: float | None = None
        if ours.shape == theirs.shape:
            length = float(np.linalg.norm(ours.astype(np.float64)))
            apart = float(np.linalg.norm(theirs.astype(np.float64) - ours))
            # NaN is not JSON, and no number that could be compared.
            found = apart / length if length > 0 else apart
            self.difference = found if np.isfinite(found) else None
            self.agreement = float(np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1)))

    def faults(self, tolerance: float) -> Iterator[str]:
        """What is wrong, in sentences."""
        ours, theirs = self._shapes
        if ours != theirs:
            yield f"its logits have the shape {theirs}, the model's {ours}"
        elif self.difference is None:
            yield "its logits are not finite"
        elif self.difference > tolerance:
            yield f"its logits differ by {self.difference:.2g}; {tolerance:.2g} is allowed"


def _gguf(path: Path) -> _Subject:
    from prunecore.export.gguf import read_gguf

    found = read_gguf(path)
    faults: list[str] = []
    try:
        found.check()
    except Error as error:
        faults.append(str(error))
    if found.mask is None:
        raise UnsupportedError(f"{path} was not written by PruneCore: it names no mask")
    context = found.values.get(f"{found.architecture}.context_length")
    tolerance = TOLERANCES.get(found.coarsest_type, TOLERANCES["Q8_0"])
    return _Subject(
        path=path,
        format="gguf",
        mask=found.mask,
        faults=faults,
        damaged=bool(faults),
        tolerance=max(tolerance, GELU_TOLERANCE) if found.rounds_gelu else tolerance,
        context_length=None if context is None else int(context),
        adapters_sha256=found.adapters_sha256,
    )


def _directory(path: Path, model: OpenModel) -> _Subject:
    found = ExportedDirectory.read(path)
    damage = list(found.damage())
    faults = list(damage)
    if found.kind == "deci" and not damage:
        home = model.directory
        source = None
        if home is not None and not home.is_file():
            source = Overlaid(StoredTensors(home), own_tensors(model.handle))
        faults += deci_faults(path, found.mask, source)
    return _Subject(
        path=path,
        format=found.kind,
        mask=found.mask,
        faults=faults,
        damaged=bool(damage),
        tolerance=_own_tolerance(model),
        context_length=None,
        adapters_sha256=None,
        runs_in_mlx=_runs_in_mlx(found),
    )


def _runs_in_mlx(found: ExportedDirectory) -> bool:
    """Whether mlx-lm may run a directory: of nemotron-nas, it does not read every width."""
    if found.kind != "deci":
        return found.kind == "hf_plain"
    notes = found.record.get("notes")
    return isinstance(notes, dict) and "mlx-lm" in (notes.get("runtimes") or ())


def _record_faults(subject: _Subject, mask: Mask, adapters: Adapters | None) -> Iterator[str]:
    """Where what the export says of itself is not what is asked for."""
    if subject.mask.edits != mask.edits:
        yield "it says that its weights were edited otherwise"
    if not np.array_equal(subject.mask.keep, mask.keep):
        said, asked = (", ".join(m.removed) or "nothing" for m in (subject.mask, mask))
        yield f"it was made without {said}, but the mask removes {asked}"
    known = subject.adapters_sha256
    if adapters is not None and known is not None and known != adapters.digest:
        yield "it says that it holds other adapters"


def _random_tokens(model: OpenModel, context_length: int | None) -> Data:
    """Token ids of the whole vocabulary: what one text would not reach."""
    random = np.random.default_rng(0)
    lengths = [TOKENS, model.shape.context_length or TOKENS, context_length or TOKENS]
    rows = random.integers(0, model.shape.vocabulary_size, (2, min(lengths)))
    return Data(rows)


def _own_tolerance(model: OpenModel) -> float:
    """What the model's own rounding takes, where it cannot be opened again in float32."""
    own = model.shape.element_type.upper() if model.directory is None else "F32"
    return TOLERANCES.get(own.replace("FP", "F"), TOLERANCES["F32"])


def _own_logits(
    model: OpenModel, data: Data, mask: MaskLike | None, adapters: Adapters | None
) -> Logits:
    """The model's own, multiplied in float32 whatever it was opened with."""
    if model.shape.compute != "float32" and model.directory is not None:
        with model._in_float32() as opened:
            return _own_logits(opened, data, mask, adapters)
    if adapters is None:
        return logits(model, data, mask)
    with adapters.attach(model) as recovered:
        return logits(recovered, data)
