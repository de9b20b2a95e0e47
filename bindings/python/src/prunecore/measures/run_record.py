# SPDX-License-Identifier: Apache-2.0
"""What a run of a game or a search on a model records: for its result, and its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prunecore._native.library import __version__
from prunecore._native.names.tables import MEASURE
from prunecore.masks.mask import Keep, Mask

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.measures.options import CoalitionOptions
    from prunecore.opened import OpenModel


def run_provenance(
    model: OpenModel,
    data: Data,
    measured: CoalitionOptions,
    *,
    cap: float | None,
    reference: Keep | None,
) -> dict[str, Any]:
    """What is measured and on what, for the provenance of a result, as JSON values.

    Parameters
    ----------
    model, data, measured
        As the run has them.
    cap : float or None
        The cap in use; None = none.
    reference : array or None
        The reference in use; None = everything kept.
    """
    return {
        "library": f"prunecore {__version__}",
        "model": model.provenance,
        "measure": MEASURE.parse(measured.measure),
        "cap": cap,
        "reference_removed": [] if reference is None else Mask(reference).removed,
        "data_sha256": data.digest,
        "n_sequences": data.n_sequences,
        "n_tokens": data.n_tokens,
    }


def resumable(
    provenance: Mapping[str, Any], measured: CoalitionOptions, own: Mapping[str, Any]
) -> dict[str, Any]:
    """What the numbers of a run depend on: all of this must be the same to resume it.

    Parameters
    ----------
    provenance : mapping
        With what `run_provenance` gives.
    measured : CoalitionOptions
        How damage is measured.
    own : mapping
        What else the numbers of this kind of run depend on.
    """
    same = ("data_sha256", "measure", "cap", "reference_removed")
    return {
        "model_config_sha256": provenance["model"]["config_sha256"],
        "compute": provenance["model"]["compute"],
        **{name: provenance[name] for name in same},
        "batch_tokens": measured.batch_tokens,
        **own,
    }
