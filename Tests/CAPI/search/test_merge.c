/* SPDX-License-Identifier: Apache-2.0 */
/* Sliding layer merging through the C interface; Tests/Python/parity compares what it finds with another program. */
#include "check.h"
#include "fixture.h"

static fixture f;

static char *merged(const prune_merge_options *options)
{
    static char text[1 << 14];
    prune_merging *found = NULL;
    size_t count = 0;
    text[0] = '\0';
    CHECK_OK(prune_model_merge(f.model, f.data, options, &found));
    CHECK_FAILS(prune_merging_to_json(found, text, 1, &count), PRUNE_ERR_BUFFER, "out_text");
    CHECK_OK(prune_merging_to_json(found, text, sizeof text, &count));
    CHECK(count == strlen(text) + 1);
    prune_merging_release(found);
    CHECK_FAILS(prune_merging_to_json(found, text + count, sizeof text - count, NULL), PRUNE_ERR_HANDLE, "merging");
    prune_merging_release(found);
    prune_merging_release(NULL);
    return text;
}

static void the_mask_of_a_merge_is_for_the_edited_model(void)
{
    prune_merge_options options = PRUNE_MERGE_OPTIONS_INIT;
    prune_model *edited = NULL;
    prune_evaluation whole, pruned;
    uint8_t keep[8];
    char edits[512], mask[1024];
    char *begin, *end;
    options.remove = 2;
    options.weight = 0.5;
    options.rule = PRUNE_MERGE_SUM;
    begin = merged(&options);
    begin = strstr(begin, "{\"format\"");
    REQUIRE(begin != NULL);
    end = strstr(begin, ", \"similarity\"");
    REQUIRE(end != NULL && (size_t)(end - begin) < sizeof mask);
    memcpy(mask, begin, (size_t)(end - begin));
    mask[end - begin] = '\0';
    CHECK_OK(prune_edited_mask_from_json(mask, keep, 8, NULL, edits, sizeof edits, NULL));
    CHECK(keep[0] + keep[2] + keep[4] + keep[6] == 2 && keep[6] == 1 && memcmp(keep, "\1\1", 2) == 0);
    CHECK_OK(prune_model_edit(f.model, edits, &edited));
    CHECK_OK(prune_model_evaluate(edited, f.data, keep, 1, 8, NULL, &pruned));
    CHECK_OK(prune_model_evaluate(f.model, f.data, keep, 1, 8, NULL, &whole));
    CHECK(isfinite(pruned.loss) && pruned.loss != whole.loss);
    prune_model_release(edited);
}

static void protected_blocks_are_in_no_merge(void)
{
    static const uint8_t all_but_top[4] = { 1, 1, 0, 0 };
    prune_merge_options options = PRUNE_MERGE_OPTIONS_INIT;
    options.threshold = 1e-300;
    options.protect = all_but_top;
    options.n_protect = 4;
    options.remove = 1;
    CHECK(strstr(merged(&options), "\"removed\": [\"attn.3\", \"ffn.3\"]") != NULL);
    options.remove = 2;
    CHECK_FAILS(prune_model_merge(f.model, f.data, &options, &(prune_merging *){ NULL }), PRUNE_ERR_ARGUMENT,
                "1 blocks");
}

static void options_out_of_range_are_refused(void)
{
    static const uint8_t bad[4] = { 0, 2, 0, 0 };
    prune_merging *found = (prune_merging *)(uintptr_t)0x10;
    prune_merge_options options = PRUNE_MERGE_OPTIONS_INIT;
#define REFUSED(field, value, part)                                                              \
    options.field = value;                                                                       \
    CHECK_FAILS(prune_model_merge(f.model, f.data, &options, &found), PRUNE_ERR_ARGUMENT, part); \
    CHECK(found == NULL);                                                                        \
    options = (prune_merge_options)PRUNE_MERGE_OPTIONS_INIT
    REFUSED(rule, 2, "rule");
    REFUSED(threshold, 1.0, "threshold");
    REFUSED(threshold, NAN, "threshold");
    REFUSED(weight, INFINITY, "weight");
    REFUSED(remove, -1, "remove");
    REFUSED(remove, 4, "2 blocks");
    REFUSED(n_protect, 3, "n_protect");
    REFUSED(batch_tokens, -1, "batch_tokens");
    REFUSED(memory_budget, -1, "memory_budget");
    REFUSED(struct_size, 3, "struct_size");
    options.n_protect = 4;
    CHECK_FAILS(prune_model_merge(f.model, f.data, &options, &found), PRUNE_ERR_ARGUMENT, "protect");
    options.protect = bad;
    CHECK_FAILS(prune_model_merge(f.model, f.data, &options, &found), PRUNE_ERR_ARGUMENT, "entry 1");
}

static int32_t stop(void *calls, const prune_progress *progress)
{
    CHECK(strcmp(progress->stage, "merge") == 0);
    ++*(int *)calls;
    return 1;
}

static void a_merge_can_be_stopped(void)
{
    prune_merge_options options = PRUNE_MERGE_OPTIONS_INIT;
    prune_merging *found = (prune_merging *)(uintptr_t)0x10;
    int calls = 0;
    options.progress = stop;
    options.user_data = &calls;
    CHECK_FAILS(prune_model_merge(f.model, f.data, &options, &found), PRUNE_ERR_CANCELLED, "merge");
    CHECK(found == NULL && calls == 1);
}

int main(void)
{
    tiny_shape shape = tiny_default_shape();
    shape.n_blocks = 4;
    fixture_open_shape(&f, "tiny_merge", shape);
    REQUIRE(f.model != NULL && f.data != NULL);
    the_mask_of_a_merge_is_for_the_edited_model();
    protected_blocks_are_in_no_merge();
    options_out_of_range_are_refused();
    a_merge_can_be_stopped();
    fixture_close(&f);
    return check_report();
}
