# SPDX-License-Identifier: Apache-2.0
"""The C library: loading, calling, handles, progress, failures."""
