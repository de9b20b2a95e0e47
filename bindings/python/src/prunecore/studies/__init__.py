# SPDX-License-Identifier: Apache-2.0
"""Comparisons of several runs on one model."""
