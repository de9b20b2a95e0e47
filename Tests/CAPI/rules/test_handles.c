/* SPDX-License-Identifier: Apache-2.0 */
/* Handles that were released, released twice, of another kind, or never made. */
#include "check.h"
#include "fixture.h"

/* Every function that takes a model, given one that is none. */
static void bad_model(const fixture *f, prune_model *bad)
{
    static float floats[512];
    double scores[28];
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    prune_cost cost = PRUNE_COST_INIT;
    prune_sublayer sublayers[4];
    prune_evaluation evaluation;
    prune_statistics *statistics = NULL;
    prune_game *game = NULL;
    prune_generation *generation = (prune_generation *)(uintptr_t)0x10;
    uint8_t keep[4] = { 1, 1, 1, 1 };
    CHECK_OK(prune_statistics_create(2, NULL, &statistics));
    CHECK_OK(prune_game_create(4, NULL, &game));
    CHECK_FAILS(prune_model_info(bad, &shape), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_sublayers(bad, sublayers, 4, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_mask_set(bad, keep, 4), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_mask_get(bad, keep, 4, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_mask_own(bad, keep, 4, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_adapters(bad, keep, 4, &(prune_adapters *){ NULL }), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_cost(bad, keep, 4, &cost), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_edit(bad, "[]", &(prune_model *){ NULL }), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_merge(bad, f->data, NULL, &(prune_merging *){ NULL }), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_own_weights(bad, NULL, 0, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_own_weight(bad, "a", NULL, 0, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_score(bad, f->data, NULL, scores, 28, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_statistics_collect(statistics, bad, f->data, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_evaluate(bad, f->data, keep, 1, 4, NULL, &evaluation), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_token_losses(bad, f->data, keep, 4, NULL, floats, 512, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_logits(bad, f->data, keep, 4, NULL, floats, 512, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_hidden_states(bad, f->data, keep, 4, 0, NULL, floats, 512, NULL), PRUNE_ERR_HANDLE,
                "model");
    CHECK_FAILS(prune_model_damages(bad, f->data, keep, 1, 4, NULL, scores, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_generate(bad, f->data, NULL, 0, NULL, &generation), PRUNE_ERR_HANDLE, "model");
    CHECK(generation == NULL);
    CHECK_FAILS(prune_model_evaluate_choices(bad, f->data, keep, 4, NULL, scores, 28, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_shapley(bad, f->data, game, NULL), PRUNE_ERR_HANDLE, "model");
    prune_model_release(bad);
    prune_statistics_release(statistics);
    prune_game_release(game);
}

static void bad_data(const fixture *f, prune_data *bad)
{
    static float floats[512];
    double scores[28];
    int64_t n;
    prune_evaluation evaluation;
    prune_statistics *statistics = NULL;
    prune_game *game = NULL;
    prune_generation *generation = NULL;
    CHECK_OK(prune_statistics_create(2, NULL, &statistics));
    CHECK_OK(prune_game_create(4, NULL, &game));
    CHECK_FAILS(prune_data_info(bad, &n, &n), PRUNE_ERR_HANDLE, "data");
    CHECK_FAILS(prune_model_score(f->model, bad, NULL, scores, 28, NULL), PRUNE_ERR_HANDLE, "data");
    CHECK_FAILS(prune_statistics_collect(statistics, f->model, bad, NULL), PRUNE_ERR_HANDLE, "data");
    CHECK_FAILS(prune_model_evaluate(f->model, bad, NULL, 1, 0, NULL, &evaluation), PRUNE_ERR_HANDLE, "data");
    CHECK_FAILS(prune_model_token_losses(f->model, bad, NULL, 0, NULL, floats, 512, NULL), PRUNE_ERR_HANDLE, "data");
    CHECK_FAILS(prune_model_logits(f->model, bad, NULL, 0, NULL, floats, 512, NULL), PRUNE_ERR_HANDLE, "data");
    CHECK_FAILS(prune_model_hidden_states(f->model, bad, NULL, 0, 0, NULL, floats, 512, NULL), PRUNE_ERR_HANDLE,
                "data");
    CHECK_FAILS(prune_model_damages(f->model, bad, NULL, 1, 0, NULL, scores, NULL), PRUNE_ERR_HANDLE, "data");
    CHECK_FAILS(prune_model_merge(f->model, bad, NULL, &(prune_merging *){ NULL }), PRUNE_ERR_HANDLE, "data");
    CHECK_FAILS(prune_model_generate(f->model, bad, NULL, 0, NULL, &generation), PRUNE_ERR_HANDLE, "prompts");
    CHECK_FAILS(prune_model_evaluate_choices(f->model, bad, NULL, 0, NULL, scores, 28, NULL), PRUNE_ERR_HANDLE, "data");
    CHECK_FAILS(prune_model_shapley(f->model, bad, game, NULL), PRUNE_ERR_HANDLE, "data");
    prune_data_release(bad);
    prune_statistics_release(statistics);
    prune_game_release(game);
}

static void bad_statistics(const fixture *f, prune_statistics *bad)
{
    const prune_rows rows = { "\0\0\0", PRUNE_ELEMENT_FLOAT32, 0, 1, 1, 0, 0 };
    double out[28];
    prune_statistics *good = NULL;
    CHECK_OK(prune_statistics_create(2, NULL, &good));
    CHECK_FAILS(prune_statistics_collect(bad, f->model, f->data, NULL), PRUNE_ERR_HANDLE, "statistics");
    CHECK_FAILS(prune_statistics_update(bad, 0, 0, &rows, &rows), PRUNE_ERR_HANDLE, "statistics");
    CHECK_FAILS(prune_statistics_merge(bad, good), PRUNE_ERR_HANDLE, "statistics");
    CHECK_FAILS(prune_statistics_merge(good, bad), PRUNE_ERR_HANDLE, "other");
    CHECK_FAILS(prune_statistics_scores(bad, NULL, out, 28, NULL), PRUNE_ERR_HANDLE, "statistics");
    CHECK_FAILS(prune_statistics_windows(bad, out, 28, NULL), PRUNE_ERR_HANDLE, "statistics");
    prune_statistics_release(bad);
    prune_statistics_release(good);
}

static void bad_game(const fixture *f, prune_game *bad)
{
    uint8_t masks[4] = { 1, 1, 1, 1 };
    double values[16];
    unsigned char bytes[512];
    prune_game_state state = PRUNE_GAME_STATE_INIT;
    size_t count;
    CHECK_FAILS(prune_game_ask(bad, 1, masks, &count), PRUNE_ERR_HANDLE, "game");
    CHECK_FAILS(prune_game_tell(bad, masks, values, 1), PRUNE_ERR_HANDLE, "game");
    CHECK_FAILS(prune_game_info(bad, &state), PRUNE_ERR_HANDLE, "game");
    CHECK_FAILS(prune_game_result(bad, values, NULL, 16, NULL), PRUNE_ERR_HANDLE, "game");
    CHECK_FAILS(prune_game_strata(bad, values, 16, NULL), PRUNE_ERR_HANDLE, "game");
    CHECK_FAILS(prune_game_interactions(bad, values, 16, NULL), PRUNE_ERR_HANDLE, "game");
    CHECK_FAILS(prune_game_banzhaf(bad, 0.5, values, 16, NULL), PRUNE_ERR_HANDLE, "game");
    CHECK_FAILS(prune_game_save(bad, bytes, sizeof bytes, NULL), PRUNE_ERR_HANDLE, "game");
    CHECK_FAILS(prune_model_shapley(f->model, f->data, bad, NULL), PRUNE_ERR_HANDLE, "game");
    prune_game_release(bad);
}

/* A handle value never comes back: an old one stays recognisable however many are made after it. */
static void released(const fixture *f)
{
    prune_model *model = NULL, *later[8] = { NULL };
    prune_data *data = NULL, *other[64] = { NULL };
    prune_statistics *statistics = NULL;
    prune_game *game = NULL, *game_later = NULL;
    int i;
    CHECK_OK(prune_model_open("tiny", NULL, &model));
    CHECK_OK(prune_data_create(fixture_ids, fixture_lengths, FIXTURE_SEQUENCES, NULL, &data));
    CHECK_OK(prune_statistics_create(2, NULL, &statistics));
    CHECK_OK(prune_game_create(4, NULL, &game));
    prune_model_release(model);
    prune_data_release(data);
    prune_statistics_release(statistics);
    prune_game_release(game);
    CHECK_OK(prune_game_create(4, NULL, &game_later));
    CHECK(game_later != game);
    for (i = 0; i < 8; i++) {
        CHECK_OK(prune_model_open("tiny", NULL, &later[i]));
        CHECK(later[i] != model);
    }
    for (i = 0; i < 64; i++) {
        CHECK_OK(prune_data_create(fixture_ids, fixture_lengths, FIXTURE_SEQUENCES, NULL, &other[i]));
        CHECK(other[i] != data);
    }
    bad_model(f, model); /* and a second release in it */
    bad_data(f, data);
    bad_statistics(f, statistics);
    bad_game(f, game);
    prune_game_release(game_later);
    for (i = 0; i < 8; i++) {
        prune_model_release(later[i]);
    }
    for (i = 0; i < 64; i++) {
        prune_data_release(other[i]);
    }
}

/* A handle given as another kind is refused by every call, and giving it back as another kind does nothing. */
static void other_kinds(const fixture *f)
{
    prune_statistics *statistics = NULL;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    prune_game *game = NULL;
    prune_game_state state = PRUNE_GAME_STATE_INIT;
    int64_t n;
    double out[28];
    CHECK_OK(prune_statistics_create(2, NULL, &statistics));
    CHECK_OK(prune_game_create(4, NULL, &game));
    CHECK_FAILS(prune_model_info((prune_model *)(void *)f->data, &shape), PRUNE_ERR_HANDLE, "kind");
    CHECK_FAILS(prune_model_info((prune_model *)(void *)statistics, &shape), PRUNE_ERR_HANDLE, "kind");
    CHECK_FAILS(prune_data_info((prune_data *)(void *)f->model, &n, &n), PRUNE_ERR_HANDLE, "kind");
    CHECK_FAILS(prune_data_info((prune_data *)(void *)statistics, &n, &n), PRUNE_ERR_HANDLE, "kind");
    CHECK_FAILS(prune_statistics_scores((prune_statistics *)(void *)f->model, NULL, out, 28, NULL), PRUNE_ERR_HANDLE,
                "kind");
    CHECK_FAILS(prune_statistics_merge(statistics, (prune_statistics *)(void *)f->data), PRUNE_ERR_HANDLE, "kind");
    CHECK_FAILS(prune_game_info((prune_game *)(void *)f->model, &state), PRUNE_ERR_HANDLE, "kind");
    CHECK_FAILS(prune_game_info((prune_game *)(void *)statistics, &state), PRUNE_ERR_HANDLE, "kind");
    CHECK_FAILS(prune_model_shapley((prune_model *)(void *)game, f->data, game, NULL), PRUNE_ERR_HANDLE, "kind");
    CHECK_FAILS(prune_model_shapley(f->model, (prune_data *)(void *)game, game, NULL), PRUNE_ERR_HANDLE, "kind");
    CHECK_FAILS(prune_model_shapley(f->model, f->data, (prune_game *)(void *)f->data, NULL), PRUNE_ERR_HANDLE, "kind");
    prune_data_release((prune_data *)(void *)game);
    prune_statistics_release((prune_statistics *)(void *)game);
    CHECK_OK(prune_game_info(game, &state));
    prune_game_release((prune_game *)(void *)statistics);
    prune_game_release((prune_game *)(void *)f->model);
    prune_data_release((prune_data *)(void *)statistics);
    prune_model_release((prune_model *)(void *)statistics);
    CHECK_OK(prune_statistics_collect(statistics, f->model, f->data, NULL));
    prune_statistics_release((prune_statistics *)(void *)f->model);
    prune_statistics_release((prune_statistics *)(void *)f->data);
    CHECK_OK(prune_model_info(f->model, &shape));
    CHECK_OK(prune_data_info(f->data, &n, &n));
    prune_statistics_release(statistics);
    prune_game_release(game);
}

/* Values that no function ever gave out are not followed as pointers. */
static void garbage(const fixture *f)
{
    static uint64_t memory[64];
    const uintptr_t values[] = { 1,
                                 8,
                                 0x10,
                                 0xDEADBEEF,
                                 UINTPTR_MAX,
                                 UINTPTR_MAX / 2 + 1,
                                 (uintptr_t)memory,
                                 (uintptr_t)memory + 3,
                                 (uintptr_t)f->model + 8,
                                 (uintptr_t)f->model ^ 1 };
    size_t i;
    for (i = 0; i < sizeof values / sizeof values[0]; i++) {
        bad_model(f, (prune_model *)values[i]);
        bad_data(f, (prune_data *)values[i]);
        bad_statistics(f, (prune_statistics *)values[i]);
        bad_game(f, (prune_game *)values[i]);
    }
}

int main(void)
{
    fixture f;
    prune_evaluation before, after;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    CHECK_OK(prune_model_evaluate(f.model, f.data, NULL, 1, 0, NULL, &before));
    released(&f);
    garbage(&f);
    CHECK_OK(prune_model_evaluate(f.model, f.data, NULL, 1, 0, NULL, &after));
    CHECK(before.loss == after.loss);
    other_kinds(&f);
    fixture_close(&f);
    return check_report();
}
