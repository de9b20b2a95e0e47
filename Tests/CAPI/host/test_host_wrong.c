/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosts that answer wrongly: at every position of every callback once, numbers that are not finite, too few numbers, no state,
 * statuses that mean nothing, and callbacks that call the library or release what they are called for. Each call gives a status,
 * no state is left, and the next call gives the numbers that it gave before.
 *
 * PRUNE_TEST_WRONG=all: every fault at every position, instead of one after the other.
 */
#include <pthread.h>

#include "operations.h"

#include "host.h"
#include "host_states.h"

typedef enum fault {
    NOT_A_NUMBER,
    INFINITE,
    TOO_FEW,
    NO_STATE,
    STRANGE_STATUS,
    CALLS_THE_MODEL,
    CALLS_ANOTHER,
    RELEASES_MODEL,
    RELEASES_DATA,
    RELEASES_BOTH_ELSEWHERE,
    FAULTS
} fault;

static fixture f;
static host h;
static prune_host inner;
static prune_model *model;
static prune_data *data;
static int target;
static long at;
static fault kind;
static int inner_failed, is_inside;
static double values[OPERATION_VALUES];

/* Whether the call of a callback that is under way is the one to spoil. */
static int hit(int callback) { return !is_inside && callback == target && h.calls[callback] - 1 == at; }

static double bad(void) { return kind == NOT_A_NUMBER ? NAN : INFINITY; }

static int spoils(int callback) { return hit(callback) && (kind == NOT_A_NUMBER || kind == INFINITE); }

/* How many of `n` numbers are given at the next call. */
static size_t given(int callback, size_t n)
{
    return kind == TOO_FEW && !is_inside && callback == target && h.calls[callback] == at ? n / 2 : n;
}

static prune_status spoilt_state(int callback, prune_status status, prune_host_state *out)
{
    if (status == PRUNE_OK && *out != NULL && spoils(callback)) {
        ((host_state *)*out)->values[0] = bad();
    }
    return status;
}

static prune_status embed(void *user, const prune_host_batch *batch, prune_host_state *out)
{
    return spoilt_state(HOST_EMBED, inner.embed(user, batch, out), out);
}

static prune_status apply(void *user, int64_t sublayer, const prune_host_state *states, size_t n, prune_host_state *out)
{
    return spoilt_state(HOST_APPLY, inner.apply(user, sublayer, states, given(HOST_APPLY, n), out), out);
}

static prune_status token_losses(void *user, prune_host_state state, const int64_t *rows, const int32_t *tokens,
                                 size_t n, float *out)
{
    prune_status status = inner.token_losses(user, state, rows, tokens, given(HOST_TOKEN_LOSSES, n), out);
    if (spoils(HOST_TOKEN_LOSSES)) {
        out[n - 1] = (float)bad();
    }
    return status;
}

static prune_status logits(void *user, prune_host_state state, int64_t first, int64_t n, float *out)
{
    prune_status status = inner.logits(user, state, first, (int64_t)given(HOST_LOGITS, (size_t)n), out);
    if (spoils(HOST_LOGITS)) {
        out[0] = (float)bad();
    }
    return status;
}

static prune_status distances(void *user, prune_host_state state, prune_host_state reference, prune_distance which,
                              const int64_t *rows, size_t n, float *out)
{
    prune_status status = inner.distances(user, state, reference, which, rows, given(HOST_DISTANCES, n), out);
    if (spoils(HOST_DISTANCES)) {
        out[0] = (float)bad();
    }
    return status;
}

static prune_status compare(void *user, prune_host_state before, prune_host_state after, const int64_t *rows, size_t n,
                            prune_comparison *out)
{
    prune_status status = inner.compare(user, before, after, rows, given(HOST_COMPARE, n), out);
    if (spoils(HOST_COMPARE)) {
        out[0].update_squares = bad();
    }
    return status;
}

static prune_status read_state(void *user, prune_host_state state, float *out)
{
    prune_status status = inner.read(user, state, out);
    if (spoils(HOST_READ)) {
        out[0] = (float)bad();
    }
    return status;
}

static prune_status write_state(void *user, prune_host_state like, const float *from, prune_host_state *out)
{
    return spoilt_state(HOST_WRITE, inner.write(user, like, from, out), out);
}

static prune_status norm(void *user, int64_t sublayer, float *gain, float *epsilon)
{
    prune_status status = inner.norm(user, sublayer, gain, epsilon);
    if (spoils(HOST_NORM)) {
        gain[0] = (float)bad();
    }
    return status;
}

static prune_status apply_adapter(void *user, const prune_host_adapter *adapter, prune_host_state state,
                                  prune_host_state *out)
{
    return spoilt_state(HOST_APPLY_ADAPTER, inner.apply_adapter(user, adapter, state, out), out);
}

static prune_status vjp(void *user, int64_t sublayer, const prune_host_state *states, const prune_host_state *gradients,
                        size_t n, prune_host_state *out)
{
    return spoilt_state(HOST_VJP, inner.vjp(user, sublayer, states, gradients, given(HOST_VJP, n), out), out);
}

static prune_status head_vjp(void *user, prune_host_state state, prune_objective objective, prune_host_state reference,
                             const int64_t *rows, const int32_t *tokens, const float *weights, size_t n, float *losses,
                             prune_host_state *out)
{
    prune_status status =
        inner.head_vjp(user, state, objective, reference, rows, tokens, weights, given(HOST_HEAD_VJP, n), losses, out);
    if (spoils(HOST_HEAD_VJP)) {
        losses[0] = (float)bad();
    }
    return status;
}

static void *releases(void *none)
{
    (void)none;
    prune_model_release(model);
    prune_data_release(data);
    return NULL;
}

/* Within a callback, before it does anything: once, at the position that is due. */
static void inside(void *none)
{
    prune_evaluation evaluation;
    pthread_t thread;
    (void)none;
    if (is_inside || h.calls[target] - 1 != at) {
        return;
    }
    is_inside = 1;
    switch (kind) {
    case CALLS_THE_MODEL:
        inner_failed += prune_model_evaluate(model, data, NULL, 1, 0, NULL, &evaluation) != PRUNE_OK;
        inner_failed += prune_model_evaluate(model, NULL, NULL, 1, 0, NULL, &evaluation) != PRUNE_ERR_ARGUMENT;
        break;
    case CALLS_ANOTHER:
        inner_failed += prune_model_evaluate(f.model, f.data, NULL, 1, 0, NULL, &evaluation) != PRUNE_OK;
        break;
    case RELEASES_MODEL:
        prune_model_release(model);
        break;
    case RELEASES_DATA:
        prune_data_release(data);
        break;
    case RELEASES_BOTH_ELSEWHERE:
        inner_failed += pthread_create(&thread, NULL, releases, NULL) != 0 || pthread_join(thread, NULL) != 0;
        break;
    default:
        break;
    }
    is_inside = 0;
}

static void begin(void)
{
    prune_host calls;
    prune_evaluation evaluation;
    host_init(&h, &f.weights, &inner);
    calls = inner;
    calls.embed = embed, calls.apply = apply, calls.token_losses = token_losses, calls.logits = logits;
    calls.distances = distances, calls.compare = compare, calls.read = read_state, calls.write = write_state;
    calls.norm = norm, calls.apply_adapter = apply_adapter, calls.vjp = vjp, calls.head_vjp = head_vjp;
    target = -1;
    REQUIRE(prune_model_from_host(&calls, &model) == PRUNE_OK);
    REQUIRE(prune_data_create(fixture_ids, fixture_lengths, FIXTURE_SEQUENCES, NULL, &data) == PRUNE_OK);
    /* The first call tests the host; the next ones make no more calls than they need. */
    REQUIRE(prune_model_evaluate(model, data, NULL, 1, 0, NULL, &evaluation) == PRUNE_OK);
    memset(h.calls, 0, sizeof h.calls);
}

static void end(void)
{
    prune_model_release(model);
    prune_data_release(data);
    CHECK(h.closed == 1 && h.live == 0);
}

/* A run of an operation with a fault, and one without. */
static void with_fault(size_t operation, int callback, long position, fault what, const double *right, size_t n_right)
{
    static const prune_status strange[] = { -1, INT32_MIN, INT32_MAX, 13, PRUNE_ERR_CANCELLED, PRUNE_ERR_BUFFER };
    prune_status status, wanted = strange[position % 6];
    size_t n = 0, i;
    int failures = check_n_failed, same = 1;
    memset(h.calls, 0, sizeof h.calls);
    target = callback, at = position, kind = what, inner_failed = 0;
    h.fails = what == STRANGE_STATUS || what == NO_STATE ? callback : -1;
    h.fails_at = position, h.fails_with = wanted, h.gives_null = what == NO_STATE;
    h.inside = inside;
    status = operations[operation].run(model, data, values, &n);
    h.inside = NULL, h.fails = -1, h.gives_null = 0, target = -1;
    CHECK(h.live == 0 && inner_failed == 0);
    switch (what) {
    case STRANGE_STATUS:
        CHECK(status == (wanted >= 1 && wanted <= PRUNE_ERR_HOST ? wanted : PRUNE_ERR_HOST));
        break;
    case CALLS_THE_MODEL:
    case CALLS_ANOTHER:
        CHECK(status == PRUNE_OK);
        break;
    case RELEASES_MODEL:
    case RELEASES_DATA:
    case RELEASES_BOTH_ELSEWHERE:
        /* The call under way ends as it would; the next one of the operation finds no handle. */
        CHECK(status == PRUNE_OK || status == PRUNE_ERR_HANDLE);
        end();
        begin();
        break;
    default:
        /* A number that nothing depends on may be anything. */
        CHECK(status == PRUNE_OK || status == PRUNE_ERR_NONFINITE || status == PRUNE_ERR_HOST);
        /* A vector-Jacobian product is the host's own, whatever it is. */
        for (i = 0; status == PRUNE_OK && operations[operation].run != operation_vjp && i < n; i++) {
            CHECK(!isnan(values[i]));
        }
    }
    CHECK_OK(operations[operation].run(model, data, values, &n));
    for (i = 0; i < n_right; i++) {
        same &= values[i] == right[i];
    }
    CHECK(same && n == n_right);
    if (check_n_failed != failures) {
        printf("    %s, callback %d, call %ld, fault %d: %s\n", operations[operation].name, callback, position,
               (int)what, prune_status_name(status));
    }
}

/* A long operation's positions are sampled: each of the first, then ever fewer. */
static long next_position(long position) { return position < 4 ? position + 1 : position + position / 2; }

static void each_callback_at_each_position(int every)
{
    static double right[OPERATION_VALUES];
    size_t operation, n_right;
    int callback;
    long position, n_positions = 0, n_faults = 0;
    begin();
    for (operation = 0; operation < OPERATIONS; operation++) {
        long used[HOST_CALLBACKS];
        memset(h.calls, 0, sizeof h.calls);
        CHECK_OK(operations[operation].run(model, data, right, &n_right));
        memcpy(used, h.calls, sizeof used);
        for (callback = 0; callback < HOST_CALLBACKS; callback++) {
            for (position = 0; callback != HOST_RELEASE && position < used[callback];
                 position = next_position(position)) {
                int what;
                n_positions++;
                for (what = every ? 0 : (int)(n_positions % FAULTS); what < FAULTS; what++) {
                    with_fault(operation, callback, position, (fault)what, right, n_right);
                    n_faults++;
                    if (!every) {
                        break;
                    }
                }
            }
        }
    }
    end();
    printf("%ld positions, %ld faults\n", n_positions, n_faults);
    CHECK(n_positions > 200);
}

/* Any callbacks may be missing: the model is refused, or computes what it can and refuses the rest. */
static void each_combination_of_callbacks(unsigned step)
{
    unsigned mask, n_made = 0, n_refused = 0;
    for (mask = 0; mask < 1u << HOST_CALLBACKS; mask += step) {
        prune_host calls;
        prune_model *own = NULL;
        prune_status status;
        size_t n;
        int runs = (mask & 7u) == 7u || (mask & 1u << HOST_EVALUATE) != 0;
        host_init(&h, &f.weights, &calls);
#define OFFER(callback, name) (mask & 1u << (callback) ? (void)0 : (void)(calls.name = NULL))
        OFFER(HOST_EMBED, embed), OFFER(HOST_APPLY, apply), OFFER(HOST_RELEASE, release);
        OFFER(HOST_TOKEN_LOSSES, token_losses), OFFER(HOST_LOGITS, logits), OFFER(HOST_DISTANCES, distances);
        OFFER(HOST_COMPARE, compare), OFFER(HOST_READ, read), OFFER(HOST_WRITE, write), OFFER(HOST_NORM, norm);
        OFFER(HOST_APPLY_ADAPTER, apply_adapter), OFFER(HOST_VJP, vjp), OFFER(HOST_HEAD_VJP, head_vjp);
        OFFER(HOST_EVALUATE, evaluate);
        calls.layer_norm = mask & 1u << HOST_LAYER_NORM ? host_layer_norm : NULL;
        status = prune_model_from_host(&calls, &own);
        CHECK(status == (runs ? PRUNE_OK : PRUNE_ERR_ARGUMENT) && (own != NULL) == runs);
        if (own != NULL) {
            status = operations[n_made % OPERATIONS].run(own, f.data, values, &n);
            CHECK(status == PRUNE_OK || status == PRUNE_ERR_UNSUPPORTED);
            prune_model_release(own);
            n_made++;
        } else {
            n_refused++;
        }
        CHECK(h.live == 0 && h.closed == runs);
    }
    printf("%u combinations made, %u refused\n", n_made, n_refused);
}

/* Sizes that no version of the struct has; a tail that is not zero is of a later version. */
static void sizes_of_the_struct(void)
{
    static const struct {
        uint32_t size;
        unsigned char tail;
        prune_status expected;
    } cases[] = { { 0, 0, PRUNE_ERR_ARGUMENT },
                  { 1, 0, PRUNE_ERR_ARGUMENT },
                  { 8, 0, PRUNE_ERR_ARGUMENT },
                  { offsetof(prune_host, known_causal) - 1, 0, PRUNE_ERR_ARGUMENT },
                  { offsetof(prune_host, known_causal), 0, PRUNE_OK },
                  { sizeof(prune_host), 0xA5, PRUNE_OK },
                  { sizeof(prune_host) + 1, 0, PRUNE_OK },
                  { sizeof(prune_host) + 1, 0xA5, PRUNE_ERR_ARGUMENT },
                  { 1 << 16, 0, PRUNE_OK },
                  { 1 << 16, 1, PRUNE_ERR_ARGUMENT },
                  { (1 << 16) + 1, 0, PRUNE_ERR_ARGUMENT },
                  { UINT32_MAX, 0, PRUNE_ERR_ARGUMENT } };
    static union {
        prune_host host;
        unsigned char bytes[(1 << 16) + 8];
    } room;
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        prune_model *own = NULL;
        memset(&room, cases[i].tail, sizeof room);
        host_init(&h, &f.weights, &room.host);
        room.host.struct_size = cases[i].size;
        check_status(prune_model_from_host(&room.host, &own), cases[i].expected, __FILE__, __LINE__, "struct_size");
        CHECK((own != NULL) == (cases[i].expected == PRUNE_OK));
        prune_model_release(own);
        CHECK(h.closed == (cases[i].expected == PRUNE_OK));
    }
}

/* The game and the search that a callback is called for are released by it: the call under way keeps them. */
static int32_t releases_game(void *game, const prune_game_progress *progress)
{
    (void)progress;
    prune_game_release(*(prune_game **)game);
    return 0;
}

static int32_t releases_search(void *search, const prune_search *of)
{
    (void)of;
    prune_search_release(*(prune_search **)search);
    return 0;
}

static void games_and_searches_released_inside(void)
{
    prune_game_run_options played = PRUNE_GAME_RUN_OPTIONS_INIT;
    prune_search_options options = PRUNE_SEARCH_OPTIONS_INIT;
    prune_search_run_options searched = PRUNE_SEARCH_RUN_OPTIONS_INIT;
    prune_game_state state = PRUNE_GAME_STATE_INIT;
    prune_game *game = NULL;
    prune_search *search = NULL;
    begin();
    CHECK_OK(prune_game_create(FIXTURE_SUBLAYERS, NULL, &game));
    played.on_batch = releases_game, played.user_data = &game, played.batch_coalitions = 3;
    CHECK_OK(prune_model_shapley(model, data, game, &played));
    CHECK_FAILS(prune_game_info(game, &state), PRUNE_ERR_HANDLE, "released");
    options.remove = 2;
    CHECK_OK(prune_search_create(model, &options, &search));
    searched.on_batch = releases_search, searched.user_data = &search;
    CHECK_OK(prune_model_search(model, data, search, &searched));
    CHECK_FAILS(prune_search_mask(search, NULL, 0, NULL), PRUNE_ERR_HANDLE, "released");
    end();
}

int main(void)
{
    const char *all = getenv("PRUNE_TEST_WRONG");
    setvbuf(stdout, NULL, _IONBF, 0);
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    each_callback_at_each_position(all != NULL);
    each_combination_of_callbacks(all != NULL ? 1 : 37);
    sizes_of_the_struct();
    games_and_searches_released_inside();
    fixture_close(&f);
    return check_report();
}
