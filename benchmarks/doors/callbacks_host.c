/* SPDX-License-Identifier: Apache-2.0
 * What a call of a host costs that does nothing, through the C interface.
 *
 *   callbacks_host BLOCKS REPEATS   a line per repeat: seconds, and callbacks made, of one pass over one token
 *
 * A state is a counter of its uses: apply gives it again as it came. Every sublayer is an apply and a release.
 */
#define _POSIX_C_SOURCE 200809L
#include <prunecore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    WIDTH = 1
};

typedef struct host {
    long calls, live;
} host;

static prune_status embed(void *user_data, const prune_host_batch *batch, prune_host_state *out_state)
{
    host *h = user_data;
    (void)batch;
    h->calls++, h->live++;
    *out_state = h;
    return PRUNE_OK;
}

static prune_status apply(void *user_data, int64_t sublayer, const prune_host_state *states, size_t n_states,
                          prune_host_state *out_states)
{
    host *h = user_data;
    size_t i;
    (void)sublayer;
    h->calls++, h->live += (long)n_states;
    for (i = 0; i < n_states; i++) out_states[i] = states[i];
    return PRUNE_OK;
}

static void release(void *user_data, prune_host_state state)
{
    host *h = user_data;
    (void)state;
    h->calls++, h->live--;
}

static prune_status read_state(void *user_data, prune_host_state state, float *out_values)
{
    host *h = user_data;
    (void)state;
    h->calls++;
    out_values[0] = 1.0f;
    return PRUNE_OK;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(prune_status status)
{
    if (status == PRUNE_OK) return;
    fprintf(stderr, "%s: %s\n", prune_status_name(status), prune_last_error());
    exit(1);
}

int main(int argc, char **argv)
{
    host h = { 0, 0 };
    prune_host calls = PRUNE_HOST_INIT;
    prune_model *model;
    prune_data *data;
    const int32_t token = 0;
    const int64_t length = 1;
    int repeats = argc == 3 ? atoi(argv[2]) : 0;
    if (repeats < 1 || atoi(argv[1]) < 1) {
        fprintf(stderr, "usage: callbacks_host BLOCKS REPEATS\n");
        return 2;
    }
    calls.user_data = &h;
    calls.n_blocks = atoi(argv[1]), calls.hidden_size = WIDTH, calls.vocabulary_size = 1;
    calls.embed = embed, calls.apply = apply, calls.release = release, calls.read = read_state;
    check(prune_model_from_host(&calls, &model));
    check(prune_data_create(&token, &length, 1, NULL, &data));
    while (repeats-- > 0) {
        float out;
        double start = now();
        h.calls = 0;
        check(prune_model_hidden_states(model, data, NULL, 0, 2 * calls.n_blocks, NULL, &out, 1, NULL));
        printf("%.9f %ld\n", now() - start, h.calls);
        if (h.live) return 1;
    }
    prune_data_release(data);
    prune_model_release(model);
    return 0;
}
