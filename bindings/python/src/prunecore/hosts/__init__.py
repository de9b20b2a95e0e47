# SPDX-License-Identifier: Apache-2.0
"""Models that this program holds or runs itself."""
