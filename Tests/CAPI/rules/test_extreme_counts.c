/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts that no array has: every count of a call at its extremes, where the library can tell, in a child each, which has a few
 * GiB of addresses. Each call gives a status; none ends the process, none hangs.
 */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "extreme_calls.h"

static uint8_t bytes[1 << 16];
static double numbers[4096];
static prune_game *game;
static prune_search *search;
static prune_adapters *adapters;
static prune_moments *moments;
static prune_statistics *statistics;
static prune_generation *generation;

enum {
    N = FIXTURE_SUBLAYERS
};
#define M extreme.model
#define D extreme.data

/* A call with a count or another integer, `n`. */
#define WITH(name, call)                \
    static prune_status name(int64_t n) \
    {                                   \
        size_t count = (size_t)n;       \
        (void)count, (void)n;           \
        return call;                    \
    }

WITH(remove_of_scores, prune_mask_remove_lowest(numbers, count, 0, 1, NULL, bytes, N))
WITH(remove_many, prune_mask_remove_lowest(numbers, N, 0, count, NULL, bytes, N))
WITH(remove_of_mask, prune_mask_remove_lowest(numbers, N, 0, 1, NULL, bytes, count))
WITH(mask_to_json, prune_mask_to_json(extreme_keep, N, NULL, (char *)bytes, count, NULL))
WITH(mask_from_json, prune_mask_from_json("{}", bytes, count, NULL))
WITH(edited_mask_to_json, prune_edited_mask_to_json(extreme_keep, N, "[]", NULL, (char *)bytes, count, NULL))
WITH(edited_mask_from_json, prune_edited_mask_from_json("{}", bytes, count, NULL, (char *)bytes, count, NULL))
WITH(own_weights, prune_model_own_weights(M, (char *)bytes, count, NULL))
WITH(own_weight, prune_model_own_weight(M, "a", bytes, count, NULL))
WITH(set_mask, prune_model_mask_set(M, extreme_keep, count))
WITH(get_mask, prune_model_mask_get(M, bytes, count, NULL))
WITH(own_mask, prune_model_mask_own(M, bytes, count, NULL))
WITH(own_adapters, prune_model_adapters(M, extreme_keep, count, NULL))
WITH(cost, prune_model_cost(M, extreme_keep, count, &(prune_cost)PRUNE_COST_INIT))
WITH(sublayers, prune_model_sublayers(M, (prune_sublayer *)(void *)numbers, count, NULL))
WITH(score, prune_model_score(M, D, NULL, numbers, count, NULL))
WITH(evaluate_masks, prune_model_evaluate(M, D, NULL, count, N, NULL, (prune_evaluation *)(void *)numbers))
WITH(evaluate_mask, prune_model_evaluate(M, D, extreme_keep, 1, count, NULL, (prune_evaluation *)(void *)numbers))
WITH(losses_mask, prune_model_token_losses(M, D, extreme_keep, count, NULL, extreme_floats, EXTREME_VALUES, NULL))
WITH(losses, prune_model_token_losses(M, D, NULL, 0, NULL, extreme_floats, count, NULL))
WITH(logits, prune_model_logits(M, D, NULL, 0, NULL, extreme_floats, count, NULL))
WITH(states_at, prune_model_hidden_states(M, D, NULL, 0, n, NULL, extreme_floats, EXTREME_VALUES, NULL))
WITH(damages_mask, prune_model_damages(M, D, extreme_keep, 1, count, NULL, numbers, NULL))
WITH(damages_masks, prune_model_damages(M, D, NULL, count, N, NULL, numbers, NULL))
WITH(choices_room, prune_model_evaluate_choices(M, extreme_choices, NULL, 0, NULL, numbers, count, NULL))
WITH(times_room, prune_model_times(M, NULL, NULL, count, NULL))
WITH(search_ask, prune_search_ask(search, count, bytes, &(size_t){ 0 }, NULL))
WITH(search_mask, prune_search_mask(search, bytes, count, NULL))
WITH(search_tell, prune_search_tell(search, NULL, numbers, count))
WITH(search_path, prune_search_path(search, NULL, bytes, count, NULL))
WITH(search_save, prune_search_save(search, bytes, count, NULL))
WITH(game_players, prune_game_create(n, NULL, &(prune_game *){ NULL }))
WITH(game_ask, prune_game_ask(game, count, bytes, &(size_t){ 0 }))
WITH(game_tell, prune_game_tell(game, NULL, numbers, count))
WITH(game_result, prune_game_result(game, numbers, NULL, count, NULL))
WITH(game_strata, prune_game_strata(game, numbers, count, NULL))
WITH(game_interactions, prune_game_interactions(game, numbers, count, NULL))
WITH(game_save, prune_game_save(game, bytes, count, NULL))
WITH(recover_mask, prune_model_recover(M, D, extreme_keep, count, NULL, &(prune_adapters *){ NULL }))
WITH(adapters_list, prune_adapters_list(adapters, (prune_adapter *)(void *)numbers, count, NULL))
WITH(adapters_get, prune_adapters_get(adapters, n, 0, extreme_floats, EXTREME_VALUES, NULL))
WITH(adapters_room, prune_adapters_get(adapters, 1, 0, extreme_floats, count, NULL))
WITH(adapters_set, prune_adapters_set(adapters, 1, 0, extreme_floats, count))
WITH(adapters_history, prune_adapters_history(adapters, (prune_training_record *)(void *)numbers, count, NULL))
WITH(adapters_fold, prune_adapters_fold(adapters, extreme_floats, count, NULL, &(prune_adapters *){ NULL }))
WITH(export_mask, prune_model_export(M, extreme_keep, count, NULL, "exported", NULL))
WITH(generate_mask, prune_model_generate(M, D, extreme_keep, count, NULL, &(prune_generation *){ NULL }))
WITH(written, prune_generation_sequence(generation, n, (int32_t *)(void *)numbers, NULL, 4096, NULL, NULL))
WITH(written_room, prune_generation_sequence(generation, 0, (int32_t *)(void *)numbers, NULL, count, NULL, NULL))
WITH(statistics_blocks, prune_statistics_create(n, NULL, &(prune_statistics *){ NULL }))
WITH(statistics_room, prune_statistics_scores(statistics, NULL, numbers, count, NULL))
WITH(moments_mask, prune_moments_create(M, extreme_keep, count, NULL, &(prune_moments *){ NULL }))
WITH(vjp_values, prune_model_vjp(M, D, 1, extreme_floats, extreme_floats, count, NULL, extreme_floats))
WITH(vjp_at, prune_model_vjp(M, D, n, extreme_floats, extreme_floats, 256, NULL, extreme_floats))
WITH(gradient_at, prune_model_gradient(M, D, NULL, 0, 2, n, NULL, extreme_floats, EXTREME_VALUES, NULL, NULL))
WITH(adapter_gradient_at,
     prune_adapters_gradient(adapters, M, D, 2, n, NULL, extreme_floats, EXTREME_VALUES, NULL, NULL))
WITH(data_sequences, prune_data_create(fixture_ids, NULL, count, NULL, &(prune_data *){ NULL }))
WITH(data_length, prune_data_create(fixture_ids, &n, 1, NULL, &(prune_data *){ NULL }))
WITH(metric, prune_metric_info(count, &(prune_metric_facts)PRUNE_METRIC_FACTS_INIT))
WITH(threads, prune_threads_set((int32_t)n))
WITH(from_tensors, prune_model_from_tensors("{}", NULL, count, NULL, &(prune_model *){ NULL }))
WITH(from_dlpack, prune_model_from_dlpack("{}", NULL, NULL, count, NULL, &(prune_model *){ NULL }))

/* Rows of hidden states, with one number of theirs set. */
static prune_status rows_with(int64_t n_rows, int64_t width, int64_t row_stride, int64_t column_stride)
{
    prune_rows rows = { NULL, 0, 0, 1, FIXTURE_HIDDEN, 0, 0 };
    rows.data = extreme_floats;
    rows.n_rows = n_rows, rows.width = width, rows.row_stride = row_stride, rows.column_stride = column_stride;
    return prune_statistics_update(statistics, 0, 0, &rows, &rows);
}
/* One row of one value, so that no stride leads out of the array. */
WITH(row_stride, rows_with(1, 1, n, 0))
WITH(column_stride, rows_with(1, 1, 0, n))
WITH(no_rows, rows_with(0, n, n, n))
WITH(rows_and_widths, rows_with(n, n, 0, 0))

#define CALL(name) { #name, name }
static const struct {
    const char *name;
    prune_status (*run)(int64_t n);
} calls[] = {
    CALL(remove_of_scores),
    CALL(remove_many),
    CALL(remove_of_mask),
    CALL(mask_to_json),
    CALL(mask_from_json),
    CALL(edited_mask_to_json),
    CALL(edited_mask_from_json),
    CALL(own_weights),
    CALL(own_weight),
    CALL(set_mask),
    CALL(get_mask),
    CALL(own_mask),
    CALL(own_adapters),
    CALL(cost),
    CALL(sublayers),
    CALL(score),
    CALL(evaluate_masks),
    CALL(evaluate_mask),
    CALL(losses_mask),
    CALL(losses),
    CALL(logits),
    CALL(states_at),
    CALL(damages_mask),
    CALL(damages_masks),
    CALL(choices_room),
    CALL(times_room),
    CALL(search_ask),
    CALL(search_mask),
    CALL(search_tell),
    CALL(search_path),
    CALL(search_save),
    CALL(game_players),
    CALL(game_ask),
    CALL(game_tell),
    CALL(game_result),
    CALL(game_strata),
    CALL(game_interactions),
    CALL(game_save),
    CALL(recover_mask),
    CALL(adapters_list),
    CALL(adapters_get),
    CALL(adapters_room),
    CALL(adapters_set),
    CALL(adapters_history),
    CALL(adapters_fold),
    CALL(export_mask),
    CALL(generate_mask),
    CALL(written),
    CALL(written_room),
    CALL(statistics_blocks),
    CALL(statistics_room),
    CALL(moments_mask),
    CALL(vjp_values),
    CALL(vjp_at),
    CALL(gradient_at),
    CALL(adapter_gradient_at),
    CALL(data_sequences),
    CALL(data_length),
    CALL(metric),
    CALL(threads),
    CALL(from_tensors),
    CALL(from_dlpack),
    CALL(row_stride),
    CALL(column_stride),
    CALL(no_rows),
    CALL(rows_and_widths),
};

static const int64_t counts[] = { INT64_MAX, INT64_MAX / 2, INT64_C(1) << 48, -1, INT64_MIN, INT64_MIN + 1 };

static void made(void)
{
    prune_search_options searched = PRUNE_SEARCH_OPTIONS_INIT;
    prune_recover_options recovered = PRUNE_RECOVER_OPTIONS_INIT;
    prune_generate_options written_options = PRUNE_GENERATE_OPTIONS_INIT;
    searched.remove = 1;
    recovered.kind = PRUNE_ADAPTER_BIAS;
    recovered.held_out = D;
    written_options.max_new_tokens = 3;
    REQUIRE(prune_game_create(EXTREME_PLAYERS, NULL, &game) == PRUNE_OK);
    REQUIRE(prune_search_create(M, &searched, &search) == PRUNE_OK);
    REQUIRE(prune_model_recover(M, D, extreme_keep, N, &recovered, &adapters) == PRUNE_OK);
    REQUIRE(prune_moments_create(M, extreme_keep, N, NULL, &moments) == PRUNE_OK);
    REQUIRE(prune_statistics_create(FIXTURE_BLOCKS, NULL, &statistics) == PRUNE_OK);
    REQUIRE(prune_model_generate(M, D, NULL, 0, &written_options, &generation) == PRUNE_OK);
}

int main(void)
{
    size_t i, k;
    int n_done = 0, n_refused = 0;
    setvbuf(stdout, NULL, _IONBF, 0);
    extreme_begin();
    made();
    for (i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        for (k = 0; k < sizeof counts / sizeof counts[0]; k++) {
            int status = -1;
            pid_t child = fork();
            if (child == 0) {
                struct rlimit limit = { (rlim_t)4 << 30, (rlim_t)4 << 30 };
                alarm(120);
                _exit(setrlimit(RLIMIT_AS, &limit) == 0 ? (int)calls[i].run(counts[k]) : 100);
            }
            CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
            if (!WIFEXITED(status) || WEXITSTATUS(status) > PRUNE_ERR_HOST ||
                WEXITSTATUS(status) == PRUNE_ERR_INTERNAL) {
                CHECK(!"a status");
                printf("    %s with %lld: %x\n", calls[i].name, (long long)counts[k], (unsigned)status);
                continue;
            }
            n_done += WEXITSTATUS(status) == PRUNE_OK;
            n_refused += WEXITSTATUS(status) != PRUNE_OK;
        }
    }
    printf("%d done, %d refused\n", n_done, n_refused);
    CHECK(n_done > 20 && n_refused > 100);
    prune_game_release(game);
    prune_search_release(search);
    prune_adapters_release(adapters);
    prune_moments_release(moments);
    prune_statistics_release(statistics);
    prune_generation_release(generation);
    extreme_end();
    return check_report();
}
