# SPDX-License-Identifier: Apache-2.0
"""PruneCore inside other tools."""
