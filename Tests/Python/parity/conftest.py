# SPDX-License-Identifier: Apache-2.0
"""The fixture of the parity tests, and quiet for transformers."""

from __future__ import annotations

import os
import tempfile

import pytest
import torch

# Modelling files that come with a checkpoint are copied there: not to the user's own directory.
# Read when transformers is imported.
_MODULES = tempfile.TemporaryDirectory(prefix="prunecore-modules-")
os.environ["HF_MODULES_CACHE"] = _MODULES.name

from subjects import Subjects  # noqa: E402
from transformers.utils import logging  # noqa: E402

logging.set_verbosity_error()
logging.disable_progress_bar()
torch.set_num_threads(1)  # the models are small: a second thread costs more than it brings


@pytest.fixture(scope="session")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Subjects:
    return Subjects(tmp_path_factory.mktemp("checkpoints"))
