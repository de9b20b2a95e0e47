# SPDX-License-Identifier: Apache-2.0
"""Why an architecture of llama.cpp cannot hold a model."""

from __future__ import annotations


class Obstacle(Exception):  # noqa: N818  it is none to users
    """What stands in the way: the end of a sentence that begins with the architecture's name."""
