# SPDX-License-Identifier: Apache-2.0
"""Adapters as PyTorch modules, for models that run there.

Needs PyTorch, which nothing else of the package does.
"""

from prunecore.errors import LoadError

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise LoadError(
        "prunecore.torch needs PyTorch, which is not installed: pip install torch"
    ) from error

from prunecore.torch.adapter_module import AdapterModule, load_adapters

__all__ = ["AdapterModule", "load_adapters"]
