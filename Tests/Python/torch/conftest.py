# SPDX-License-Identifier: Apache-2.0
"""Modelling files that come with a checkpoint are not copied to the user's own directory."""

from __future__ import annotations

import os
import tempfile

# Read when transformers is imported, here and in processes that tests begin.
_MODULES = tempfile.TemporaryDirectory(prefix="prunecore-modules-")
os.environ.setdefault("HF_MODULES_CACHE", _MODULES.name)
