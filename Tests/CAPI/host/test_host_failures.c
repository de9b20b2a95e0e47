/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts that fail: every callback at every position once. The status and the sentence come back, no state is left, and the
   next call works. Also hosts that give no state or no number, cancelling, and callbacks that call the library. */
#include "operations.h"

#include "host.h"

static fixture f;
static double values[OPERATION_VALUES];

static const char *const names[HOST_CALLBACKS] = {
    "embed", "apply", "release",       "token_losses", "logits",   "distances", "compare",    "read",
    "write", "norm",  "apply_adapter", "vjp",          "head_vjp", "evaluate",  "layer_norm",
};

static prune_model *opened(host *h)
{
    prune_host calls;
    prune_model *model = NULL;
    prune_evaluation evaluation;
    host_init(h, &f.weights, &calls);
    CHECK_OK(prune_model_from_host(&calls, &model));
    REQUIRE(model != NULL);
    /* The first call tests the host; the next ones make no more calls than they need. */
    CHECK_OK(prune_model_evaluate(model, f.data, NULL, 1, 0, NULL, &evaluation));
    memset(h->calls, 0, sizeof h->calls);
    return model;
}

/* A long operation's positions are sampled: each of the first, then ever fewer. */
static long next_position(long at) { return at < 4 ? at + 1 : at + at / 2; }

static void each_callback_at_each_position(void)
{
    host h;
    prune_model *model = opened(&h);
    size_t operation, n;
    int callback;
    long at, positions = 0;
    for (operation = 0; operation < OPERATIONS; operation++) {
        long used[HOST_CALLBACKS];
        memset(h.calls, 0, sizeof h.calls);
        CHECK_OK(operations[operation].run(model, f.data, values, &n));
        memcpy(used, h.calls, sizeof used);
        for (callback = 0; callback < HOST_CALLBACKS; callback++) {
            if (callback == HOST_RELEASE) {
                continue;
            }
            for (at = 0; at < used[callback]; at = next_position(at)) {
                prune_status expected = at % 2 == 0 ? 1000 : PRUNE_ERR_MEMORY;
                memset(h.calls, 0, sizeof h.calls);
                h.fails = callback, h.fails_at = at, h.fails_with = expected;
                h.sentence = at % 3 == 0 ? "the accelerator is on fire" : NULL;
                CHECK_FAILS(operations[operation].run(model, f.data, values, &n),
                            expected == 1000 ? PRUNE_ERR_HOST : PRUNE_ERR_MEMORY,
                            h.sentence != NULL ? h.sentence : names[callback]);
                CHECK(strstr(prune_last_error(), names[callback]) != NULL);
                CHECK(h.live == 0);
                positions++;
            }
        }
        h.fails = -1;
        CHECK_OK(operations[operation].run(model, f.data, values, &n));
        CHECK(h.live == 0);
    }
    CHECK(positions > 100);
    prune_model_release(model);
    CHECK(h.closed == 1);
}

/* A call that succeeds but gives NULL, or only some of its states. */
static void states_that_are_not_there(void)
{
    static const struct {
        int callback;
        operation_fn run;
    } cases[] = { { HOST_EMBED, operation_evaluate },  { HOST_APPLY, operation_leave_one_out },
                  { HOST_WRITE, operation_train_mse }, { HOST_APPLY_ADAPTER, operation_closed_form },
                  { HOST_VJP, operation_gradient },    { HOST_HEAD_VJP, operation_gradient } };
    host h;
    prune_model *model = opened(&h);
    size_t i, n;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memset(h.calls, 0, sizeof h.calls);
        h.gives_null = 1, h.fails = cases[i].callback, h.fails_at = 0;
        CHECK_FAILS(cases[i].run(model, f.data, values, &n), PRUNE_ERR_HOST, names[cases[i].callback]);
        CHECK(h.live == 0);
    }
    prune_model_release(model);
}

static void numbers_that_are_not_finite(void)
{
    host h;
    prune_model *model = opened(&h);
    size_t n, i;
    h.poison = NAN;
    for (i = 0; i < OPERATIONS; i++) {
        /* The spoilt token does not reach the last ones of a model without the second attention. */
        if (operations[i].run != operation_vjp && operations[i].run != operation_statics_masked) {
            CHECK_FAILS(operations[i].run(model, f.data, values, &n), PRUNE_ERR_NONFINITE, "");
        }
        CHECK(h.live == 0);
    }
    prune_model_release(model);
}

typedef struct stopping {
    long left;
} stopping;

static int32_t stop(void *user_data, const prune_progress *progress)
{
    (void)progress;
    return ((stopping *)user_data)->left-- <= 0;
}

static void cancelled_at_each_tick(void)
{
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_status status = PRUNE_ERR_CANCELLED;
    host h;
    prune_model *model = opened(&h);
    size_t n;
    long ticks;
    options.metrics = PRUNE_METRIC_ALL_OF_STATES | PRUNE_METRIC_LEAVE_ONE_OUT_LOSS;
    options.batch_tokens = 5;
    options.progress = stop;
    for (ticks = 0; status == PRUNE_ERR_CANCELLED && ticks < 1000; ticks++) {
        stopping left = { ticks };
        options.user_data = &left;
        status = prune_model_score(model, f.data, &options, values, OPERATION_VALUES, &n);
        CHECK(h.live == 0);
    }
    CHECK(status == PRUNE_OK && ticks > 1);
    prune_model_release(model);
}

/* Callbacks may call the library, the engine and the model itself. */
static const prune_model *inner_model;
static int depth;

static void inside(void *data)
{
    prune_evaluation evaluation;
    (void)data;
    if (depth == 0) {
        depth = 1;
        CHECK_OK(prune_model_evaluate(f.model, f.data, NULL, 1, 0, NULL, &evaluation));
        CHECK_OK(prune_model_evaluate(inner_model, f.data, NULL, 1, 0, NULL, &evaluation));
        CHECK_FAILS(prune_model_evaluate(inner_model, NULL, NULL, 1, 0, NULL, &evaluation), PRUNE_ERR_ARGUMENT, "data");
        depth = 0;
    }
}

static void callbacks_that_call_back(void)
{
    host h;
    prune_model *model = opened(&h);
    double plain[OPERATION_VALUES];
    size_t n, i;
    CHECK_OK(operation_evaluate(model, f.data, plain, &n));
    inner_model = model;
    h.inside = inside;
    CHECK_OK(operation_evaluate(model, f.data, values, &n));
    for (i = 0; i < n; i++) {
        CHECK(values[i] == plain[i]);
    }
    CHECK(h.live == 0);
    h.inside = NULL;
    prune_model_release(model);
}

/* Whoever attached adapters holds the host; so does a call under way. */
static void host_is_closed_last(void)
{
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    prune_adapters *adapters = NULL;
    prune_model *recovered = NULL;
    host h;
    prune_model *model = opened(&h);
    size_t n;
    options.kind = PRUNE_ADAPTER_BIAS;
    CHECK_OK(prune_model_recover(model, f.data, operation_keep, FIXTURE_SUBLAYERS, &options, &adapters));
    CHECK_OK(prune_model_attach(model, adapters, &recovered));
    prune_model_release(model);
    CHECK(h.closed == 0);
    CHECK_OK(operation_statics(recovered, f.data, values, &n));
    prune_model_release(recovered);
    CHECK(h.closed == 1 && h.live == 0);
    CHECK_FAILS(operation_statics(model, f.data, values, &n), PRUNE_ERR_HANDLE, "released");
    prune_adapters_release(adapters);
}

int main(void)
{
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    each_callback_at_each_position();
    states_that_are_not_there();
    numbers_that_are_not_finite();
    cancelled_at_each_tick();
    callbacks_that_call_back();
    host_is_closed_last();
    fixture_close(&f);
    return check_report();
}
