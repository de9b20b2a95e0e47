/* SPDX-License-Identifier: Apache-2.0 */
/* What the library says of its metrics, and the bits that stand for several of them. */
#include "check.h"
#include "fixture.h"

#include <string.h>

static fixture f;

static void metrics_are_described_in_ascending_order_of_their_bits(void)
{
    uint64_t before = 0;
    CHECK(prune_metric_count() >= 10);
    for (size_t i = 0; i < prune_metric_count(); i++) {
        prune_metric_facts facts = PRUNE_METRIC_FACTS_INIT;
        CHECK_OK(prune_metric_info(i, &facts));
        CHECK(facts.bit > before && (facts.bit & (facts.bit - 1)) == 0 && facts.bit < PRUNE_METRIC_ALL_OF_STATES);
        CHECK(strlen(facts.name) > 0 && strlen(facts.formula) > 0);
        before = facts.bit;
    }
}

static void flags_say_what_a_metric_needs(void)
{
    static const struct {
        uint64_t bit;
        uint32_t flags;
        const char *name;
    } known[] = {
        { PRUNE_METRIC_COSINE, PRUNE_FACT_STATIC | PRUNE_FACT_OF_STATES | PRUNE_FACT_NEEDS_DATA, "cosine" },
        { PRUNE_METRIC_RELATIVE_L2, PRUNE_FACT_STATIC | PRUNE_FACT_OF_STATES | PRUNE_FACT_NEEDS_DATA, "relative_l2" },
        { PRUNE_METRIC_MAGNITUDE, PRUNE_FACT_STATIC | PRUNE_FACT_NEEDS_WEIGHTS, "magnitude" },
        { PRUNE_METRIC_LEAVE_ONE_OUT_LOSS, PRUNE_FACT_NEEDS_DATA, "leave_one_out_loss" },
        { PRUNE_METRIC_TAYLOR, PRUNE_FACT_NEEDS_DATA | PRUNE_FACT_NEEDS_WEIGHTS | PRUNE_FACT_NEEDS_GRADIENTS, "taylor" }
    };
    for (size_t k = 0; k < sizeof known / sizeof known[0]; k++) {
        size_t found = 0;
        for (size_t i = 0; i < prune_metric_count(); i++) {
            prune_metric_facts facts = PRUNE_METRIC_FACTS_INIT;
            CHECK_OK(prune_metric_info(i, &facts));
            if (facts.bit != known[k].bit) continue;
            found++;
            CHECK(facts.facts == known[k].flags && strcmp(facts.name, known[k].name) == 0);
        }
        CHECK(found == 1);
    }
}

static void index_beyond_the_metrics_is_refused(void)
{
    prune_metric_facts facts = PRUNE_METRIC_FACTS_INIT;
    CHECK_FAILS(prune_metric_info(prune_metric_count(), &facts), PRUNE_ERR_ARGUMENT, "index");
    CHECK_FAILS(prune_metric_info(SIZE_MAX, &facts), PRUNE_ERR_ARGUMENT, "index");
    CHECK_FAILS(prune_metric_info(0, NULL), PRUNE_ERR_ARGUMENT, "out_facts");
}

/* The bits of the metrics that have all of some flags. */
static uint64_t bits_with(uint32_t flags)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < prune_metric_count(); i++) {
        prune_metric_facts facts = PRUNE_METRIC_FACTS_INIT;
        CHECK_OK(prune_metric_info(i, &facts));
        if ((facts.facts & flags) == flags) bits |= facts.bit;
    }
    return bits;
}

static void a_set_scores_as_its_metrics_one_by_one(void)
{
    static const struct {
        uint64_t set;
        uint32_t flags;
    } sets[] = { { PRUNE_METRIC_ALL_OF_STATES, PRUNE_FACT_OF_STATES },
                 { PRUNE_METRIC_ALL_STATIC, PRUNE_FACT_STATIC },
                 { PRUNE_METRIC_ALL, 0 },
                 { PRUNE_METRIC_ALL_STATIC | PRUNE_METRIC_ALL_OF_STATES, PRUNE_FACT_STATIC } };
    for (size_t s = 0; s < sizeof sets / sizeof sets[0]; s++) {
        double by_set[256], by_bits[256];
        size_t n_by_set = 0, n_by_bits = 0;
        prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
        options.metrics = sets[s].set;
        CHECK_OK(prune_model_score(f.model, f.data, &options, by_set, 256, &n_by_set));
        options.metrics = bits_with(sets[s].flags);
        CHECK_OK(prune_model_score(f.model, f.data, &options, by_bits, 256, &n_by_bits));
        CHECK(n_by_set == n_by_bits && n_by_set > 0);
        CHECK(memcmp(by_set, by_bits, n_by_set * sizeof(double)) == 0);
    }
}

static void statistics_have_the_metrics_of_states_alone(void)
{
    prune_statistics *statistics = NULL;
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    double by_set[256], usual[256];
    size_t n_by_set = 0, n_usual = 0;
    CHECK_OK(prune_statistics_create(2, NULL, &statistics));
    CHECK_OK(prune_statistics_collect(statistics, f.model, f.data, NULL));
    CHECK_OK(prune_statistics_scores(statistics, NULL, usual, 256, &n_usual));
    options.metrics = PRUNE_METRIC_ALL_OF_STATES;
    CHECK_OK(prune_statistics_scores(statistics, &options, by_set, 256, &n_by_set));
    CHECK(n_usual == n_by_set && memcmp(usual, by_set, n_usual * sizeof(double)) == 0);
    options.metrics = PRUNE_METRIC_ALL_STATIC; /* magnitude is none of them */
    CHECK_FAILS(prune_statistics_scores(statistics, &options, by_set, 256, NULL), PRUNE_ERR_ARGUMENT, "metrics");
    prune_statistics_release(statistics);
}

int main(void)
{
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    metrics_are_described_in_ascending_order_of_their_bits();
    flags_say_what_a_metric_needs();
    index_beyond_the_metrics_is_refused();
    a_set_scores_as_its_metrics_one_by_one();
    statistics_have_the_metrics_of_states_alone();
    fixture_close(&f);
    return check_report();
}
