/* SPDX-License-Identifier: Apache-2.0 */
/* Version, status names, runtime description, thread count. */
#include "check.h"

static void versions(void)
{
    char expected[32];
    snprintf(expected, sizeof expected, "%d.%d.%d", PRUNE_VERSION_MAJOR, PRUNE_VERSION_MINOR, PRUNE_VERSION_PATCH);
    CHECK(strcmp(prune_version(), expected) == 0);
    CHECK(prune_abi_version() == PRUNE_ABI_VERSION);
}

static void status_names(void)
{
    static const char *const names[] = {
        "PRUNE_OK",         "PRUNE_ERR_ARGUMENT",    "PRUNE_ERR_HANDLE", "PRUNE_ERR_MEMORY",    "PRUNE_ERR_FILE",
        "PRUNE_ERR_FORMAT", "PRUNE_ERR_UNSUPPORTED", "PRUNE_ERR_DATA",   "PRUNE_ERR_NONFINITE", "PRUNE_ERR_CANCELLED",
        "PRUNE_ERR_BUFFER", "PRUNE_ERR_INTERNAL",    "PRUNE_ERR_HOST"
    };
    static const prune_status unknown[] = { 13, -1, INT32_MAX, INT32_MIN };
    size_t i;
    for (i = 0; i < sizeof names / sizeof names[0]; i++) {
        CHECK(strcmp(prune_status_name((prune_status)i), names[i]) == 0);
    }
    for (i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        CHECK(strcmp(prune_status_name(unknown[i]), "PRUNE_ERR_UNKNOWN") == 0);
    }
}

static void runtime(void)
{
    prune_runtime runtime = PRUNE_RUNTIME_INIT;
    CHECK_OK(prune_runtime_info(&runtime));
    CHECK(runtime.struct_size == sizeof runtime);
    CHECK(runtime.processors >= 1);
    CHECK(runtime.threads >= 1);
    CHECK(runtime.blas != NULL && runtime.blas[0] != '\0');
    CHECK(runtime.blas_kernels != NULL && runtime.blas_kernels[0] != '\0');
    CHECK(runtime.cpu_features != NULL);
    CHECK(runtime.advice != NULL);
    CHECK(runtime.bf16_kernels != NULL && runtime.loop_kernels != NULL);
    if (runtime.bf16_kernels != NULL && runtime.loop_kernels != NULL && runtime.cpu_features != NULL) {
        /* No more is claimed than the CPU says it has. */
        CHECK(strcmp(runtime.bf16_kernels, "") == 0 || strcmp(runtime.bf16_kernels, "avx512_bf16") == 0);
        CHECK(strstr(runtime.cpu_features, runtime.bf16_kernels) != NULL);
        CHECK(strcmp(runtime.loop_kernels, "baseline") == 0 || strcmp(runtime.loop_kernels, "avx2") == 0 ||
              strcmp(runtime.loop_kernels, "avx512") == 0);
        CHECK(strcmp(runtime.loop_kernels, "baseline") == 0 ||
              strstr(runtime.cpu_features, runtime.loop_kernels) != NULL);
    }
    CHECK(runtime.blas_forced != NULL);
    if (runtime.blas_forced != NULL) {
        const char *forced = getenv("OPENBLAS_CORETYPE");
        CHECK(strcmp(runtime.blas_forced, forced == NULL ? "" : forced) == 0);
    }
    /* The strings are static: a second call gives the same ones. */
    {
        prune_runtime again = PRUNE_RUNTIME_INIT;
        CHECK_OK(prune_runtime_info(&again));
        CHECK(strcmp(again.blas, runtime.blas) == 0 && strcmp(again.blas_kernels, runtime.blas_kernels) == 0);
    }
}

static void thread_count(void)
{
    prune_runtime runtime = PRUNE_RUNTIME_INIT;
    CHECK_FAILS(prune_threads_set(-1), PRUNE_ERR_ARGUMENT, "threads");
    CHECK_FAILS(prune_threads_set(1025), PRUNE_ERR_ARGUMENT, "threads");
    CHECK_FAILS(prune_threads_set(INT32_MIN), PRUNE_ERR_ARGUMENT, "threads");
    CHECK_FAILS(prune_threads_set(INT32_MAX), PRUNE_ERR_ARGUMENT, "threads");
    CHECK_OK(prune_threads_set(1024));
    CHECK_OK(prune_threads_set(1));
    CHECK_OK(prune_runtime_info(&runtime));
    CHECK(runtime.threads == 1);
    /* A refused count changes nothing. */
    CHECK_FAILS(prune_threads_set(-7), PRUNE_ERR_ARGUMENT, "-7");
    CHECK_OK(prune_runtime_info(&runtime));
    CHECK(runtime.threads == 1);
    CHECK_OK(prune_threads_set(0));
    CHECK_OK(prune_runtime_info(&runtime));
    CHECK(runtime.threads == runtime.processors);
}

int main(void)
{
    CHECK(prune_last_error() != NULL && strcmp(prune_last_error(), "") == 0); /* nothing failed yet */
    versions();
    status_names();
    runtime();
    thread_count();
    return check_report();
}
