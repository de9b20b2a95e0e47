/* SPDX-License-Identifier: Apache-2.0 */
#include "tiny_model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void must(int fine, const char *what, const char *name)
{
    if (!fine) {
        fprintf(stderr, "tiny_model: %s: %s: %s\n", what, name, strerror(errno));
        exit(2);
    }
}

void make_directory(const char *path)
{
    must(mkdir(path, 0777) == 0 || errno == EEXIST, "cannot make directory", path);
}

static FILE *open_in(const char *directory, const char *name, const char *mode)
{
    char path[512];
    FILE *file;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    file = fopen(path, mode);
    must(file != NULL, "cannot open", path);
    return file;
}

void write_file(const char *directory, const char *name, const void *bytes, size_t n_bytes)
{
    FILE *file;
    make_directory(directory);
    file = open_in(directory, name, "wb");
    must(fwrite(bytes, 1, n_bytes, file) == n_bytes, "cannot write", name);
    must(fclose(file) == 0, "cannot close", name);
}

void write_text(const char *directory, const char *name, const char *text)
{
    write_file(directory, name, text, strlen(text));
}

char *read_file(const char *directory, const char *name, size_t *out_bytes)
{
    FILE *file = open_in(directory, name, "rb");
    char *bytes;
    long size;
    must(fseek(file, 0, SEEK_END) == 0, "cannot measure", name);
    size = ftell(file);
    must(size >= 0, "cannot measure", name);
    rewind(file);
    bytes = malloc((size_t)size + 1);
    must(bytes != NULL, "no memory for", name);
    must(fread(bytes, 1, (size_t)size, file) == (size_t)size, "cannot read", name);
    bytes[size] = '\0';
    fclose(file);
    if (out_bytes != NULL) {
        *out_bytes = (size_t)size;
    }
    return bytes;
}

tiny_shape tiny_default_shape(void)
{
    tiny_shape shape = { 2, 16, 2, 1, 8, 24, 32, 1 };
    return shape;
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static void add(tiny_model *model, const char *name, int64_t rows, int64_t columns, float centre, uint64_t *random)
{
    tiny_tensor *tensor = &model->tensors[model->n_tensors++];
    size_t i;
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    tensor->type = "F32";
    tensor->n_dimensions = columns == 0 ? 1 : 2;
    tensor->shape[0] = rows;
    tensor->shape[1] = columns;
    tensor->n_values = (size_t)rows * (columns == 0 ? 1u : (size_t)columns);
    tensor->values = malloc(tensor->n_values * sizeof *tensor->values);
    must(tensor->values != NULL, "no memory for", name);
    for (i = 0; i < tensor->n_values; i++) {
        tensor->values[i] = centre + (float)((int)(next_random(random) % 63) - 31) / 64.0f;
    }
}

static void add_in_block(tiny_model *model, int64_t block, const char *part, int64_t rows, int64_t columns,
                         uint64_t *random)
{
    char name[96];
    snprintf(name, sizeof name, "model.layers.%d.%s.weight", (int)block, part);
    add(model, name, rows, columns, columns == 0 ? 1.0f : 0.0f, random);
}

void tiny_model_make(tiny_model *model, tiny_shape s, uint64_t seed)
{
    int64_t i;
    memset(model, 0, sizeof *model);
    model->shape = s;
    add(model, "model.embed_tokens.weight", s.vocabulary, s.hidden, 0.0f, &seed);
    for (i = 0; i < s.n_blocks; i++) {
        add_in_block(model, i, "input_layernorm", s.hidden, 0, &seed);
        add_in_block(model, i, "self_attn.q_proj", s.heads * s.head_size, s.hidden, &seed);
        add_in_block(model, i, "self_attn.k_proj", s.kv_heads * s.head_size, s.hidden, &seed);
        add_in_block(model, i, "self_attn.v_proj", s.kv_heads * s.head_size, s.hidden, &seed);
        add_in_block(model, i, "self_attn.o_proj", s.hidden, s.heads * s.head_size, &seed);
        add_in_block(model, i, "post_attention_layernorm", s.hidden, 0, &seed);
        add_in_block(model, i, "mlp.gate_proj", s.feed_forward, s.hidden, &seed);
        add_in_block(model, i, "mlp.up_proj", s.feed_forward, s.hidden, &seed);
        add_in_block(model, i, "mlp.down_proj", s.hidden, s.feed_forward, &seed);
    }
    add(model, "model.norm.weight", s.hidden, 0, 1.0f, &seed);
    if (!s.tied) {
        add(model, "lm_head.weight", s.vocabulary, s.hidden, 0.0f, &seed);
    }
    tiny_model_lay_out(model);
}

void tiny_model_free(tiny_model *model)
{
    size_t i;
    for (i = 0; i < model->n_tensors; i++) {
        free(model->tensors[i].values);
    }
    model->n_tensors = 0;
}

tiny_tensor *tiny_model_tensor(tiny_model *model, const char *name)
{
    size_t i;
    for (i = 0; i < model->n_tensors; i++) {
        if (strcmp(model->tensors[i].name, name) == 0) {
            return &model->tensors[i];
        }
    }
    must(0, "no tensor", name);
    return NULL;
}

const float *tiny_model_weights(const tiny_model *model, int64_t block, const char *part)
{
    char name[96];
    size_t i;
    snprintf(name, sizeof name, "model.layers.%d.%s.weight", (int)block, part);
    for (i = 0; i < model->n_tensors; i++) {
        if (strcmp(model->tensors[i].name, name) == 0) {
            return model->tensors[i].values;
        }
    }
    must(0, "no tensor", name);
    return NULL;
}

void tiny_model_drop(tiny_model *model, const char *name)
{
    tiny_tensor *tensor = tiny_model_tensor(model, name);
    size_t index = (size_t)(tensor - model->tensors);
    free(tensor->values);
    memmove(tensor, tensor + 1, (model->n_tensors - index - 1) * sizeof *tensor);
    model->n_tensors--;
    tiny_model_lay_out(model);
}

static size_t size_of_type(const char *type)
{
    if (strcmp(type, "F64") == 0) {
        return 8;
    }
    if (strcmp(type, "F32") == 0) {
        return 4;
    }
    return strcmp(type, "I8") == 0 ? 1 : 2;
}

void tiny_model_store_as(tiny_model *model, const char *type)
{
    size_t i;
    for (i = 0; i < model->n_tensors; i++) {
        model->tensors[i].type = type;
    }
    tiny_model_lay_out(model);
}

void tiny_model_lay_out(tiny_model *model)
{
    int64_t at = 0;
    size_t i;
    for (i = 0; i < model->n_tensors; i++) {
        tiny_tensor *tensor = &model->tensors[i];
        tensor->begin = at;
        at += (int64_t)(tensor->n_values * size_of_type(tensor->type));
        tensor->end = at;
    }
}

void tiny_model_write_config(const tiny_model *model, const char *directory, const char *old, const char *new_text)
{
    const tiny_shape *s = &model->shape;
    char text[2048];
    char changed[4096];
    snprintf(text, sizeof text,
             "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n  \"model_type\": \"llama\",\n"
             "  \"hidden_size\": %d,\n  \"num_hidden_layers\": %d,\n  \"num_attention_heads\": %d,\n"
             "  \"num_key_value_heads\": %d,\n  \"head_dim\": %d,\n  \"intermediate_size\": %d,\n"
             "  \"vocab_size\": %d,\n  \"max_position_embeddings\": 64,\n  \"hidden_act\": \"silu\",\n"
             "  \"rms_norm_eps\": 1e-05,\n  \"rope_theta\": 10000.0,\n  \"tie_word_embeddings\": %s\n}\n",
             (int)s->hidden, (int)s->n_blocks, (int)s->heads, (int)s->kv_heads, (int)s->head_size, (int)s->feed_forward,
             (int)s->vocabulary, s->tied ? "true" : "false");
    if (old != NULL) {
        const char *at = strstr(text, old);
        must(at != NULL, "config.json does not have", old);
        snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, new_text, at + strlen(old));
        write_text(directory, "config.json", changed);
    } else {
        write_text(directory, "config.json", text);
    }
}

/* One value in a file's type, little-endian; returns the bytes it takes. Types without floats get zeros. */
static size_t encode(const char *type, float value, unsigned char *out)
{
    size_t size = size_of_type(type);
    uint32_t bits;
    memset(out, 0, 8);
    memcpy(&bits, &value, sizeof bits);
    if (strcmp(type, "BF16") == 0) {
        bits >>= 16; /* exact: the weights fit */
    } else if (strcmp(type, "F16") == 0) {
        uint32_t exponent = (bits >> 23) & 0xFF;
        uint32_t sign = (bits >> 16) & 0x8000;
        bits = exponent == 0 ? sign : sign | ((exponent - 112) << 10) | ((bits >> 13) & 0x3FF); /* normal, in range */
    } else if (strcmp(type, "F32") != 0) {
        return size;
    }
    out[0] = (unsigned char)(bits & 0xFF);
    out[1] = (unsigned char)((bits >> 8) & 0xFF);
    if (size == 4) {
        out[2] = (unsigned char)((bits >> 16) & 0xFF);
        out[3] = (unsigned char)(bits >> 24);
    }
    return size;
}

/* Writes tensors first .. last-1. In a later shard, declared offsets are shifted so that its first begins at 0. */
static void write_tensors(const tiny_model *model, const char *directory, const char *name, size_t first, size_t last)
{
    static char header[1 << 16];
    unsigned char length[8];
    unsigned char bytes[8];
    int64_t base = first < model->n_tensors && first > 0 ? model->tensors[first].begin : 0;
    size_t used = 0;
    size_t i, k;
    FILE *file;

    used += (size_t)snprintf(header, sizeof header, "{\"__metadata__\": {\"format\": \"pt\"}");
    for (i = first; i < last; i++) {
        const tiny_tensor *t = &model->tensors[i];
        used += (size_t)snprintf(header + used, sizeof header - used, ", \"%s\": {\"dtype\": \"%s\", \"shape\": [%lld",
                                 t->name, t->type, (long long)t->shape[0]);
        if (t->n_dimensions == 2) {
            used += (size_t)snprintf(header + used, sizeof header - used, ", %lld", (long long)t->shape[1]);
        }
        used += (size_t)snprintf(header + used, sizeof header - used, "], \"data_offsets\": [%lld, %lld]}",
                                 (long long)(t->begin - base), (long long)(t->end - base));
    }
    used += (size_t)snprintf(header + used, sizeof header - used, "}");
    while (used % 8 != 0) {
        header[used++] = ' ';
    }
    for (i = 0; i < 8; i++) {
        length[i] = (unsigned char)((uint64_t)used >> (8 * i));
    }

    make_directory(directory);
    file = open_in(directory, name, "wb");
    must(fwrite(length, 1, 8, file) == 8 && fwrite(header, 1, used, file) == used, "cannot write", name);
    for (i = first; i < last; i++) {
        const tiny_tensor *t = &model->tensors[i];
        for (k = 0; k < t->n_values; k++) {
            size_t size = encode(t->type, t->values[k], bytes);
            must(fwrite(bytes, 1, size, file) == size, "cannot write", name);
        }
    }
    for (k = 0; k < model->padding; k++) {
        must(fputc(0, file) == 0, "cannot write", name);
    }
    must(fclose(file) == 0, "cannot close", name);
}

void tiny_model_write(const tiny_model *model, const char *directory)
{
    tiny_model_write_config(model, directory, NULL, NULL);
    write_tensors(model, directory, "model.safetensors", 0, model->n_tensors);
}

void tiny_model_write_shards(const tiny_model *model, const char *directory)
{
    static const char *const files[2] = { "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors" };
    size_t middle = model->n_tensors / 2;
    char index[1 << 14];
    size_t used;
    size_t i;
    tiny_model_write_config(model, directory, NULL, NULL);
    write_tensors(model, directory, files[0], 0, middle);
    write_tensors(model, directory, files[1], middle, model->n_tensors);
    used = (size_t)snprintf(index, sizeof index, "{\"metadata\": {\"total_size\": 0}, \"weight_map\": {");
    for (i = 0; i < model->n_tensors; i++) {
        used += (size_t)snprintf(index + used, sizeof index - used, "%s\"%s\": \"%s\"", i == 0 ? "" : ", ",
                                 model->tensors[i].name, files[i < middle ? 0 : 1]);
    }
    snprintf(index + used, sizeof index - used, "}}");
    write_text(directory, "model.safetensors.index.json", index);
}
