# SPDX-License-Identifier: Apache-2.0
"""The fixture of the parity tests, and quiet for transformers."""

from __future__ import annotations

import pytest
import torch
from subjects import Subjects
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()
torch.set_num_threads(1)  # the models are small: a second thread costs more than it brings


@pytest.fixture(scope="session")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Subjects:
    return Subjects(tmp_path_factory.mktemp("checkpoints"))
