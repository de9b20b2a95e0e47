/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of weights that change while a model is open. What is cut or written over in place is refused by every call that
 * reads it, naming the file; what another file takes the place of, or is deleted, goes on. With weights in memory nothing
 * of it matters.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "fixture.h"
#include "operations.h"

typedef void (*change_fn)(const char *path);

static const char *const shards[] = { "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors" };

/* Clocks of file systems tick every few milliseconds: a change within the tick of the file's last one cannot be seen. */
static void let_the_clock_tick(void)
{
    const struct timespec pause = { 0, 20 * 1000 * 1000 };
    nanosleep(&pause, NULL);
}

static void cut_to_nothing(const char *path) { REQUIRE(truncate(path, 0) == 0); }

static void cut_in_half(const char *path)
{
    struct stat status;
    REQUIRE(stat(path, &status) == 0 && truncate(path, status.st_size / 2) == 0);
}

static void lengthen(const char *path)
{
    struct stat status;
    REQUIRE(stat(path, &status) == 0 && truncate(path, status.st_size + 1) == 0);
}

/* The same size, other numbers. */
static void write_over(const char *path)
{
    struct stat status;
    int file = open(path, O_WRONLY);
    REQUIRE(file >= 0 && fstat(file, &status) == 0);
    REQUIRE(pwrite(file, "\x3f", 1, status.st_size - 1) == 1);
    close(file);
}

static void replace(const char *path)
{
    char beside[256];
    FILE *file;
    snprintf(beside, sizeof beside, "%s.new", path);
    file = fopen(beside, "w");
    REQUIRE(file && fputs("another file", file) >= 0 && fclose(file) == 0);
    REQUIRE(rename(beside, path) == 0);
}

static void delete_it(const char *path) { REQUIRE(unlink(path) == 0); }

static prune_model *open_with(const char *directory, prune_weights weights)
{
    prune_model_options options = PRUNE_MODEL_OPTIONS_INIT;
    prune_model *model = NULL;
    options.weights = weights;
    CHECK_OK(prune_model_open(directory, &options, &model));
    REQUIRE(model);
    return model;
}

/* A fresh model, whose weights are in one file or in shards. Returns the path of the file that is to change. */
static const char *write_model(const char *directory, int in_shards)
{
    static char path[256];
    tiny_model weights;
    tiny_model_make(&weights, tiny_default_shape(), 2407);
    if (in_shards) {
        tiny_model_write_shards(&weights, directory);
    } else {
        tiny_model_write(&weights, directory);
    }
    tiny_model_free(&weights);
    snprintf(path, sizeof path, "%s/%s", directory, in_shards ? shards[1] : "model.safetensors");
    let_the_clock_tick();
    return path;
}

/* What every operation gives on a model that nothing happens to. */
static double expected[OPERATIONS][OPERATION_VALUES];
static size_t n_expected[OPERATIONS];

static void compute_expected(const prune_data *data)
{
    prune_model *model;
    size_t i;
    write_model("expected", 0);
    model = open_with("expected", PRUNE_WEIGHTS_MAPPED);
    for (i = 0; i < OPERATIONS; i++) {
        CHECK_OK(operations[i].run(model, data, expected[i], &n_expected[i]));
    }
    prune_model_release(model);
}

static void all_as_expected(const prune_model *model, const prune_data *data)
{
    static double values[OPERATION_VALUES];
    size_t i, count;
    for (i = 0; i < OPERATIONS; i++) {
        CHECK_OK(operations[i].run(model, data, values, &count));
        CHECK(count == n_expected[i] && memcmp(values, expected[i], count * sizeof *values) == 0);
    }
}

static void changed(const prune_data *data, change_fn change, int in_shards, int is_harmless)
{
    static double values[OPERATION_VALUES];
    const char *path = write_model("changed", in_shards);
    prune_model *mapped = open_with("changed", PRUNE_WEIGHTS_MAPPED);
    prune_model *held = open_with("changed", PRUNE_WEIGHTS_MEMORY);
    prune_export_options export_options = PRUNE_EXPORT_OPTIONS_INIT;
    prune_score_options magnitude = PRUNE_SCORE_OPTIONS_INIT;
    size_t i, count;
    change(path);
    all_as_expected(held, data);
    if (is_harmless) {
        all_as_expected(mapped, data);
    } else {
        for (i = 0; i < OPERATIONS; i++) {
            CHECK_FAILS(operations[i].run(mapped, data, values, &count), PRUNE_ERR_FILE, path);
            CHECK(strstr(prune_last_error(), "since it was opened") != NULL);
        }
        magnitude.metrics = PRUNE_METRIC_MAGNITUDE;
        CHECK_FAILS(prune_model_score(mapped, data, &magnitude, values, OPERATION_VALUES, NULL), PRUNE_ERR_FILE, path);
        CHECK_FAILS(prune_model_export(mapped, NULL, 0, NULL, "exported", &export_options), PRUNE_ERR_FILE, path);
        CHECK(access("exported", F_OK) != 0);
    }
    prune_model_release(mapped);
    prune_model_release(held);
    unlink(path);
}

/* Changes a file at the given call of the callback. */
typedef struct in_the_middle {
    change_fn change;
    const char *path;
    int calls_before;
} in_the_middle;

static int32_t change_now(void *user_data, const prune_progress *progress)
{
    in_the_middle *own = user_data;
    (void)progress;
    if (own->calls_before-- == 0) {
        own->change(own->path);
    }
    return 0;
}

static void changed_during_a_call(const prune_data *data, change_fn change, int in_shards)
{
    double values[OPERATION_VALUES];
    size_t count;
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    in_the_middle own = { change, write_model("during", in_shards), 0 };
    prune_model *model = open_with("during", PRUNE_WEIGHTS_MAPPED);
    options.metrics = PRUNE_METRIC_COSINE;
    CHECK_OK(prune_model_score(model, data, &options, values, OPERATION_VALUES, &count));
    options.progress = change_now;
    options.user_data = &own;
    options.metrics = PRUNE_METRIC_LEAVE_ONE_OUT_LOSS;
    CHECK_FAILS(prune_model_score(model, data, &options, values, OPERATION_VALUES, &count), PRUNE_ERR_FILE, own.path);
    CHECK(own.calls_before < 0);
    prune_model_release(model);
    unlink(own.path);
}

static void options_are_checked(void)
{
    prune_model_options options = PRUNE_MODEL_OPTIONS_INIT;
    prune_model *model = NULL;
    write_model("plain", 0);
    options.weights = 2;
    CHECK_FAILS(prune_model_open("plain", &options, &model), PRUNE_ERR_ARGUMENT, "options.weights");
    options.weights = -1;
    CHECK_FAILS(prune_model_open("plain", &options, &model), PRUNE_ERR_ARGUMENT, "options.weights");
    options.weights = PRUNE_WEIGHTS_MEMORY;
    options.reserved = 1;
    CHECK_FAILS(prune_model_open("plain", &options, &model), PRUNE_ERR_ARGUMENT, "options.reserved");
    options.reserved = 0;
    {
        prune_tensor tensor = { 0 };
        static const float values[1] = { 0.0f };
        static const int64_t shape[1] = { 1 };
        tensor.name = "x";
        tensor.data = values;
        tensor.n_dimensions = 1;
        tensor.shape = shape;
        CHECK_FAILS(prune_model_from_tensors("{}", &tensor, 1, &options, &model), PRUNE_ERR_ARGUMENT,
                    "options.weights");
    }
}

int main(void)
{
    static const struct {
        change_fn change;
        int is_harmless;
    } changes[] = { { cut_to_nothing, 0 }, { cut_in_half, 0 }, { lengthen, 0 },
                    { write_over, 0 },     { replace, 1 },     { delete_it, 1 } };
    prune_data *data = NULL;
    size_t i;
    int in_shards;
    CHECK_OK(prune_data_create(fixture_ids, fixture_lengths, FIXTURE_SEQUENCES, NULL, &data));
    compute_expected(data);
    for (i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        for (in_shards = 0; in_shards < 2; in_shards++) {
            changed(data, changes[i].change, in_shards, changes[i].is_harmless);
            if (!changes[i].is_harmless) {
                changed_during_a_call(data, changes[i].change, in_shards);
            }
        }
    }
    options_are_checked();
    prune_data_release(data);
    return check_report();
}
