# SPDX-License-Identifier: Apache-2.0
"""What every feature takes: a model that is open, without the verbs that work on it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prunecore._native.handle import Handle, Owner
from prunecore._native.library import _check, ffi, lib, new_struct, written_text
from prunecore._native.names.tables import COMPUTE, WEIGHTS, Compute, Weights
from prunecore.hub import locate
from prunecore.masks.mask import Keep, Mask, as_keep, keep_pointer
from prunecore.shape import Cost, ModelShape, Sublayer, read_cost, read_shape, read_sublayers

if TYPE_CHECKING:
    from typing_extensions import Self

    from prunecore.masks.mask import MaskLike


class OpenModel(Owner):
    """An open language model: its handle, shape, mask, cost and provenance.

    `Model` adds what is done with one. The modules of features take this class, so that none of
    them needs to know the others.
    """

    is_recovered = False
    """Whether adapters stand in the places of what was removed."""

    edits: tuple[dict[str, Any], ...] = ()
    """What was done to the weights of the model that was opened: see `Model.edited`."""

    directory: Path | None
    _name: str
    _digest: str | None = None
    _configurations: tuple[Mapping[str, Any], ...] = ()

    def __init__(
        self,
        directory: str | os.PathLike[str],
        compute: Compute | None = None,
        *,
        weights: Weights = "mapped",
    ) -> None:
        self.directory, self._name = locate(directory)
        options = new_struct("prune_model_options")
        options.compute = COMPUTE.value(compute)
        options.weights = WEIGHTS.value(weights)
        path = os.fsencode(self.directory)
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

    def _recovered(self, adapters: Any) -> Any:
        """The model with adapters: `Adapters.attach`. `Model` says what that is."""
        raise NotImplementedError

    def _healed(self, make: Callable[[Any], int], digest: str) -> Self:
        """A model that `make` makes of this one, with trained weights. `Model` says what that is.

        Parameters
        ----------
        make : callable
            Given a `prune_model **`, makes the handle and returns a status.
        digest : str
            Tells the training from others in results.
        """
        raise NotImplementedError

    def _edited(self, edits: Any) -> Any:
        """The model after edits: `Model.edited`. `Model` says what that is."""
        raise NotImplementedError

    def _shared(self, make: Callable[[Any], int]) -> Any:
        """The model with shared weights: `Model.share`. `Model` says what that is."""
        raise NotImplementedError

    @contextmanager
    def _in_float32(self) -> Iterator[OpenModel]:
        """The same model, opened again to multiply in float32."""
        assert self.directory is not None
        with type(self)(self.directory, "float32") as opened:
            yield opened

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
        return hashlib.sha256(self._config_text).hexdigest()

    @cached_property
    def _config_text(self) -> bytes:
        """config.json as it was when the model was opened; of a GGUF file what stands for it."""
        return written_text(lib.prune_model_config, self.handle)

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
        """The mask that calls use when they are given none. Setting None sets the model's own.

        A new model has its own, which keeps all that is there: of a model that was pruned before it
        was opened, not what `shape.absent` names. What is absent is removed in every mask of the
        model, whatever a mask that is set says.
        """
        keep = np.empty(2 * self.shape.n_blocks, dtype=np.uint8)
        out = ffi.from_buffer("uint8_t[]", keep)
        _check(lib.prune_model_mask_get(self.handle, out, len(keep), ffi.NULL))
        return Mask(keep, edits=self.edits)

    @mask.setter
    def mask(self, mask: MaskLike | None) -> None:
        keep = self._keep(mask)
        _check(lib.prune_model_mask_set(self.handle, *keep_pointer(keep)))

    def _keep(self, mask: MaskLike | None) -> Keep | None:
        """The bytes of a mask, which must be for this model; None for None."""
        return as_keep(mask, self.shape.n_blocks, self.edits)

    def present(self, mask: MaskLike) -> Mask:
        """A mask as the model takes it: what is absent from the model is removed."""
        given = mask if isinstance(mask, Mask) else Mask(mask)
        absent = Mask.remove(self.shape.absent, self.shape.n_blocks).keep
        if len(given) != len(absent) or not (given.keep & (1 - absent)).any():
            return given
        return Mask(given.keep & absent, given.provenance, given.edits)

    @contextmanager
    def masked(self, mask: MaskLike | None) -> Iterator[Self]:
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
        keep = self._keep(mask)
        return read_cost(self.handle, *keep_pointer(keep))
