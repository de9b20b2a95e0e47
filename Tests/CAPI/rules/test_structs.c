/* SPDX-License-Identifier: Apache-2.0 */
/* struct_size: 0 and too small are refused, a larger one only with a zero tail. For every struct that has the field. */
#include "check.h"
#include "fixture.h"

static fixture f;

/* One call that takes a struct, given as raw memory: what it returns is the test's result. */
typedef prune_status (*with_struct)(void *memory);

static prune_status runtime_info(void *memory) { return prune_runtime_info(memory); }
static prune_status metric_info(void *memory) { return prune_metric_info(0, memory); }
static prune_status model_info(void *memory) { return prune_model_info(f.model, memory); }
static prune_status mask_cost(void *memory) { return prune_model_cost(f.model, NULL, 0, memory); }

static prune_status model_open(void *memory)
{
    prune_model *model = NULL;
    prune_status status = prune_model_open("tiny", memory, &model);
    prune_model_release(model);
    return status;
}

static prune_status data_create(void *memory)
{
    prune_data *data = NULL;
    prune_status status = prune_data_create(fixture_ids, fixture_lengths, FIXTURE_SEQUENCES, memory, &data);
    prune_data_release(data);
    return status;
}

static prune_status score(void *memory)
{
    double out[28];
    return prune_model_score(f.model, f.data, memory, out, 28, NULL);
}

static prune_status statistics_create(void *memory)
{
    prune_statistics *statistics = NULL;
    prune_status status = prune_statistics_create(2, memory, &statistics);
    prune_statistics_release(statistics);
    return status;
}

static prune_status collect(void *memory)
{
    prune_statistics *statistics = NULL;
    prune_status status;
    CHECK_OK(prune_statistics_create(2, NULL, &statistics));
    status = prune_statistics_collect(statistics, f.model, f.data, memory);
    prune_statistics_release(statistics);
    return status;
}

static prune_status read_scores(void *memory)
{
    prune_statistics *statistics = NULL;
    prune_status status;
    double out[28];
    CHECK_OK(prune_statistics_create(2, NULL, &statistics));
    CHECK_OK(prune_statistics_collect(statistics, f.model, f.data, NULL));
    status = prune_statistics_scores(statistics, memory, out, 28, NULL);
    prune_statistics_release(statistics);
    return status;
}

static prune_status evaluate(void *memory)
{
    prune_evaluation out;
    return prune_model_evaluate(f.model, f.data, NULL, 1, 0, memory, &out);
}

static prune_status token_losses(void *memory)
{
    float out[FIXTURE_TOKENS];
    return prune_model_token_losses(f.model, f.data, NULL, 0, memory, out, FIXTURE_TOKENS, NULL);
}

static prune_status logits(void *memory)
{
    float out[512];
    return prune_model_logits(f.model, f.data, NULL, 0, memory, out, 512, NULL);
}

static prune_status hidden_states(void *memory)
{
    float out[256];
    return prune_model_hidden_states(f.model, f.data, NULL, 0, 1, memory, out, 256, NULL);
}

static prune_status damages(void *memory)
{
    double value;
    return prune_model_damages(f.model, f.data, NULL, 1, 0, memory, &value, NULL);
}

static prune_status walk_report(void *memory)
{
    double value;
    return prune_model_damages(f.model, f.data, NULL, 1, 0, NULL, &value, memory);
}

/* The fields that cannot be left at zero are filled; the memory is larger than any size that is tried. */
static prune_status choices(void *memory)
{
    static const int32_t ids[2] = { 1, 2 };
    static const int64_t ones[2] = { 1, 1 }, two = 2, none = 0;
    const prune_choices item = { 0, 0, 1, ids, ones, &two, ids, ones, &none };
    prune_data *data = NULL;
    prune_status status;
    size_t first = offsetof(prune_choices, n_items);
    memcpy((char *)memory + first, (const char *)&item + first, sizeof item - first);
    status = prune_data_create_choices(memory, &data);
    prune_data_release(data);
    return status;
}

static prune_status choices_options(void *memory)
{
    static const int32_t ids[2] = { 1, 2 };
    static const int64_t ones[2] = { 1, 1 }, two = 2, none = 0;
    const prune_choices item = { sizeof item, 0, 1, ids, ones, &two, ids, ones, &none };
    prune_data *data = NULL;
    double values[2];
    prune_status status;
    CHECK_OK(prune_data_create_choices(&item, &data));
    status = prune_model_evaluate_choices(f.model, data, NULL, 0, memory, values, 2, NULL);
    prune_data_release(data);
    return status;
}

static prune_status game_create(void *memory)
{
    prune_game *game = NULL;
    prune_status status = prune_game_create(3, memory, &game);
    prune_game_release(game);
    return status;
}

static prune_status game_info(void *memory)
{
    prune_game *game = NULL;
    prune_status status;
    CHECK_OK(prune_game_create(3, NULL, &game));
    status = prune_game_info(game, memory);
    prune_game_release(game);
    return status;
}

static prune_status shapley(void *memory)
{
    prune_game_options options = PRUNE_GAME_OPTIONS_INIT;
    prune_game *game = NULL;
    prune_status status;
    options.estimator = PRUNE_ESTIMATOR_LEAVE_ONE_OUT;
    CHECK_OK(prune_game_create(4, &options, &game));
    status = prune_model_shapley(f.model, f.data, game, memory);
    prune_game_release(game);
    return status;
}

static prune_status generate(void *memory)
{
    prune_generation *generation = NULL;
    prune_status status = prune_model_generate(f.model, f.data, NULL, 0, memory, &generation);
    prune_generation_release(generation);
    return status;
}

static prune_status generation_info(void *memory)
{
    prune_generation *generation = NULL;
    prune_status status;
    CHECK_OK(prune_model_generate(f.model, f.data, NULL, 0, NULL, &generation));
    status = prune_generation_info(generation, memory);
    prune_generation_release(generation);
    return status;
}

static const uint8_t without[4] = { 1, 0, 1, 1 };

static prune_status recover(void *memory)
{
    prune_adapters *adapters = NULL;
    prune_status status = prune_model_recover(f.model, f.data, without, 4, memory, &adapters);
    prune_adapters_release(adapters);
    return status;
}

static prune_status adapters_info(void *memory)
{
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    prune_adapters *adapters = NULL;
    prune_status status;
    options.kind = PRUNE_ADAPTER_BIAS;
    CHECK_OK(prune_model_recover(f.model, f.data, without, 4, &options, &adapters));
    status = prune_adapters_info(adapters, memory);
    prune_adapters_release(adapters);
    return status;
}

static const uint8_t later[4] = { 1, 1, 1, 0 };

static prune_status share(void *memory)
{
    prune_model *shared = NULL;
    prune_status status = prune_model_share(f.model, f.data, later, 4, memory, NULL, &shared);
    prune_model_release(shared);
    return status;
}

static prune_status share_summary(void *memory)
{
    prune_model *shared = NULL;
    prune_status status = prune_model_share(f.model, f.data, later, 4, NULL, memory, &shared);
    prune_model_release(shared);
    return status;
}

static prune_status sharing(void *memory)
{
    static prune_sharing_pair pairs[8];
    size_t count = 0;
    return prune_model_sharing(f.model, f.data, memory, pairs, 8, &count);
}

static prune_status moments_create(void *memory)
{
    prune_moments *moments = NULL;
    prune_status status = prune_moments_create(f.model, without, 4, memory, &moments);
    prune_moments_release(moments);
    return status;
}

static prune_status moments_collect(void *memory)
{
    prune_moments *moments = NULL;
    prune_status status;
    CHECK_OK(prune_moments_create(f.model, without, 4, NULL, &moments));
    status = prune_moments_collect(moments, f.model, f.data, memory);
    prune_moments_release(moments);
    return status;
}

static prune_status moments_solve(void *memory)
{
    prune_moments *moments = NULL;
    prune_adapters *adapters = NULL;
    prune_status status;
    CHECK_OK(prune_moments_create(f.model, without, 4, NULL, &moments));
    CHECK_OK(prune_moments_collect(moments, f.model, f.data, NULL));
    status = prune_moments_solve(moments, NULL, memory, &adapters);
    prune_moments_release(moments);
    prune_adapters_release(adapters);
    return status;
}

static prune_status vjp(void *memory)
{
    static float states[FIXTURE_TOKENS * FIXTURE_HIDDEN], out[FIXTURE_TOKENS * FIXTURE_HIDDEN];
    return prune_model_vjp(f.model, f.data, 1, states, states, FIXTURE_TOKENS * FIXTURE_HIDDEN, memory, out);
}

static prune_status gradient(void *memory)
{
    static float out[FIXTURE_TOKENS * FIXTURE_HIDDEN];
    return prune_model_gradient(f.model, f.data, without, 4, PRUNE_OBJECTIVE_CE, 0, memory, out,
                                FIXTURE_TOKENS * FIXTURE_HIDDEN, NULL, NULL);
}

static prune_status adapters_gradient(void *memory)
{
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    prune_adapters *adapters = NULL;
    prune_status status;
    float out[FIXTURE_HIDDEN];
    options.kind = PRUNE_ADAPTER_BIAS;
    CHECK_OK(prune_model_recover(f.model, f.data, without, 4, &options, &adapters));
    status = prune_adapters_gradient(adapters, f.model, f.data, PRUNE_OBJECTIVE_CE, 1, memory, out, FIXTURE_HIDDEN,
                                     NULL, NULL);
    prune_adapters_release(adapters);
    return status;
}

static prune_status export_model(void *memory)
{
    int32_t replace = 1;
    uint32_t size;
    memcpy(&size, memory, sizeof size);
    if (size >= offsetof(prune_export_options, tokenizer_directory)) {
        memcpy((char *)memory + offsetof(prune_export_options, replace), &replace, sizeof replace);
    }
    return prune_model_export(f.model, NULL, 0, NULL, "exported", memory);
}

static const struct {
    with_struct call;
    uint32_t size;
    const char *name; /* what the message calls the argument */
    uint32_t first;   /* size in the first version that had the struct; 0 = as it is now */
} cases[] = { { metric_info, sizeof(prune_metric_facts), "out_facts", 0 },
              { runtime_info, sizeof(prune_runtime), "out_runtime", offsetof(prune_runtime, bf16_kernels) },
              { model_info, sizeof(prune_model_shape), "out_shape", offsetof(prune_model_shape, compute) },
              { mask_cost, sizeof(prune_cost), "out_cost", offsetof(prune_cost, active_parameters) },
              { model_open, sizeof(prune_model_options), "options", offsetof(prune_model_options, on_close) },
              { data_create, sizeof(prune_data_options), "options", 0 },
              { score, sizeof(prune_score_options), "options", 0 },
              { statistics_create, sizeof(prune_statistics_options), "options", 0 },
              { collect, sizeof(prune_score_options), "options", 0 },
              { read_scores, sizeof(prune_score_options), "options", 0 },
              { evaluate, sizeof(prune_evaluate_options), "options", 0 },
              { token_losses, sizeof(prune_evaluate_options), "options", 0 },
              { logits, sizeof(prune_evaluate_options), "options", 0 },
              { hidden_states, sizeof(prune_evaluate_options), "options", 0 },
              { damages, sizeof(prune_coalition_options), "options", 0 },
              { walk_report, sizeof(prune_walk_report), "out_report", 0 },
              { choices, sizeof(prune_choices), "choices", 0 },
              { choices_options, sizeof(prune_evaluate_options), "options", 0 },
              { game_create, sizeof(prune_game_options), "options", 0 },
              { game_info, sizeof(prune_game_state), "out_state", 0 },
              { shapley, sizeof(prune_game_run_options), "options", 0 },
              { generate, sizeof(prune_generate_options), "options", 0 },
              { generation_info, sizeof(prune_generation_summary), "out_summary", 0 },
              { recover, sizeof(prune_recover_options), "options", 0 },
              { adapters_info, sizeof(prune_adapters_summary), "out_summary", 0 },
              { share, sizeof(prune_share_options), "options", 0 },
              { share_summary, sizeof(prune_share_summary), "out_summary", 0 },
              { sharing, sizeof(prune_sharing_options), "options", 0 },
              { moments_create, sizeof(prune_recover_options), "options", 0 },
              { moments_collect, sizeof(prune_evaluate_options), "options", 0 },
              { moments_solve, sizeof(prune_recover_options), "options", 0 },
              { vjp, sizeof(prune_evaluate_options), "options", 0 },
              { gradient, sizeof(prune_evaluate_options), "options", 0 },
              { adapters_gradient, sizeof(prune_evaluate_options), "options", 0 },
              { export_model, sizeof(prune_export_options), "options",
                offsetof(prune_export_options, tokenizer_directory) } };

/* Calls with `size` in struct_size; byte `set` of the memory, if it is not 0, holds 1. */
static prune_status call(size_t i, uint32_t size, uint32_t set, unsigned char *memory, size_t room)
{
    memset(memory, 0, room);
    memcpy(memory, &size, sizeof size);
    if (set != 0) {
        memory[set] = 1;
    }
    return cases[i].call(memory);
}

static void struct_sizes_of_other_versions(void)
{
    enum {
        ROOM = 512
    };
    union {
        unsigned char bytes[ROOM];
        void *aligned;
        int64_t also;
    } memory;
    size_t i;
    uint32_t size, kept;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t own = cases[i].size;
        uint32_t first = cases[i].first == 0 ? own : cases[i].first;
        int failures = check_n_failed;
        for (size = 0; size < first; size++) {
            CHECK_FAILS(call(i, size, 0, memory.bytes, ROOM), PRUNE_ERR_ARGUMENT, cases[i].name);
            CHECK(strstr(prune_last_error(), "struct_size") != NULL);
        }
        /* A program built against an older header: what it does not know is not written. */
        for (size = first; size < own; size++) {
            CHECK_OK(call(i, size, size, memory.bytes, ROOM));
            CHECK(memory.bytes[size] == 1);
        }
        CHECK_OK(call(i, own, 0, memory.bytes, ROOM));
        for (size = own + 1; size <= own + 64; size += 21) {
            CHECK_OK(call(i, size, 0, memory.bytes, ROOM));
            memcpy(&kept, memory.bytes, sizeof kept);
            CHECK(kept == size); /* the caller's field is left alone */
            CHECK_FAILS(call(i, size, own, memory.bytes, ROOM), PRUNE_ERR_ARGUMENT, cases[i].name);
            CHECK_FAILS(call(i, size, size - 1, memory.bytes, ROOM), PRUNE_ERR_ARGUMENT, cases[i].name);
            CHECK(memory.bytes[size] == 0); /* not a byte behind it was touched */
        }
        /* A byte right behind the struct is not the library's business. */
        CHECK_OK(call(i, own, own, memory.bytes, ROOM));
        CHECK(memory.bytes[own] == 1);
        CHECK_FAILS(call(i, UINT32_MAX, 0, memory.bytes, ROOM), PRUNE_ERR_ARGUMENT, cases[i].name);
        if (check_n_failed != failures) {
            printf("    case %d: %s of %d bytes\n", (int)i, cases[i].name, (int)own);
        }
    }
}

/* Fields that are reserved must be 0, so that they can mean something later. */
static void reserved_fields(void)
{
    prune_data_options data_options = PRUNE_DATA_OPTIONS_INIT;
    prune_statistics_options statistics_options = PRUNE_STATISTICS_OPTIONS_INIT;
    prune_evaluate_options evaluate_options = PRUNE_EVALUATE_OPTIONS_INIT;
    data_options.reserved = 1;
    statistics_options.reserved = 1;
    evaluate_options.reserved = 1;
    CHECK_FAILS(data_create(&data_options), PRUNE_ERR_ARGUMENT, "reserved");
    CHECK_FAILS(statistics_create(&statistics_options), PRUNE_ERR_ARGUMENT, "reserved");
    CHECK_FAILS(evaluate(&evaluate_options), PRUNE_ERR_ARGUMENT, "reserved");
}

/* The struct that the options of a game's run point to has a size of its own, which is checked like any other. */
static void struct_that_options_point_to(void)
{
    static const uint32_t wrong[4] = { 0, 1, sizeof(prune_coalition_options) - 1, UINT32_MAX };
    union { /* a later version of the struct, with room for what it appended */
        prune_coalition_options known;
        unsigned char bytes[sizeof(prune_coalition_options) + 8];
    } later;
    prune_game_run_options options = PRUNE_GAME_RUN_OPTIONS_INIT;
    prune_coalition_options coalitions = PRUNE_COALITION_OPTIONS_INIT;
    prune_game *game = NULL;
    size_t i;
    CHECK_OK(prune_game_create(4, NULL, &game));
    for (i = 0; i < 4; i++) {
        options.coalitions = &coalitions;
        coalitions.struct_size = wrong[i];
        CHECK_FAILS(prune_model_shapley(f.model, f.data, game, &options), PRUNE_ERR_ARGUMENT, "coalition");
        CHECK(strstr(prune_last_error(), "struct_size") != NULL);
    }
    memset(&later, 0, sizeof later);
    later.known.struct_size = sizeof later;
    later.bytes[sizeof(prune_coalition_options)] = 1;
    options.coalitions = &later.known;
    CHECK_FAILS(prune_model_shapley(f.model, f.data, game, &options), PRUNE_ERR_ARGUMENT, "options.coalitions");
    later.bytes[sizeof(prune_coalition_options)] = 0;
    CHECK_OK(prune_model_shapley(f.model, f.data, game, &options));
    prune_game_release(game);
}

int main(void)
{
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    struct_sizes_of_other_versions();
    reserved_fields();
    struct_that_options_point_to();
    fixture_close(&f);
    return check_report();
}
