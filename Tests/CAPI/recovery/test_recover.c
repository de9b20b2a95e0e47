/* SPDX-License-Identifier: Apache-2.0 */
/* prune_model_recover(): closed forms by their definitions, training, cancelling, going on from a checkpoint, refusals. */
#include "recovery.h"

#define H FIXTURE_HIDDEN

static fixture f;

/* Hidden states of the full model before a sublayer. */
static void full_states(int64_t sublayer, float *states)
{
    CHECK_OK(prune_model_hidden_states(f.model, f.data, NULL, 0, sublayer, NULL, states, FIXTURE_TOKENS * H, NULL));
}

static prune_recover_options along_full_model(prune_adapter_kind kind)
{
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    options.kind = kind;
    options.stream = PRUNE_STREAM_FULL_MODEL;
    options.input = PRUNE_INPUT_RAW;
    options.held_out = f.data;
    options.ridge = 0.25;
    return options;
}

/* The bias is the mean update. */
static void mean_update(void)
{
    static float before[FIXTURE_TOKENS * H], after[FIXTURE_TOKENS * H], bias[H];
    prune_recover_options options = along_full_model(PRUNE_ADAPTER_BIAS);
    prune_adapters *adapters = NULL;
    int64_t sublayer, t;
    int i;
    CHECK_OK(prune_model_recover(f.model, f.data, recovery_keep, 4, &options, &adapters));
    for (sublayer = 1; sublayer <= 2; sublayer++) {
        full_states(sublayer, before);
        full_states(sublayer + 1, after);
        recovery_part(adapters, sublayer, PRUNE_PART_BIAS, bias, H);
        for (i = 0; i < H; i++) {
            double mean = 0.0;
            for (t = 0; t < FIXTURE_TOKENS; t++) {
                mean += ((double)after[t * H + i] - (double)before[t * H + i]) / FIXTURE_TOKENS;
            }
            CHECK_NEAR(bias[i], mean, 1e-5 * (1.0 + fabs(mean)));
        }
    }
    prune_adapters_release(adapters);
}

/* The matrix W of the ridge regression solves W (S_xx + l) = S_ux with l = ridge * mean of the diagonal of S_xx. */
static void normal_equations(void)
{
    static float before[FIXTURE_TOKENS * H], after[FIXTURE_TOKENS * H], bias[H], matrix[H * H];
    static double covariance[H][H], cross[H][H];
    double mean_x[H] = { 0 }, mean_u[H] = { 0 }, trace = 0.0;
    prune_recover_options options = along_full_model(PRUNE_ADAPTER_LINEAR);
    prune_adapters *adapters = NULL;
    int64_t t;
    int i, j, k;
    CHECK_OK(prune_model_recover(f.model, f.data, recovery_keep, 4, &options, &adapters));
    full_states(2, before);
    full_states(3, after);
    recovery_part(adapters, 2, PRUNE_PART_BIAS, bias, H);
    recovery_part(adapters, 2, PRUNE_PART_MATRIX, matrix, H * H);
    for (t = 0; t < FIXTURE_TOKENS; t++) {
        for (i = 0; i < H; i++) {
            mean_x[i] += (double)before[t * H + i] / FIXTURE_TOKENS;
            mean_u[i] += ((double)after[t * H + i] - (double)before[t * H + i]) / FIXTURE_TOKENS;
        }
    }
    for (t = 0; t < FIXTURE_TOKENS; t++) {
        for (i = 0; i < H; i++) {
            double x = (double)before[t * H + i] - mean_x[i];
            double u = (double)after[t * H + i] - (double)before[t * H + i] - mean_u[i];
            for (j = 0; j < H; j++) {
                double y = (double)before[t * H + j] - mean_x[j];
                covariance[i][j] += x * y / FIXTURE_TOKENS;
                cross[i][j] += u * y / FIXTURE_TOKENS;
            }
        }
    }
    for (i = 0; i < H; i++) {
        trace += covariance[i][i];
    }
    for (i = 0; i < H; i++) {
        double expected = mean_u[i];
        for (j = 0; j < H; j++) {
            double sum = 0.25 * trace / H * (double)matrix[i * H + j];
            for (k = 0; k < H; k++) {
                sum += (double)matrix[i * H + k] * covariance[k][j];
            }
            CHECK_NEAR(sum, cross[i][j], 1e-4 * (1.0 + fabs(cross[i][j])));
            expected -= (double)matrix[i * H + j] * mean_x[j];
        }
        CHECK_NEAR(bias[i], expected, 1e-4 * (1.0 + fabs(expected)));
    }
    prune_adapters_release(adapters);
}

/* A low rank as great as the hidden size is the whole matrix. */
static void full_rank(void)
{
    static float whole[H * H], down[H * H], up[H * H];
    prune_adapters *linear = NULL, *low = NULL;
    prune_recover_options options = along_full_model(PRUNE_ADAPTER_LINEAR);
    int i, j, k;
    CHECK_OK(prune_model_recover(f.model, f.data, recovery_keep, 4, &options, &linear));
    options.kind = PRUNE_ADAPTER_LOW_RANK;
    options.rank = H;
    CHECK_OK(prune_model_recover(f.model, f.data, recovery_keep, 4, &options, &low));
    recovery_part(linear, 1, PRUNE_PART_MATRIX, whole, H * H);
    recovery_part(low, 1, PRUNE_PART_DOWN, down, H * H);
    recovery_part(low, 1, PRUNE_PART_UP, up, H * H);
    for (i = 0; i < H; i++) {
        for (j = 0; j < H; j++) {
            double sum = 0.0;
            for (k = 0; k < H; k++) {
                sum += (double)up[i * H + k] * (double)down[k * H + j];
            }
            CHECK_NEAR(sum, whole[i * H + j], 1e-4);
        }
    }
    prune_adapters_release(linear);
    prune_adapters_release(low);
}

/* A block that is removed whole: which of its sublayers get an adapter, and that it emulates the block. */
static void whole_blocks(void)
{
    static const uint8_t without[4] = { 1, 1, 0, 0 };
    static const int64_t places[3][2] = { { 2, -1 }, { 3, -1 }, { 2, 3 } };
    static float before[FIXTURE_TOKENS * H], after[FIXTURE_TOKENS * H], bias[H];
    prune_recover_options options = along_full_model(PRUNE_ADAPTER_BIAS);
    int32_t slot;
    full_states(2, before);
    full_states(4, after);
    for (slot = 0; slot < 3; slot++) {
        prune_adapters *adapters = NULL;
        prune_adapter list[4];
        size_t count = 0;
        options.block_slot = slot;
        CHECK_OK(prune_model_recover(f.model, f.data, without, 4, &options, &adapters));
        CHECK_OK(prune_adapters_list(adapters, list, 4, &count));
        CHECK(count == (slot == PRUNE_SLOT_BOTH ? 2 : 1) && list[0].sublayer == places[slot][0]);
        if (slot != PRUNE_SLOT_BOTH) {
            double mean = 0.0;
            int64_t t;
            recovery_part(adapters, list[0].sublayer, PRUNE_PART_BIAS, bias, H);
            for (t = 0; t < FIXTURE_TOKENS; t++) {
                mean += ((double)after[t * H] - (double)before[t * H]) / FIXTURE_TOKENS;
            }
            CHECK_NEAR(bias[0], mean, 1e-5 * (1.0 + fabs(mean)));
        }
        prune_adapters_release(adapters);
    }
}

typedef struct watch {
    int calls, faults, stop_at;
} watch;

static int32_t on_step(void *user_data, const prune_training_progress *p)
{
    watch *w = user_data;
    w->calls++;
    w->faults += p->struct_size != sizeof *p || p->reserved != 0 || p->step != w->calls || p->steps != 40;
    w->faults += !(p->loss > 0.0) || !(p->best_loss <= p->held_out_loss) || !(p->learning_rate > 0.0);
    w->faults += !(p->seconds >= 0.0) || !(p->tokens_per_second > 0.0);
    return w->calls == w->stop_at;
}

static prune_recover_options training(prune_objective objective, watch *w)
{
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    options.rank = 2;
    options.ridge = 0.1;
    options.objective = objective;
    options.held_out = f.data;
    options.steps = 40;
    options.step_tokens = 8;
    options.evaluate_every = 10;
    options.on_step = w == NULL ? NULL : on_step;
    options.user_data = w;
    return options;
}

/* Every objective falls on what it is trained on, and the look at the end is that of a recovered model. */
static void training_lowers_the_objective(void)
{
    prune_objective objective;
    int32_t start;
    for (objective = PRUNE_OBJECTIVE_MSE; objective <= PRUNE_OBJECTIVE_JS; objective++) {
        for (start = PRUNE_START_CLOSED_FORM; start <= PRUNE_START_ZERO; start++) {
            watch w = { 0, 0, 0 };
            prune_recover_options options = training(objective, &w);
            prune_adapters *adapters = NULL;
            prune_adapters_summary summary = PRUNE_ADAPTERS_SUMMARY_INIT;
            prune_training_record records[8];
            size_t count = 0;
            options.start = start;
            CHECK_OK(prune_model_recover(f.model, f.data, recovery_keep, 4, &options, &adapters));
            CHECK(w.calls == 40 && w.faults == 0);
            CHECK_OK(prune_adapters_info(adapters, &summary));
            CHECK(summary.objective == objective && summary.steps == 40 && summary.trained_tokens > 0);
            CHECK(summary.held_out_best < summary.held_out_before);
            CHECK((summary.statistics_tokens > 0) == (start == PRUNE_START_CLOSED_FORM));
            CHECK_OK(prune_adapters_history(adapters, records, 8, &count));
            CHECK(count == 5 && records[0].step == 0 && isnan(records[0].loss) && records[4].step == 40);
            CHECK(records[0].held_out_loss == summary.held_out_before);
            if (objective == PRUNE_OBJECTIVE_CE) {
                prune_model *model = NULL;
                prune_evaluation evaluation;
                CHECK_OK(prune_model_attach(f.model, adapters, &model));
                CHECK_OK(prune_model_evaluate(model, f.data, NULL, 1, 0, NULL, &evaluation));
                CHECK_NEAR(evaluation.loss, summary.held_out_best, 1e-5);
                prune_model_release(model);
            }
            prune_adapters_release(adapters);
        }
    }
}

/* A training that is stopped goes on from its checkpoint and ends with the bits of one that was not. */
static void training_stopped_and_resumed(void)
{
    watch w = { 0, 0, 17 };
    prune_recover_options options = training(PRUNE_OBJECTIVE_KL, &w);
    prune_adapters *whole = NULL, *continued = (prune_adapters *)(uintptr_t)0x10, *again = NULL;
    size_t size;
    char *bytes;
    options.checkpoint = "state.training";
    options.checkpoint_every = 5;
    CHECK_FAILS(prune_model_recover(f.model, f.data, recovery_keep, 4, &options, &continued), PRUNE_ERR_CANCELLED,
                "17");
    CHECK(continued == NULL && w.calls == 17);
    bytes = read_file(".", "state.training", &size);
    CHECK(size > 0);
    options.on_step = NULL;
    CHECK_OK(prune_model_recover(f.model, f.data, recovery_keep, 4, &options, &continued));
    options.checkpoint = NULL;
    CHECK_OK(prune_model_recover(f.model, f.data, recovery_keep, 4, &options, &whole));
    CHECK(recovery_equal(whole, continued));
    /* Another training, or damage. */
    write_file(".", "state.training", bytes, size);
    options.checkpoint = "state.training";
    options.seed = 1;
    CHECK_FAILS(prune_model_recover(f.model, f.data, recovery_keep, 4, &options, &again), PRUNE_ERR_FORMAT,
                "state.training");
    options.seed = 0;
    bytes[size / 2] ^= 1;
    write_file(".", "state.training", bytes, size);
    CHECK_FAILS(prune_model_recover(f.model, f.data, recovery_keep, 4, &options, &again), PRUNE_ERR_FORMAT,
                "state.training");
    CHECK(again == NULL);
    options.checkpoint = "no/such/directory/state";
    CHECK_FAILS(prune_model_recover(f.model, f.data, recovery_keep, 4, &options, &again), PRUNE_ERR_FILE,
                "no/such/directory");
    free(bytes);
    prune_adapters_release(whole);
    prune_adapters_release(continued);
}

/* Same seed, same bits, on any number of threads; going on from adapters begins where they stand. */
static void same_seed_same_adapters(void)
{
    prune_recover_options options = training(PRUNE_OBJECTIVE_CE, NULL);
    prune_adapters *one = NULL, *two = NULL, *on = NULL;
    prune_adapters_summary first = PRUNE_ADAPTERS_SUMMARY_INIT, second = PRUNE_ADAPTERS_SUMMARY_INIT;
    CHECK_OK(prune_model_recover(f.model, f.data, recovery_keep, 4, &options, &one));
    CHECK_OK(prune_threads_set(1));
    CHECK_OK(prune_model_recover(f.model, f.data, recovery_keep, 4, &options, &two));
    CHECK_OK(prune_threads_set(0));
    CHECK(recovery_equal(one, two));
    options.initial = one;
    CHECK_OK(prune_model_recover(f.model, f.data, recovery_keep, 4, &options, &on));
    CHECK_OK(prune_adapters_info(one, &first));
    CHECK_OK(prune_adapters_info(on, &second));
    CHECK_NEAR(second.held_out_before, first.held_out_best, 1e-6);
    CHECK(second.held_out_best <= second.held_out_before);
    prune_adapters_release(one);
    prune_adapters_release(two);
    prune_adapters_release(on);
}

static int32_t stop_at_once(void *user_data, const prune_progress *progress)
{
    (void)user_data;
    return progress->struct_size == sizeof *progress;
}

/* `call` with options that differ from the defaults in one field. */
#define REFUSED(change, status, part)                                                                       \
    do {                                                                                                    \
        prune_recover_options options = training(PRUNE_OBJECTIVE_CE, NULL);                                 \
        prune_adapters *made = (prune_adapters *)(uintptr_t)0x10;                                           \
        change;                                                                                             \
        CHECK_FAILS(prune_model_recover(f.model, f.data, recovery_keep, 4, &options, &made), status, part); \
        CHECK(made == NULL);                                                                                \
    } while (0)

static void recover_refusals(void)
{
    static const uint8_t all[4] = { 1, 1, 1, 1 }, other[4] = { 0, 1, 1, 1 };
    static const int64_t ones[2] = { 1, 1 };
    prune_adapters *adapters = recovery_solved(&f, PRUNE_ADAPTER_BIAS, 0), *made = NULL;
    prune_recover_options options = training(PRUNE_OBJECTIVE_CE, NULL);
    prune_data *single = NULL, *foreign = NULL;
    prune_model *recovered = NULL;
    int32_t too_high[3] = { 1, 2, 32 };
    int64_t three = 3;
    REFUSED(options.kind = 9, PRUNE_ERR_ARGUMENT, "kind");
    REFUSED(options.objective = 5, PRUNE_ERR_ARGUMENT, "objective");
    REFUSED(options.input = -1, PRUNE_ERR_ARGUMENT, "input");
    REFUSED(options.stream = 2, PRUNE_ERR_ARGUMENT, "stream");
    REFUSED(options.block_slot = 3, PRUNE_ERR_ARGUMENT, "block_slot");
    REFUSED(options.start = 2, PRUNE_ERR_ARGUMENT, "start");
    REFUSED(options.reserved = 1, PRUNE_ERR_ARGUMENT, "reserved");
    REFUSED(options.rank = -2, PRUNE_ERR_ARGUMENT, "rank");
    REFUSED(options.rank = H + 1, PRUNE_ERR_ARGUMENT, "rank");
    REFUSED(options.rank = INT64_MAX, PRUNE_ERR_ARGUMENT, "rank");
    REFUSED(options.ridge = -1.0, PRUNE_ERR_ARGUMENT, "ridge");
    REFUSED(options.ridge = NAN, PRUNE_ERR_ARGUMENT, "ridge");
    REFUSED(options.held_out_share = 1.0, PRUNE_ERR_ARGUMENT, "held_out_share");
    REFUSED(options.held_out_share = NAN, PRUNE_ERR_ARGUMENT, "held_out_share");
    REFUSED(options.batch_tokens = -1, PRUNE_ERR_ARGUMENT, "batch_tokens");
    REFUSED(options.memory_budget = -1, PRUNE_ERR_ARGUMENT, "memory");
    REFUSED(options.steps = -1, PRUNE_ERR_ARGUMENT, "steps");
    REFUSED(options.steps = INT64_MAX, PRUNE_ERR_ARGUMENT, "steps");
    REFUSED(options.step_tokens = -1, PRUNE_ERR_ARGUMENT, "step_tokens");
    REFUSED(options.learning_rate = -1.0, PRUNE_ERR_ARGUMENT, "learning_rate");
    REFUSED(options.learning_rate = INFINITY, PRUNE_ERR_ARGUMENT, "learning_rate");
    REFUSED(options.weight_decay = -1.0, PRUNE_ERR_ARGUMENT, "weight_decay");
    REFUSED(options.warmup_steps = -1, PRUNE_ERR_ARGUMENT, "warmup_steps");
    REFUSED(options.clip_norm = -2.0, PRUNE_ERR_ARGUMENT, "clip_norm");
    REFUSED(options.clip_norm = NAN, PRUNE_ERR_ARGUMENT, "clip_norm");
    REFUSED(options.evaluate_every = -1, PRUNE_ERR_ARGUMENT, "evaluate_every");
    REFUSED(options.patience = -1, PRUNE_ERR_ARGUMENT, "patience");
    REFUSED(options.checkpoint_every = -1, PRUNE_ERR_ARGUMENT, "checkpoint_every");
    REFUSED(options.held_out = (prune_data *)(void *)f.model, PRUNE_ERR_HANDLE, "held_out");
    REFUSED(options.initial = (prune_adapters *)(void *)f.data, PRUNE_ERR_HANDLE, "initial");
    REFUSED(options.progress = stop_at_once, PRUNE_ERR_CANCELLED, "cancelled");
    REFUSED((options.objective = PRUNE_OBJECTIVE_CLOSED_FORM, options.initial = adapters), PRUNE_ERR_ARGUMENT,
            "trained");
    options.initial = adapters;
    CHECK_FAILS(prune_model_recover(f.model, f.data, other, 4, &options, &made), PRUNE_ERR_ARGUMENT, "mask");
    options.initial = NULL;
    CHECK_FAILS(prune_model_recover(f.model, f.data, all, 4, &options, &made), PRUNE_ERR_ARGUMENT, "removes nothing");
    CHECK_FAILS(prune_model_recover(f.model, f.data, NULL, 0, &options, &made), PRUNE_ERR_ARGUMENT, "removes nothing");
    CHECK_FAILS(prune_model_recover(f.model, f.data, other, 3, &options, &made), PRUNE_ERR_ARGUMENT, "3");
    CHECK_FAILS(prune_model_recover(NULL, f.data, other, 4, &options, &made), PRUNE_ERR_ARGUMENT, "model");
    CHECK_FAILS(prune_model_recover(f.model, NULL, other, 4, &options, &made), PRUNE_ERR_ARGUMENT, "data");
    CHECK_FAILS(prune_model_recover(f.model, f.data, NULL, 4, &options, &made), PRUNE_ERR_ARGUMENT, "keep");
    CHECK_FAILS(prune_model_recover(f.model, f.data, other, 4, &options, NULL), PRUNE_ERR_ARGUMENT, "out_adapters");
    CHECK_FAILS(prune_model_recover((prune_model *)(void *)f.data, f.data, other, 4, &options, &made), PRUNE_ERR_HANDLE,
                "model");
    CHECK_OK(prune_data_create(fixture_ids, ones, 2, NULL, &single));
    CHECK_FAILS(prune_model_recover(f.model, single, other, 4, &options, &made), PRUNE_ERR_DATA, "predict");
    options.held_out = single;
    CHECK_FAILS(prune_model_recover(f.model, f.data, other, 4, &options, &made), PRUNE_ERR_DATA, "predict");
    options.held_out = NULL;
    CHECK_FAILS(prune_model_recover(f.model, single, other, 4, &options, &made), PRUNE_ERR_DATA, "held");
    CHECK_OK(prune_data_create(too_high, &three, 1, NULL, &foreign));
    options.held_out = f.data;
    CHECK_FAILS(prune_model_recover(f.model, foreign, other, 4, &options, &made), PRUNE_ERR_DATA, "32");
    CHECK_OK(prune_model_attach(f.model, adapters, &recovered));
    /* Its adapters are its sublayers, and its own mask removes none of them. */
    CHECK_FAILS(prune_model_recover(recovered, f.data, NULL, 0, &options, &made), PRUNE_ERR_ARGUMENT,
                "removes nothing");
    CHECK(made == NULL);
    prune_model_release(recovered);
    prune_data_release(foreign);
    prune_data_release(single);
    prune_adapters_release(adapters);
}

/* The model's own mask, and options that are not given. */
static void default_options(void)
{
    prune_adapters *adapters = NULL;
    prune_adapters_summary summary = PRUNE_ADAPTERS_SUMMARY_INIT;
    prune_adapter list[2];
    CHECK_OK(prune_model_mask_set(f.model, recovery_keep, 4));
    CHECK_OK(prune_model_recover(f.model, f.data, NULL, 0, NULL, &adapters));
    CHECK_OK(prune_model_mask_set(f.model, NULL, 0));
    CHECK_OK(prune_adapters_info(adapters, &summary));
    CHECK(summary.n_adapters == 2 && summary.statistics_tokens > 0 && summary.statistics_tokens < FIXTURE_TOKENS);
    CHECK_OK(prune_adapters_list(adapters, list, 2, NULL));
    CHECK(list[0].kind == PRUNE_ADAPTER_LOW_RANK && list[0].rank == 16 && list[0].input == PRUNE_INPUT_NORMED);
    prune_adapters_release(adapters);
}

/* A weight that is not a number: told with the layer, whatever is done with the model. */
static void weights_that_are_not_finite(void)
{
    prune_objective objective;
    fixture bad;
    prune_model *model = NULL;
    fixture_open(&bad, "before");
    tiny_model_tensor(&bad.weights, "model.layers.0.mlp.up_proj.weight")->values[3] = NAN;
    tiny_model_write(&bad.weights, "nan");
    CHECK_OK(prune_model_open("nan", NULL, &model));
    for (objective = PRUNE_OBJECTIVE_CLOSED_FORM; objective <= PRUNE_OBJECTIVE_JS; objective++) {
        prune_recover_options options = training(objective, NULL);
        prune_adapters *made = NULL;
        CHECK_FAILS(prune_model_recover(model, f.data, recovery_keep, 4, &options, &made), PRUNE_ERR_NONFINITE,
                    "ffn.0");
        CHECK(made == NULL);
    }
    prune_model_release(model);
    fixture_close(&bad);
}

int main(void)
{
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    mean_update();
    normal_equations();
    full_rank();
    whole_blocks();
    training_lowers_the_objective();
    training_stopped_and_resumed();
    same_seed_same_adapters();
    recover_refusals();
    default_options();
    weights_that_are_not_finite();
    fixture_close(&f);
    return check_report();
}
