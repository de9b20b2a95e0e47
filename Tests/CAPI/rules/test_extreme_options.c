/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers that no caller means: every number of every option struct at its extremes, in a child each, which has a few GiB of
 * addresses and a limit of time. Each call gives a status; none ends the process, none hangs where its callback asks to stop.
 *
 * PRUNE_TEST_EXTREMES: every how manieth of the calls is made, 16 unless set; 1 makes all, in some minutes. What takes longer
 * than PRUNE_TEST_HANG seconds (120 unless set) hangs.
 */
#include <float.h>
#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "extreme_calls.h"

typedef enum field_kind {
    FIELD_INT32,
    FIELD_UINT32,
    FIELD_INT64,
    FIELD_UINT64,
    FIELD_DOUBLE
} field_kind;

typedef struct option_field {
    const char *options, *name;
    size_t offset;
    field_kind kind;
} option_field;

#include "option_fields.h"

enum {
    FIELDS = sizeof option_fields / sizeof option_fields[0],
    /* The largest struct, with a tail of zeros: a struct_size may name any of it. */
    ROOM = (1 << 16) + 8
};

static const int32_t numbers32[] = { INT32_MAX, INT32_MAX / 2, 1 << 24, 1 << 16, 4097, -1, INT32_MIN };
static const int64_t numbers64[] = { INT64_MAX,
                                     INT64_MAX / 2,
                                     INT64_C(1) << 48,
                                     INT64_C(1) << 40,
                                     INT64_C(1) << 32,
                                     INT64_C(1) << 31,
                                     INT64_C(1) << 24,
                                     INT64_C(1) << 20,
                                     1,
                                     -1,
                                     INT64_MIN };
static const double doubles[] = { NAN, INFINITY, -INFINITY, -1.0, 1e308, -1e308, DBL_MIN / 16.0, 4.9e-324, 1.0 };

static size_t n_values(field_kind kind)
{
    switch (kind) {
    case FIELD_INT32:
    case FIELD_UINT32:
        return sizeof numbers32 / sizeof numbers32[0];
    case FIELD_DOUBLE:
        return sizeof doubles / sizeof doubles[0];
    default:
        return sizeof numbers64 / sizeof numbers64[0];
    }
}

/* Sets a field to an extreme, and says to which. */
static void set(unsigned char *options, const option_field *field, size_t value, char *said, size_t n_said)
{
    switch (field->kind) {
    case FIELD_INT32:
    case FIELD_UINT32:
        memcpy(options + field->offset, &numbers32[value], sizeof numbers32[value]);
        snprintf(said, n_said, "%ld", (long)numbers32[value]);
        return;
    case FIELD_DOUBLE:
        memcpy(options + field->offset, &doubles[value], sizeof doubles[value]);
        snprintf(said, n_said, "%g", doubles[value]);
        return;
    default:
        memcpy(options + field->offset, &numbers64[value], sizeof numbers64[value]);
        snprintf(said, n_said, "%lld", (long long)numbers64[value]);
    }
}

static unsigned hang;
static const char *wanted; /* only fields of this name; NULL = all. To look into one. */

/* A call with one field set, in a child: its status, or -1. */
static int status_of(const extreme_call *call, int variant, const option_field *field, size_t value)
{
    static unsigned char options[ROOM];
    char said[64];
    int status = -1;
    pid_t child;
    memset(options, 0, sizeof options);
    call->fill(options, variant);
    set(options, field, value, said, sizeof said);
    child = fork();
    if (child == 0) {
        struct rlimit limit = { (rlim_t)4 << 30, (rlim_t)4 << 30 };
        alarm(hang);
        check_n_failed = 0;
        if (setrlimit(RLIMIT_AS, &limit) != 0) {
            _exit(100);
        }
        status = (int)call->run(options);
        if (wanted != NULL) {
            printf("%s %d, %s = %s: %s %s\n", call->name, variant, field->name, said, prune_status_name(status),
                   status != 0 ? prune_last_error() : "");
        }
        _exit(check_n_failed == 0 ? status : 101);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
        printf("    %s %d, %s = %s: %s\n", call->name, variant, field->name, said,
               WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "no child");
        return -1;
    }
    status = WEXITSTATUS(status);
    if (status > PRUNE_ERR_HOST || status == PRUNE_ERR_INTERNAL) {
        printf("    %s %d, %s = %s: ended with %d\n", call->name, variant, field->name, said, status);
        return -1;
    }
    return status;
}

/* Every struct that the header has is one of a call. */
static void all_structs_are_used(void)
{
    size_t i, k;
    for (i = 0; i < FIELDS; i++) {
        int used = 0;
        for (k = 0; k < EXTREME_CALLS; k++) {
            used |= strcmp(extreme_calls[k].options, option_fields[i].options) == 0;
        }
        check_count(used, __FILE__, __LINE__, option_fields[i].options);
    }
}

static void extremes(long step)
{
    long number = 0, n_made = 0, n_done = 0, n_refused = 0;
    size_t k, i, value;
    int variant;
    for (k = 0; k < EXTREME_CALLS; k++) {
        const extreme_call *call = &extreme_calls[k];
        for (variant = call->first; variant <= call->last; variant++) {
            for (i = 0; i < FIELDS; i++) {
                if (strcmp(option_fields[i].options, call->options) != 0 ||
                    (wanted != NULL && strcmp(option_fields[i].name, wanted) != 0)) {
                    continue;
                }
                for (value = 0; value < n_values(option_fields[i].kind); value++) {
                    int status;
                    if (number++ % step != 0) {
                        continue;
                    }
                    status = status_of(call, variant, &option_fields[i], value);
                    CHECK(status >= 0);
                    n_made++;
                    n_done += status == PRUNE_OK || status == PRUNE_ERR_CANCELLED;
                    n_refused += status > 0 && status != PRUNE_ERR_CANCELLED;
                }
            }
        }
    }
    printf("%ld of %ld calls: %ld done or cancelled, %ld refused\n", n_made, number, n_done, n_refused);
    CHECK(wanted != NULL || (n_done > n_made / 10 && n_refused > n_made / 10));
}

int main(void)
{
    const char *step = getenv("PRUNE_TEST_EXTREMES"), *limit = getenv("PRUNE_TEST_HANG");
    setvbuf(stdout, NULL, _IONBF, 0);
    wanted = getenv("PRUNE_TEST_FIELD");
    hang = limit != NULL ? (unsigned)atoi(limit) : 120;
    extreme_begin();
    all_structs_are_used();
    extremes(wanted != NULL ? 1 : step != NULL ? atol(step) : 16);
    extreme_end();
    return check_report();
}
