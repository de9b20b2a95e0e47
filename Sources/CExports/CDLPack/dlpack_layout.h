/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of DLPack, version 1, the library reads (https://dmlc.github.io/dlpack/latest/c_api.html). The layout is fixed within
 * a major version. The names are our own, so that a program may include dlpack.h beside prunecore.h.
 */
#ifndef PRUNE_DLPACK_LAYOUT_H
#define PRUNE_DLPACK_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

enum {
    DLPACK_LAYOUT_MAJOR = 1
};

/* Devices whose memory the CPU reads: its own, and that which a GPU's driver has pinned. */
enum {
    DLPACK_LAYOUT_CPU = 1,
    DLPACK_LAYOUT_CUDA_HOST = 3,
    DLPACK_LAYOUT_ROCM_HOST = 11
};

/* Kinds of elements. */
enum {
    DLPACK_LAYOUT_FLOAT = 2,
    DLPACK_LAYOUT_BFLOAT = 4
};

typedef struct dlpack_layout_tensor {
    void *data;
    int32_t device_type;
    int32_t device_id;
    int32_t n_dimensions;
    uint8_t code; /* kind of the elements */
    uint8_t bits; /* of one lane */
    uint16_t lanes;
    int64_t *shape;
    int64_t *strides;     /* in elements; NULL = row after row */
    uint64_t byte_offset; /* from data to the first element */
} dlpack_layout_tensor;

/* Of another major version, only version and deleter are where they are here. */
typedef struct dlpack_layout_managed {
    uint32_t major;
    uint32_t minor;
    void *manager;
    void (*deleter)(struct dlpack_layout_managed *self); /* NULL = none */
    uint64_t flags;
    dlpack_layout_tensor tensor;
} dlpack_layout_managed;

_Static_assert(sizeof(void *) != 8 ||
                   (offsetof(dlpack_layout_managed, tensor) == 32 && sizeof(dlpack_layout_tensor) == 48),
               "as dlpack.h lays them out");

#endif
