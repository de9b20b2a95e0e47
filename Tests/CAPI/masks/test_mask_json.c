/* SPDX-License-Identifier: Apache-2.0 */
/* Masks as JSON. */
#include "check.h"

static void masks_survive_a_round_trip(void)
{
    static const uint8_t keep[6] = { 1, 0, 0, 1, 1, 1 };
    uint8_t back[7] = { 9, 9, 9, 9, 9, 9, 9 };
    char text[512];
    size_t needed = 0, written = 0, count = 0;
    memset(text, 'x', sizeof text);
    CHECK_FAILS(prune_mask_to_json(keep, 6, NULL, text, 1, &needed), PRUNE_ERR_BUFFER, "out_text");
    CHECK(needed > 1 && needed < sizeof text && text[0] == 'x');
    CHECK_FAILS(prune_mask_to_json(keep, 6, NULL, text, needed - 1, &count), PRUNE_ERR_BUFFER, "out_text");
    CHECK(count == needed && text[0] == 'x');
    CHECK_OK(prune_mask_to_json(keep, 6, NULL, text, needed, &written));
    CHECK(written == needed && text[needed - 1] == '\0' && strlen(text) == needed - 1 && text[needed] == 'x');
    CHECK(strstr(text, "\"prunecore.mask\"") != NULL);
    CHECK(strstr(text, "\"ffn.0\"") != NULL && strstr(text, "\"attn.1\"") != NULL);
    CHECK(strstr(text, "\"attn.0\"") == NULL && strstr(text, "\"ffn.2\"") == NULL);

    CHECK_FAILS(prune_mask_from_json(text, back, 5, &count), PRUNE_ERR_BUFFER, "6");
    CHECK(count == 6 && back[0] == 9);
    CHECK_OK(prune_mask_from_json(text, back, 7, &count));
    CHECK(count == 6 && memcmp(back, keep, 6) == 0 && back[6] == 9);
    CHECK_OK(prune_mask_from_json(text, back, 6, NULL));
}

static void provenance_is_kept(void)
{
    static const uint8_t keep[2] = { 0, 1 };
    uint8_t back[2];
    char text[512];
    CHECK_OK(prune_mask_to_json(keep, 2, "{\"metric\": \"cosine\", \"note\": \"\xC3\xA9t\xC3\xA9\", \"seed\": 7}", text,
                                sizeof text, NULL));
    CHECK(strstr(text, "\"metric\"") != NULL && strstr(text, "\"cosine\"") != NULL);
    CHECK_OK(prune_mask_from_json(text, back, 2, NULL));
    CHECK(memcmp(back, keep, 2) == 0);
    CHECK_FAILS(prune_mask_to_json(keep, 2, "[1]", text, sizeof text, NULL), PRUNE_ERR_FORMAT, "provenance");
    CHECK_FAILS(prune_mask_to_json(keep, 2, "{\"a\":", text, sizeof text, NULL), PRUNE_ERR_FORMAT, "provenance");
    CHECK_FAILS(prune_mask_to_json(keep, 2, "", text, sizeof text, NULL), PRUNE_ERR_FORMAT, "provenance");
    /* Bytes that are not UTF-8 never reach a file: they become replacement characters. */
    CHECK_OK(prune_mask_to_json(keep, 2, "{\"a\": \"\xFF\"}", text, sizeof text, NULL));
    CHECK(strchr(text, '\xFF') == NULL && strstr(text, "\xEF\xBF\xBD") != NULL);
}

static void bad_masks(void)
{
    static const uint8_t two[2] = { 1, 2 };
    char text[256];
    CHECK_FAILS(prune_mask_to_json(two, 2, NULL, text, sizeof text, NULL), PRUNE_ERR_ARGUMENT, "2");
    CHECK_FAILS(prune_mask_to_json(two, 1, NULL, text, sizeof text, NULL), PRUNE_ERR_ARGUMENT, "n_keep");
    CHECK_FAILS(prune_mask_to_json(two, 0, NULL, text, sizeof text, NULL), PRUNE_ERR_ARGUMENT, "n_keep");
}

static void bad_texts(void)
{
    static const char head[] = "{\"format\": \"prunecore.mask\", \"version\": 1, ";
    static const char later[] = "{\"format\": \"prunecore.mask\", \"version\": 3, \"n_blocks\": 2, \"removed\": []}";
    static const struct {
        const char *text; /* put behind `head` where it begins with a quote */
        const char *part; /* what the message must name */
    } cases[] = { { "", "JSON" },
                  { "{", "JSON" },
                  { "null", "object" },
                  { "[]", "object" },
                  { "{}", "format" },
                  { "{\"format\": \"other\", \"version\": 1, \"n_blocks\": 2, \"removed\": []}", "format" },
                  { "{\"format\": 3, \"version\": 1, \"n_blocks\": 2, \"removed\": []}", "format" },
                  { "{\"format\": \"prunecore.mask\", \"n_blocks\": 2, \"removed\": []}", "version" },
                  { "\"removed\": []}", "n_blocks" },
                  { "\"n_blocks\": 0, \"removed\": []}", "n_blocks" },
                  { "\"n_blocks\": -2, \"removed\": []}", "n_blocks" },
                  { "\"n_blocks\": 1.5, \"removed\": []}", "n_blocks" },
                  { "\"n_blocks\": \"2\", \"removed\": []}", "n_blocks" },
                  { "\"n_blocks\": 1000000000000000000, \"removed\": []}", "n_blocks" },
                  { "\"n_blocks\": 9223372036854775807, \"removed\": []}", "n_blocks" },
                  { "\"n_blocks\": 1e300, \"removed\": []}", "n_blocks" },
                  { "\"n_blocks\": 2}", "removed" },
                  { "\"n_blocks\": 2, \"removed\": \"attn.0\"}", "removed" },
                  { "\"n_blocks\": 2, \"removed\": [0]}", "removed" },
                  { "\"n_blocks\": 2, \"removed\": [\"attn.2\"]}", "attn.2" },
                  { "\"n_blocks\": 2, \"removed\": [\"attn.-1\"]}", "attn.-1" },
                  { "\"n_blocks\": 2, \"removed\": [\"attn.99999999999999999999\"]}", "attn.99999999999999999999" },
                  { "\"n_blocks\": 2, \"removed\": [\"attn\"]}", "attn" },
                  { "\"n_blocks\": 2, \"removed\": [\"mlp.0\"]}", "mlp.0" },
                  { "\"n_blocks\": 2, \"removed\": [\"attn.00\"]}", "attn.00" },
                  { "\"n_blocks\": 2, \"n_blocks\": 3, \"removed\": []}", "twice" } };
    char text[256];
    uint8_t keep[4] = { 9, 9, 9, 9 };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(text, sizeof text, "%s%s", cases[i].text[0] == '"' ? head : "", cases[i].text);
        CHECK_FAILS(prune_mask_from_json(text, keep, 4, NULL), PRUNE_ERR_FORMAT, cases[i].part);
        if (strstr(prune_last_error(), cases[i].part) == NULL) {
            printf("    text: %s\n", text);
        }
    }
    CHECK(keep[0] == 9);
    /* Well-formed, but of a later version. */
    CHECK_FAILS(prune_mask_from_json(later, keep, 4, NULL), PRUNE_ERR_UNSUPPORTED, "version");
    CHECK(keep[0] == 9);
    /* Named twice is removed once. */
    snprintf(text, sizeof text, "%s\"n_blocks\": 2, \"removed\": [\"ffn.1\", \"ffn.1\"]}", head);
    CHECK_OK(prune_mask_from_json(text, keep, 4, NULL));
    CHECK(memcmp(keep, "\1\1\1\0", 4) == 0);
}

/* Nesting deep enough to overflow the stack of a careless reader. */
static void deeply_nested_texts(void)
{
    enum {
        DEPTH = 200000
    };
    char *text = malloc(2 * DEPTH + 1);
    uint8_t keep[4];
    REQUIRE(text != NULL);
    memset(text, '[', DEPTH);
    memset(text + DEPTH, ']', DEPTH);
    text[2 * DEPTH] = '\0';
    CHECK_FAILS(prune_mask_from_json(text, keep, 4, NULL), PRUNE_ERR_FORMAT, "mask");
    free(text);
}

int main(void)
{
    masks_survive_a_round_trip();
    provenance_is_kept();
    bad_masks();
    bad_texts();
    deeply_nested_texts();
    return check_report();
}
