/* SPDX-License-Identifier: Apache-2.0 */
/* What a model computes, and which families there are, as JSON. Documents are read in Swift's and Python's tests; here is
   what a C program sees of them. */
#include "check.h"
#include "fixture.h"

#include "host.h"

static char text[1 << 16];

/* The text of a call that was asked how long it is first. */
#define CHECK_TEXT(call_with, needed)                                                \
    do {                                                                             \
        size_t count = 0;                                                            \
        memset(text, 'x', sizeof text);                                              \
        CHECK_FAILS(call_with(text, 3, &needed), PRUNE_ERR_BUFFER, "out_text");      \
        CHECK(needed > 3 && needed < sizeof text && text[0] == 'x');                 \
        CHECK_FAILS(call_with(text, needed - 1, NULL), PRUNE_ERR_BUFFER, "");        \
        CHECK_OK(call_with(text, needed, &count));                                   \
        CHECK(count == needed && strlen(text) == needed - 1 && text[needed] == 'x'); \
    } while (0)

static void plan(const fixture *f)
{
    static const char *const parts[] = { "\"format\": \"prunecore.plan\"",
                                         "\"version\": 1",
                                         "\"architecture\": \"LlamaForCausalLM\"",
                                         "\"name\": \"attn.0\"",
                                         "\"name\": \"ffn.1\"",
                                         "\"kind\": \"attention\"",
                                         "\"activation\": \"silu\"",
                                         "\"model.layers.1.self_attn.q_proj.weight\"",
                                         "\"is_tied\": true" };
    size_t needed = 0, i;
#define PLAN(...) prune_model_plan(f->model, __VA_ARGS__)
    CHECK_TEXT(PLAN, needed);
    CHECK(text[0] == '{' && text[needed - 2] == '}');
    for (i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        check_count(strstr(text, parts[i]) != NULL, __FILE__, __LINE__, parts[i]);
    }
}

static void architectures(void)
{
    static const char *const names[] = { "LlamaForCausalLM", "GPT2LMHeadModel", "MixtralForCausalLM",
                                         "Gemma2ForCausalLM" };
    char part[64];
    size_t needed = 0, i;
    CHECK_TEXT(prune_architectures, needed);
    CHECK(text[0] == '[' && text[needed - 2] == ']');
    for (i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(part, sizeof part, "\"name\": \"%s\"", names[i]);
        check_count(strstr(text, part) != NULL, __FILE__, __LINE__, names[i]);
    }
    CHECK(strstr(text, "\"block_class\": \"LlamaDecoderLayer\"") != NULL);
}

/* A host knows what its model computes; the library does not. */
static void hosts(const fixture *f)
{
    host h;
    prune_host calls;
    prune_model *model = NULL;
    size_t count = 7;
    host_init(&h, &f->weights, &calls);
    CHECK_OK(prune_model_from_host(&calls, &model));
    CHECK_FAILS(prune_model_plan(model, text, sizeof text, &count), PRUNE_ERR_UNSUPPORTED, "host");
    prune_model_release(model);
    CHECK_FAILS(prune_model_plan((prune_model *)(uintptr_t)0x10, text, sizeof text, &count), PRUNE_ERR_HANDLE, "model");
}

int main(void)
{
    fixture f;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    plan(&f);
    architectures();
    hosts(&f);
    fixture_close(&f);
    return check_report();
}
