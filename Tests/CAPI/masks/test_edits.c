/* SPDX-License-Identifier: Apache-2.0 */
/* Edits of weights: masks that carry them, and models that they make. */
#include "check.h"
#include "fixture.h"

#define MERGE "{\"kind\": \"merge\", \"into\": 0, \"from\": [1], \"weight\": 1}"

static fixture f;
static const uint8_t first_block[4] = { 1, 1, 0, 0 };

static void masks_and_edits_survive_a_round_trip(void)
{
    char text[512], plain[512], edits[256], again[256];
    uint8_t keep[4] = { 9, 9, 9, 9 };
    size_t count = 0, needed = 0;
    CHECK_OK(prune_edited_mask_to_json(first_block, 4, "[" MERGE "]", "{\"a\": 1}", text, sizeof text, &count));
    CHECK(count == strlen(text) + 1 && strstr(text, "\"version\": 2") != NULL);
    CHECK_FAILS(prune_edited_mask_from_json(text, NULL, 0, &count, NULL, 0, &needed), PRUNE_ERR_BUFFER, "out_keep");
    CHECK(count == 4 && needed > 10 && needed < sizeof edits);
    CHECK_FAILS(prune_edited_mask_from_json(text, keep, 4, NULL, edits, needed - 1, NULL), PRUNE_ERR_BUFFER,
                "out_text");
    CHECK(keep[0] == 9);
    CHECK_OK(prune_edited_mask_from_json(text, keep, 4, NULL, edits, needed, NULL));
    CHECK(memcmp(keep, first_block, 4) == 0 && strlen(edits) == needed - 1 && strstr(edits, "\"merge\"") != NULL);
    CHECK_OK(prune_edited_mask_to_json(keep, 4, edits, "{\"a\": 1}", plain, sizeof plain, NULL));
    CHECK(strcmp(plain, text) == 0);
    /* Who does not ask for edits is not given half of what was written. */
    CHECK_FAILS(prune_mask_from_json(text, keep, 4, NULL), PRUNE_ERR_UNSUPPORTED, "edits");
    /* Without edits, both write the same, and both read it. */
    CHECK_OK(prune_edited_mask_to_json(first_block, 4, NULL, NULL, text, sizeof text, NULL));
    CHECK_OK(prune_mask_to_json(first_block, 4, NULL, plain, sizeof plain, NULL));
    CHECK(strcmp(plain, text) == 0);
    CHECK_OK(prune_edited_mask_from_json(plain, keep, 4, NULL, again, sizeof again, &needed));
    CHECK(strcmp(again, "[]") == 0 && needed == 3);
    CHECK_OK(prune_mask_from_json(plain, keep, 4, NULL));
}

static void what_is_no_edit_is_refused(void)
{
    static const struct {
        const char *text, *part;
    } cases[] = { { "", "JSON" },
                  { "{}", "array" },
                  { "[{}]", "kind" },
                  { "[" MERGE ", 3]", "edit 1" },
                  { "[{\"kind\": \"merge\", \"into\": 0, \"from\": [2], \"weight\": 1}]", "from" },
                  { "[{\"kind\": \"merge\", \"into\": 0, \"from\": [1], \"weight\": true}]", "weight" } };
    char text[512];
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        prune_model *model = (prune_model *)(uintptr_t)0x10;
        CHECK_FAILS(prune_model_edit(f.model, cases[i].text, &model), PRUNE_ERR_FORMAT, cases[i].part);
        CHECK(model == NULL);
        CHECK_FAILS(prune_edited_mask_to_json(first_block, 4, cases[i].text, NULL, text, sizeof text, NULL),
                    PRUNE_ERR_FORMAT, cases[i].part);
    }
    CHECK_FAILS(prune_model_edit(f.model, "[{\"kind\": \"other\"}]", &(prune_model *){ NULL }), PRUNE_ERR_UNSUPPORTED,
                "other");
}

/* With a weight of 1, block 0 has the matrices of block 1, and its own norms: swapped by hand, the model is the same. */
static void an_edited_model_is_a_model_of_its_own(void)
{
    static const char *const parts[] = { "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                                         "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj" };
    prune_model *edited = NULL, *by_hand = NULL;
    prune_evaluation found, wanted, whole;
    fixture own;
    size_t i;
    fixture_open(&own, "tiny_edited");
    REQUIRE(own.model != NULL && own.data != NULL);
    CHECK_OK(prune_model_edit(own.model, "[" MERGE "]", &edited));
    CHECK_OK(prune_model_evaluate(own.model, own.data, first_block, 1, 4, NULL, &whole));
    prune_model_release(own.model); /* the edited model outlives it */
    own.model = NULL;
    for (i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char name[96];
        tiny_tensor *low, *top;
        snprintf(name, sizeof name, "model.layers.1.%s.weight", parts[i]);
        top = tiny_model_tensor(&own.weights, name);
        snprintf(name, sizeof name, "model.layers.0.%s.weight", parts[i]);
        low = tiny_model_tensor(&own.weights, name);
        memcpy(low->values, top->values, low->n_values * sizeof *low->values);
    }
    tiny_model_write(&own.weights, "tiny_by_hand");
    CHECK_OK(prune_model_open("tiny_by_hand", NULL, &by_hand));
    CHECK_OK(prune_model_evaluate(edited, own.data, first_block, 1, 4, NULL, &found));
    CHECK_OK(prune_model_evaluate(by_hand, own.data, first_block, 1, 4, NULL, &wanted));
    CHECK(found.loss == wanted.loss && found.loss != whole.loss);
    prune_model_release(by_hand);
    prune_model_release(edited);
    fixture_close(&own);
}

static void the_weights_that_changed_can_be_read(void)
{
    prune_model *edited = NULL;
    char text[2048];
    float values[FIXTURE_HIDDEN * 24];
    size_t count = 0;
    CHECK_OK(prune_model_own_weights(f.model, text, sizeof text, NULL));
    CHECK(strcmp(text, "[]") == 0);
    CHECK_OK(prune_model_edit(f.model, "[" MERGE "]", &edited));
    CHECK_OK(prune_model_own_weights(edited, text, sizeof text, &count));
    CHECK(count == strlen(text) + 1 && strstr(text, "\"model.layers.0.mlp.up_proj.weight\"") != NULL);
    CHECK(strstr(text, "layers.1") == NULL && strstr(text, "norm") == NULL);
    CHECK_FAILS(prune_model_own_weight(edited, "model.layers.0.mlp.up_proj.weight", values, 3, &count),
                PRUNE_ERR_BUFFER, "out_bytes");
    CHECK(count == sizeof values);
    CHECK_OK(prune_model_own_weight(edited, "model.layers.0.mlp.up_proj.weight", values, sizeof values, NULL));
    CHECK(memcmp(values, tiny_model_weights(&f.weights, 1, "mlp.up_proj"), sizeof values) == 0);
    CHECK_FAILS(prune_model_own_weight(edited, "lm_head.weight", values, sizeof values, NULL), PRUNE_ERR_ARGUMENT,
                "lm_head");
    prune_model_release(edited);
}

int main(void)
{
    fixture_open(&f, "tiny_edits");
    REQUIRE(f.model != NULL && f.data != NULL);
    masks_and_edits_survive_a_round_trip();
    what_is_no_edit_is_refused();
    the_weights_that_changed_can_be_read();
    an_edited_model_is_a_model_of_its_own();
    fixture_close(&f);
    return check_report();
}
