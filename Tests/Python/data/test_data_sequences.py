# SPDX-License-Identifier: Apache-2.0
"""Data from lists and arrays: shapes, weights, digests, errors."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import prunecore as pc
import pytest


def test_lists_arrays_and_one_sequence_are_taken() -> None:
    ragged = pc.Data([[1, 2, 3], np.array([4], dtype=np.uint8)])
    assert (ragged.n_sequences, ragged.n_tokens, len(ragged)) == (2, 4, 2)
    assert [row.tolist() for row in ragged.sequences] == [[1, 2, 3], [4]]
    table = pc.Data(np.arange(6, dtype=np.int64).reshape(2, 3))
    assert [row.tolist() for row in table.sequences] == [[0, 1, 2], [3, 4, 5]]
    assert pc.Data(np.array([5, 6])).n_sequences == 1
    assert pc.Data([5, 6]).n_sequences == 1
    assert all(row.dtype == np.int32 for row in table.sequences)


def test_data_is_a_copy_and_read_only() -> None:
    source = np.array([[1, 2, 3]], dtype=np.int32)
    data = pc.Data(source)
    source[0, 0] = 99
    assert data.sequences[0].tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        data.sequences[0][0] = 7


def test_the_library_holds_the_same_counts() -> None:
    from prunecore._native.library import ffi, lib

    data = pc.Data([[1, 2], [3, 4, 5]])
    sequences, tokens = ffi.new("int64_t *"), ffi.new("int64_t *")
    assert lib.prune_data_info(data.handle, sequences, tokens) == lib.PRUNE_OK
    assert (sequences[0], tokens[0]) == (2, 5)


def test_digest_is_sha256_over_lengths_and_ids() -> None:
    data = pc.Data([[1, 2, 3], [4]])
    wanted = hashlib.sha256(struct.pack("<q2q4i", 2, 3, 1, 1, 2, 3, 4)).hexdigest()
    assert data.digest == wanted
    assert pc.Data([[1, 2], [3, 4]]).digest != wanted
    assert pc.Data([[1, 2, 3], [5]]).digest != wanted
    weighted = pc.Data([[1, 2, 3], [4]], token_weights=[1, 1, 1, 1])
    assert weighted.digest != wanted


@pytest.mark.parametrize(
    ("sequences", "kind", "words"),
    [
        ([], pc.DataError, "sequence"),
        ([[1], []], pc.DataError, "sequence"),
        ([[1, -2]], pc.DataError, "-2"),
        ([[1], [2**31]], pc.DataError, r"sequence 1.*2147483648"),
        ([[1.5]], pc.ArgumentError, "sequence 0"),
        ([["a"]], pc.ArgumentError, "sequence 0"),
        ([[[1]]], pc.ArgumentError, "sequence 0"),
        ([[True]], pc.ArgumentError, "bool"),
        (np.zeros((1, 1, 1), dtype=np.int32), pc.ArgumentError, "3 dimensions"),
    ],
)
def test_bad_sequences_are_named(sequences: object, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        pc.Data(sequences)


@pytest.mark.parametrize("weights", [[0, 1, 2, 3, 4], [[0, 1], [2, 3, 4]]])
def test_weights_are_flat_or_per_sequence(weights: object) -> None:
    data = pc.Data([[1, 2], [3, 4, 5]], token_weights=weights)
    assert data.token_weights is not None
    assert data.token_weights.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("weights", "kind"),
    [
        ([1, 1], pc.ArgumentError),
        ([[1, 1, 1], [1, 1]], pc.ArgumentError),
        ([1, 1, 1, 1, -1], pc.DataError),
        ([1, 1, 1, 1, float("nan")], pc.DataError),
    ],
)
def test_bad_token_weights_are_refused(weights: object, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        pc.Data([[1, 2], [3, 4, 5]], token_weights=weights)


def test_parts_of_data_keep_their_weights() -> None:
    data = pc.Data([[1, 2], [3, 4, 5], [6]], token_weights=[0, 1, 2, 3, 4, 5])
    part = data[1:]
    assert [row.tolist() for row in part.sequences] == [[3, 4, 5], [6]]
    assert part.token_weights is not None and part.token_weights.tolist() == [2, 3, 4, 5]
    swapped = data.select([2, 0])
    assert swapped.token_weights is not None and swapped.token_weights.tolist() == [5, 0, 1]
    joined = pc.Data.concatenate([pc.Data([[9]]), data[:1]])
    assert [row.tolist() for row in joined.sequences] == [[9], [1, 2]]
    assert joined.token_weights is not None and joined.token_weights.tolist() == [1, 0, 1]
    with pytest.raises(pc.ArgumentError, match="slice"):
        data[0]  # type: ignore[index]
