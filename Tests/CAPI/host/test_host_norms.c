/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts whose sublayers have layer norms: adapters take their input through them, and the host is given what it offers. */
#include "recovery.h"

#include "host.h"

#define H FIXTURE_HIDDEN

static fixture f;

static prune_model *made(host *h, const prune_host *calls)
{
    prune_model *model = NULL;
    CHECK_OK(prune_model_from_host(calls, &model));
    REQUIRE(model != NULL);
    memset(h->calls, 0, sizeof h->calls);
    return model;
}

/* Calls of a host that has layer norms and no others. */
static void with_layer_norms(host *h, prune_host *calls)
{
    host_init(h, &f.weights, calls);
    calls->norm = NULL;
    calls->layer_norm = host_layer_norm;
}

static prune_status solve(const prune_model *model, prune_adapters **adapters)
{
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    options.kind = PRUNE_ADAPTER_LINEAR;
    options.ridge = 0.1;
    options.held_out = f.data;
    return prune_model_recover(model, f.data, recovery_keep, FIXTURE_SUBLAYERS, &options, adapters);
}

static double loss_with(const prune_model *model, const prune_adapters *adapters)
{
    prune_model *attached = NULL;
    prune_evaluation evaluation;
    CHECK_OK(prune_model_attach(model, adapters, &attached));
    CHECK_OK(prune_model_evaluate(attached, f.data, NULL, 1, 0, NULL, &evaluation));
    prune_model_release(attached);
    return evaluation.loss;
}

static void adapters_have_the_layer_norms(void)
{
    host h;
    prune_host calls;
    prune_model *model;
    prune_adapters *adapters = NULL, *loaded = NULL;
    float gain[H], bias[H];
    double with, without;
    int i;
    with_layer_norms(&h, &calls);
    model = made(&h, &calls);
    CHECK_OK(solve(model, &adapters));
    REQUIRE(adapters != NULL);
    CHECK(h.calls[HOST_LAYER_NORM] >= 2 && h.calls[HOST_NORM] == 0);
    recovery_part(adapters, 2, PRUNE_PART_NORM, gain, H);
    recovery_part(adapters, 2, PRUNE_PART_NORM_BIAS, bias, H);
    CHECK(memcmp(gain, tiny_model_weights(&f.weights, 1, "input_layernorm"), sizeof gain) == 0);
    for (i = 0; i < H; i++) {
        CHECK(bias[i] == (float)i / 32.0f - 0.25f);
    }
    CHECK_FAILS(prune_adapters_set(adapters, 2, PRUNE_PART_NORM_BIAS, bias, H), PRUNE_ERR_ARGUMENT, "norm");
    CHECK_OK(prune_adapters_save(adapters, "layer", NULL));
    CHECK_OK(prune_adapters_load("layer", &loaded));
    CHECK(recovery_equal(adapters, loaded));

    /* The host applies them; where it cannot, the library computes the same from what it reads and writes. */
    h.calls[HOST_APPLY_ADAPTER] = 0;
    with = loss_with(model, loaded);
    CHECK(h.calls[HOST_APPLY_ADAPTER] > 0);
    prune_model_release(model);
    calls.apply_adapter = NULL;
    model = made(&h, &calls);
    without = loss_with(model, loaded);
    CHECK_NEAR(with, without, 1e-5);
    prune_model_release(model);

    /* A host that knows no layer norms is never given one. */
    host_init(&h, &f.weights, &calls);
    model = made(&h, &calls);
    CHECK_NEAR(loss_with(model, loaded), without, 1e-5);
    CHECK(h.calls[HOST_APPLY_ADAPTER] == 0 && h.calls[HOST_WRITE] > 0);
    CHECK(h.live == 0);
    prune_model_release(model);
    prune_adapters_release(adapters);
    prune_adapters_release(loaded);
}

static prune_status norm_of_attention(void *user_data, int64_t sublayer, float *out_gain, float *out_epsilon)
{
    host *h = user_data;
    h->calls[HOST_NORM]++;
    if (sublayer % 2 != 0) {
        return PRUNE_ERR_UNSUPPORTED;
    }
    memset(out_gain, 0, H * sizeof *out_gain);
    out_gain[0] = 1.0f;
    *out_epsilon = 1e-5f;
    return PRUNE_OK;
}

/* norm is asked first, and layer_norm for the sublayers that it does not have. */
static void a_host_may_have_both(void)
{
    host h;
    prune_host calls;
    prune_model *model;
    prune_adapters *adapters = NULL;
    float values[H];
    with_layer_norms(&h, &calls);
    calls.norm = norm_of_attention;
    model = made(&h, &calls);
    CHECK_OK(solve(model, &adapters));
    CHECK(h.calls[HOST_NORM] >= 2 && h.calls[HOST_NORM] == 2 * h.calls[HOST_LAYER_NORM]);
    recovery_part(adapters, 1, PRUNE_PART_NORM_BIAS, values, H);
    recovery_part(adapters, 2, PRUNE_PART_NORM, values, H);
    CHECK(values[0] == 1.0f && values[1] == 0.0f);
    CHECK_FAILS(prune_adapters_get(adapters, 2, PRUNE_PART_NORM_BIAS, values, H, NULL), PRUNE_ERR_ARGUMENT,
                "norm_bias");
    prune_adapters_release(adapters);
    prune_model_release(model);
}

static int spoilt;

static prune_status spoilt_layer_norm(void *user_data, int64_t sublayer, float *out_gain, float *out_bias,
                                      float *out_epsilon)
{
    prune_status status = host_layer_norm(user_data, sublayer, out_gain, out_bias, out_epsilon);
    switch (spoilt) {
    case 0:
        out_gain[3] = NAN;
        break;
    case 1:
        out_bias[H - 1] = INFINITY;
        break;
    case 2:
        *out_epsilon = -1.0f;
        break;
    case 3:
        *out_epsilon = NAN;
        break;
    default:
        return PRUNE_ERR_UNSUPPORTED;
    }
    return status;
}

static void layer_norms_that_are_wrong_are_refused(void)
{
    host h;
    prune_host calls;
    prune_model *model;
    prune_adapters *adapters = NULL;
    with_layer_norms(&h, &calls);
    calls.layer_norm = spoilt_layer_norm;
    model = made(&h, &calls);
    for (spoilt = 0; spoilt < 4; spoilt++) {
        CHECK_FAILS(solve(model, &adapters), PRUNE_ERR_HOST, "layer_norm");
        CHECK(adapters == NULL && h.live == 0);
    }
    CHECK_FAILS(solve(model, &adapters), PRUNE_ERR_UNSUPPORTED, "norm");
    h.fails = HOST_LAYER_NORM, h.fails_at = h.calls[HOST_LAYER_NORM], h.fails_with = 1000;
    spoilt = 0;
    CHECK_FAILS(solve(model, &adapters), PRUNE_ERR_HOST, "layer_norm");
    prune_model_release(model);
}

/* A host that was compiled before there was layer_norm has a smaller struct. */
static void older_hosts_have_none(void)
{
    union {
        prune_host calls;
        unsigned char bytes[sizeof(prune_host)];
    } own;
    host h;
    prune_model *model;
    prune_adapters *adapters = NULL;
    memset(&own, 0xFF, sizeof own);
    host_init(&h, &f.weights, &own.calls);
    memset(own.bytes + offsetof(prune_host, layer_norm), 0xFF, sizeof own - offsetof(prune_host, layer_norm));
    own.calls.struct_size = (uint32_t)offsetof(prune_host, layer_norm);
    model = made(&h, &own.calls);
    CHECK_OK(solve(model, &adapters));
    CHECK(h.calls[HOST_NORM] >= 2 && h.calls[HOST_LAYER_NORM] == 0 && h.calls[HOST_APPLY_ADAPTER] > 0);
    prune_adapters_release(adapters);
    prune_model_release(model);
}

int main(void)
{
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    adapters_have_the_layer_norms();
    a_host_may_have_both();
    layer_norms_that_are_wrong_are_refused();
    older_hosts_have_none();
    fixture_close(&f);
    return check_report();
}
