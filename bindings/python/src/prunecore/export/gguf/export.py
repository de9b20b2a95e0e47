# SPDX-License-Identifier: Apache-2.0
"""`export_gguf`: a pruned or recovered model as one GGUF file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf

from prunecore._native.given import as_json
from prunecore._native.paths import as_path
from prunecore._native.progress import ProgressFunction
from prunecore._native.whole_file import check_place
from prunecore.errors import FileError, UnsupportedError
from prunecore.export.gguf import metadata
from prunecore.export.gguf.architecture import choose
from prunecore.export.gguf.fitting import Fit
from prunecore.export.gguf.layers import Layer, layers
from prunecore.export.gguf.number_types import NumberType, NumberTypes
from prunecore.export.gguf.operations import Attention, operations
from prunecore.export.gguf.plan import FeedForwardPlan
from prunecore.export.gguf.plan_reading import read_plan
from prunecore.export.gguf.source import BlockTensor, GGUFSource, held_tensor
from prunecore.export.gguf.tensor_plan import TensorPlan
from prunecore.export.gguf.vocabulary import Vocabulary, read_vocabulary
from prunecore.export.gguf.weights import Weights
from prunecore.export.gguf.write import Steps, write_file
from prunecore.masks.mask import Mask
from prunecore.opened import OpenModel
from prunecore.recovery.adapters import Adapters
from prunecore.recovery.standing import composition
from prunecore.tensors.own import Overlaid, own_arrays, own_tensors
from prunecore.tensors.stored import StoredTensor, StoredTensors

if TYPE_CHECKING:
    from prunecore.masks.mask import MaskLike


@dataclass(frozen=True)
class GGUFExport:
    """What `export_gguf` wrote.

    Attributes
    ----------
    path : Path
        The file.
    architecture : str
        `general.architecture`.
    layers : list of dict
        What is in the slots of each layer: names of sublayers, "adapter of attn.3", "zero", None.
    context_length : int
        Positions up to which the file computes what the model does.
    has_tokenizer : bool
        Whether it takes text.
    bytes : int
        Of the file.
    tensors_sha256 : str
        Of its tensors, as `prunecore.tensors_sha256` in it says.
    notes : list of str
        What a user should know: sentences.
    """

    path: Path
    architecture: str
    layers: list[dict[str, str | None]]
    context_length: int
    has_tokenizer: bool
    bytes: int
    tensors_sha256: str
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return {**asdict(self), "path": str(self.path)}


def export_gguf(
    model: OpenModel | str | os.PathLike[str],
    path: str | os.PathLike[str],
    mask: MaskLike | None = None,
    adapters: Adapters | None = None,
    dtype: NumberType = "auto",
    *,
    tokenizer: bool | None = None,
    replace: bool = False,
    provenance: Mapping[str, Any] | None = None,
    progress: ProgressFunction | None = None,
) -> GGUFExport:
    """Writes a pruned or recovered model as a GGUF file, which llama.cpp runs as it is.

    Models without whole blocks keep the architecture that llama.cpp has for them, where it computes
    what is left; a Llama, or a model like one, without single sublayers becomes a `deci`. Tensors
    are read and written a part at a time.

    Parameters
    ----------
    model : Model or path
        A model that was opened from a directory, or that directory.
    path : path
        The file to write. It appears when it is whole.
    mask : Mask or array, optional
        Default: that of the adapters, else the model's.
    adapters : Adapters, optional
        Bias adapters become biases; linear ones and low-rank ones, multiplied out, layers of a
        matrix. Matrices that are applied to the stream without a norm cannot be written.
    dtype : {"auto", "F32", "F16", "BF16", "Q8_0"}
        Of matrices. "auto" keeps the type that each is stored in; blocks of a GGUF file stay what
        they are, bit for bit.
    tokenizer : bool, optional
        Whether to carry the tokenizer over. Default: if there is a tokenizer.json. False: the
        file takes and gives token ids alone.
    replace : bool
        Whether a file of that name may be replaced.
    provenance : mapping, optional
        JSON values to keep in the file under `prunecore.provenance`.
    progress : callable, optional
        Called as `progress(stage, done, total, seconds)`, steps being tensors; a true result stops
        the call with `Cancelled`, an exception stops it and is raised again.

    Raises
    ------
    UnsupportedError
        llama.cpp has no words for it; the text says for what, and what to do.
    ArgumentError
        Mask and adapters do not fit the model or each other, or an option is not a known name.
    FileError
        The file exists, or cannot be written.
    NonFiniteError
        A weight is not finite, or too large for float16.
    """
    if not isinstance(model, OpenModel):
        with OpenModel(model) as opened:
            return export_gguf(
                opened, path, mask, adapters, dtype,
                tokenizer=tokenizer, replace=replace, provenance=provenance, progress=progress,
            )  # fmt: skip
    directory = _directory(model)
    target = as_path(path, "the export's path")
    if target.exists() and not replace:
        raise FileError(f"{target} exists already: name another file, or give replace=True")
    if target.exists() and not target.is_file():
        raise FileError(f"{target} is not a file, and cannot be replaced by one")
    check_place(target)
    keep, adapters = composition(model, mask, adapters)
    shape, plan = model.shape, read_plan(model)
    made = layers(operations(keep, adapters))
    fit = choose(plan, shape, made)
    source = GGUFSource(directory) if directory.is_file() else None
    types = NumberTypes(dtype, shape.element_type, source.file_type if source else None)
    words = None if source else _vocabulary(directory, shape.vocabulary_size, tokenizer)
    takes_text = words is not None
    context, notes = _context_length(fit)
    notes += [] if words is None else words.notes
    notes += [*fit.rotary.notes, *_layer_notes(made, shape.n_blocks), *_gelu_notes(fit)]

    writer = gguf.GGUFWriter(None, fit.graph.name)
    if source is None:
        writer.add_name(model.provenance["name"].rsplit("/", 1)[-1])
    else:
        takes_text = _keep_fields(writer, source, tokenizer)
    writer.add_file_type(types.file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    metadata.add_shape(writer, fit, context)
    metadata.add_computation(writer, fit)
    if words is not None:
        words.add_to(writer, directory)
    elif not takes_text:
        writer.add_tokenizer_model("no_vocab")
    metadata.add_provenance(writer, made, _records(model, keep, adapters, provenance))
    weights = Weights(_tensors(model, source), plan, types)
    tensors = list(TensorPlan(fit, weights, adapters).tensors())
    digest = write_file(target, writer, tensors, Steps(len(tensors), progress))
    return GGUFExport(
        path=target,
        architecture=fit.graph.name,
        layers=[layer.describe() for layer in made],
        context_length=context,
        has_tokenizer=takes_text,
        bytes=target.stat().st_size,
        tensors_sha256=digest,
        notes=notes,
    )


def _directory(model: OpenModel) -> Path:
    if model.directory is None:
        raise UnsupportedError(
            "a model that did not come from a path is not exported as GGUF: its weights and "
            "tokenizer are read from there"
        )
    return model.directory


def _tensors(
    model: OpenModel, source: GGUFSource | None
) -> Overlaid[StoredTensor] | Overlaid[BlockTensor]:
    """The model's tensors: where it was opened, but for those that the library holds."""
    if source is None:
        return Overlaid(StoredTensors(_directory(model)), own_tensors(model.handle))
    held = own_arrays(model.handle).items()
    return Overlaid(source, {name: held_tensor(name, *own) for name, own in held})


def _keep_fields(writer: gguf.GGUFWriter, source: GGUFSource, wanted: bool | None) -> bool:
    """Takes along what a GGUF file says of the model and its tokenizer; whether there is one."""
    if wanted and not source.has_tokenizer:
        raise FileError(f"{source.path} holds no tokenizer")
    takes_text = source.has_tokenizer and wanted is not False
    for name, value, kind, entries in source.kept_fields():
        if takes_text or not name.startswith("tokenizer."):
            writer.add_key_value(name, value, kind, entries)
    return takes_text


def _vocabulary(directory: Path, rows: int, wanted: bool | None) -> Vocabulary | None:
    if wanted is False:
        return None
    found = read_vocabulary(directory, rows)
    if found is None and wanted:
        raise FileError(f"{directory / 'tokenizer.json'} is missing")
    return found


def _context_length(fit: Fit) -> tuple[int, list[str]]:
    """Positions that the file speaks of.

    No more than any attention that is left sees, where the architecture attends to all tokens.
    """
    whole = fit.shape.context_length
    if fit.graph.windows != "no" or not fit.windows:
        return whole, []
    least = min(fit.windows)
    return least, [
        f"llama.cpp computes no sliding window for this architecture: up to {least} "
        "tokens the file computes what the model does, and says so as its context length"
    ]


def _gelu_notes(fit: Fit) -> list[str]:
    if any(isinstance(p, FeedForwardPlan) and p.activation == "gelu" for _, p in fit.feed_forwards):
        return ["llama.cpp approximates gelu with tanh: logits differ by some 1e-4 of their size"]
    return []


def _layer_notes(plan: Sequence[Layer], n_blocks: int) -> list[str]:
    notes = []
    zero = [n for n, layer in enumerate(plan) if layer.feed_forward is None]
    if zero:
        notes.append(f"layers {zero} hold a feed-forward of zeros: llama.cpp needs one in each")
    if metadata.linear_layers(plan)[:1] == [0] and plan[0].describe()["attention"] == "zero":
        notes.append("layer 0 holds a matrix of zeros: llama.cpp needs attention in it")
    if len(plan) > n_blocks:
        notes.append(f"it has {len(plan)} layers: adapters after adapters need layers of their own")
    if not all(isinstance(layer.attention, Attention) for layer in plan):
        notes.append("enable flash attention (-fa on): without it only keys shrink, values do not")
    return notes


def _records(
    model: OpenModel, mask: Mask, adapters: Adapters | None, provenance: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What `prunecore.*` keys say, as JSON values."""
    records: dict[str, Any] = {"mask": json.loads(mask.to_json()), "model": model.provenance}
    if adapters is not None:
        records["adapters"] = {
            "sha256": adapters.digest,
            "adapters": [adapter.to_dict() for adapter in adapters],
        }
    if provenance is not None:
        records["provenance"] = json.loads(as_json("provenance", provenance))
    return records
