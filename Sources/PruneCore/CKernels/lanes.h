/* SPDX-License-Identifier: Apache-2.0 */
/* 16 values of each kind; compilers cut them into what a level has. Included by the kernels' own sources only. */
#ifndef PRUNE_LANES_H
#define PRUNE_LANES_H

#include <stdint.h>

typedef float kernel_lanes __attribute__((vector_size(64)));
typedef uint32_t kernel_words __attribute__((vector_size(64)));
typedef int32_t kernel_integers __attribute__((vector_size(64)));
typedef uint16_t kernel_halves __attribute__((vector_size(32)));
typedef uint8_t kernel_bytes __attribute__((vector_size(16)));
typedef int8_t kernel_small __attribute__((vector_size(16)));

/* 32 of the smallest. */
typedef uint8_t kernel_byte_pairs __attribute__((vector_size(32)));
typedef int8_t kernel_small_pairs __attribute__((vector_size(32)));

#endif
