# SPDX-License-Identifier: Apache-2.0
"""Tokenizers of GGUF files, made of what llama.cpp stores of them. Needs no package for GGUF."""
