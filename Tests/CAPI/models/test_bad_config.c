/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations that are damaged, contradict themselves or their weights, or name what is not computed. */
#include "check.h"
#include "fixture.h"
#include "refusal.h"

/* Replaces one line of config.json, and says what must come of it. */
static const struct {
    const char *old, *new_text;
    prune_status status;
    const char *part;
} changes[] = {
    { "LlamaForCausalLM", "BloomForCausalLM", PRUNE_ERR_UNSUPPORTED, "BloomForCausalLM" },
    { "LlamaForCausalLM", "GPT2LMHeadModel", PRUNE_ERR_FORMAT, "model_type" },
    { "\"LlamaForCausalLM\"", "3", PRUNE_ERR_FORMAT, "architectures" },
    { "[\"LlamaForCausalLM\"]", "{}", PRUNE_ERR_FORMAT, "architectures" },
    { "\"llama\"", "\"mistral\"", PRUNE_ERR_FORMAT, "model_type" },
    { "silu", "tanh", PRUNE_ERR_UNSUPPORTED, "tanh" },
    { "\"silu\"", "7", PRUNE_ERR_FORMAT, "hidden_act" },
    { "\"hidden_size\": 16,", "", PRUNE_ERR_FORMAT, "hidden_size" },
    { "\"hidden_size\": 16", "\"hidden_size\": 0", PRUNE_ERR_FORMAT, "hidden_size" },
    { "\"hidden_size\": 16", "\"hidden_size\": -16", PRUNE_ERR_FORMAT, "hidden_size" },
    { "\"hidden_size\": 16", "\"hidden_size\": 16.5", PRUNE_ERR_FORMAT, "hidden_size" },
    { "\"hidden_size\": 16", "\"hidden_size\": \"16\"", PRUNE_ERR_FORMAT, "hidden_size" },
    { "\"hidden_size\": 16", "\"hidden_size\": 32", PRUNE_ERR_FORMAT, "model.embed_tokens.weight" },
    { "\"hidden_size\": 16", "\"hidden_size\": 9223372036854775807", PRUNE_ERR_UNSUPPORTED, "hidden_size" },
    { "\"hidden_size\": 16", "\"hidden_size\": 1e400", PRUNE_ERR_FORMAT, "config.json" },
    { "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 0", PRUNE_ERR_FORMAT, "num_hidden_layers" },
    { "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", PRUNE_ERR_FORMAT, "model.layers.2" },
    { "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4611686018427387904", PRUNE_ERR_UNSUPPORTED,
      "num_hidden_layers" },
    { "\"num_attention_heads\": 2", "\"num_attention_heads\": 0", PRUNE_ERR_FORMAT, "num_attention_heads" },
    { "\"num_attention_heads\": 2", "\"num_attention_heads\": 4", PRUNE_ERR_FORMAT, "q_proj" },
    { "\"num_key_value_heads\": 1", "\"num_key_value_heads\": 3", PRUNE_ERR_FORMAT, "num_key_value_heads" },
    { "\"num_key_value_heads\": 1", "\"num_key_value_heads\": 0", PRUNE_ERR_FORMAT, "num_key_value_heads" },
    { "\"head_dim\": 8", "\"head_dim\": 7", PRUNE_ERR_UNSUPPORTED, "head_dim" },
    { "\"head_dim\": 8", "\"head_dim\": -8", PRUNE_ERR_FORMAT, "head_dim" },
    { "\"intermediate_size\": 24", "\"intermediate_size\": 25", PRUNE_ERR_FORMAT, "mlp" },
    { "\"vocab_size\": 32", "\"vocab_size\": 31", PRUNE_ERR_FORMAT, "model.embed_tokens.weight" },
    { "\"vocab_size\": 32", "\"vocab_size\": null", PRUNE_ERR_FORMAT, "vocab_size" },
    { "\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 0", PRUNE_ERR_FORMAT, "rms_norm_eps" },
    { "\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": -1e-05", PRUNE_ERR_FORMAT, "rms_norm_eps" },
    { "\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": \"small\"", PRUNE_ERR_FORMAT, "rms_norm_eps" },
    { "\"rope_theta\": 10000.0", "\"rope_theta\": 0.0", PRUNE_ERR_FORMAT, "rope_theta" },
    { "\"rope_theta\": 10000.0", "\"rope_theta\": -1.0", PRUNE_ERR_FORMAT, "rope_theta" },
    { "\"rope_theta\": 10000.0", "\"rope_scaling\": {\"rope_type\": \"ntk\"}", PRUNE_ERR_UNSUPPORTED, "ntk" },
    { "\"rope_theta\": 10000.0", "\"rope_scaling\": {\"rope_type\": \"longrope\"}", PRUNE_ERR_FORMAT, "short_factor" },
    { "\"rope_theta\": 10000.0", "\"clip_qkv\": 8", PRUNE_ERR_UNSUPPORTED, "clip_qkv" },
    { "\"rope_theta\": 10000.0", "\"norm_type\": \"batch\"", PRUNE_ERR_UNSUPPORTED, "norm_type" },
    { "\"rope_theta\": 10000.0", "\"norm_type\": \"pre_post\"", PRUNE_ERR_FORMAT, "post_num" },
    { "\"rope_theta\": 10000.0", "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 0}", PRUNE_ERR_FORMAT,
      "factor" },
    { "\"rope_theta\": 10000.0", "\"rope_scaling\": {\"rope_type\": \"linear\"}", PRUNE_ERR_FORMAT, "factor" },
    { "\"rope_theta\": 10000.0", "\"rope_scaling\": \"linear\"", PRUNE_ERR_FORMAT, "rope_scaling" },
    { "\"rope_theta\": 10000.0", "\"quantization_config\": {\"quant_method\": \"gptq\"}", PRUNE_ERR_UNSUPPORTED,
      "gptq" },
    { "\"rope_theta\": 10000.0", "\"attention_bias\": true", PRUNE_ERR_FORMAT, "q_proj.bias" },
    { "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false", PRUNE_ERR_FORMAT, "lm_head.weight" },
    { "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": \"yes\"", PRUNE_ERR_FORMAT, "tie_word_embeddings" }
};

static const struct {
    const char *text, *part;
    prune_status status;
} texts[] = { { "", "empty", PRUNE_ERR_FORMAT },
              { "{", "JSON", PRUNE_ERR_FORMAT },
              { "{\"a\": }", "JSON", PRUNE_ERR_FORMAT },
              { "{\"a\": 1,}", "JSON", PRUNE_ERR_FORMAT },
              { "{\"a\": 1} x", "JSON", PRUNE_ERR_FORMAT },
              { "[]", "object", PRUNE_ERR_FORMAT },
              { "null", "object", PRUNE_ERR_FORMAT },
              { "\"text", "JSON", PRUNE_ERR_FORMAT },
              { "{}", "architectures", PRUNE_ERR_FORMAT },
              { "{\"architectures\": []}", "architectures", PRUNE_ERR_FORMAT },
              { "{\"\\uD800\": 1}", "JSON", PRUNE_ERR_FORMAT },
              { "{\"\xC3\": 1}", "UTF-8", PRUNE_ERR_FORMAT } };

/* Nesting deep enough to overflow the stack of a careless reader. */
static void deep(const refusal_bench *bench, const char *opening, const char *directory)
{
    enum {
        DEPTH = 300000
    };
    size_t length = strlen(opening), i;
    char *text = malloc(DEPTH * length + 1);
    REQUIRE(text != NULL);
    for (i = 0; i < DEPTH; i++) {
        memcpy(text + i * length, opening, length);
    }
    text[DEPTH * length] = '\0';
    write_text(directory, "config.json", text);
    REFUSED(bench, directory, PRUNE_ERR_FORMAT, "config.json", "deep");
    free(text);
}

int main(void)
{
    refusal_bench bench;
    tiny_model model;
    prune_model *handle = NULL;
    size_t i;
    refusal_begin(&bench);
    tiny_model_make(&model, tiny_default_shape(), 2407);
    tiny_model_write(&model, "changed");
    CHECK_OK(prune_model_open("changed", NULL, &handle)); /* unchanged, it opens */
    prune_model_release(handle);
    for (i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        tiny_model_write_config(&model, "changed", changes[i].old, changes[i].new_text);
        REFUSED(&bench, "changed", changes[i].status, "changed", changes[i].part);
        if (strstr(prune_last_error(), changes[i].part) == NULL) {
            printf("    with %s\n", changes[i].new_text);
        }
    }
    for (i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        write_text("changed", "config.json", texts[i].text);
        REFUSED(&bench, "changed", texts[i].status, "config.json", texts[i].part);
    }
    deep(&bench, "[", "changed");
    deep(&bench, "{\"a\":", "changed");
    tiny_model_free(&model);
    fixture_close(&bench.good);
    return check_report();
}
