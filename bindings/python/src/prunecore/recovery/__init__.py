# SPDX-License-Identifier: Apache-2.0
"""Adapters that make up for what was removed."""
