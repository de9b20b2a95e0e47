/* SPDX-License-Identifier: Apache-2.0 */
/* prune_model_heal(): losses, what stays, stopping and resuming, refusals; prune_model_with_compute(). */
#include "recovery.h"

static fixture f;

typedef struct watch {
    int calls, faults;
    int stop_at; /* 0 = never */
} watch;

static int32_t told(void *user_data, const prune_training_progress *progress)
{
    watch *w = user_data;
    w->calls++;
    w->faults += progress->step < 1 || progress->step > progress->steps || !(progress->loss > 0.0) ||
                 progress->struct_size != sizeof *progress;
    return progress->step == w->stop_at;
}

static prune_healing_options healing(prune_objective objective, watch *w)
{
    prune_healing_options options = PRUNE_HEALING_OPTIONS_INIT;
    options.objective = objective;
    options.train = "all";
    options.steps = 10;
    options.batch_sequences = 2;
    options.learning_rate = 3e-3;
    options.evaluate_every = 5;
    options.held_out = f.data;
    options.on_step = w ? told : NULL;
    options.user_data = w;
    return options;
}

static double loss(const prune_model *model)
{
    prune_evaluation evaluation;
    CHECK_OK(prune_model_evaluate(model, f.data, NULL, 1, 0, NULL, &evaluation));
    return evaluation.loss;
}

/* The loss falls, the new model has it, and the old one has what it had. */
static void healing_lowers_the_objective(void)
{
    prune_objective objective;
    double before = loss(f.model);
    for (objective = PRUNE_OBJECTIVE_CE; objective <= PRUNE_OBJECTIVE_JS; objective++) {
        watch w = { 0, 0, 0 };
        prune_healing_options options = healing(objective, &w);
        prune_healing_summary summary = PRUNE_HEALING_SUMMARY_INIT;
        prune_healing_record records[4];
        prune_healing *report = NULL;
        prune_model *healed = NULL;
        uint8_t keep[FIXTURE_SUBLAYERS];
        size_t count = 0;
        CHECK_OK(prune_model_heal(f.model, f.data, recovery_keep, 4, &options, &healed, &report));
        CHECK(w.calls == 10 && w.faults == 0);
        CHECK_OK(prune_healing_info(report, &summary));
        CHECK(summary.objective == objective && summary.steps == 10 && summary.trained_parameters > 0);
        CHECK(summary.trained_tokens > 0 && summary.loss_after < summary.loss_before && summary.seconds >= 0.0);
        CHECK_FAILS(prune_healing_history(report, records, 1, &count), PRUNE_ERR_BUFFER, "3");
        CHECK_OK(prune_healing_history(report, records, 4, &count));
        CHECK(count == 3 && records[0].step == 0 && isnan(records[0].loss) && isnan(records[0].learning_rate));
        CHECK(records[2].step == 10 && records[0].held_out_loss == summary.loss_before);
        CHECK_OK(prune_model_mask_get(healed, keep, sizeof keep, NULL));
        CHECK(memcmp(keep, recovery_keep, sizeof keep) == 0);
        if (objective == PRUNE_OBJECTIVE_CE) {
            CHECK_NEAR(loss(healed), summary.loss_after, 1e-5);
        }
        prune_healing_release(report);
        prune_model_release(healed);
    }
    CHECK(loss(f.model) == before);
}

/* Without a report, and in another compute type, which has its mask. */
static void a_healed_model_computes_in_another_type(void)
{
    prune_healing_options options = healing(PRUNE_OBJECTIVE_CE, NULL);
    prune_model *healed = NULL, *same = NULL, *none = (prune_model *)(uintptr_t)0x10;
    double own;
    CHECK_OK(prune_model_heal(f.model, f.data, recovery_keep, 4, &options, &healed, NULL));
    own = loss(healed);
    CHECK_OK(prune_model_with_compute(healed, PRUNE_COMPUTE_FLOAT32, &same));
    prune_model_release(healed);
    CHECK(loss(same) == own);
    CHECK_FAILS(prune_model_with_compute(same, 9, &none), PRUNE_ERR_ARGUMENT, "9");
    CHECK(none == NULL);
    prune_model_release(same);
}

static void healing_stopped_and_resumed(void)
{
    watch w = { 0, 0, 7 };
    prune_healing_options options = healing(PRUNE_OBJECTIVE_KL, &w);
    prune_model *whole = NULL, *continued = (prune_model *)(uintptr_t)0x10;
    options.checkpoint = "state.healing";
    CHECK_FAILS(prune_model_heal(f.model, f.data, recovery_keep, 4, &options, &continued, NULL), PRUNE_ERR_CANCELLED,
                "7");
    CHECK(continued == NULL && w.calls == 7);
    options.on_step = NULL;
    CHECK_OK(prune_model_heal(f.model, f.data, recovery_keep, 4, &options, &continued, NULL));
    options.checkpoint = NULL;
    CHECK_OK(prune_model_heal(f.model, f.data, recovery_keep, 4, &options, &whole, NULL));
    CHECK(loss(whole) == loss(continued));
    options.checkpoint = "state.healing";
    options.seed = 1;
    prune_model_release(continued);
    CHECK_FAILS(prune_model_heal(f.model, f.data, recovery_keep, 4, &options, &continued, NULL), PRUNE_ERR_FORMAT,
                "state.healing");
    options.checkpoint = "no/such/directory/state";
    CHECK_FAILS(prune_model_heal(f.model, f.data, recovery_keep, 4, &options, &continued, NULL), PRUNE_ERR_FILE,
                "no/such/directory");
    prune_model_release(whole);
}

static void healing_refusals(void)
{
    prune_model *healed = NULL;
    prune_healing_options options;
#define REFUSED(field, value, status, word)                                                                      \
    do {                                                                                                         \
        options = healing(PRUNE_OBJECTIVE_CE, NULL);                                                             \
        options.field = value;                                                                                   \
        CHECK_FAILS(prune_model_heal(f.model, f.data, recovery_keep, 4, &options, &healed, NULL), status, word); \
        CHECK(healed == NULL);                                                                                   \
    } while (0)
    REFUSED(train, "attn.1", PRUNE_ERR_ARGUMENT, "attn.1");
    REFUSED(train, "everything", PRUNE_ERR_ARGUMENT, "everything");
    REFUSED(train, "", PRUNE_ERR_ARGUMENT, "nothing");
    REFUSED(objective, PRUNE_OBJECTIVE_MSE, PRUNE_ERR_ARGUMENT, "mse");
    REFUSED(objective, 9, PRUNE_ERR_ARGUMENT, "9");
    REFUSED(schedule, 3, PRUNE_ERR_ARGUMENT, "schedule");
    REFUSED(untie_head, 2, PRUNE_ERR_ARGUMENT, "untie_head");
    REFUSED(steps, -1, PRUNE_ERR_ARGUMENT, "steps");
    REFUSED(batch_sequences, -2, PRUNE_ERR_ARGUMENT, "batch_sequences");
    REFUSED(learning_rate, -1.0, PRUNE_ERR_ARGUMENT, "learning_rate");
    REFUSED(weight_decay, -1.0, PRUNE_ERR_ARGUMENT, "weight_decay");
    REFUSED(clip_norm, -2.0, PRUNE_ERR_ARGUMENT, "clip_norm");
    REFUSED(teacher, f.model, PRUNE_ERR_ARGUMENT, "teacher");
#undef REFUSED
    options = healing(PRUNE_OBJECTIVE_CE, NULL);
    CHECK_FAILS(prune_model_heal(NULL, f.data, NULL, 0, &options, &healed, NULL), PRUNE_ERR_ARGUMENT, "model");
    CHECK_FAILS(prune_model_heal(f.model, NULL, NULL, 0, &options, &healed, NULL), PRUNE_ERR_ARGUMENT, "data");
    CHECK_FAILS(prune_model_heal(f.model, f.data, NULL, 0, &options, NULL, NULL), PRUNE_ERR_ARGUMENT, "out_model");
    CHECK_FAILS(prune_model_heal(f.model, f.data, recovery_keep, 3, &options, &healed, NULL), PRUNE_ERR_ARGUMENT, "3");
    prune_healing_release(NULL);
}

int main(void)
{
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    healing_lowers_the_objective();
    a_healed_model_computes_in_another_type();
    healing_stopped_and_resumed();
    healing_refusals();
    fixture_close(&f);
    return check_report();
}
