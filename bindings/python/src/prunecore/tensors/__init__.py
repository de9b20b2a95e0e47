# SPDX-License-Identifier: Apache-2.0
"""Tensors of other programs and of files, without copies."""
