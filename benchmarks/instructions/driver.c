/* SPDX-License-Identifier: Apache-2.0
 * Goes through the hot loops of the library once each, for callgrind to count their instructions.
 *
 *   driver MODEL_DIRECTORY TOKENS_FILE
 *
 * Between two phases the counters are dumped under the phase's name and set to zero. One thread, few tokens, and
 * numbers that are the same every time, so that two runs count the same. Outside valgrind it runs and counts nothing.
 */
#include <prunecore.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

enum {
    TOKENS = 48,
    FEW_TOKENS = 12,
    NEW_TOKENS = 8,
    PLAYERS = 16,
    BUDGET = 128,
    MASKS = 6
};
enum {
    MOST_SUBLAYERS = 64,
    MOST_SCORES = 1024
};

static void check(prune_status status, const char *doing)
{
    if (status == PRUNE_OK) return;
    fprintf(stderr, "%s: %s: %s\n", doing, prune_status_name(status), prune_last_error());
    exit(1);
}

/* Ends a phase: its counts go to a file of their own. What happens between phases is thrown away by begin(). */
#define begin() CALLGRIND_ZERO_STATS
#define end(name) CALLGRIND_DUMP_STATS_AT(name)

static prune_data *read_tokens(const char *path, int64_t count)
{
    int32_t ids[TOKENS];
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    for (int64_t i = 0; i < count; i++) {
        if (fscanf(file, "%d", &ids[i]) != 1) {
            fprintf(stderr, "%s: fewer than %d token ids\n", path, (int)count);
            exit(1);
        }
    }
    fclose(file);
    prune_data *data = NULL;
    check(prune_data_create(ids, &count, 1, NULL, &data), "data");
    return data;
}

static void evaluate(const prune_model *model, const prune_data *data, const char *name)
{
    prune_evaluation found;
    begin();
    check(prune_model_evaluate(model, data, NULL, 1, 0, NULL, &found), name);
    end(name);
    if (!(found.loss > 0 && found.loss < 20)) {
        fprintf(stderr, "loss is %g\n", found.loss);
        exit(1);
    }
}

static void token_losses(const prune_model *model, const prune_data *data)
{
    float losses[TOKENS];
    size_t count = 0;
    begin();
    check(prune_model_token_losses(model, data, NULL, 0, NULL, losses, TOKENS, &count), "token losses");
    end("token losses");
}

static void score(const prune_model *model, const prune_data *data, uint64_t metrics, const char *name)
{
    static double scores[MOST_SCORES];
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    size_t count = 0;
    options.metrics = metrics;
    begin();
    check(prune_model_score(model, data, &options, scores, MOST_SCORES, &count), name);
    end(name);
}

/* Distances of the logits under some masks: each lacks one sublayer more, from the last one on. */
static void damages(const prune_model *model, const prune_data *data, prune_measure measure, size_t sublayers,
                    const char *name)
{
    uint8_t masks[MASKS * MOST_SUBLAYERS];
    double values[MASKS];
    prune_coalition_options options = PRUNE_COALITION_OPTIONS_INIT;
    options.measure = measure;
    options.memory_budget = (int64_t)64 << 20; /* not that of the machine, which would decide what is computed again */
    memset(masks, 1, sizeof masks);
    for (size_t m = 0; m < MASKS; m++)
        for (size_t u = 0; u < m; u++) masks[m * sublayers + sublayers - 1 - u] = 0;
    begin();
    check(prune_model_damages(model, data, masks, MASKS, sublayers, &options, values, NULL), name);
    end(name);
}

static void generate(const prune_model *model, const prune_data *prompts)
{
    prune_generate_options options = PRUNE_GENERATE_OPTIONS_INIT;
    prune_generation *generation = NULL;
    prune_generation_summary report = PRUNE_GENERATION_SUMMARY_INIT;
    options.max_new_tokens = NEW_TOKENS;
    begin();
    check(prune_model_generate(model, prompts, NULL, 0, &options, &generation), "generate");
    end("generation");
    check(prune_generation_info(generation, &report), "generate");
    if (report.new_tokens != NEW_TOKENS) {
        fprintf(stderr, "%d new tokens instead of %d\n", (int)report.new_tokens, NEW_TOKENS);
        exit(1);
    }
    prune_generation_release(generation);
}

/* A game with a known worth: players add different amounts, and some of them in pairs. */
static double worth(const uint8_t *mask)
{
    double sum = 0;
    for (int i = 0; i < PLAYERS; i++) sum += mask[i] ? 1.0 / (1 + i) : 0;
    for (int i = 0; i + 1 < PLAYERS; i += 2) sum += mask[i] && mask[i + 1] ? 0.1 * (i % 5) : 0;
    return log1p(sum);
}

static void play(prune_estimator estimator, const char *name)
{
    static uint8_t masks[BUDGET * PLAYERS];
    double values[PLAYERS], errors[PLAYERS];
    prune_game_options options = PRUNE_GAME_OPTIONS_INIT;
    prune_game_state state = PRUNE_GAME_STATE_INIT;
    prune_game *game = NULL;
    options.estimator = estimator;
    options.budget = BUDGET;
    begin();
    check(prune_game_create(PLAYERS, &options, &game), name);
    do {
        double worths[BUDGET];
        size_t count = 0;
        check(prune_game_ask(game, BUDGET, masks, &count), name);
        for (size_t m = 0; m < count; m++) worths[m] = worth(masks + m * PLAYERS);
        check(prune_game_tell(game, masks, worths, count), name);
        check(prune_game_info(game, &state), name);
    } while (!state.done);
    check(prune_game_result(game, values, errors, PLAYERS, NULL), name);
    end(name);
    prune_game_release(game);
}

int main(int argc, char **argv)
{
    prune_runtime runtime = PRUNE_RUNTIME_INIT;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    prune_model *model = NULL;
    if (argc != 3) {
        fprintf(stderr, "usage: driver MODEL_DIRECTORY TOKENS_FILE\n");
        return 2;
    }
    check(prune_threads_set(1), "threads");
    check(prune_runtime_info(&runtime), "runtime");
    printf("cpu: %s\nblas: %s\n", runtime.cpu_features, runtime.blas_kernels);
    begin();
    check(prune_model_open(argv[1], NULL, &model), "open");
    end("open");
    check(prune_model_info(model, &shape), "info");
    size_t sublayers = 2 * (size_t)shape.n_blocks;
    if (sublayers > MOST_SUBLAYERS) {
        fprintf(stderr, "the model has more than %d sublayers\n", MOST_SUBLAYERS);
        return 1;
    }
    prune_data *data = read_tokens(argv[2], TOKENS), *few = read_tokens(argv[2], FEW_TOKENS);
    /* The first pass does what is done once only, such as tables and packing weights. */
    evaluate(model, few, "first forward and loss");
    evaluate(model, data, "forward and loss");
    token_losses(model, data);
    score(model, data, PRUNE_METRIC_ALL_STATIC, "static metrics");
    score(model, few, PRUNE_METRIC_LEAVE_ONE_OUT_LOSS, "leave-one-out");
    damages(model, few, PRUNE_MEASURE_KL, sublayers, "masks, KL divergence");
    damages(model, few, PRUNE_MEASURE_JS, sublayers, "masks, JS divergence");
    generate(model, few);
    play(PRUNE_ESTIMATOR_SURROGATE, "Shapley, surrogate");
    play(PRUNE_ESTIMATOR_KERNEL_SHAP, "Shapley, KernelSHAP");
    play(PRUNE_ESTIMATOR_STRATIFIED, "Shapley, stratified");
    prune_data_release(few);
    prune_data_release(data);
    prune_model_release(model);
    return 0;
}
