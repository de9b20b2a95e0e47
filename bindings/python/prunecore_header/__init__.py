# SPDX-License-Identifier: Apache-2.0
"""Reads the C header and writes the Python modules that follow from it.

`preprocessing` gives cffi its declarations, `items` reads enum groups and option structs with their
comments, and each `write_*` module writes one generated module. Anything that is not understood
stops the generator: nothing is skipped in silence.
"""
