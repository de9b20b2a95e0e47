/* SPDX-License-Identifier: Apache-2.0 */
#include "tiny_gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ALIGNMENT = 32,
    FILE_MOST = 1 << 22,
    UINT32 = 4,
    FLOAT32 = 6,
    STRING = 8,
    ARRAY = 9,
    UINT16 = 2
};

const tiny_gguf_type tiny_gguf_types[] = {
    { 0, 1, 4 },      { 1, 1, 2 },      { 30, 1, 2 },    { 2, 32, 18 },    { 3, 32, 20 },    { 6, 32, 22 },
    { 7, 32, 24 },    { 8, 32, 34 },    { 10, 256, 84 }, { 11, 256, 110 }, { 12, 256, 144 }, { 13, 256, 176 },
    { 14, 256, 210 }, { 15, 256, 292 }, { 20, 32, 18 },  { 23, 256, 136 }, { 39, 32, 17 },
};
const size_t n_tiny_gguf_types = sizeof tiny_gguf_types / sizeof *tiny_gguf_types;

typedef struct buffer {
    size_t n;
    unsigned char *bytes;
} buffer;

static void put(buffer *to, const void *bytes, size_t n)
{
    if (to->n + n > FILE_MOST) {
        fprintf(stderr, "tiny_gguf: the model is too large\n");
        exit(2);
    }
    memcpy(to->bytes + to->n, bytes, n);
    to->n += n;
}

static void put_number(buffer *to, uint64_t number, size_t size)
{
    unsigned char bytes[8];
    size_t i;
    for (i = 0; i < size; i++) {
        bytes[i] = (unsigned char)(number >> (8 * i));
    }
    put(to, bytes, size);
}

static void put_string(buffer *to, const char *text)
{
    put_number(to, strlen(text), 8);
    put(to, text, strlen(text));
}

static void put_count(buffer *to, const char *key, uint64_t value, uint32_t type)
{
    put_string(to, key);
    put_number(to, type, 4);
    put_number(to, value, type == UINT16 ? 2 : 4);
}

static void put_text(buffer *to, const char *key, const char *text)
{
    put_string(to, key);
    put_number(to, STRING, 4);
    put_string(to, text);
}

static void put_float(buffer *to, const char *key, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_string(to, key);
    put_number(to, FLOAT32, 4);
    put_number(to, bits, 4);
}

static void put_padding(buffer *to)
{
    while (to->n % ALIGNMENT != 0) {
        put_number(to, 0, 1);
    }
}

static int begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* "model.layers.1.mlp.up_proj.weight" as "blk.1.ffn_up.weight". */
static void name_of(const tiny_tensor *tensor, char *out, size_t size)
{
    static const char *const parts[][2] = {
        { "input_layernorm", "attn_norm" },    { "self_attn.q_proj", "attn_q" },
        { "self_attn.k_proj", "attn_k" },      { "self_attn.v_proj", "attn_v" },
        { "self_attn.o_proj", "attn_output" }, { "post_attention_layernorm", "ffn_norm" },
        { "mlp.gate_proj", "ffn_gate" },       { "mlp.up_proj", "ffn_up" },
        { "mlp.down_proj", "ffn_down" }
    };
    int block = 0, used = 0;
    size_t i;
    if (begins(tensor->name, "model.embed_tokens")) {
        snprintf(out, size, "token_embd.weight");
    } else if (begins(tensor->name, "model.norm")) {
        snprintf(out, size, "output_norm.weight");
    } else if (begins(tensor->name, "lm_head")) {
        snprintf(out, size, "output.weight");
    } else if (sscanf(tensor->name, "model.layers.%d.%n", &block, &used) == 1) {
        for (i = 0; i < sizeof parts / sizeof *parts; i++) {
            if (begins(tensor->name + used, parts[i][0])) {
                snprintf(out, size, "blk.%d.%s.weight", block, parts[i][1]);
            }
        }
    }
}

static tiny_gguf_type type_of(const tiny_tensor *tensor, uint32_t type)
{
    size_t i;
    for (i = 0; i < n_tiny_gguf_types; i++) {
        if (tiny_gguf_types[i].number == type && tensor->n_dimensions == 2) {
            return tiny_gguf_types[i];
        }
    }
    return tiny_gguf_types[0];
}

static size_t bytes_of(const tiny_tensor *tensor, uint32_t type)
{
    const tiny_gguf_type own = type_of(tensor, type);
    return tensor->n_values / own.elements * own.bytes;
}

/* Rows of queries and keys stand so that neighbours turn together: row 2p + h is row p of half h of the head. */
static size_t stored_row(const tiny_model *model, const tiny_tensor *tensor, size_t row)
{
    size_t size = (size_t)model->shape.head_size, place = row % size;
    if (strstr(tensor->name, "q_proj") == NULL && strstr(tensor->name, "k_proj") == NULL) {
        return row;
    }
    return row - place + place % 2 * (size / 2) + place / 2;
}

static void put_values(buffer *to, const tiny_model *model, const tiny_tensor *tensor, uint32_t type)
{
    size_t columns = tensor->n_dimensions == 2 ? (size_t)tensor->shape[1] : 1, row, i;
    if (type_of(tensor, type).number == 0) {
        for (row = 0; row < (size_t)tensor->shape[0]; row++) {
            size_t from = tensor->n_dimensions == 2 ? stored_row(model, tensor, row) : row;
            for (i = 0; i < columns; i++) {
                uint32_t bits;
                memcpy(&bits, tensor->values + from * columns + i, sizeof bits);
                put_number(to, bits, 4);
            }
        }
        return;
    }
    /* Bytes below 32: as half floats they are small, wherever a block has its scales. */
    for (i = 0; i < bytes_of(tensor, type); i++) {
        put_number(to, (i * 2654435761u >> 7) % 32, 1);
    }
}

static void put_metadata(buffer *to, const tiny_model *model)
{
    const tiny_shape *s = &model->shape;
    int64_t i;
    put_text(to, "general.architecture", "llama");
    put_count(to, "llama.block_count", (uint64_t)s->n_blocks, UINT32);
    put_count(to, "llama.context_length", 64, UINT32);
    put_count(to, "llama.embedding_length", (uint64_t)s->hidden, UINT32);
    put_count(to, "llama.feed_forward_length", (uint64_t)s->feed_forward, UINT32);
    put_count(to, "llama.attention.head_count", (uint64_t)s->heads, UINT32);
    put_count(to, "llama.attention.head_count_kv", (uint64_t)s->kv_heads, UINT32);
    put_count(to, "llama.attention.key_length", (uint64_t)s->head_size, UINT32);
    put_count(to, "llama.attention.value_length", (uint64_t)s->head_size, UINT32);
    put_float(to, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    put_float(to, "llama.rope.freq_base", 10000.0f);
    put_text(to, "tokenizer.ggml.model", "gpt2");
    put_string(to, "tokenizer.ggml.tokens");
    put_number(to, ARRAY, 4);
    put_number(to, STRING, 4);
    put_number(to, (uint64_t)s->vocabulary, 8);
    for (i = 0; i < s->vocabulary; i++) {
        char token[2] = { (char)('!' + i % 90), 0 };
        put_string(to, token);
    }
}

/* The first tensors in one file, or the others in a second. */
static void write_part(const tiny_model *model, const char *directory, const char *name, uint32_t type, int part,
                       int parts)
{
    buffer file = { 0, malloc(FILE_MOST) };
    size_t middle = parts == 1 ? model->n_tensors : model->n_tensors / 2, i, d;
    size_t first = part == 0 ? 0 : middle, last = part == 0 ? middle : model->n_tensors;
    uint64_t offset = 0;
    if (file.bytes == NULL) {
        exit(2);
    }
    put(&file, "GGUF", 4);
    put_number(&file, 3, 4);
    put_number(&file, last - first, 8);
    put_number(&file, (part == 0 ? 13u : 0u) + (parts > 1 ? 3u : 0u), 8);
    if (part == 0) {
        put_metadata(&file, model);
    }
    if (parts > 1) {
        put_count(&file, "split.no", (uint64_t)part, UINT16);
        put_count(&file, "split.count", (uint64_t)parts, UINT16);
        put_count(&file, "split.tensors.count", model->n_tensors, UINT32);
    }
    for (i = first; i < last; i++) {
        const tiny_tensor *tensor = &model->tensors[i];
        char own[96];
        name_of(tensor, own, sizeof own);
        put_string(&file, own);
        put_number(&file, tensor->n_dimensions, 4);
        for (d = tensor->n_dimensions; d > 0; d--) {
            put_number(&file, (uint64_t)tensor->shape[d - 1], 8);
        }
        put_number(&file, type_of(tensor, type).number, 4);
        put_number(&file, offset, 8);
        offset += (bytes_of(tensor, type) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    for (i = first; i < last; i++) {
        put_padding(&file);
        put_values(&file, model, &model->tensors[i], type);
    }
    put_padding(&file);
    write_file(directory, name, file.bytes, file.n);
    free(file.bytes);
}

void tiny_gguf_write(const tiny_model *model, const char *directory, const char *name, uint32_t type, int parts)
{
    char second[256];
    write_part(model, directory, name, type, 0, parts);
    if (parts > 1) {
        size_t stem = strlen(name) - strlen("-00001-of-00002.gguf");
        snprintf(second, sizeof second, "%.*s-00002-of-00002.gguf", (int)stem, name);
        write_part(model, directory, second, type, 1, parts);
    }
}
