# SPDX-License-Identifier: Apache-2.0
"""The Python files of an export with a modelling file, as they are written for one family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prunecore.errors import LoadError

CONFIGURATION, MODELLING, LAYERS = (
    "configuration_prunecore.py",
    "modeling_prunecore.py",
    "prunecore_layers.py",
)
"""The configuration's class, the model's class, and what both need of any family."""


@dataclass(frozen=True)
class FamilyClasses:
    """Names that differ in the files of one family and another.

    Attributes
    ----------
    model, configuration : str
        Classes of transformers.
    model_type : str
        Of the configuration's class.
    """

    model: str
    configuration: str
    model_type: str

    @property
    def custom_type(self) -> str:
        """The `model_type` of models of this family that lack sublayers."""
        return f"prunecore_{self.model_type}"

    @property
    def auto_map(self) -> dict[str, str]:
        """The classes of the files, for config.json."""
        return {
            "AutoConfig": f"{Path(CONFIGURATION).stem}.PruneCore{self.configuration}",
            "AutoModelForCausalLM": f"{Path(MODELLING).stem}.PruneCore{self.model}",
        }


LLAMA = FamilyClasses("LlamaForCausalLM", "LlamaConfig", "llama")
"""Those in the files as they stand in the sources."""


def modelling_files(family: FamilyClasses) -> Mapping[str, bytes]:
    """The files by name: two with the classes of the family, and what runs blocks of any.

    The library writes the same for checkpoints: `Sources/PruneCore/Export/ModellingFiles.swift`.

    Raises
    ------
    LoadError
        The package lacks them.
    """
    return {
        CONFIGURATION: renamed(_source(CONFIGURATION), LLAMA, family),
        MODELLING: renamed(_source(MODELLING), LLAMA, family),
        LAYERS: _source(LAYERS),
    }


def renamed(content: bytes, old: FamilyClasses, new: FamilyClasses) -> bytes:
    """A file of one family as that of another: it differs in names alone."""
    for before, after in (
        (old.model, new.model),
        (old.configuration, new.configuration),
        (old.custom_type, new.custom_type),
    ):
        content = content.replace(before.encode(), after.encode())
    return content


@cache
def _source(name: str) -> bytes:
    """A file as it stands in the sources: in the package, or in the checkout around it."""
    here = Path(__file__).resolve()
    places = [here.parent / "modelling" / name]
    if len(here.parents) > 5:
        sources = here.parents[5] / "Sources" / "PruneCore" / "Export" / "Modelling"
        places.append(sources / name)
    for place in places:
        if place.is_file():
            return place.read_bytes()
    raise LoadError(
        f"the modelling file {name} was not found; looked at: "
        f"{', '.join(str(place) for place in places)}. Reinstall the package"
    )
