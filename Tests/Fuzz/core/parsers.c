/* SPDX-License-Identifier: Apache-2.0 */
#include "parsers.h"

#include "changes.h"
#include "executions.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../CAPI/support/lent.h"

/* What executions share. */
fixture bench;
static lent_model lent;

void expect_status(int status, const char *call)
{
    if (status < 0 || status > PRUNE_ERR_HOST || status == PRUNE_ERR_INTERNAL) {
        fprintf(stderr, "%s gave status %d: %s\n", call, status, prune_last_error());
        abort();
    }
    if (status != PRUNE_OK && prune_last_error()[0] == 0) {
        fprintf(stderr, "%s failed with %s and says nothing\n", call, prune_status_name(status));
        abort();
    }
}

#define EXPECT(call) expect_status((call), #call)

void write_input(const input *in, const char *path)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    size_t done = 0;
    while (file >= 0 && done < in->n) {
        ssize_t n = write(file, in->bytes + done, in->n - done);
        if (n <= 0) {
            break;
        }
        done += (size_t)n;
    }
    if (file < 0 || close(file) != 0 || done != in->n) {
        perror(path);
        exit(2);
    }
}

void read_input(input *in, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    in->n = fread(in->bytes, 1, INPUT_MOST, file);
    in->bytes[in->n] = 0;
    fclose(file);
}

/* What a model that opened must do: say its shape and its plan, and compute. */
static void use_model(const prune_model *model)
{
    static double scores[1 << 14];
    static char plan[1 << 16];
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    prune_evaluation evaluation;
    EXPECT(prune_model_info(model, &shape));
    EXPECT(prune_model_plan(model, plan, sizeof plan, NULL));
    EXPECT(prune_model_evaluate(model, bench.data, NULL, 1, 0, NULL, &evaluation));
    if (shape.n_blocks <= 8) {
        prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
        options.metrics = PRUNE_METRIC_COSINE | PRUNE_METRIC_MAGNITUDE;
        EXPECT(prune_model_score(model, bench.data, &options, scores, 1 << 14, NULL));
    }
}

static void execute_config(const input *in)
{
    prune_model *model = NULL;
    int status = prune_model_from_tensors((const char *)in->bytes, lent.tensors, lent.n_tensors, NULL, &model);
    expect_status(status, "prune_model_from_tensors");
    if (status == PRUNE_OK) {
        use_model(model);
    }
    prune_model_release(model);
}

static void open_directory(const char *directory)
{
    prune_model *model = NULL;
    int status = prune_model_open(directory, NULL, &model);
    expect_status(status, "prune_model_open");
    if (status == PRUNE_OK) {
        use_model(model);
    }
    prune_model_release(model);
}

static void execute_tensors(const input *in)
{
    write_input(in, "one/model.safetensors");
    open_directory("one");
}

static void execute_gguf(const input *in)
{
    write_input(in, "model.gguf");
    open_directory("model.gguf");
}

static void execute_index(const input *in)
{
    write_input(in, "shards/model.safetensors.index.json");
    open_directory("shards");
}

static void execute_mask(const input *in)
{
    static uint8_t keep[8192];
    size_t count;
    static char edits[2 * INPUT_MOST];
    EXPECT(prune_mask_from_json((const char *)in->bytes, keep, sizeof keep, &count));
    EXPECT(prune_edited_mask_from_json((const char *)in->bytes, keep, sizeof keep, &count, edits, sizeof edits, NULL));
}

static void execute_provenance(const input *in)
{
    static const uint8_t keep[4] = { 1, 0, 1, 1 };
    static char text[2 * INPUT_MOST];
    uint8_t again[4];
    size_t count;
    int status = prune_mask_to_json(keep, 4, (const char *)in->bytes, text, sizeof text, &count);
    expect_status(status, "prune_mask_to_json");
    if (status == PRUNE_OK && (prune_mask_from_json(text, again, 4, NULL) != PRUNE_OK || memcmp(keep, again, 4) != 0)) {
        fprintf(stderr, "a mask that was written is not read: %s\n", prune_last_error());
        abort();
    }
}

static void execute_game(const input *in)
{
    static double values[8192], errors[8192], square[4096];
    static uint8_t masks[4 * 8192], again[INPUT_MOST];
    prune_game *game = NULL, *loaded = NULL;
    prune_game_state state = PRUNE_GAME_STATE_INIT;
    size_t count = 0, i;
    int status = prune_game_load(in->bytes, in->n, &game);
    expect_status(status, "prune_game_load");
    if (status != PRUNE_OK) {
        return;
    }
    EXPECT(prune_game_info(game, &state));
    if (state.n_players > 0 && state.n_players <= 64) {
        EXPECT(prune_game_result(game, values, errors, 8192, NULL));
        EXPECT(prune_game_strata(game, square, 4096, &count));
        EXPECT(prune_game_interactions(game, square, 4096, &count));
        EXPECT(prune_game_ask(game, 4, masks, &count));
        for (i = 0; i < count; i++) {
            double worth = (double)i;
            EXPECT(prune_game_tell(game, masks + i * (size_t)state.n_players, &worth, 1));
        }
    }
    if (prune_game_save(game, again, sizeof again, &count) == PRUNE_OK) {
        if (prune_game_load(again, count, &loaded) != PRUNE_OK) {
            fprintf(stderr, "a game that was saved is not loaded: %s\n", prune_last_error());
            abort();
        }
        prune_game_release(loaded);
    }
    prune_game_release(game);
}

static void execute_search(const input *in)
{
    static uint8_t masks[8 * 8192], again[INPUT_MOST];
    prune_search *search = NULL, *loaded = NULL;
    size_t count = 0;
    double share;
    int status = prune_search_load(in->bytes, in->n, &search);
    expect_status(status, "prune_search_load");
    if (status != PRUNE_OK) {
        return;
    }
    EXPECT(prune_search_ask(search, 8, masks, &count, &share));
    if (prune_search_save(search, again, sizeof again, &count) == PRUNE_OK) {
        if (prune_search_load(again, count, &loaded) != PRUNE_OK) {
            fprintf(stderr, "a search that was saved is not loaded: %s\n", prune_last_error());
            abort();
        }
        prune_search_release(loaded);
    }
    prune_search_release(search);
}

static void execute_adapters(const input *in)
{
    static input part;
    prune_adapters *adapters = NULL, *again = NULL;
    prune_model *attached = NULL;
    size_t length = in->n >= 8 ? (size_t)number_at(in->bytes) : 0;
    int status;
    if (in->n < 8 || length > in->n - 8) {
        return;
    }
    part.n = 0;
    input_replace(&part, 0, 0, in->bytes + 8, length);
    write_input(&part, "adapters/adapters.json");
    part.n = 0;
    input_replace(&part, 0, 0, in->bytes + 8 + length, in->n - 8 - length);
    write_input(&part, "adapters/adapters.safetensors");
    status = prune_adapters_load("adapters", &adapters);
    expect_status(status, "prune_adapters_load");
    if (status == PRUNE_OK) {
        if (prune_adapters_save(adapters, "saved", NULL) != PRUNE_OK ||
            prune_adapters_load("saved", &again) != PRUNE_OK) {
            fprintf(stderr, "adapters that loaded are not saved and loaded again: %s\n", prune_last_error());
            abort();
        }
        EXPECT(prune_model_attach(bench.model, adapters, &attached));
    }
    prune_model_release(attached);
    prune_adapters_release(adapters);
    prune_adapters_release(again);
}

prune_recover_options training_options(void)
{
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    options.kind = PRUNE_ADAPTER_BIAS;
    options.objective = PRUNE_OBJECTIVE_KL;
    options.start = PRUNE_START_ZERO;
    options.steps = 1;
    options.step_tokens = 8;
    options.held_out = bench.data;
    options.checkpoint = "training";
    return options;
}

const uint8_t training_keep[FIXTURE_SUBLAYERS] = { 1, 0, 0, 1 };

static void execute_training(const input *in)
{
    prune_recover_options options = training_options();
    prune_adapters *adapters = NULL;
    write_input(in, "training");
    EXPECT(prune_model_recover(bench.model, bench.data, training_keep, FIXTURE_SUBLAYERS, &options, &adapters));
    prune_adapters_release(adapters);
}

/* Numbers of a list of tensors are replaced by what the bytes say. No stride leads beyond the memory that there is. */
static void execute_arguments(const input *in)
{
    static const int64_t numbers[] = {
        0, -1, 1, 2, 3, 16, 24, 32, INT64_MAX, INT64_MIN, INT64_MAX / 2, INT32_MAX, -16
    };
    static lent_model own;
    prune_model *model = NULL;
    size_t at, n_numbers = sizeof numbers / sizeof *numbers, n;
    int status;
    memcpy(&own, &lent, sizeof own);
    for (at = 0; at < own.n_tensors; at++) {
        own.tensors[at].shape = own.shapes[at];
    }
    n = own.n_tensors;
    for (at = 0; at + 3 < in->n && at < 16; at += 4) {
        size_t index = in->bytes[at] % own.n_tensors;
        int64_t number = numbers[in->bytes[at + 2] % n_numbers];
        prune_tensor *tensor = &own.tensors[index];
        switch (in->bytes[at + 1] % 9) {
        case 0:
            own.shapes[index][in->bytes[at + 3] % 2] = number;
            break;
        case 1: /* a stride that goes beyond any memory, or not beyond a row */
            own.strides[index][in->bytes[at + 3] % 2] = number == INT32_MAX ? INT64_MAX : number;
            tensor->strides = own.strides[index];
            break;
        case 2:
            tensor->n_dimensions = (int32_t)number;
            if (tensor->n_dimensions > 2) {
                tensor->n_dimensions = 0;
            }
            break;
        case 3:
            tensor->element_type = in->bytes[at + 2] % 2 ? 7 : -1;
            break;
        case 4:
            tensor->data = NULL;
            break;
        case 5:
            tensor->name = in->bytes[at + 2] % 2 ? NULL : "";
            break;
        case 6:
            tensor->name = own.tensors[in->bytes[at + 2] % own.n_tensors].name;
            break;
        case 7:
            tensor->shape = NULL;
            break;
        default:
            n = in->bytes[at + 2] % (own.n_tensors + 1);
        }
    }
    status = prune_model_from_tensors(own.config, own.tensors, n, NULL, &model);
    expect_status(status, "prune_model_from_tensors");
    if (status == PRUNE_OK) {
        use_model(model);
    }
    prune_model_release(model);
}

/* Rows of activations whose layout the bytes say, inside memory that is large enough for it. */
static void execute_rows(const input *in)
{
    static float memory[3][4096];
    static const int64_t strides[] = { 0, 1, 2, 16, 17, 32, -1, -16, INT64_MAX, INT64_MIN, INT64_MAX / 8 };
    static double scores[4096];
    prune_statistics *statistics = NULL;
    prune_rows rows[2];
    size_t i;
    if (in->n < 16 || prune_statistics_create(2, NULL, &statistics) != PRUNE_OK) {
        return;
    }
    for (i = 0; i < 2; i++) {
        const unsigned char *own = in->bytes + 8 * i;
        memset(&rows[i], 0, sizeof rows[i]);
        rows[i].data = own[0] % 16 == 0 ? NULL : (const char *)memory[1] + own[0] % 4;
        rows[i].element_type = own[1] % 8 < 3 ? own[1] % 8 : own[1] % 16 == 15 ? 9 : 0;
        rows[i].n_rows = own[2] % 32 == 31 ? INT64_MAX : own[2] % 32 == 30 ? -1 : own[2] % 9;
        rows[i].width = own[3] % 32 == 31 ? INT64_MAX : own[3] % 32 == 30 ? -1 : 16;
        rows[i].row_stride = strides[own[4] % (sizeof strides / sizeof *strides)];
        rows[i].column_stride = strides[own[5] % (sizeof strides / sizeof *strides)];
        rows[i].reserved = own[6] % 32 == 0;
    }
    EXPECT(prune_statistics_update(statistics, (prune_granularity)(in->bytes[7] % 5), in->bytes[15] % 5, &rows[0],
                                   &rows[1]));
    EXPECT(prune_statistics_scores(statistics, NULL, scores, 4096, NULL));
    prune_statistics_release(statistics);
}

/* A directory whose configuration is odd, exported if it opens, in the format that its length gives. */
static void execute_export(const input *in)
{
    prune_model *model = NULL;
    prune_export_options options = PRUNE_EXPORT_OPTIONS_INIT;
    int status;
    write_input(in, "export/config.json");
    status = prune_model_open("export", NULL, &model);
    expect_status(status, "prune_model_open");
    if (status == PRUNE_OK) {
        options.replace = 1;
        options.format = (prune_format)(in->n % 4);
        EXPECT(prune_model_export(model, training_keep, FIXTURE_SUBLAYERS, NULL, "exported", &options));
    }
    prune_model_release(model);
}

void prepare_executions(void)
{
    const lent_layout layout = { PRUNE_ELEMENT_FLOAT32, 0, 0 };
    if (prune_threads_set(1) != PRUNE_OK) {
        exit(2);
    }
    fixture_open(&bench, "bench");
    if (!bench.model || !bench.data) {
        fprintf(stderr, "no model to execute with: %s\n", prune_last_error());
        exit(2);
    }
    lent_make(&lent, &bench.weights, "bench", layout);
    tiny_model_write(&bench.weights, "one");
    tiny_model_write(&bench.weights, "export");
    tiny_model_write_shards(&bench.weights, "shards");
    make_directory("adapters");
}

const parser parsers[] = {
    { "config", mutate_text, execute_config, 4000 },
    { "safetensors", mutate_tensors, execute_tensors, 2000 },
    { "gguf", mutate_gguf, execute_gguf, 2000 },
    { "index", mutate_text, execute_index, 2000 },
    { "mask", mutate_text, execute_mask, 8000 },
    { "provenance", mutate_text, execute_provenance, 8000 },
    { "adapters", mutate_adapters, execute_adapters, 1000 },
    { "training", mutate_checkpoint, execute_training, 500 },
    { "game", mutate_sealed, execute_game, 2000 },
    { "search", mutate_sealed, execute_search, 2000 },
    { "arguments", mutate_plain, execute_arguments, 4000 },
    { "rows", mutate_plain, execute_rows, 8000 },
    { "export", mutate_text, execute_export, 500 },
};

const size_t n_parsers = sizeof parsers / sizeof *parsers;
