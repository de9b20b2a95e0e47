# SPDX-License-Identifier: Apache-2.0
"""Shapley values: games, players, estimates."""
