/* SPDX-License-Identifier: Apache-2.0 */
/* prune_model_from_host(): what a host computes by itself against the engine's own numbers, and what a host may lack. */
#include "operations.h"

#include "host.h"

static fixture f;

static prune_model *made(const prune_host *calls)
{
    prune_model *model = NULL;
    CHECK_OK(prune_model_from_host(calls, &model));
    REQUIRE(model != NULL);
    return model;
}

/* An operation on a host's model against the same on the engine. */
static void same_as_engine(host *h, const prune_model *model, size_t operation)
{
    static double ours[OPERATION_VALUES], theirs[OPERATION_VALUES];
    size_t n = 0, m = 0, i;
    double largest = 0.0, difference = 0.0;
    CHECK_OK(operations[operation].run(f.model, f.data, ours, &n));
    CHECK_OK(operations[operation].run(model, f.data, theirs, &m));
    CHECK(n == m && n > 0);
    for (i = 0; i < n; i++) {
        largest = fmax(largest, fabs(ours[i]));
        difference =
            fabs(ours[i] - theirs[i]) > difference || isnan(theirs[i]) ? fabs(ours[i] - theirs[i]) : difference;
    }
    check_near(difference, 0.0, operations[operation].tolerance * largest, __FILE__, __LINE__,
               operations[operation].name);
    CHECK(h->live == 0);
}

static void everything_offered(void)
{
    host h;
    prune_host calls;
    prune_model *model;
    size_t i;
    host_init(&h, &f.weights, &calls);
    model = made(&calls);
    for (i = 0; i < OPERATIONS; i++) {
        same_as_engine(&h, model, i);
    }
    CHECK(h.calls[HOST_COMPARE] > 0 && h.calls[HOST_DISTANCES] > 0 && h.calls[HOST_TOKEN_LOSSES] > 0);
    CHECK(h.calls[HOST_APPLY_ADAPTER] > 0 && h.calls[HOST_VJP] > 0 && h.calls[HOST_HEAD_VJP] > 0);
    CHECK(h.calls[HOST_NORM] > 0 && h.calls[HOST_WRITE] > 0 && h.calls[HOST_LOGITS] > 0 && h.calls[HOST_READ] > 0);
    CHECK(h.calls[HOST_EVALUATE] == 0);
    CHECK(h.closed == 0);
    prune_model_release(model);
    CHECK(h.closed == 1);
}

/* A host that was compiled with a later header, whose prune_comparison has a field more. */
typedef struct later_comparison {
    prune_comparison known;
    double more;
} later_comparison;

static prune_status (*compare_of_this_version)(void *, prune_host_state, prune_host_state, const int64_t *, size_t,
                                               prune_comparison *);

static prune_status compare_later(void *user_data, prune_host_state before, prune_host_state after, const int64_t *rows,
                                  size_t n_rows, prune_comparison *out_comparisons)
{
    later_comparison *out = (later_comparison *)(void *)out_comparisons;
    prune_status status = PRUNE_OK;
    size_t i;
    for (i = 0; status == PRUNE_OK && i < n_rows; i++) {
        status = compare_of_this_version(user_data, before, after, rows + i, 1, &out[i].known);
        out[i].more = -1e30;
    }
    return status;
}

static void comparisons_of_a_later_version(void)
{
    host h;
    prune_host calls;
    prune_model *model;
    host_init(&h, &f.weights, &calls);
    CHECK(calls.comparison_size == sizeof(prune_comparison));
    compare_of_this_version = calls.compare;
    calls.compare = compare_later;
    calls.comparison_size = sizeof(later_comparison);
    calls.read = NULL; /* so that nothing else can be compared */
    model = made(&calls);
    same_as_engine(&h, model, 0);
    CHECK(h.calls[HOST_COMPARE] > 0);
    prune_model_release(model);

    /* Where nothing is compared, the size has no meaning. */
    calls.compare = NULL;
    calls.comparison_size = 0;
    prune_model_release(made(&calls));
}

/* What is not offered is computed from what is: the same numbers. */
static void computed_from_the_rest(void)
{
    host h;
    prune_host calls;
    prune_model *model;
    size_t i;
    host_init(&h, &f.weights, &calls);
    calls.token_losses = NULL;
    calls.distances = NULL;
    calls.compare = NULL;
    calls.apply_adapter = NULL;
    calls.evaluate = NULL;
    model = made(&calls);
    for (i = 0; i < OPERATIONS; i++) {
        same_as_engine(&h, model, i);
    }
    prune_model_release(model);
    CHECK(h.closed == 1);
}

static void shape_and_abilities(void)
{
    host h;
    prune_host calls;
    prune_model *model;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    prune_cost cost = PRUNE_COST_INIT;
    prune_sublayer sublayers[FIXTURE_SUBLAYERS] = {
        { 0, 0, 10, 40, 8, 0 }, { 0, 1, 20, 80, 0, 0 }, { 1, 0, 10, 40, 8, 5 }, { 1, 1, 20, 80, 0, 0 }
    };
    prune_sublayer listed[FIXTURE_SUBLAYERS];
    host_init(&h, &f.weights, &calls);
    calls.context_length = 99;
    calls.element_type = PRUNE_ELEMENT_BFLOAT16;
    calls.fixed_parameters = 7;
    calls.fixed_parameter_bytes = 14;
    calls.sublayers = sublayers;
    model = made(&calls);
    memset(sublayers, 0, sizeof sublayers);
    CHECK_OK(prune_model_info(model, &shape));
    CHECK(strcmp(shape.architecture, "Reference") == 0 && strcmp(shape.element_type, "bf16") == 0);
    CHECK(shape.n_blocks == 2 && shape.hidden_size == FIXTURE_HIDDEN && shape.vocabulary_size == FIXTURE_VOCABULARY);
    CHECK(shape.context_length == 99 && shape.parameters == 67 && shape.parameter_bytes == 254);
    CHECK(shape.kv_bytes == 16 && shape.n_heads == 0 && shape.compute == PRUNE_COMPUTE_FLOAT32);
    CHECK(shape.abilities ==
          (PRUNE_ABILITY_READ_STATES | PRUNE_ABILITY_GRADIENTS | PRUNE_ABILITY_SUBLAYERS | PRUNE_ABILITY_STATES));
    CHECK_OK(prune_model_cost(model, operation_keep, FIXTURE_SUBLAYERS, &cost));
    CHECK(cost.parameters == 37 && cost.kv_bytes == 8);
    CHECK_OK(prune_model_sublayers(model, listed, FIXTURE_SUBLAYERS, NULL));
    CHECK(listed[2].window == 5 && listed[3].parameters == 20);
    prune_model_release(model);
}

static void missing_calls_are_named(void)
{
    static double values[OPERATION_VALUES];
    static const struct {
        size_t operation;
        const char *name;
    } cases[] = { { 0, "compare" },      { 2, "token_losses" }, { 3, "token_losses" },
                  { 6, "token_losses" }, { 8, "read" },         { 13, "vjp" } };
    host h;
    prune_host calls;
    prune_model *model;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_recover_options recovery = PRUNE_RECOVER_OPTIONS_INIT;
    prune_adapters *adapters = NULL;
    prune_generate_options written = PRUNE_GENERATE_OPTIONS_INIT;
    prune_generation *generation = NULL;
    size_t i, n;
    host_init(&h, &f.weights, &calls);
    calls.token_losses = NULL, calls.logits = NULL, calls.distances = NULL, calls.compare = NULL, calls.read = NULL;
    calls.write = NULL, calls.norm = NULL, calls.apply_adapter = NULL, calls.vjp = NULL, calls.head_vjp = NULL;
    calls.evaluate = NULL;
    model = made(&calls);
    CHECK_OK(prune_model_info(model, &shape));
    CHECK(shape.abilities == (PRUNE_ABILITY_SUBLAYERS | PRUNE_ABILITY_STATES));
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_FAILS(operations[cases[i].operation].run(model, f.data, values, &n), PRUNE_ERR_UNSUPPORTED,
                    cases[i].name);
        CHECK(h.live == 0);
    }
    options.metrics = PRUNE_METRIC_MAGNITUDE;
    CHECK_FAILS(prune_model_score(model, f.data, &options, values, OPERATION_VALUES, NULL), PRUNE_ERR_UNSUPPORTED,
                "magnitude");
    CHECK_FAILS(prune_model_generate(model, f.data, NULL, 0, &written, &generation), PRUNE_ERR_UNSUPPORTED, "");
    prune_model_release(model);

    /* With gradients of sublayers, but not of the head. */
    host_init(&h, &f.weights, &calls);
    calls.head_vjp = NULL;
    model = made(&calls);
    CHECK_FAILS(operation_train_kl(model, f.data, values, &n), PRUNE_ERR_UNSUPPORTED, "head_vjp");
    CHECK_OK(operation_train_mse(model, f.data, values, &n));
    options.metrics = PRUNE_METRIC_TAYLOR;
    CHECK_FAILS(prune_model_score(model, f.data, &options, values, OPERATION_VALUES, NULL), PRUNE_ERR_UNSUPPORTED,
                "taylor");
    /* All that can be had of states, without magnitude. */
    options.metrics = 0;
    CHECK_OK(prune_model_score(model, f.data, &options, values, OPERATION_VALUES, &n));
    CHECK(n == 6 * FIXTURE_SUBLAYERS);
    CHECK(h.live == 0);
    prune_model_release(model);

    /* Adapters that cannot be put in place can be made on the full model's stream. */
    host_init(&h, &f.weights, &calls);
    calls.apply_adapter = NULL;
    calls.write = NULL;
    model = made(&calls);
    CHECK_FAILS(operation_closed_form(model, f.data, values, &n), PRUNE_ERR_UNSUPPORTED, "write");
    recovery.kind = PRUNE_ADAPTER_LINEAR;
    recovery.held_out = f.data;
    recovery.stream = PRUNE_STREAM_FULL_MODEL;
    CHECK_OK(prune_model_recover(model, f.data, operation_keep, FIXTURE_SUBLAYERS, &recovery, &adapters));
    CHECK(h.live == 0);
    prune_adapters_release(adapters);
    prune_model_release(model);

    /* Norms that a host does not have leave raw inputs. */
    host_init(&h, &f.weights, &calls);
    calls.norm = NULL;
    model = made(&calls);
    CHECK_FAILS(operation_closed_form(model, f.data, values, &n), PRUNE_ERR_UNSUPPORTED, "norm");
    CHECK_OK(operation_low_rank(model, f.data, values, &n));
    prune_model_release(model);
}

/* A host that evaluates whole masks and no more. */
static void evaluate_alone(void)
{
    static double ours[OPERATION_VALUES], theirs[OPERATION_VALUES];
    static const size_t works[] = { 3, 5 };
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_evaluation evaluation;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    host h, whole;
    prune_host calls, all;
    prune_model *model;
    size_t i, j, n = 0, m = 0;
    host_init(&whole, &f.weights, &all);
    memset(&calls, 0, sizeof calls);
    host_init(&h, &f.weights, &all);
    calls.struct_size = sizeof calls;
    calls.user_data = &h;
    calls.n_blocks = 2;
    calls.evaluate = all.evaluate;
    model = made(&calls);
    CHECK_OK(prune_model_info(model, &shape));
    CHECK(strcmp(shape.architecture, "host") == 0 && shape.abilities == PRUNE_ABILITY_SUBLAYERS &&
          shape.hidden_size == 0);
    for (i = 0; i < sizeof works / sizeof works[0]; i++) {
        CHECK_OK(operations[works[i]].run(f.model, f.data, ours, &n));
        CHECK_OK(operations[works[i]].run(model, f.data, theirs, &m));
        CHECK(n == m);
        for (j = 0; j < (works[i] == 3 ? 2 : n); j++) {
            CHECK_NEAR(theirs[j], ours[j], 1e-5 * (1.0 + fabs(ours[j])));
        }
    }
    options.metrics = PRUNE_METRIC_LEAVE_ONE_OUT_LOSS;
    CHECK_OK(prune_model_score(f.model, f.data, &options, ours, OPERATION_VALUES, &n));
    CHECK_OK(prune_model_score(model, f.data, &options, theirs, OPERATION_VALUES, &m));
    for (j = 0; j < n; j++) {
        CHECK_NEAR(theirs[j], ours[j], 1e-5 * (1.0 + fabs(ours[j])));
    }
    CHECK_OK(prune_model_evaluate(model, f.data, NULL, 1, 0, NULL, &evaluation));
    CHECK(evaluation.tokens == FIXTURE_PREDICTED && evaluation.sequences == 3 && isnan(evaluation.sequence_perplexity));
    CHECK_NEAR(evaluation.perplexity, exp(evaluation.loss), 1e-9);
    CHECK_FAILS(operation_statics(model, f.data, theirs, &m), PRUNE_ERR_UNSUPPORTED, "embed");
    CHECK_FAILS(operation_leave_one_out(model, f.data, theirs, &m), PRUNE_ERR_UNSUPPORTED, "embed");
    CHECK_FAILS(operation_low_rank(model, f.data, theirs, &m), PRUNE_ERR_UNSUPPORTED, "embed");
    h.fails = HOST_EVALUATE, h.fails_with = 77, h.fails_at = h.calls[HOST_EVALUATE];
    CHECK_FAILS(operation_evaluate(model, f.data, theirs, &m), PRUNE_ERR_HOST, "evaluate");
    h.poison = NAN;
    CHECK_FAILS(operation_evaluate(model, f.data, theirs, &m), PRUNE_ERR_NONFINITE, "evaluate");
    prune_model_release(model);
}

/* A host that runs whole blocks: apply(2i) is the block. */
static prune_status (*sublayer_apply)(void *, int64_t, const prune_host_state *, size_t, prune_host_state *);
static void (*sublayer_release)(void *, prune_host_state);
static long odd_calls;

static prune_status block_apply(void *user_data, int64_t sublayer, const prune_host_state *states, size_t n,
                                prune_host_state *out)
{
    prune_host_state middle[64];
    size_t i;
    prune_status status = n > 64 ? 1 : sublayer_apply(user_data, sublayer, states, n, middle);
    odd_calls += sublayer % 2;
    if (status == PRUNE_OK) {
        status = sublayer_apply(user_data, sublayer + 1, middle, n, out);
        for (i = 0; i < n; i++) {
            sublayer_release(user_data, middle[i]);
        }
    }
    return status;
}

static void whole_blocks(void)
{
    static double ours[OPERATION_VALUES], theirs[OPERATION_VALUES];
    static const uint8_t without[FIXTURE_SUBLAYERS] = { 0, 0, 1, 1 };
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_recover_options recovery = PRUNE_RECOVER_OPTIONS_INIT;
    prune_adapters *adapters[2] = { NULL, NULL };
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    float bias[2][FIXTURE_HIDDEN];
    host h;
    prune_host calls;
    prune_model *model;
    size_t i, n = 0, m = 0;
    host_init(&h, &f.weights, &calls);
    sublayer_apply = calls.apply;
    sublayer_release = calls.release;
    calls.apply = block_apply;
    calls.whole_blocks = 1;
    calls.vjp = NULL;
    model = made(&calls);
    CHECK_OK(prune_model_info(model, &shape));
    CHECK((shape.abilities & PRUNE_ABILITY_SUBLAYERS) == 0);
    options.granularity = PRUNE_GRANULARITY_BLOCK;
    options.metrics =
        PRUNE_METRIC_ALL_OF_STATES | PRUNE_METRIC_LEAVE_ONE_OUT_LOSS | PRUNE_METRIC_LEAVE_ONE_OUT_LOGIT_L2;
    CHECK_OK(prune_model_score(f.model, f.data, &options, ours, OPERATION_VALUES, &n));
    CHECK_OK(prune_model_score(model, f.data, &options, theirs, OPERATION_VALUES, &m));
    CHECK(n == m && n == 16);
    for (i = 0; i < n; i++) {
        CHECK_NEAR(theirs[i], ours[i], 1e-5 * (1.0 + fabs(ours[i])));
    }
    recovery.kind = PRUNE_ADAPTER_BIAS;
    recovery.held_out = f.data;
    CHECK_OK(prune_model_recover(f.model, f.data, without, FIXTURE_SUBLAYERS, &recovery, &adapters[0]));
    CHECK_OK(prune_model_recover(model, f.data, without, FIXTURE_SUBLAYERS, &recovery, &adapters[1]));
    for (i = 0; i < 2; i++) {
        CHECK_OK(prune_adapters_get(adapters[i], 0, PRUNE_PART_BIAS, bias[i], FIXTURE_HIDDEN, NULL));
        prune_adapters_release(adapters[i]);
    }
    for (i = 0; i < FIXTURE_HIDDEN; i++) {
        CHECK_NEAR(bias[1][i], bias[0][i], 1e-4);
    }
    CHECK(odd_calls == 0 && h.live == 0);
    CHECK_FAILS(prune_model_mask_set(model, operation_keep, FIXTURE_SUBLAYERS), PRUNE_ERR_UNSUPPORTED, "block 0");
    CHECK_FAILS(operation_evaluate(model, f.data, theirs, &m), PRUNE_ERR_UNSUPPORTED, "block 0");
    CHECK_FAILS(operation_leave_one_out(model, f.data, theirs, &m), PRUNE_ERR_UNSUPPORTED, "block 0");
    CHECK_FAILS(operation_shapley(model, f.data, theirs, &m), PRUNE_ERR_UNSUPPORTED, "block");
    CHECK_FAILS(operation_statics(model, f.data, theirs, &m), PRUNE_ERR_UNSUPPORTED, "score blocks");
    prune_model_release(model);
}

static void host_struct_refusals(void)
{
    host h;
    prune_host calls, wrong;
    prune_model *model = (prune_model *)&h;
    prune_sublayer costs[FIXTURE_SUBLAYERS];
    host_init(&h, &f.weights, &calls);
    CHECK_FAILS(prune_model_from_host(NULL, &model), PRUNE_ERR_ARGUMENT, "host");
    CHECK(model == NULL);
    CHECK_FAILS(prune_model_from_host(&calls, NULL), PRUNE_ERR_ARGUMENT, "out_model");
#define REFUSED(field, value, part)                                                   \
    do {                                                                              \
        wrong = calls;                                                                \
        wrong.field = value;                                                          \
        CHECK_FAILS(prune_model_from_host(&wrong, &model), PRUNE_ERR_ARGUMENT, part); \
        CHECK(model == NULL);                                                         \
    } while (0)
    REFUSED(struct_size, 8, "struct_size");
    REFUSED(whole_blocks, 2, "whole_blocks");
    /* Too small, not in doubles, or more than any version has. */
    REFUSED(comparison_size, 0, "comparison_size");
    REFUSED(comparison_size, sizeof(prune_comparison) - 8, "comparison_size");
    REFUSED(comparison_size, sizeof(prune_comparison) + 4, "comparison_size");
    REFUSED(comparison_size, UINT32_MAX, "comparison_size");
    REFUSED(n_blocks, 0, "n_blocks");
    REFUSED(n_blocks, INT64_MAX, "n_blocks");
    REFUSED(n_blocks, 4097, "n_blocks");
    REFUSED(hidden_size, -1, "hidden_size");
    REFUSED(hidden_size, 0, "hidden_size");
    REFUSED(hidden_size, INT64_MAX, "hidden_size");
    REFUSED(vocabulary_size, 0, "vocabulary_size");
    REFUSED(vocabulary_size, INT64_MIN, "vocabulary_size");
    REFUSED(context_length, -1, "context_length");
    REFUSED(element_type, 3, "element_type");
    REFUSED(fixed_parameters, INT64_MAX, "fixed_parameters");
    REFUSED(fixed_parameter_bytes, -5, "fixed_parameter_bytes");
    memset(costs, 0, sizeof costs);
    costs[3].parameters = INT64_MAX;
    REFUSED(sublayers, costs, "sublayers[3].parameters");
    calls.evaluate = NULL;
    REFUSED(embed, NULL, "embed");
    REFUSED(apply, NULL, "apply");
    REFUSED(release, NULL, "release");
    /* A host that was refused was not let go. */
    CHECK(h.closed == 0);
    prune_host_error_set(NULL);
    prune_host_error_set("nobody asks for this");
}

int main(void)
{
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    everything_offered();
    comparisons_of_a_later_version();
    computed_from_the_rest();
    shape_and_abilities();
    missing_calls_are_named();
    evaluate_alone();
    whole_blocks();
    host_struct_refusals();
    fixture_close(&f);
    return check_report();
}
