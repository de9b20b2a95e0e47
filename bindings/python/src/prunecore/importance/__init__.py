# SPDX-License-Identifier: Apache-2.0
"""How much every unit matters: metrics, scores, and what is read from them."""
