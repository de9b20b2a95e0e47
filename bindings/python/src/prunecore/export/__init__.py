# SPDX-License-Identifier: Apache-2.0
"""Pruned models as files that other runtimes serve."""
