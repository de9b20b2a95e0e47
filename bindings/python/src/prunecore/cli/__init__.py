# SPDX-License-Identifier: Apache-2.0
"""The command `prunecore`."""

from prunecore.cli.app import main

__all__ = ["main"]
