/* SPDX-License-Identifier: Apache-2.0 */
/* NULL for every pointer argument of every function, one by one. */
#include "check.h"
#include "fixture.h"

/* `call` must be refused as NULL for the argument `name`. */
#define CHECK_NULL(call, name) CHECK_FAILS((call), PRUNE_ERR_ARGUMENT, name)

static void library(void) { CHECK_NULL(prune_runtime_info(NULL), "out_runtime"); }

static void models(const fixture *f)
{
    prune_model *model = (prune_model *)(uintptr_t)0x10;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    prune_sublayer sublayers[4];
    static char text[1 << 16];
    size_t count;
    CHECK_NULL(prune_model_open(NULL, NULL, &model), "directory");
    CHECK(model == NULL);
    CHECK_NULL(prune_model_open("tiny", NULL, NULL), "out_model");
    CHECK_NULL(prune_model_info(NULL, &shape), "model");
    CHECK_NULL(prune_model_info(f->model, NULL), "out_shape");
    CHECK_NULL(prune_model_sublayers(NULL, sublayers, 4, &count), "model");
    CHECK_NULL(prune_model_sublayers(f->model, NULL, 4, &count), "out_sublayers");
    CHECK_OK(prune_model_sublayers(f->model, sublayers, 4, NULL));
    CHECK_NULL(prune_model_plan(NULL, text, sizeof text, &count), "model");
    CHECK_NULL(prune_model_plan(f->model, NULL, sizeof text, &count), "out_text");
    CHECK_OK(prune_model_plan(f->model, text, sizeof text, NULL));
    CHECK_NULL(prune_model_config(NULL, text, sizeof text, &count), "model");
    CHECK_NULL(prune_model_config(f->model, NULL, sizeof text, &count), "out_text");
    CHECK_OK(prune_model_config(f->model, text, sizeof text, NULL));
    CHECK_NULL(prune_architectures(NULL, sizeof text, &count), "out_text");
    CHECK_OK(prune_architectures(text, sizeof text, NULL));
    prune_model_release(NULL);
}

static void data(const fixture *f)
{
    prune_data *made = (prune_data *)(uintptr_t)0x10;
    int64_t count;
    CHECK_NULL(prune_data_create(NULL, fixture_lengths, 3, NULL, &made), "token_ids");
    CHECK(made == NULL);
    made = (prune_data *)(uintptr_t)0x10;
    CHECK_NULL(prune_data_create(fixture_ids, NULL, 3, NULL, &made), "sequence_lengths");
    CHECK(made == NULL);
    CHECK_NULL(prune_data_create(fixture_ids, fixture_lengths, 3, NULL, NULL), "out_data");
    CHECK_NULL(prune_data_info(NULL, &count, &count), "data");
    CHECK_OK(prune_data_info(f->data, NULL, NULL));
    prune_data_release(NULL);
}

static void masks(const fixture *f)
{
    static const double scores[2] = { 1.0, 2.0 };
    static const uint8_t keep[4] = { 1, 1, 1, 1 };
    static const char json[] =
        "{\"format\": \"prunecore.mask\", \"version\": 1, \"n_blocks\": 2, \"removed\": [], \"provenance\": {}}";
    prune_cost cost = PRUNE_COST_INIT;
    uint8_t out[4];
    char text[256];
    size_t count;
    CHECK_NULL(prune_model_mask_set(NULL, keep, 4), "model");
    CHECK_NULL(prune_model_mask_set(f->model, NULL, 4), "keep");
    CHECK_NULL(prune_model_mask_get(NULL, out, 4, &count), "model");
    CHECK_NULL(prune_model_mask_get(f->model, NULL, 4, &count), "out_keep");
    CHECK_OK(prune_model_mask_get(f->model, out, 4, NULL));
    CHECK_NULL(prune_model_mask_own(NULL, out, 4, &count), "model");
    CHECK_NULL(prune_model_mask_own(f->model, NULL, 4, &count), "out_keep");
    CHECK_OK(prune_model_mask_own(f->model, out, 4, NULL));
    CHECK_NULL(prune_model_adapters(NULL, NULL, 0, NULL), "model");
    CHECK_NULL(prune_model_adapters(f->model, NULL, 0, NULL), "out_adapters");
    CHECK_NULL(prune_model_cost(NULL, keep, 4, &cost), "model");
    CHECK_NULL(prune_model_cost(f->model, NULL, 4, &cost), "keep");
    CHECK_NULL(prune_model_cost(f->model, keep, 4, NULL), "out_cost");
    CHECK_NULL(prune_mask_remove_lowest(NULL, 2, PRUNE_GRANULARITY_BLOCK, 1, keep, out, 4), "scores");
    CHECK_NULL(prune_mask_remove_lowest(scores, 2, PRUNE_GRANULARITY_BLOCK, 1, keep, NULL, 4), "out_keep");
    CHECK_OK(prune_mask_remove_lowest(scores, 2, PRUNE_GRANULARITY_BLOCK, 1, NULL, out, 4));
    CHECK_NULL(prune_mask_to_json(NULL, 4, "{}", text, sizeof text, &count), "keep");
    CHECK_NULL(prune_mask_to_json(keep, 4, "{}", NULL, sizeof text, &count), "out_text");
    CHECK_OK(prune_mask_to_json(keep, 4, NULL, text, sizeof text, NULL));
    CHECK_NULL(prune_mask_from_json(NULL, out, 4, &count), "text");
    CHECK_NULL(prune_mask_from_json(json, NULL, 4, &count), "out_keep");
    CHECK_OK(prune_mask_from_json(json, out, 4, NULL));
    CHECK_NULL(prune_edited_mask_to_json(NULL, 4, "[]", "{}", text, sizeof text, &count), "keep");
    CHECK_NULL(prune_edited_mask_to_json(keep, 4, "[]", "{}", NULL, sizeof text, &count), "out_text");
    CHECK_OK(prune_edited_mask_to_json(keep, 4, NULL, NULL, text, sizeof text, NULL));
    CHECK_NULL(prune_edited_mask_from_json(NULL, out, 4, &count, text, sizeof text, &count), "text");
    CHECK_NULL(prune_edited_mask_from_json(json, NULL, 4, &count, text, sizeof text, &count), "out_keep");
    CHECK_NULL(prune_edited_mask_from_json(json, out, 4, &count, NULL, sizeof text, &count), "out_text");
    CHECK_OK(prune_edited_mask_from_json(json, out, 4, NULL, text, sizeof text, NULL));
    CHECK_NULL(prune_model_edit(NULL, "[]", NULL), "model");
    CHECK_NULL(prune_model_edit(f->model, NULL, NULL), "edits_json");
    CHECK_NULL(prune_model_edit(f->model, "[]", NULL), "out_model");
    CHECK_NULL(prune_model_own_weights(NULL, text, sizeof text, &count), "model");
    CHECK_NULL(prune_model_own_weights(f->model, NULL, sizeof text, &count), "out_text");
    CHECK_OK(prune_model_own_weights(f->model, text, sizeof text, NULL));
    CHECK_NULL(prune_model_own_weight(NULL, "a", out, 4, &count), "model");
    CHECK_NULL(prune_model_own_weight(f->model, NULL, out, 4, &count), "name");
    CHECK_NULL(prune_model_merge(NULL, f->data, NULL, NULL), "model");
    CHECK_NULL(prune_model_merge(f->model, NULL, NULL, NULL), "data");
    CHECK_NULL(prune_model_merge(f->model, f->data, NULL, NULL), "out_merging");
    CHECK_NULL(prune_merging_to_json(NULL, text, sizeof text, &count), "merging");
    prune_merging_release(NULL);
}

static void scores(const fixture *f)
{
    prune_statistics *statistics = NULL;
    prune_statistics_options options = PRUNE_STATISTICS_OPTIONS_INIT;
    const prune_rows rows = { "\0\0\0", PRUNE_ELEMENT_FLOAT32, 0, 1, 1, 0, 0 };
    double out[28];
    size_t count;
    options.windows = 1;
    CHECK_NULL(prune_model_score(NULL, f->data, NULL, out, 28, &count), "model");
    CHECK_NULL(prune_model_score(f->model, NULL, NULL, out, 28, &count), "data");
    CHECK_NULL(prune_model_score(f->model, f->data, NULL, NULL, 28, &count), "out_scores");
    CHECK_OK(prune_model_score(f->model, f->data, NULL, out, 28, NULL));
    CHECK_NULL(prune_statistics_create(2, NULL, NULL), "out_statistics");
    CHECK_OK(prune_statistics_create(2, &options, &statistics));
    CHECK_NULL(prune_statistics_collect(NULL, f->model, f->data, NULL), "statistics");
    CHECK_NULL(prune_statistics_collect(statistics, NULL, f->data, NULL), "model");
    CHECK_NULL(prune_statistics_collect(statistics, f->model, NULL, NULL), "data");
    CHECK_OK(prune_statistics_collect(statistics, f->model, f->data, NULL));
    CHECK_NULL(prune_statistics_update(NULL, 0, 0, &rows, &rows), "statistics");
    CHECK_NULL(prune_statistics_update(statistics, 0, 0, NULL, &rows), "before");
    CHECK_NULL(prune_statistics_update(statistics, 0, 0, &rows, NULL), "after");
    CHECK_NULL(prune_statistics_merge(NULL, statistics), "statistics");
    CHECK_NULL(prune_statistics_merge(statistics, NULL), "other");
    CHECK_NULL(prune_statistics_scores(NULL, NULL, out, 28, &count), "statistics");
    CHECK_NULL(prune_statistics_scores(statistics, NULL, NULL, 28, &count), "out_scores");
    CHECK_OK(prune_statistics_scores(statistics, NULL, out, 28, NULL));
    CHECK_NULL(prune_statistics_windows(NULL, out, 28, &count), "statistics");
    CHECK_NULL(prune_statistics_windows(statistics, NULL, 28, &count), "out_distances");
    CHECK_OK(prune_statistics_windows(statistics, out, 28, NULL));
    prune_statistics_release(statistics);
    prune_statistics_release(NULL);
}

static void evaluation(const fixture *f)
{
    static const uint8_t keep[4] = { 1, 1, 1, 1 };
    prune_evaluation out[2];
    float floats[512];
    size_t count;
    CHECK_NULL(prune_model_evaluate(NULL, f->data, keep, 1, 4, NULL, out), "model");
    CHECK_NULL(prune_model_evaluate(f->model, NULL, keep, 1, 4, NULL, out), "data");
    CHECK_NULL(prune_model_evaluate(f->model, f->data, NULL, 2, 4, NULL, out), "keep_masks");
    CHECK_NULL(prune_model_evaluate(f->model, f->data, NULL, 1, 4, NULL, out), "keep_masks");
    CHECK_NULL(prune_model_evaluate(f->model, f->data, NULL, 2, 0, NULL, out), "keep_masks");
    CHECK_NULL(prune_model_evaluate(f->model, f->data, keep, 1, 4, NULL, NULL), "out_evaluations");
    CHECK_NULL(prune_model_token_losses(NULL, f->data, NULL, 0, NULL, floats, 512, &count), "model");
    CHECK_NULL(prune_model_token_losses(f->model, NULL, NULL, 0, NULL, floats, 512, &count), "data");
    CHECK_NULL(prune_model_token_losses(f->model, f->data, NULL, 4, NULL, floats, 512, &count), "keep");
    CHECK_NULL(prune_model_token_losses(f->model, f->data, NULL, 0, NULL, NULL, 512, &count), "out_losses");
    CHECK_OK(prune_model_token_losses(f->model, f->data, NULL, 0, NULL, floats, 512, NULL));
    CHECK_NULL(prune_model_logits(NULL, f->data, NULL, 0, NULL, floats, 512, &count), "model");
    CHECK_NULL(prune_model_logits(f->model, NULL, NULL, 0, NULL, floats, 512, &count), "data");
    CHECK_NULL(prune_model_logits(f->model, f->data, NULL, 4, NULL, floats, 512, &count), "keep");
    CHECK_NULL(prune_model_logits(f->model, f->data, NULL, 0, NULL, NULL, 512, &count), "out_logits");
    CHECK_OK(prune_model_logits(f->model, f->data, NULL, 0, NULL, floats, 512, NULL));
    CHECK_NULL(prune_model_hidden_states(NULL, f->data, NULL, 0, 0, NULL, floats, 512, &count), "model");
    CHECK_NULL(prune_model_hidden_states(f->model, NULL, NULL, 0, 0, NULL, floats, 512, &count), "data");
    CHECK_NULL(prune_model_hidden_states(f->model, f->data, NULL, 4, 0, NULL, floats, 512, &count), "keep");
    CHECK_NULL(prune_model_hidden_states(f->model, f->data, NULL, 0, 0, NULL, NULL, 512, &count), "out_states");
    CHECK_OK(prune_model_hidden_states(f->model, f->data, NULL, 0, 0, NULL, floats, 512, NULL));
}

static void coalitions(const fixture *f)
{
    static const uint8_t keep[4] = { 1, 1, 1, 1 };
    static const int32_t ids[4] = { 1, 2, 3, 4 };
    static const int64_t ones[2] = { 1, 1 }, two = 2, none = 0;
    const prune_choices whole = { sizeof whole, 0, 1, ids, ones, &two, ids, ones, &none };
    prune_choices choices;
    prune_data *data = (prune_data *)(uintptr_t)0x10;
    prune_walk_report report = PRUNE_WALK_REPORT_INIT;
    double values[2];
    size_t count;
    CHECK_NULL(prune_model_damages(NULL, f->data, keep, 1, 4, NULL, values, &report), "model");
    CHECK_NULL(prune_model_damages(f->model, NULL, keep, 1, 4, NULL, values, &report), "data");
    CHECK_NULL(prune_model_damages(f->model, f->data, NULL, 1, 4, NULL, values, &report), "keep_masks");
    CHECK_NULL(prune_model_damages(f->model, f->data, NULL, 2, 0, NULL, values, &report), "keep_masks");
    CHECK_NULL(prune_model_damages(f->model, f->data, keep, 1, 4, NULL, NULL, &report), "out_values");
    CHECK_OK(prune_model_damages(f->model, f->data, keep, 1, 4, NULL, values, NULL));
    CHECK_OK(prune_model_damages(f->model, f->data, NULL, 1, 0, NULL, values, NULL));
    CHECK_NULL(prune_data_create_choices(NULL, &data), "choices");
    CHECK(data == NULL);
    CHECK_NULL(prune_data_create_choices(&whole, NULL), "out_data");
#define WITHOUT(field)                                                  \
    do {                                                                \
        choices = whole;                                                \
        choices.field = NULL;                                           \
        data = (prune_data *)(uintptr_t)0x10;                           \
        CHECK_NULL(prune_data_create_choices(&choices, &data), #field); \
        CHECK(data == NULL);                                            \
    } while (0)
    WITHOUT(context_ids);
    WITHOUT(context_lengths);
    WITHOUT(n_candidates);
    WITHOUT(candidate_ids);
    WITHOUT(candidate_lengths);
    WITHOUT(answers);
    CHECK_OK(prune_data_create_choices(&whole, &data));
    CHECK_NULL(prune_model_evaluate_choices(NULL, data, NULL, 0, NULL, values, 2, &count), "model");
    CHECK_NULL(prune_model_evaluate_choices(f->model, NULL, NULL, 0, NULL, values, 2, &count), "data");
    CHECK_NULL(prune_model_evaluate_choices(f->model, data, NULL, 4, NULL, values, 2, &count), "keep");
    CHECK_NULL(prune_model_evaluate_choices(f->model, data, NULL, 0, NULL, NULL, 2, &count), "out_log_likelihoods");
    CHECK_OK(prune_model_evaluate_choices(f->model, data, NULL, 0, NULL, values, 2, NULL));
    prune_data_release(data);
}

static void games(const fixture *f)
{
    static const uint8_t row[2] = { 1, 1 };
    prune_game *game = (prune_game *)(uintptr_t)0x10;
    prune_game_state state = PRUNE_GAME_STATE_INIT;
    prune_game_options options = PRUNE_GAME_OPTIONS_INIT;
    prune_game_run_options shapley = PRUNE_GAME_RUN_OPTIONS_INIT;
    double values[4];
    uint8_t masks[8], bytes[1];
    size_t count;
    options.estimator = PRUNE_ESTIMATOR_EXACT;
    shapley.granularity = PRUNE_GRANULARITY_BLOCK;
    CHECK_NULL(prune_game_create(2, NULL, NULL), "out_game");
    CHECK_OK(prune_game_create(2, &options, &game));
    CHECK_NULL(prune_game_ask(NULL, 4, masks, &count), "game");
    CHECK_NULL(prune_game_ask(game, 4, NULL, &count), "out_masks");
    CHECK_NULL(prune_game_ask(game, 4, masks, NULL), "out_count"); /* without it nobody knows what was asked */
    CHECK_OK(prune_game_info(game, &state));
    CHECK(state.asked == 0);
    CHECK_NULL(prune_game_tell(NULL, row, values, 1), "game");
    CHECK_NULL(prune_game_tell(game, NULL, values, 1), "masks");
    CHECK_NULL(prune_game_tell(game, row, NULL, 1), "values");
    CHECK_NULL(prune_game_info(NULL, &state), "game");
    CHECK_NULL(prune_game_info(game, NULL), "out_state");
    CHECK_NULL(prune_model_shapley(NULL, f->data, game, &shapley), "model");
    CHECK_NULL(prune_model_shapley(f->model, NULL, game, &shapley), "data");
    CHECK_NULL(prune_model_shapley(f->model, f->data, NULL, &shapley), "game");
    shapley.n_sublayer_players = 4;
    CHECK_NULL(prune_model_shapley(f->model, f->data, game, &shapley), "sublayer_players");
    shapley.n_sublayer_players = 0;
    CHECK_OK(prune_model_shapley(f->model, f->data, game, &shapley));
    CHECK_NULL(prune_game_result(NULL, values, NULL, 2, NULL), "game");
    CHECK_NULL(prune_game_result(game, NULL, values, 2, NULL), "out_values");
    CHECK_OK(prune_game_result(game, values, NULL, 2, NULL));
    CHECK_NULL(prune_game_strata(NULL, values, 4, &count), "game");
    CHECK_NULL(prune_game_strata(game, NULL, 4, &count), "out_strata");
    CHECK_OK(prune_game_strata(game, values, 4, NULL));
    CHECK_NULL(prune_game_interactions(NULL, values, 4, &count), "game");
    CHECK_NULL(prune_game_interactions(game, NULL, 4, &count), "out_interactions");
    CHECK_OK(prune_game_interactions(game, values, 4, NULL));
    CHECK_NULL(prune_game_banzhaf(NULL, 0.5, values, 4, NULL), "game");
    CHECK_NULL(prune_game_banzhaf(game, 0.5, NULL, 4, NULL), "out_values");
    CHECK_NULL(prune_game_save(NULL, bytes, 1, &count), "game");
    CHECK_NULL(prune_game_save(game, NULL, 1000000, &count), "out_bytes");
    prune_game_release(game);
    game = (prune_game *)(uintptr_t)0x10;
    CHECK_NULL(prune_game_load(NULL, 10, &game), "bytes");
    CHECK(game == NULL);
    CHECK_NULL(prune_game_load(bytes, 1, NULL), "out_game");
    prune_game_release(NULL);
}

int main(void)
{
    fixture f;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    library();
    models(&f);
    data(&f);
    masks(&f);
    scores(&f);
    evaluation(&f);
    coalitions(&f);
    games(&f);
    fixture_close(&f);
    return check_report();
}
