# SPDX-License-Identifier: Apache-2.0
"""Searches for what to remove within a budget."""
