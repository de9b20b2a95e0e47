/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that runs the reference model itself, behind the callbacks of prune_host: states are doubles of its own. It
 * offers every callback but layer_norm; tests take away what they want missing. Gradients are differences, so that they owe nothing to
 * anybody's algebra.
 */
#ifndef HOST_H
#define HOST_H

#include "prunecore.h"
#include "tiny_model.h"

/* The callbacks, as places in `calls`. */
enum {
    HOST_EMBED,
    HOST_APPLY,
    HOST_RELEASE,
    HOST_TOKEN_LOSSES,
    HOST_LOGITS,
    HOST_DISTANCES,
    HOST_COMPARE,
    HOST_READ,
    HOST_WRITE,
    HOST_NORM,
    HOST_APPLY_ADAPTER,
    HOST_VJP,
    HOST_HEAD_VJP,
    HOST_EVALUATE,
    HOST_LAYER_NORM,
    HOST_CALLBACKS
};

typedef struct host {
    const tiny_model *model;
    long live;                  /* states that are out */
    long calls[HOST_CALLBACKS]; /* of each callback */
    long closed;                /* how often on_close was called */
    int fails;                  /* the callback that fails; -1 = none */
    long fails_at;              /* at its call of this number, from 0 */
    prune_status fails_with;
    const char *sentence; /* told before failing; NULL = none */
    int gives_null;       /* instead of failing, it gives no state */
    double poison;        /* added to the first value of what apply and token_losses give: NaN spoils them */
    /* Called by every callback but release, before anything else; NULL = none. */
    void (*inside)(void *data);
    void *inside_data;
} host;

/* Fills in the callbacks and the shape. The model stays the caller's. */
void host_init(host *h, const tiny_model *model, prune_host *out);

/* A layer_norm, which host_init() leaves out: every sublayer's gain is that of its norm, the bias at i is i / 32 - 1/4, and
   epsilon 1e-3. */
prune_status host_layer_norm(void *user_data, int64_t sublayer, float *out_gain, float *out_bias, float *out_epsilon);

#endif
