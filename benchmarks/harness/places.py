# SPDX-License-Identifier: Apache-2.0
"""Where things lie in the repository."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "benchmarks" / "results"
TALES = REPOSITORY / "examples" / "models" / "tales-12l"
TALES_TOKENS = REPOSITORY / "examples" / "data" / "tales_tokens.txt"
