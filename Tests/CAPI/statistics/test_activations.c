/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics from rows of the host: against passes of the library over the same states, and against the definitions. */
#include "activations.h"
#include "check.h"
#include "fixture.h"

enum {
    ROWS = 300,
    WIDTH = 37,
    STATE = FIXTURE_TOKENS * FIXTURE_HIDDEN
};

static const prune_granularity kinds[3] = { PRUNE_GRANULARITY_SUBLAYER, PRUNE_GRANULARITY_ATTENTION,
                                            PRUNE_GRANULARITY_FEED_FORWARD };

/* All six scores of one granularity. */
static size_t scores_of(const prune_statistics *statistics, prune_granularity granularity, int32_t relative_to,
                        double out[24])
{
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    size_t count = 0;
    options.granularity = granularity;
    options.relative_to = relative_to;
    CHECK_OK(prune_statistics_scores(statistics, &options, out, 24, &count));
    return count;
}

static void same_scores(const prune_statistics *a, const prune_statistics *b, double tolerance)
{
    prune_granularity granularity;
    double one[24], two[24];
    size_t count, i;
    int32_t relative_to;
    for (granularity = 0; granularity < 4; granularity++) {
        for (relative_to = 0; relative_to < 2; relative_to++) {
            count = scores_of(a, granularity, relative_to, one);
            CHECK(scores_of(b, granularity, relative_to, two) == count);
            for (i = 0; i < count; i++) {
                CHECK_NEAR(one[i], two[i], tolerance * (1.0 + fabs(two[i])));
            }
        }
    }
}

/* Adds rows first .. first+n-1 of every sublayer and block, from the states between sublayers. */
static void add_states(prune_statistics *statistics, float states[5][STATE], int64_t first, int64_t n)
{
    int64_t unit;
    for (unit = 3; unit >= 0; unit--) { /* any order */
        prune_rows before = rows_of(states[unit] + first * FIXTURE_HIDDEN, n, FIXTURE_HIDDEN);
        prune_rows after = rows_of(states[unit + 1] + first * FIXTURE_HIDDEN, n, FIXTURE_HIDDEN);
        CHECK_OK(prune_statistics_update(statistics, PRUNE_GRANULARITY_SUBLAYER, unit, &before, &after));
    }
    for (unit = 0; unit < 2; unit++) {
        prune_rows before = rows_of(states[2 * unit] + first * FIXTURE_HIDDEN, n, FIXTURE_HIDDEN);
        prune_rows after = rows_of(states[2 * unit + 2] + first * FIXTURE_HIDDEN, n, FIXTURE_HIDDEN);
        CHECK_OK(prune_statistics_update(statistics, PRUNE_GRANULARITY_BLOCK, unit, &before, &after));
    }
}

/* The states of a pass, given back row by row, in parts, mixed with a pass and merged, score as the pass does. */
static void equal_to_passes(const fixture *f)
{
    static float states[5][STATE];
    prune_statistics *passed = empty(2), *given = empty(2), *parts = empty(2), *more = empty(2);
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    int64_t u;
    for (u = 0; u < 5; u++) {
        CHECK_OK(prune_model_hidden_states(f->model, f->data, NULL, 0, u, NULL, states[u], STATE, NULL));
    }
    CHECK_OK(prune_statistics_collect(passed, f->model, f->data, NULL));
    add_states(given, states, 0, FIXTURE_TOKENS);
    same_scores(given, passed, 1e-12);

    for (u = 0; u < FIXTURE_TOKENS; u++) { /* one token at a time, the last ones elsewhere */
        add_states(u < 11 ? parts : more, states, u, 1);
    }
    CHECK_OK(prune_statistics_merge(parts, more));
    same_scores(parts, passed, 1e-12);

    CHECK_OK(prune_statistics_collect(given, f->model, f->data, &options)); /* both in one */
    CHECK_OK(prune_statistics_merge(given, passed));
    same_scores(given, passed, 1e-12);
    prune_statistics_release(passed);
    prune_statistics_release(given);
    prune_statistics_release(parts);
    prune_statistics_release(more);
}

/* Every granularity reaches its own units; those without tokens are named, not scored as 0. */
static void units_of_each_granularity(void)
{
    static const char *const first_without[3] = { "ffn.0", "attn.1", "ffn.0" };
    static const float h[4] = { 1, 0, 0, 0 }, g[4] = { 1, 2, 0, 0 };
    prune_rows before = rows_of(h, 1, 4), after = rows_of(g, 1, 4);
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_statistics *statistics = empty(3);
    double out[36];
    size_t i, count = 0;
    CHECK_FAILS(prune_statistics_scores(statistics, NULL, out, 36, NULL), PRUNE_ERR_DATA, "attn.0");
    CHECK_OK(prune_statistics_update(statistics, PRUNE_GRANULARITY_SUBLAYER, 0, &before, &after));
    for (i = 0; i < 3; i++) {
        out[0] = 7.0;
        options.granularity = kinds[i];
        CHECK_FAILS(prune_statistics_scores(statistics, &options, out, 36, NULL), PRUNE_ERR_DATA, first_without[i]);
        CHECK(out[0] == 7.0);
    }
    options.granularity = PRUNE_GRANULARITY_BLOCK;
    CHECK_FAILS(prune_statistics_scores(statistics, &options, out, 36, NULL), PRUNE_ERR_DATA, "block.0");
    options.granularity = PRUNE_GRANULARITY_ATTENTION;
    options.metrics = PRUNE_METRIC_L2 | PRUNE_METRIC_RELATIVE_L1;
    CHECK_OK(prune_statistics_update(statistics, PRUNE_GRANULARITY_ATTENTION, 1, &before, &after));
    CHECK_FAILS(prune_statistics_scores(statistics, &options, out, 36, NULL), PRUNE_ERR_DATA, "attn.2");
    CHECK_OK(prune_statistics_update(statistics, PRUNE_GRANULARITY_SUBLAYER, 4, &before, &after));
    CHECK_OK(prune_statistics_update(statistics, PRUNE_GRANULARITY_ATTENTION, 2, &before, &before));
    CHECK_OK(prune_statistics_scores(statistics, &options, out, 36, &count));
    CHECK(count == 6 && out[0] == 2.0 && out[1] == 2.0 && out[2] == 1.0); /* attn.2: the mean of 2 and 0 */
    CHECK(out[3] == 2.0 && out[4] == 2.0 && out[5] == 1.0);
    CHECK_OK(prune_statistics_update(statistics, PRUNE_GRANULARITY_FEED_FORWARD, 2, &before, &after));
    options.granularity = PRUNE_GRANULARITY_FEED_FORWARD;
    CHECK_FAILS(prune_statistics_scores(statistics, &options, out, 36, NULL), PRUNE_ERR_DATA, "ffn.0");
    before.n_rows = after.n_rows = 0; /* no rows, no tokens */
    before.data = NULL;
    CHECK_OK(prune_statistics_update(statistics, PRUNE_GRANULARITY_FEED_FORWARD, 0, &before, &after));
    CHECK_FAILS(prune_statistics_scores(statistics, &options, out, 36, NULL), PRUNE_ERR_DATA, "ffn.0");
    prune_statistics_release(statistics);
}

/* Values that fp16 and bf16 hold exactly, so that all three types must give the same scores. */
static float value_at(int64_t row, int64_t column, int after)
{
    int64_t mixed = (row * 7919 + column * 104729 + (after ? 31 : 0) + row * column) % 97;
    return (float)(mixed - 48) / 32.0f;
}

/* The stored bits of such a value: few enough that no rounding is needed. */
static uint16_t narrow(float value, prune_element_type type)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (type == PRUNE_ELEMENT_BFLOAT16) {
        return (uint16_t)(bits >> 16);
    }
    if (value == 0.0f) {
        return 0;
    }
    return (uint16_t)((bits >> 16 & 0x8000u) | ((bits >> 23 & 0xffu) - 112u) << 10 | (bits >> 13 & 0x3ffu));
}

/* The six metrics of one unit by their definitions. */
static void defined(double out[6])
{
    int64_t row, column;
    memset(out, 0, 6 * sizeof *out);
    for (row = 0; row < ROWS; row++) {
        double hh = 0, gg = 0, hg = 0, uu = 0, h1 = 0, u1 = 0, cosine;
        for (column = 0; column < WIDTH; column++) {
            double h = value_at(row, column, 0), g = value_at(row, column, 1);
            hh += h * h;
            gg += g * g;
            hg += h * g;
            uu += (g - h) * (g - h);
            h1 += fabs(h);
            u1 += fabs(g - h);
        }
        cosine = hg / sqrt(hh * gg);
        out[0] += (1.0 - cosine) / ROWS;
        out[1] += acos(cosine) / 3.14159265358979323846 / ROWS;
        out[2] += u1 / ROWS;
        out[3] += sqrt(uu) / ROWS;
        out[4] += u1 / h1 / ROWS;
        out[5] += sqrt(uu / hh) / ROWS;
    }
}

/* How the rows of a test lie in memory. */
typedef struct layout {
    int64_t row_stride, column_stride;
    int64_t origin; /* element of row 0, column 0 */
    size_t shift;   /* bytes by which all of it is moved off its alignment */
} layout;

enum {
    MOST = 2 * ROWS * (WIDTH + 3)
};

/* Writes one of the two states in a layout; gaps are NaN, so that a wrong read shows. */
static prune_rows laid_out(unsigned char *memory, prune_element_type type, const layout *as, int after)
{
    size_t size = type == PRUNE_ELEMENT_FLOAT32 ? 4 : 2;
    prune_rows rows = rows_of(memory + as->shift + (size_t)as->origin * size, ROWS, WIDTH);
    int64_t row, column;
    memset(memory, 0xff, (MOST + 1) * size);
    for (row = 0; row < ROWS; row++) {
        for (column = 0; column < WIDTH; column++) {
            float value = value_at(row, column, after);
            uint16_t bits = narrow(value, type);
            int64_t index = as->origin + row * as->row_stride + column * as->column_stride;
            memcpy(memory + as->shift + (size_t)index * size, size == 4 ? (void *)&value : (void *)&bits, size);
        }
    }
    rows.element_type = type;
    rows.row_stride = as->row_stride == WIDTH ? 0 : as->row_stride;
    rows.column_stride = as->column_stride == 1 ? 0 : as->column_stride;
    return rows;
}

static void score_unit(const prune_rows *before, const prune_rows *after, double out[6])
{
    prune_statistics *statistics = empty(1);
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    options.granularity = PRUNE_GRANULARITY_FEED_FORWARD;
    memset(out, 0, 6 * sizeof *out);
    CHECK_OK(prune_statistics_update(statistics, PRUNE_GRANULARITY_FEED_FORWARD, 0, before, after));
    CHECK_OK(prune_statistics_scores(statistics, &options, out, 6, NULL));
    prune_statistics_release(statistics);
}

/* Types, strides and alignments, each beside each: the same bits as plain fp32 rows, which agree with the definition. */
static void row_layouts(void)
{
    static const layout ways[8] = {
        { WIDTH, 1, 0, 0 },                                      /* row after row */
        { WIDTH + 3, 1, 2, 0 },                                  /* of a wider matrix */
        { WIDTH, 1, 0, 1 },                                      /* not aligned */
        { -WIDTH, 1, (ROWS - 1) * WIDTH, 0 },                    /* from the last row to the first */
        { WIDTH, -1, WIDTH - 1, 0 },                             /* from the last column to the first */
        { 1, ROWS, 0, 0 },                                       /* transposed */
        { 2 * WIDTH, 2, 1, 3 },                                  /* every other element */
        { -1, -(ROWS + 5), (WIDTH - 1) * (ROWS + 5) + ROWS, 0 }, /* transposed, backwards, with gaps */
    };
    unsigned char *h = malloc((MOST + 1) * 4), *g = malloc((MOST + 1) * 4);
    double expected[6], plain[6], got[6];
    prune_element_type type;
    size_t i, j;
    prune_rows before, after;
    REQUIRE(h != NULL && g != NULL);
    defined(expected);
    before = laid_out(h, PRUNE_ELEMENT_FLOAT32, &ways[0], 0);
    after = laid_out(g, PRUNE_ELEMENT_FLOAT32, &ways[0], 1);
    score_unit(&before, &after, plain);
    for (i = 0; i < 6; i++) {
        CHECK_NEAR(plain[i], expected[i], 1e-12 * (1.0 + expected[i]));
    }
    for (type = 0; type < 3; type++) {
        for (i = 0; i < 8; i++) {
            for (j = 0; j < 8; j++) {
                before = laid_out(h, type, &ways[i], 0);
                after = laid_out(g, (type + (prune_element_type)j) % 3, &ways[j], 1);
                score_unit(&before, &after, got);
                CHECK(memcmp(got, plain, sizeof got) == 0);
            }
        }
    }
    for (i = 1; i <= 8; i *= 2) {
        CHECK_OK(prune_threads_set((int32_t)i));
        score_unit(&before, &after, got);
        CHECK(memcmp(got, plain, sizeof got) == 0);
    }
    CHECK_OK(prune_threads_set(0));
    free(h);
    free(g);
}

int main(void)
{
    fixture f;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    equal_to_passes(&f);
    fixture_close(&f);
    units_of_each_granularity();
    row_layouts();
    return check_report();
}
