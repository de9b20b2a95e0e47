# SPDX-License-Identifier: Apache-2.0
"""Which blocks of a model have become identities, and what shows it."""
