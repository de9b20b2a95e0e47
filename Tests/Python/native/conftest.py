# SPDX-License-Identifier: Apache-2.0
"""What tests of the generated layers share."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def generator(repository_root: Path) -> ModuleType:
    path = repository_root / "bindings" / "python" / "generate_raw.py"
    spec = importlib.util.spec_from_file_location("generate_raw", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
