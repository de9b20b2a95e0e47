/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that cannot be had: every kind of call under limits from too little to enough, in a child each. A call succeeds, or
 * says PRUNE_ERR_MEMORY (a file that cannot be mapped: PRUNE_ERR_FILE); it never ends the process, and never hangs.
 *
 * PRUNE_TEST_LIMIT_STEP: megabytes from one limit to the next, 100 unless set; the limits go up to 600.
 */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "fixture.h"
#include "operations.h"

enum {
    MOST = 600, /* megabytes: enough for everything below */
    HANG = 120
};

/* Whether the library has multiplied before the limit is set, so that its buffers are there. */
static int is_warm;
static prune_data *data;

static prune_status opened(prune_model **out) { return prune_model_open("tiny", NULL, out); }

static prune_status with_model(operation_fn run)
{
    static double values[OPERATION_VALUES];
    prune_model *model = NULL;
    size_t count = 0;
    prune_status status = opened(&model);
    if (status == PRUNE_OK) {
        status = run(model, data, values, &count);
    }
    prune_model_release(model);
    return status;
}

/* 2^20 coalitions at once. */
static prune_status exact_game(void)
{
    prune_game_options options = PRUNE_GAME_OPTIONS_INIT;
    prune_game *game = NULL;
    prune_status status;
    size_t n = 0;
    uint8_t *masks = malloc((size_t)20 << 20);
    if (!masks) {
        return PRUNE_ERR_MEMORY;
    }
    options.estimator = PRUNE_ESTIMATOR_EXACT;
    status = prune_game_create(20, &options, &game);
    if (status == PRUNE_OK) {
        status = prune_game_ask(game, (size_t)1 << 20, masks, &n);
    }
    prune_game_release(game);
    free(masks);
    return status;
}

static prune_status many_tokens(void)
{
    prune_data *own = NULL;
    prune_status status;
    int64_t length = 1 << 22;
    int32_t *ids = calloc((size_t)length, sizeof *ids);
    if (!ids) {
        return PRUNE_ERR_MEMORY;
    }
    status = prune_data_create(ids, &length, 1, NULL, &own);
    prune_data_release(own);
    free(ids);
    return status;
}

static prune_status wide_statistics(void)
{
    prune_statistics_options options = PRUNE_STATISTICS_OPTIONS_INIT;
    prune_statistics *own = NULL;
    prune_status status;
    options.windows = 1;
    status = prune_statistics_create(4096, &options, &own);
    prune_statistics_release(own);
    return status;
}

static prune_status long_provenance(void)
{
    enum {
        NUMBERS = 1 << 20
    };
    static const uint8_t keep[FIXTURE_SUBLAYERS] = { 1, 1, 0, 1 };
    size_t n = 0, i;
    prune_status status;
    char *text = malloc(2 * NUMBERS + 16), *out = malloc(2 * NUMBERS + 1024);
    if (!text || !out) {
        free(text);
        free(out);
        return PRUNE_ERR_MEMORY;
    }
    strcpy(text, "{\"a\":[");
    for (i = 0; i < NUMBERS; i++) {
        memcpy(text + 6 + 2 * i, "1,", 2);
    }
    strcpy(text + 5 + 2 * NUMBERS, "]}");
    status = prune_mask_to_json(keep, FIXTURE_SUBLAYERS, text, out, 2 * NUMBERS + 1024, &n);
    free(text);
    free(out);
    return status;
}

static prune_status generates(void)
{
    prune_generate_options options = PRUNE_GENERATE_OPTIONS_INIT;
    prune_generation *made = NULL;
    prune_model *model = NULL;
    prune_status status = opened(&model);
    options.max_new_tokens = 8;
    if (status == PRUNE_OK) {
        status = prune_model_generate(model, data, NULL, 0, &options, &made);
    }
    prune_generation_release(made);
    prune_model_release(model);
    return status;
}

static prune_status searches(void)
{
    prune_search_options options = PRUNE_SEARCH_OPTIONS_INIT;
    uint8_t *masks = malloc((size_t)4096 * FIXTURE_SUBLAYERS);
    prune_search *search = NULL;
    prune_model *model = NULL;
    prune_status status = masks ? opened(&model) : PRUNE_ERR_MEMORY;
    size_t n = 0;
    options.strategy = PRUNE_STRATEGY_EVOLUTIONARY;
    options.remove = 1;
    options.offspring = 1 << 20;
    if (status == PRUNE_OK) {
        status = prune_search_create(model, &options, &search);
    }
    if (status == PRUNE_OK) {
        status = prune_search_ask(search, 4096, masks, &n, NULL);
    }
    prune_search_release(search);
    prune_model_release(model);
    free(masks);
    return status;
}

static const struct {
    const char *name;
    prune_status (*run)(void);
} calls[] = {
    { "exact game", exact_game },           { "many tokens", many_tokens }, { "wide statistics", wide_statistics },
    { "long provenance", long_provenance }, { "generate", generates },      { "search", searches },
};

enum {
    CALLS = sizeof calls / sizeof calls[0]
};

static prune_status run(int call)
{
    return call < OPERATIONS ? with_model(operations[call].run) : calls[call - OPERATIONS].run();
}

static const char *name(int call) { return call < OPERATIONS ? operations[call].name : calls[call - OPERATIONS].name; }

/* The bytes of address space, or of data, that this process has. */
static rlim_t size_now(int resource)
{
    long pages[6] = { 0 };
    FILE *file = fopen("/proc/self/statm", "r");
    REQUIRE(file && fscanf(file, "%ld %ld %ld %ld %ld %ld", &pages[0], &pages[1], &pages[2], &pages[3], &pages[4],
                           &pages[5]) == 6);
    fclose(file);
    return (rlim_t)pages[resource == RLIMIT_AS ? 0 : 5] * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* The status of a call in a child with `megabytes` to spare; -1 if the child ended in any other way. */
static int status_under(int resource, long megabytes, int call)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit;
        alarm(HANG);
        limit.rlim_cur = limit.rlim_max = size_now(resource) + (rlim_t)megabytes * 1000000;
        _exit(setrlimit(resource, &limit) == 0 ? (int)run(call) : 100);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
        printf("    %s with %ld MB %s: ended by signal %d\n", name(call), megabytes,
               resource == RLIMIT_AS ? "of addresses" : "of data", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        return -1;
    }
    return WEXITSTATUS(status);
}

static void sweep(int resource, long step)
{
    int call, n_done = 0, n_refused = 0;
    long megabytes;
    for (call = 0; call < OPERATIONS + CALLS; call++) {
        int last = -1;
        for (megabytes = 1; megabytes <= MOST; megabytes += step) {
            last = status_under(resource, megabytes, call);
            CHECK(last == PRUNE_OK || last == PRUNE_ERR_MEMORY || last == PRUNE_ERR_FILE);
            n_done += last == PRUNE_OK;
            n_refused += last != PRUNE_OK;
        }
        last = status_under(resource, 4 * MOST, call);
        CHECK(last == PRUNE_OK);
    }
    printf("%s, %s: %d calls done, %d refused\n", resource == RLIMIT_AS ? "addresses" : "data",
           is_warm ? "warm" : "cold", n_done, n_refused);
    /* The smallest limit has room for no call. */
    CHECK(n_refused >= OPERATIONS + CALLS && n_done > 0);
}

int main(void)
{
    const char *asked = getenv("PRUNE_TEST_LIMIT_STEP");
    long step = asked ? atol(asked) : 100;
    tiny_model weights;
    setvbuf(stdout, NULL, _IONBF, 0);
    REQUIRE(step > 0);
    tiny_model_make(&weights, tiny_default_shape(), 7);
    tiny_model_write(&weights, "tiny");
    tiny_model_free(&weights);
    REQUIRE(prune_data_create(fixture_ids, fixture_lengths, FIXTURE_SEQUENCES, NULL, &data) == PRUNE_OK);
    sweep(RLIMIT_AS, step);
    sweep(RLIMIT_DATA, step);
    is_warm = 1;
    CHECK_OK(with_model(operation_closed_form));
    sweep(RLIMIT_AS, step);
    prune_data_release(data);
    return check_report();
}
