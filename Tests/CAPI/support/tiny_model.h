/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tiny random Llama models, made in memory and written as Hugging Face directories, so that the tests need no files.
 * Weights are small multiples of 1/64: exact in fp32, fp16 and bf16 alike.
 */
#ifndef TINY_MODEL_H
#define TINY_MODEL_H

#include <stddef.h>
#include <stdint.h>

typedef struct tiny_shape {
    int64_t n_blocks, hidden, heads, kv_heads, head_size, feed_forward, vocabulary;
    int tied; /* the head uses the embedding matrix */
} tiny_shape;

/* 2 blocks, width 16, 2 heads, 1 KV head, feed-forward 24, vocabulary 32, tied. */
tiny_shape tiny_default_shape(void);

typedef struct tiny_tensor {
    char name[96];
    const char *type; /* as the file declares it: "F32", "BF16", "F16", or one that is not supported */
    int64_t shape[2];
    size_t n_dimensions;
    int64_t begin, end; /* as the file declares them */
    float *values;
    size_t n_values;
} tiny_tensor;

typedef struct tiny_model {
    tiny_shape shape;
    tiny_tensor tensors[64];
    size_t n_tensors;
    size_t padding; /* bytes written after the last tensor */
} tiny_model;

/* Fills a model with weights drawn from `seed`; free it with tiny_model_free(). */
void tiny_model_make(tiny_model *model, tiny_shape shape, uint64_t seed);
void tiny_model_free(tiny_model *model);

/* A tensor by name; ends the program if there is none. */
tiny_tensor *tiny_model_tensor(tiny_model *model, const char *name);

/* The weights of one matrix of one block, `part` such as "self_attn.q_proj". */
const float *tiny_model_weights(const tiny_model *model, int64_t block, const char *part);

/* Takes a tensor out. */
void tiny_model_drop(tiny_model *model, const char *name);

/* Stores all weights as another type, and lays the file out for it. */
void tiny_model_store_as(tiny_model *model, const char *type);

/* Declares begin and end of every tensor, one after the other. To be called after a type or shape was changed. */
void tiny_model_lay_out(tiny_model *model);

/* Writes config.json and model.safetensors; makes the directory. */
void tiny_model_write(const tiny_model *model, const char *directory);

/* config.json with the first `old` in it replaced by `new_text`; NULL = as it is. */
void tiny_model_write_config(const tiny_model *model, const char *directory, const char *old, const char *new_text);

/* The same weights in two shards and model.safetensors.index.json. */
void tiny_model_write_shards(const tiny_model *model, const char *directory);

/* Plain file work; each ends the program if it fails. */
void make_directory(const char *path);
void write_file(const char *directory, const char *name, const void *bytes, size_t n_bytes);
void write_text(const char *directory, const char *name, const char *text);
char *read_file(const char *directory, const char *name, size_t *out_bytes); /* NUL-terminated; free it */

#endif
