/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged and missing weight files: each is refused with a status and a sentence that names file and tensor. */
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "fixture.h"
#include "refusal.h"

static const char weights_file[] = "model.safetensors";

/* A fresh model to damage. */
static tiny_model fresh(void)
{
    tiny_model model;
    tiny_model_make(&model, tiny_default_shape(), 2407);
    return model;
}

static void missing(const refusal_bench *bench)
{
    tiny_model model = fresh();
    REFUSED(bench, "no/such/directory", PRUNE_ERR_FILE, "no/such/directory", "no/such/directory");
    REFUSED(bench, "", PRUNE_ERR_FILE, "", "");
    write_text("plain", "file", "x");
    REFUSED(bench, "plain/file", PRUNE_ERR_FILE, "plain/file", "plain/file"); /* a file, not a directory */

    make_directory("only_weights");
    tiny_model_write(&model, "only_weights");
    remove("only_weights/config.json");
    REFUSED(bench, "only_weights", PRUNE_ERR_FILE, "config.json", "only_weights");

    tiny_model_write_config(&model, "only_config", NULL, NULL);
    REFUSED(bench, "only_config", PRUNE_ERR_FILE, "model.safetensors", "only_config");

    /* A directory where a file should be. */
    tiny_model_write(&model, "config_is_directory");
    remove("config_is_directory/config.json");
    make_directory("config_is_directory/config.json");
    REFUSED(bench, "config_is_directory", PRUNE_ERR_FILE, "config.json", "config_is_directory");
    tiny_model_write_config(&model, "weights_are_directory", NULL, NULL);
    make_directory("weights_are_directory/model.safetensors");
    REFUSED(bench, "weights_are_directory", PRUNE_ERR_FILE, weights_file, "weights_are_directory");
    tiny_model_free(&model);
}

/* A pipe would block a careless reader for ever. */
static void not_a_plain_file(const refusal_bench *bench)
{
    tiny_model model = fresh();
    tiny_model_write_config(&model, "weights_are_pipe", NULL, NULL);
    remove("weights_are_pipe/model.safetensors");
    REQUIRE(mkfifo("weights_are_pipe/model.safetensors", 0600) == 0);
    REFUSED(bench, "weights_are_pipe", PRUNE_ERR_FILE, weights_file, "weights_are_pipe");
    tiny_model_write(&model, "config_is_pipe");
    remove("config_is_pipe/config.json");
    REQUIRE(mkfifo("config_is_pipe/config.json", 0600) == 0);
    REFUSED(bench, "config_is_pipe", PRUNE_ERR_FILE, "config.json", "config_is_pipe");
    tiny_model_free(&model);
}

/* The same file cut off at many places. */
static void truncated(const refusal_bench *bench)
{
    tiny_model model = fresh();
    char part[64];
    char *bytes;
    size_t size, at;
    tiny_model_write(&model, "cut");
    bytes = read_file("cut", weights_file, &size);
    for (at = 0; at < size; at += (at < 16 ? 1 : 997)) {
        write_file("cut", weights_file, bytes, at);
        snprintf(part, sizeof part, "cut/%s", weights_file);
        REFUSED(bench, "cut", PRUNE_ERR_FORMAT, part, weights_file);
    }
    write_file("cut", weights_file, bytes, size - 1);
    REFUSED(bench, "cut", PRUNE_ERR_FORMAT, weights_file, "norm");
    free(bytes);
    tiny_model_free(&model);
}

static void header_lengths(const refusal_bench *bench)
{
    static const uint64_t absurd[] = {
        0,         1, 7, UINT64_C(100000001), UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX - 7,
        UINT64_MAX
    };
    tiny_model model = fresh();
    char *bytes;
    size_t size, i, k;
    tiny_model_write(&model, "length");
    bytes = read_file("length", weights_file, &size);
    for (i = 0; i < sizeof absurd / sizeof absurd[0]; i++) {
        for (k = 0; k < 8; k++) {
            bytes[k] = (char)(unsigned char)(absurd[i] >> (8 * k));
        }
        write_file("length", weights_file, bytes, size);
        REFUSED(bench, "length", PRUNE_ERR_FORMAT, weights_file, "header");
    }
    for (k = 0; k < 8; k++) {
        bytes[k] = (char)(unsigned char)((uint64_t)size >> (8 * k)); /* a little longer than the file */
    }
    write_file("length", weights_file, bytes, size);
    REFUSED(bench, "length", PRUNE_ERR_FORMAT, weights_file, "header");
    free(bytes);
    tiny_model_free(&model);
}

static void header_texts(const refusal_bench *bench)
{
    static const struct {
        const char *header, *part;
    } cases[] = {
        { "{", "JSON" },
        { "[]", "object" },
        { "{\"a\": 3}", "object" },
        { "{\"a\": {}}", "\"a\"" },
        { "{\"a\": {\"dtype\": \"F32\", \"shape\": [1]}}", "data_offsets" },
        { "{\"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0]}}", "data_offsets" },
        { "{\"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [4, 0]}}", "data_offsets" },
        { "{\"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [-4, 0]}}", "header" },
        { "{\"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 4.0]}}", "header" },
        { "{\"a\": {\"dtype\": \"F32\", \"shape\": [-1], \"data_offsets\": [0, 4]}}", "header" },
        { "{\"a\": {\"dtype\": \"F32\", \"shape\": [1e9], \"data_offsets\": [0, 4]}}", "header" },
        { "{\"a\": {\"dtype\": \"F32\", \"shape\": [4294967296, 4294967296], \"data_offsets\": [0, 0]}}", "\"a\"" },
        { "{\"a\": {\"dtype\": \"F32\", \"shape\": [9223372036854775807], \"data_offsets\": [0, 4]}}", "\"a\"" },
        { "{\"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 18446744073709551615]}}", "header" },
        { "{\"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [9223372036854775803, 9223372036854775807]}}",
          "\"a\"" },
        { "{\"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 4]},"
          " \"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [4, 8]}}",
          "twice" },
        { "{\"a\": {\"dtype\": 1, \"shape\": [1], \"data_offsets\": [0, 4]}}", "header" },
        { "{\"__metadata__\": {\"a\": 1}}", "header" },
        { "{\"a\": {\"dtype\": \"\xFF\", \"shape\": [1], \"data_offsets\": [0, 4]}}", "UTF-8" }
    };
    tiny_model model = fresh();
    char bytes[512];
    size_t i, k;
    tiny_model_write_config(&model, "header", NULL, NULL);
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t length = strlen(cases[i].header);
        memset(bytes, 0, sizeof bytes);
        for (k = 0; k < 8; k++) {
            bytes[k] = (char)(unsigned char)(length >> (8 * k));
        }
        memcpy(bytes + 8, cases[i].header, length);
        write_file("header", weights_file, bytes, 8 + length + 8); /* eight bytes of data */
        REFUSED(bench, "header", PRUNE_ERR_FORMAT, weights_file, cases[i].part);
    }
    tiny_model_free(&model);
}

static void offsets(const refusal_bench *bench)
{
    static const char up[] = "model.layers.1.mlp.up_proj.weight";
    static const char norm[] = "model.norm.weight";
    tiny_model model = fresh();

    /* Two tensors share their bytes; the file is as long as its tensors together. */
    tiny_model_tensor(&model, up)->begin = tiny_model_tensor(&model, "model.layers.1.mlp.gate_proj.weight")->begin;
    tiny_model_tensor(&model, up)->end = tiny_model_tensor(&model, "model.layers.1.mlp.gate_proj.weight")->end;
    tiny_model_write(&model, "overlap");
    REFUSED(bench, "overlap", PRUNE_ERR_FORMAT, weights_file, "mlp");

    /* A gap before the last tensor, with the file long enough for it. */
    tiny_model_lay_out(&model);
    tiny_model_tensor(&model, norm)->begin += 16;
    tiny_model_tensor(&model, norm)->end += 16;
    model.padding = 16;
    tiny_model_write(&model, "hole");
    REFUSED(bench, "hole", PRUNE_ERR_FORMAT, weights_file, norm);

    /* The last tensor ends behind the file. */
    model.padding = 0;
    tiny_model_write(&model, "beyond");
    REFUSED(bench, "beyond", PRUNE_ERR_FORMAT, weights_file, norm);

    /* Bytes that belong to no tensor. */
    tiny_model_lay_out(&model);
    model.padding = 8;
    tiny_model_write(&model, "left_over");
    REFUSED(bench, "left_over", PRUNE_ERR_FORMAT, weights_file, "8");

    /* Fewer bytes than the shape needs. */
    model.padding = 0;
    tiny_model_tensor(&model, norm)->end -= 4;
    tiny_model_write(&model, "short");
    REFUSED(bench, "short", PRUNE_ERR_FORMAT, weights_file, norm);
    tiny_model_free(&model);
}

static void tensors(const refusal_bench *bench)
{
    static const char query[] = "model.layers.0.self_attn.q_proj.weight";
    static const char *const types[2] = { "I8", "F64" };
    tiny_model model = fresh();
    size_t i;
    for (i = 0; i < 2; i++) {
        tiny_model_tensor(&model, query)->type = types[i];
        tiny_model_lay_out(&model);
        tiny_model_write(&model, "type");
        REFUSED(bench, "type", PRUNE_ERR_UNSUPPORTED, types[i], query);
    }
    tiny_model_tensor(&model, query)->type = "F32";
    tiny_model_lay_out(&model);

    tiny_model_tensor(&model, query)->shape[0] = 8;
    tiny_model_tensor(&model, query)->shape[1] = 32; /* as many elements, other sides */
    tiny_model_write(&model, "shape");
    REFUSED(bench, "shape", PRUNE_ERR_FORMAT, query, "[8, 32]");
    tiny_model_tensor(&model, query)->n_dimensions = 1;
    tiny_model_tensor(&model, query)->shape[0] = 256;
    tiny_model_write(&model, "rank");
    REFUSED(bench, "rank", PRUNE_ERR_FORMAT, query, "[256]");
    tiny_model_free(&model);

    model = fresh();
    tiny_model_drop(&model, "model.layers.1.mlp.down_proj.weight");
    tiny_model_write(&model, "no_tensor");
    REFUSED(bench, "no_tensor", PRUNE_ERR_FORMAT, "no_tensor", "model.layers.1.mlp.down_proj.weight");
    tiny_model_drop(&model, "model.embed_tokens.weight");
    tiny_model_write(&model, "no_embedding");
    REFUSED(bench, "no_embedding", PRUNE_ERR_FORMAT, "no_embedding", "model.embed_tokens.weight");
    tiny_model_free(&model);

    /* An untied model without a head. */
    model = fresh();
    model.shape.tied = 0;
    tiny_model_write(&model, "no_head");
    REFUSED(bench, "no_head", PRUNE_ERR_FORMAT, "no_head", "lm_head.weight");
    tiny_model_free(&model);
}

static void shards(const refusal_bench *bench)
{
    static const char index_file[] = "model.safetensors.index.json";
    static const struct {
        const char *text, *part;
        prune_status status;
    } cases[] = { { "{", "JSON", PRUNE_ERR_FORMAT },
                  { "[]", "object", PRUNE_ERR_FORMAT },
                  { "{}", "weight_map", PRUNE_ERR_FORMAT },
                  { "{\"weight_map\": []}", "object", PRUNE_ERR_FORMAT },
                  { "{\"weight_map\": {\"model.norm.weight\": 1}}", "string", PRUNE_ERR_FORMAT },
                  { "{\"weight_map\": {\"model.norm.weight\": \"../secret\"}}", "../secret", PRUNE_ERR_FORMAT },
                  { "{\"weight_map\": {\"model.norm.weight\": \"/etc/hostname\"}}", "/etc/hostname",
                    PRUNE_ERR_FORMAT } };
    tiny_model model = fresh();
    size_t i;
    tiny_model_write_shards(&model, "shards");
    remove("shards/model-00002-of-00002.safetensors");
    REFUSED(bench, "shards", PRUNE_ERR_FILE, "shards", "model-00002-of-00002.safetensors");
    tiny_model_write_shards(&model, "shards");
    write_text("shards", index_file,
               "{\"weight_map\": {\"model.embed_tokens.weight\": \"model-00002-of-00002.safetensors\"}}");
    REFUSED(bench, "shards", PRUNE_ERR_FORMAT, index_file, "model.embed_tokens.weight");
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_text("shards", index_file, cases[i].text);
        REFUSED(bench, "shards", cases[i].status, index_file, cases[i].part);
    }
    tiny_model_free(&model);
}

int main(void)
{
    refusal_bench bench;
    refusal_begin(&bench);
    missing(&bench);
    not_a_plain_file(&bench);
    truncated(&bench);
    header_lengths(&bench);
    header_texts(&bench);
    offsets(&bench);
    tensors(&bench);
    shards(&bench);
    fixture_close(&bench.good);
    return check_report();
}
