/* SPDX-License-Identifier: Apache-2.0 */
/* A tiny model in the host's own memory, as prune_model_from_tensors() takes it. Include after check.h. */
#ifndef LENT_H
#define LENT_H

#include "check.h"
#include "fixture.h"

enum {
    LENT_MOST = 48
};

/* How the elements lie. */
typedef struct lent_layout {
    prune_element_type type;
    size_t gap;    /* elements between the end of a row and the next row; they hold NaN */
    size_t offset; /* bytes from a boundary of 64 to the first element */
} lent_layout;

typedef struct lent_model {
    prune_tensor tensors[LENT_MOST];
    int64_t shapes[LENT_MOST][2], strides[LENT_MOST][2];
    unsigned char *memory[LENT_MOST];
    size_t n_tensors;
    char *config;
    int n_closed; /* how often on_close was called */
} lent_model;

static inline size_t lent_size(prune_element_type type) { return type == PRUNE_ELEMENT_FLOAT32 ? 4 : 2; }

/* A value of a tiny model, which every type holds exactly. */
static inline void lent_store(prune_element_type type, float value, unsigned char *out)
{
    uint32_t bits;
    uint16_t half;
    memcpy(&bits, &value, sizeof bits);
    if (type == PRUNE_ELEMENT_FLOAT32) {
        memcpy(out, &bits, sizeof bits);
        return;
    }
    half = (uint16_t)(bits >> 16);
    if (type == PRUNE_ELEMENT_FLOAT16) {
        uint32_t exponent = (bits >> 23) & 0xFF;
        half = (uint16_t)((bits >> 16) & 0x8000);
        if (exponent != 0) {
            half = (uint16_t)(half | ((exponent - 112) << 10) | ((bits >> 13) & 0x3FF));
        }
    }
    memcpy(out, &half, sizeof half);
}

/* The address of one element of a tensor that was lent. */
static inline unsigned char *lent_element(const lent_model *lent, size_t tensor, size_t row, size_t column)
{
    size_t from_first = row * (size_t)lent->strides[tensor][0] + column;
    const unsigned char *first = lent->tensors[tensor].data;
    return lent->memory[tensor] + (first - lent->memory[tensor]) +
           from_first * lent_size(lent->tensors[tensor].element_type);
}

/* Copies the weights, and the configuration that `directory` holds. Names are borrowed from `model`. */
static inline void lent_make(lent_model *lent, const tiny_model *model, const char *directory, lent_layout layout)
{
    size_t i, row, column;
    memset(lent, 0, sizeof *lent);
    lent->config = read_file(directory, "config.json", NULL);
    lent->n_tensors = model->n_tensors;
    REQUIRE(model->n_tensors <= LENT_MOST);
    for (i = 0; i < model->n_tensors; i++) {
        const tiny_tensor *from = &model->tensors[i];
        prune_tensor *to = &lent->tensors[i];
        size_t rows = from->n_dimensions == 2 ? (size_t)from->shape[0] : 1;
        size_t columns = from->n_values / rows;
        size_t stride = columns + (from->n_dimensions == 2 ? layout.gap : 0);
        size_t bytes = rows * stride * lent_size(layout.type) + layout.offset + 64;
        lent->memory[i] = malloc(bytes);
        REQUIRE(lent->memory[i] != NULL);
        memset(lent->memory[i], 0xFF, bytes);
        lent->shapes[i][0] = from->shape[0];
        lent->shapes[i][1] = from->shape[1];
        lent->strides[i][0] = from->n_dimensions == 2 ? (int64_t)stride : 1;
        lent->strides[i][1] = 1;
        to->name = from->name;
        to->data = lent->memory[i] + (64 - (uintptr_t)lent->memory[i] % 64) % 64 + layout.offset;
        to->element_type = layout.type;
        to->n_dimensions = (int32_t)from->n_dimensions;
        to->shape = lent->shapes[i];
        to->strides = layout.gap == 0 ? NULL : lent->strides[i];
        for (row = 0; row < rows; row++) {
            for (column = 0; column < columns; column++) {
                lent_store(layout.type, from->values[row * columns + column], lent_element(lent, i, row, column));
            }
        }
    }
}

static inline void lent_free(lent_model *lent)
{
    size_t i;
    for (i = 0; i < lent->n_tensors; i++) {
        free(lent->memory[i]);
    }
    free(lent->config);
    lent->n_tensors = 0;
}

static inline void lent_closed(void *user_data) { ((lent_model *)user_data)->n_closed++; }

static inline prune_status lent_open(lent_model *lent, prune_compute compute, prune_model **out_model)
{
    prune_model_options options = PRUNE_MODEL_OPTIONS_INIT;
    options.compute = compute;
    options.on_close = lent_closed;
    options.user_data = lent;
    return prune_model_from_tensors(lent->config, lent->tensors, lent->n_tensors, &options, out_model);
}

/* Where a tensor stands in the list. */
static inline size_t lent_index(const lent_model *lent, const char *name)
{
    size_t i;
    for (i = 0; i < lent->n_tensors; i++) {
        if (strcmp(lent->tensors[i].name, name) == 0) {
            return i;
        }
    }
    REQUIRE(!"the tensor is there");
    return 0;
}

#endif
