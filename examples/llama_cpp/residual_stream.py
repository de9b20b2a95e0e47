# SPDX-License-Identifier: Apache-2.0
"""The residual stream of a model that llama.cpp runs, through its evaluation callback."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np
import prunecore as pc
from llama_cpp.llama_cpp import _lib as library

# llama-cpp-python binds llama.h; these belong to ggml.h and ggml-backend.h, in libraries it loads.
library.ggml_get_name.restype = ctypes.c_char_p
library.ggml_get_name.argtypes = [ctypes.c_void_p]
library.ggml_nbytes.restype = ctypes.c_size_t
library.ggml_nbytes.argtypes = [ctypes.c_void_p]
library.ggml_element_size.restype = ctypes.c_size_t
library.ggml_element_size.argtypes = [ctypes.c_void_p]
library.ggml_backend_tensor_get.restype = None
library.ggml_backend_tensor_get.argtypes = [
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t
]  # fmt: skip

GGML_TYPE_F32 = 0
FLASH_ATTENTION_OFF = 0


class Scored:
    """A GGUF model whose activations are added to statistics, wherever llama.cpp computes them.

    Its graph names the states that are wanted: `embd` before block 0 (`inp_embd` in older versions,
    and `inp_scaled` where embeddings are scaled first), `ffn_inp-N` after the attention of block N,
    and `l_out-N` after its feed-forward. Models whose two sublayers read the same state (Falcon,
    Phi) have no `ffn_inp`: of these only blocks are scored.
    """

    def __init__(self, path: Path, sequence_length: int) -> None:
        self._model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params()
        )
        if not self._model:
            raise SystemExit(f"llama.cpp cannot load {path}")
        self.n_blocks = llama_cpp.llama_model_n_layer(self._model)
        self.width = llama_cpp.llama_model_n_embd(self._model)
        self.statistics = pc.Statistics(n_blocks=self.n_blocks)
        self.tokens = 0
        self._failure: BaseException | None = None
        self._before: np.ndarray | None = None
        self._middle: np.ndarray | None = None
        self._wanted = dict.fromkeys((b"embd", b"inp_embd", b"inp_scaled"), (0, 0))
        for block in range(self.n_blocks):
            self._wanted[b"ffn_inp-%d" % block] = (block, 1)
            self._wanted[b"l_out-%d" % block] = (block, 2)

        options = llama_cpp.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = sequence_length
        # Must live as long as the context; ctypes does not keep it alive.
        self._callback = llama_cpp.ggml_backend_sched_eval_callback(self._seen)
        options.cb_eval = self._callback
        # Keys and values in fp32, so that the scores can be compared with a fp32 engine's.
        options.type_k = options.type_v = GGML_TYPE_F32
        options.flash_attn_type = FLASH_ATTENTION_OFF
        self._context = llama_cpp.llama_init_from_model(self._model, options)
        if not self._context:
            raise SystemExit(f"llama.cpp makes no context of {sequence_length} tokens for {path}")

    def close(self) -> None:
        """Releases the model."""
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def run(self, sequence: Sequence[int]) -> None:
        """Runs a sequence and adds its tokens to the statistics."""
        batch = llama_cpp.llama_batch_init(len(sequence), 0, 1)
        batch.n_tokens = len(sequence)
        for position, token in enumerate(sequence):
            batch.token[position] = token
            batch.pos[position] = position
            batch.n_seq_id[position] = 1
            batch.seq_id[position][0] = 0
            # Logits of all rows: without them, the last block drops rows early.
            batch.logits[position] = True
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        status = llama_cpp.llama_decode(self._context, batch)
        llama_cpp.llama_batch_free(batch)
        if self._failure is not None:
            raise self._failure
        if status != 0:
            raise SystemExit(f"llama_decode gave {status}")
        self.tokens += len(sequence)

    def _seen(self, tensor: int, asks: bool, _: object) -> bool:
        """Called twice: to ask for a node of the graph, then with it. False ends the pass."""
        place = self._wanted.get(library.ggml_get_name(tensor))
        if asks or place is None:
            return place is not None
        try:
            self._add(place, self._rows(tensor))
        except BaseException as failure:  # none may pass through C
            self._failure = failure
            return False
        return True

    def _rows(self, tensor: int) -> np.ndarray:
        """Copies a state out of llama.cpp, from whichever device it is on: one row per token."""
        size = library.ggml_nbytes(tensor)
        rows, rest = divmod(size, 4 * self.width)
        if rest or library.ggml_element_size(tensor) != 4:
            name = library.ggml_get_name(tensor).decode()
            raise TypeError(f"{name} is not rows of {self.width} fp32 values")
        values = np.empty((rows, self.width), dtype=np.float32)
        library.ggml_backend_tensor_get(tensor, values.ctypes.data, 0, size)
        return values

    def _add(self, place: tuple[int, int], state: np.ndarray) -> None:
        block, sublayers_done = place
        if sublayers_done > 0 and self._before is None:
            raise LookupError("llama.cpp showed no state before block 0: it names it otherwise")
        if sublayers_done == 0:
            self._before, self._middle = state, None
        elif sublayers_done == 1:
            self._middle = state
            self.statistics.update(self._before, state, unit=f"attn.{block}")
        else:
            if self._middle is not None:
                self.statistics.update(self._middle, state, unit=f"ffn.{block}")
            self.statistics.update(self._before, state, unit=f"block.{block}")
            self._before, self._middle = state, None
