/* SPDX-License-Identifier: Apache-2.0 */
/* A mixture of experts that are all the same is a dense model: the weights of a token's experts add up to 1. Its costs tell
   the parameters that a token meets from the others. */
#include "check.h"
#include "fixture.h"

#include "lent.h"

enum {
    EXPERTS = 3,
    CHOSEN = 2,
    MOST = 64,
    EXPERT_PARAMETERS = 3 * 24 * 16,
    ATTENTION_PARAMETERS = 16 + 16 * 16 + 8 * 16 + 8 * 16 + 16 * 16,
    MIXTURE_PARAMETERS = 16 + EXPERTS * 16 + EXPERTS * EXPERT_PARAMETERS,
    FIXED_PARAMETERS = 32 * 16 + 16
};

static const char config[] =
    "{\"architectures\": [\"MixtralForCausalLM\"], \"hidden_size\": 16, \"num_hidden_layers\": 2,"
    " \"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"head_dim\": 8, \"intermediate_size\": 24,"
    " \"vocab_size\": 32, \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0,"
    " \"tie_word_embeddings\": true, \"num_local_experts\": 3, \"num_experts_per_tok\": 2}";

static prune_tensor tensors[MOST];
static char names[MOST][96];
static size_t n_tensors;

static void add(const prune_tensor *like, const char *name)
{
    REQUIRE(n_tensors < MOST);
    snprintf(names[n_tensors], sizeof names[0], "%s", name);
    tensors[n_tensors] = *like;
    tensors[n_tensors].name = names[n_tensors];
    n_tensors++;
}

/* The feed-forward of each block stands for every expert, and three rows of a matrix for its router. */
static prune_model *mixture(lent_model *lent)
{
    static const char *const parts[3][2] = { { "gate_proj", "w1" }, { "down_proj", "w2" }, { "up_proj", "w3" } };
    static const int64_t router_shape[2] = { EXPERTS, 16 };
    prune_model *model = NULL;
    char name[96], own[96];
    size_t i, block, expert;
    n_tensors = 0;
    for (i = 0; i < lent->n_tensors; i++) {
        if (strstr(lent->tensors[i].name, ".mlp.") == NULL) {
            add(&lent->tensors[i], lent->tensors[i].name);
        }
    }
    for (block = 0; block < 2; block++) {
        prune_tensor router;
        snprintf(name, sizeof name, "model.layers.%d.self_attn.q_proj.weight", (int)block);
        router = lent->tensors[lent_index(lent, name)];
        router.shape = router_shape;
        snprintf(own, sizeof own, "model.layers.%d.block_sparse_moe.gate.weight", (int)block);
        add(&router, own);
        for (i = 0; i < 3; i++) {
            snprintf(name, sizeof name, "model.layers.%d.mlp.%s.weight", (int)block, parts[i][0]);
            for (expert = 0; expert < EXPERTS; expert++) {
                snprintf(own, sizeof own, "model.layers.%d.block_sparse_moe.experts.%d.%s.weight", (int)block,
                         (int)expert, parts[i][1]);
                add(&lent->tensors[lent_index(lent, name)], own);
            }
        }
    }
    CHECK_OK(prune_model_from_tensors(config, tensors, n_tensors, NULL, &model));
    REQUIRE(model != NULL);
    return model;
}

static void computes_what_one_expert_does(const fixture *f, const prune_model *model)
{
    static const uint8_t masks[3][FIXTURE_SUBLAYERS] = { { 1, 1, 1, 1 }, { 1, 0, 1, 1 }, { 0, 1, 1, 0 } };
    static float dense[FIXTURE_TOKENS * FIXTURE_VOCABULARY], found[FIXTURE_TOKENS * FIXTURE_VOCABULARY];
    size_t mask, i;
    for (mask = 0; mask < 3; mask++) {
        CHECK_OK(prune_model_logits(f->model, f->data, masks[mask], FIXTURE_SUBLAYERS, NULL, dense, 512, NULL));
        CHECK_OK(prune_model_logits(model, f->data, masks[mask], FIXTURE_SUBLAYERS, NULL, found, 512, NULL));
        for (i = 0; i < FIXTURE_TOKENS * FIXTURE_VOCABULARY; i++) {
            CHECK_NEAR((double)found[i], (double)dense[i], 1e-4 * (1.0 + fabs((double)dense[i])));
        }
    }
}

static void costs_count_what_a_token_meets(const prune_model *model)
{
    static const uint8_t without[FIXTURE_SUBLAYERS] = { 1, 0, 0, 1 };
    prune_cost cost = PRUNE_COST_INIT;
    prune_sublayer list[FIXTURE_SUBLAYERS];
    const int64_t idle = (EXPERTS - CHOSEN) * EXPERT_PARAMETERS;
    CHECK_OK(prune_model_sublayers(model, list, FIXTURE_SUBLAYERS, NULL));
    CHECK(list[0].parameters == ATTENTION_PARAMETERS && list[1].parameters == MIXTURE_PARAMETERS);
    CHECK_OK(prune_model_cost(model, NULL, 0, &cost));
    CHECK(cost.parameters == FIXED_PARAMETERS + 2 * (ATTENTION_PARAMETERS + MIXTURE_PARAMETERS));
    CHECK(cost.active_parameters == cost.parameters - 2 * idle);
    CHECK_OK(prune_model_cost(model, without, FIXTURE_SUBLAYERS, &cost));
    CHECK(cost.parameters == FIXED_PARAMETERS + ATTENTION_PARAMETERS + MIXTURE_PARAMETERS);
    CHECK(cost.active_parameters == cost.parameters - idle);
}

/* A program that was compiled before there were active parameters has a smaller struct. */
static void older_callers_get_what_they_know(const prune_model *model)
{
    union {
        prune_cost cost;
        unsigned char bytes[sizeof(prune_cost)];
    } own;
    const size_t older = offsetof(prune_cost, active_parameters);
    memset(&own, 0x5A, sizeof own);
    own.cost.struct_size = (uint32_t)older;
    CHECK_OK(prune_model_cost(model, NULL, 0, &own.cost));
    CHECK(own.cost.struct_size == older && own.cost.kv_bytes == 2 * 2 * 8 * 4);
    CHECK(own.bytes[older] == 0x5A && own.bytes[sizeof own - 1] == 0x5A);
}

int main(void)
{
    static lent_model lent;
    const lent_layout layout = { PRUNE_ELEMENT_FLOAT32, 0, 0 };
    fixture f;
    prune_model *model;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    lent_make(&lent, &f.weights, "tiny", layout);
    model = mixture(&lent);
    computes_what_one_expert_does(&f, model);
    costs_count_what_a_token_meets(model);
    older_callers_get_what_they_know(model);
    prune_model_release(model);
    lent_free(&lent);
    fixture_close(&f);
    return check_report();
}
