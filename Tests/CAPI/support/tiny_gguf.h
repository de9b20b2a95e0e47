/* SPDX-License-Identifier: Apache-2.0 */
/* Tiny models as GGUF files, written without any package. */
#ifndef TINY_GGUF_H
#define TINY_GGUF_H

#include "tiny_model.h"

/* Numbers of types in ggml, with the elements and bytes of a block. */
typedef struct tiny_gguf_type {
    uint32_t number;
    uint32_t elements, bytes;
} tiny_gguf_type;

extern const tiny_gguf_type tiny_gguf_types[];
extern const size_t n_tiny_gguf_types;

/*
 * Writes a model as `directory`/`name`, an architecture "llama".
 *   type    of matrices: 0 = F32, their values; any other type of blocks gets blocks of small random bytes, for which the
 *           sizes of the model must be multiples of a block
 *   parts   1 = one file; 2 = `name` ends in -00001-of-00002.gguf, and the second is written beside it
 */
void tiny_gguf_write(const tiny_model *model, const char *directory, const char *name, uint32_t type, int parts);

#endif
