# SPDX-License-Identifier: Apache-2.0
"""Models of transformers as they live in this process, and adapters as PyTorch modules.

    import prunecore as pc
    from prunecore.torch import wrap

    model = wrap(hugging_face_model)
    scores = model.score(data)

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
from prunecore.torch.applied_mask import AppliedMask
from prunecore.torch.wrapped import WrappedModel, wrap

__all__ = ["AdapterModule", "AppliedMask", "WrappedModel", "load_adapters", "wrap"]
