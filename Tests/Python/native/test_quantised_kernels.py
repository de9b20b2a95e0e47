# SPDX-License-Identifier: Apache-2.0
"""Quantised weights are widened to the bits that gguf gives, at every level of the loops.

The kernels' C sources are compiled into a library of their own and called as they are: the public
interface shows no widened weight.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import gguf
import numpy as np
import prunecore as pc
import pytest
from gguf.quants import dequantize

LEVELS = ["baseline", "avx2", "avx512"]
BEST = LEVELS.index(pc.runtime_info().loop_kernels)

# In the order of STORED_*, with where a block's fp16 scales are.
FIRST = 3
HALVES = {
    "Q8_0": [0],
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "Q8_K": [],
    "IQ4_NL": [0],
    "IQ4_XS": [0],
    "MXFP4": [],
}
SPECIAL = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x7BFF, 0xFBFF]
BLOCKS = 120  # of a case; a row of the products is a third of them


@pytest.fixture(scope="module")
def kernels(repository_root: Path, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    swift = shutil.which("swift")
    beside = Path(swift).resolve().parent / "clang" if swift else None
    clang = str(beside) if beside and beside.exists() else shutil.which("clang")
    if clang is None:
        pytest.skip("there is no clang to compile the kernels with")
    library = tmp_path_factory.mktemp("kernels") / "kernels.so"
    sources = repository_root / "Sources" / "PruneCore" / "CKernels"
    files = [str(each) for each in sorted(sources.glob("*.c"))]
    subprocess.run([clang, "-O1", "-fPIC", "-shared", "-o", str(library), *files], check=True)
    loaded = ctypes.CDLL(str(library))
    size, pointer, number = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int32
    loaded.kernel_widen_quantised.argtypes = [number, number, pointer, size, size, pointer]
    loaded.kernel_widen_quantised.restype = None
    loaded.kernel_dot_rows.argtypes = [number, number, pointer, size, size, pointer]
    loaded.kernel_dot_rows.argtypes += [size, size, size, pointer, size]
    loaded.kernel_dot_rows.restype = None
    return loaded


def case(name: str, special: bool) -> tuple[np.ndarray, np.ndarray]:
    """Random blocks one byte off any boundary, and their values.

    `special` scales are 0, subnormal or large.
    """
    kind = gguf.GGMLQuantizationType[name]
    _, size = gguf.GGML_QUANT_SIZES[kind]
    rng = np.random.default_rng(len(name) + ord(name[-1]))
    blocks = rng.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    for offset in HALVES[name]:
        scales = (rng.standard_normal(BLOCKS) * 0.01).astype(np.float16).view(np.uint16)
        if special:
            scales = rng.choice(np.array(SPECIAL, np.uint16), BLOCKS)
        blocks[:, offset : offset + 2] = scales.view(np.uint8).reshape(BLOCKS, 2)
    if name == "MXFP4":  # the exponent; a few would overflow
        blocks[:, 0] = rng.choice([0, 1, 2, 250], BLOCKS) if special else rng.integers(118, 130)
    if name == "Q8_K":  # which gguf does not read: a scale in fp32, codes, and sums
        scales = rng.standard_normal(BLOCKS).astype(np.float32)
        if special:
            scales = rng.choice(np.array([0.0, -0.0, 1e-40, -1e-45, 1e36], np.float32), BLOCKS)
        blocks[:, :4] = scales.view(np.uint8).reshape(BLOCKS, 4)
        values = scales[:, None] * blocks[:, 4:260].view(np.int8).astype(np.float32)
    else:
        values = dequantize(blocks.reshape(-1), kind)
    memory = np.zeros(blocks.size + 1, np.uint8)
    memory[1:] = blocks.reshape(-1)
    return memory, values.reshape(-1)


@pytest.mark.parametrize("level", range(BEST + 1))
@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("name", list(HALVES))
def test_every_bit_is_that_of_gguf(
    kernels: ctypes.CDLL, name: str, special: bool, level: int
) -> None:
    memory, values = case(name, special)
    number = FIRST + list(HALVES).index(name)
    block = values.size // BLOCKS
    # Whole, and from within a block to within another.
    for first, count in [
        (0, values.size),
        (block + 5, 3 * block - 11),
        (2 * block - 3, 7),
        (40, 0),
    ]:
        found = np.full(count + 4, 7, np.float32)
        kernels.kernel_widen_quantised(
            level, number, memory.ctypes.data + 1, first, count, found.ctypes.data
        )
        expected = values[first : first + count]
        assert np.array_equal(found[:count].view(np.uint32), expected.view(np.uint32))
        assert (found[count:] == 7).all()


@pytest.mark.parametrize("level", range(BEST + 1))
@pytest.mark.parametrize("name", list(HALVES))
def test_products_are_those_of_the_widened_weights(
    kernels: ctypes.CDLL, name: str, level: int
) -> None:
    memory, values = case(name, special=False)
    number = FIRST + list(HALVES).index(name)
    weights = values.reshape(3, -1)
    inputs = weights.shape[1]
    rng = np.random.default_rng(5)
    x = rng.standard_normal((4, inputs + 3)).astype(np.float32)
    exact = x[:, :inputs].astype(np.float64) @ weights.T.astype(np.float64)
    size = np.abs(x[:, :inputs]).astype(np.float64) @ np.abs(weights.T).astype(np.float64)
    alone = np.zeros((4, 3), np.float32)
    for row in range(4):
        kernels.kernel_dot_rows(
            level, number, memory.ctypes.data + 1, 3, inputs,
            x[row].ctypes.data, inputs + 3, 1, inputs, alone[row].ctypes.data, 3,
        )  # fmt: skip
    assert (np.abs(alone - exact) <= 1e-6 * size).all()
    for rows in (2, 3, 4):
        together = np.full((4, 5), 7, np.float32)
        kernels.kernel_dot_rows(
            level, number, memory.ctypes.data + 1, 3, inputs,
            x.ctypes.data, inputs + 3, rows, inputs, together.ctypes.data, 5,
        )  # fmt: skip
        assert np.array_equal(together[:rows, :3], alone[:rows])
        assert (together[rows:] == 7).all() and (together[:, 3:] == 7).all()


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K"])
def test_products_keep_digits_beside_outliers_and_what_is_not_finite(
    kernels: ctypes.CDLL, name: str
) -> None:
    """Where products are sums of integers, 32 values share a power of two."""
    memory, values = case(name, special=False)
    number = FIRST + list(HALVES).index(name)
    weights = values.reshape(3, -1)
    inputs = weights.shape[1]
    rng = np.random.default_rng(6)
    x = rng.standard_normal((4, inputs)).astype(np.float32)
    x[0, ::37] *= 1e5
    x[1] *= np.float32(1e-36)
    x[2, ::5] = 0
    x[2, 32:96] = 0
    x[3, 7], x[3, 70] = np.inf, np.nan
    exact = x.astype(np.float64) @ weights.T.astype(np.float64)
    size = np.abs(x).astype(np.float64) @ np.abs(weights.T).astype(np.float64)
    for level in range(BEST + 1):
        found = np.zeros((4, 3), np.float32)
        kernels.kernel_dot_rows(
            level, number, memory.ctypes.data + 1, 3, inputs,
            x.ctypes.data, inputs, 4, inputs, found.ctypes.data, 3,
        )  # fmt: skip
        assert (np.abs(found[:3] - exact[:3]) <= 1e-6 * size[:3]).all()
        assert np.isnan(found[3]).all()
