# SPDX-License-Identifier: Apache-2.0
"""The names of what the C header numbers, one table per module."""
