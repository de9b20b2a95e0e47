# SPDX-License-Identifier: Apache-2.0
"""GGUF files of pruned and recovered models, for llama.cpp.

They are written with the package gguf: `pip install prunecore[gguf]`.

    from prunecore.export.gguf import export_gguf

    export_gguf("examples/models/tales-12l", "pruned.gguf", mask, adapters)
"""

from prunecore.errors import LoadError

try:
    import gguf as _gguf  # noqa: F401
except ImportError as error:
    raise LoadError(
        "GGUF files are written with the package gguf: pip install 'prunecore[gguf]'"
    ) from error

from prunecore.export.gguf.export import GGUFExport, export_gguf
from prunecore.export.gguf.read import GGUFFile, read_gguf

__all__ = ["GGUFExport", "GGUFFile", "export_gguf", "read_gguf"]
