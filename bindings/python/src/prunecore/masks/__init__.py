# SPDX-License-Identifier: Apache-2.0
"""Masks, and the notations in which other programs write them."""
