# SPDX-License-Identifier: Apache-2.0
"""What the library runs on, and how many threads it takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from prunecore._native.library import LIBRARY_PATH, _check, lib, new_struct, text
from prunecore._native.numbers import checked_count


@dataclass(frozen=True)
class Runtime:
    """What the library runs on.

    Attributes
    ----------
    threads : int
        Threads that a call uses at most.
    processors : int
        Processors that this process may run on.
    blas : str
        Name and configuration of the BLAS in use.
    blas_kernels : str
        Kernels that the BLAS chose when it was loaded, such as "SkylakeX".
    blas_forced : str
        Value of the environment variable OPENBLAS_CORETYPE when it was loaded; "" if unset.
    cpu_features : str
        Those that matter for speed, such as "avx2 fma avx512f".
    advice : str
        A sentence if the kernels in use are slower than the CPU allows; "" if all is well.
    bf16_kernels : str
        Instructions that models computed in "bfloat16" run on; "" if the CPU has none.
    loop_kernels : str
        What the library's own loops are compiled for: "avx512", "avx2" or "baseline".
    library : str
        Path of the C library.
    """

    threads: int
    processors: int
    blas: str
    blas_kernels: str
    blas_forced: str
    cpu_features: str
    advice: str
    bf16_kernels: str
    loop_kernels: str
    library: str

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)


def runtime_info() -> Runtime:
    """Describes kernels, CPU and threads."""
    info = new_struct("prune_runtime")
    _check(lib.prune_runtime_info(info))
    return Runtime(
        threads=info.threads,
        processors=info.processors,
        blas=text(info.blas),
        blas_kernels=text(info.blas_kernels),
        blas_forced=text(info.blas_forced),
        cpu_features=text(info.cpu_features),
        advice=text(info.advice),
        bf16_kernels=text(info.bf16_kernels),
        loop_kernels=text(info.loop_kernels),
        library=str(LIBRARY_PATH),
    )


def set_threads(n: int) -> None:
    """Sets how many threads a call uses at most, for the whole process; 0 = one per processor.

    Raises
    ------
    ArgumentError
        `n` is negative or above 1024.
    """
    _check(lib.prune_threads_set(checked_count("threads", n, 0, 1024)))
