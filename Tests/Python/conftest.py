# SPDX-License-Identifier: Apache-2.0
"""Fixtures that all Python tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import prunecore as pc

# Tests that run side by side get a processor each: on a full machine, threads that wait for others
# cost more than they bring. Results do not depend on the number of threads; the C tests use all.
if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[int(worker.removeprefix("gw")) % len(processors)]})

# References are computed in fp32. Tests of other types name them when they open a model;
# scripts/test-kernels.py runs tests that need no reference in another one.
os.environ["PRUNECORE_COMPUTE"] = os.environ.get("PRUNECORE_TEST_COMPUTE", "float32")

# A name that no path has may be one on the Hugging Face hub; no test asks there.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def repository_root() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tales_dir(repository_root: Path) -> Path:
    """Directory of the embedded model, with its texts."""
    return repository_root / "examples" / "models" / "tales-12l"


@pytest.fixture
def tales(tales_dir: Path) -> Iterator[pc.Model]:
    """The embedded model, opened for one test."""
    import prunecore

    with prunecore.open(tales_dir) as model:
        yield model


@pytest.fixture(scope="module")
def model(tales_dir: Path) -> Iterator[pc.Model]:
    """The embedded model, opened for one module."""
    import prunecore

    with prunecore.open(tales_dir) as opened:
        yield opened


@pytest.fixture
def folder(tales_dir: Path, tmp_path: Path) -> Path:
    """Where commands run; `model`, `text.jsonl` and `other.jsonl` lead to the embedded model."""
    (tmp_path / "model").symlink_to(tales_dir)
    (tmp_path / "text.jsonl").symlink_to(tales_dir / "maths.jsonl")
    (tmp_path / "other.jsonl").symlink_to(tales_dir / "plays.jsonl")
    return tmp_path


@pytest.fixture
def workplace(repository_root: Path, tmp_path: Path) -> Path:
    """Where a page of the documentation is tried: its paths lead to the embedded model."""
    (tmp_path / "examples").symlink_to(repository_root / "examples")
    return tmp_path


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """PyTorch on one thread: tiny models take many times longer where threads wait for others."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
