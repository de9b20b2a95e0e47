# SPDX-License-Identifier: Apache-2.0
"""The map of characters that SentencePiece applies to text first, checked before it is used.

It is the length of a trie in bytes, the trie as a double array of 32-bit units (Darts), and the
texts that stand for what was found, each with a zero after it. The package tokenizers follows its
numbers without a look at where they lead.
"""

from __future__ import annotations

import numpy as np
from tokenizers import normalizers

from prunecore.errors import FormatError

_VALUE = 1 << 31  # of a unit that holds the place of a text
_HAS_VALUE = 1 << 8
_FAR = 1 << 9  # its offset counts blocks of 256


def charsmap_normalizer(content: bytes) -> normalizers.Precompiled:
    """The normaliser that a map is. Raises `FormatError` where it leads out of itself."""
    if not _is_sound(content):
        raise FormatError("holds a damaged map of characters, tokenizer.ggml.precompiled_charsmap")
    return normalizers.Precompiled(content)


def _is_sound(content: bytes) -> bool:
    length = int.from_bytes(content[:4], "little")
    texts = content[4 + length :]
    if len(content) < 8 or not length or length % 4 or not texts.endswith(b"\0"):
        return False
    try:
        texts.decode()
    except UnicodeDecodeError:
        return False
    units = np.frombuffer(content, dtype="<u4", count=length // 4, offset=4).astype(np.int64)
    nodes = units & _VALUE == 0
    targets = np.arange(len(units)) ^ (units >> 10) << ((units & _FAR) >> 6)
    # Any byte may follow: it changes the last eight bits of the target.
    if (targets[nodes] | 0xFF).max(initial=0) >= len(units):
        return False
    places = units[targets[nodes & (units & _HAS_VALUE != 0)]] & (_VALUE - 1)
    if places.max(initial=0) >= len(texts):
        return False
    firsts = np.frombuffer(texts, dtype=np.uint8)[places]
    return not (firsts & 0xC0 == 0x80).any()  # in the middle of a character
