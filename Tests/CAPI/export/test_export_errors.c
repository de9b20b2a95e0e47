/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What exports refuse, and what they leave behind when something stops them: nothing, with what was there before untouched.
 * Full disks, files too large, targets that are there, cancelling at every step, and kill -9 at moments of no choosing.
 */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "exported.h"
#include "fixture.h"
#include "host.h"
#include "lent.h"
#include "recovery.h"

static const uint8_t everything[4] = { 1, 1, 1, 1 };
static const uint8_t block0[4] = { 0, 0, 1, 1 };
static const uint8_t half[4] = { 1, 0, 1, 1 };

static prune_status export_to(const prune_model *model, const uint8_t *keep, const char *directory, int32_t replace)
{
    prune_export_options options = PRUNE_EXPORT_OPTIONS_INIT;
    options.replace = replace;
    return prune_model_export(model, keep, 4, NULL, directory, &options);
}

/* A directory as a number: names and bytes of all its files, those of directories below included. */
static uint64_t fingerprint(const char *directory)
{
    DIR *stream = opendir(directory);
    struct dirent *entry;
    uint64_t sum = 1;
    if (stream == NULL) {
        return 0;
    }
    while ((entry = readdir(stream)) != NULL) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325);
        char path[2048];
        size_t size = 0, i;
        char *bytes;
        if (entry->d_name[0] == '.' ||
            snprintf(path, sizeof path, "%s/%s", directory, entry->d_name) >= (int)sizeof path) {
            continue;
        }
        for (i = 0; entry->d_name[i] != '\0'; i++) {
            hash = (hash ^ (unsigned char)entry->d_name[i]) * UINT64_C(0x100000001b3);
        }
        bytes = read_file(directory, entry->d_name, &size);
        for (i = 0; i < size; i++) {
            hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
        }
        free(bytes);
        sum += hash;
    }
    closedir(stream);
    return sum;
}

static void arguments(const fixture *f)
{
    prune_export_options options = PRUNE_EXPORT_OPTIONS_INIT;
    prune_adapters *adapters = recovery_solved(f, PRUNE_ADAPTER_BIAS, 0);
    static const uint8_t wrong[4] = { 1, 2, 1, 1 };
    CHECK_FAILS(prune_model_export(NULL, NULL, 0, NULL, "new", NULL), PRUNE_ERR_ARGUMENT, "model");
    CHECK_FAILS(prune_model_export((prune_model *)f->data, NULL, 0, NULL, "new", NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_export(f->model, NULL, 0, NULL, NULL, NULL), PRUNE_ERR_ARGUMENT, "directory");
    CHECK_FAILS(prune_model_export(f->model, NULL, 0, (prune_adapters *)f->data, "new", NULL), PRUNE_ERR_HANDLE,
                "adapters");
    CHECK_FAILS(prune_model_export(f->model, everything, 3, NULL, "new", NULL), PRUNE_ERR_ARGUMENT, "3");
    CHECK_FAILS(prune_model_export(f->model, NULL, 4, NULL, "new", NULL), PRUNE_ERR_ARGUMENT, "keep");
    CHECK_FAILS(prune_model_export(f->model, wrong, 4, NULL, "new", NULL), PRUNE_ERR_ARGUMENT, "ffn.0");
    CHECK_FAILS(prune_model_export(f->model, half, 4, adapters, "new", NULL), PRUNE_ERR_ARGUMENT, "another mask");
    CHECK_FAILS(prune_model_export(f->model, NULL, 0, NULL, "", NULL), PRUNE_ERR_FILE, "empty");
    options.format = 100;
    CHECK_FAILS(prune_model_export(f->model, NULL, 0, NULL, "new", &options), PRUNE_ERR_ARGUMENT, "format");
    options.format = 0;
    options.shard_bytes = -1;
    CHECK_FAILS(prune_model_export(f->model, NULL, 0, NULL, "new", &options), PRUNE_ERR_ARGUMENT, "shard_bytes");
    options.shard_bytes = 0;
    options.replace = 2;
    CHECK_FAILS(prune_model_export(f->model, NULL, 0, NULL, "new", &options), PRUNE_ERR_ARGUMENT, "replace");
    options.replace = 0;
    options.dequantised = -1;
    CHECK_FAILS(prune_model_export(f->model, NULL, 0, NULL, "new", &options), PRUNE_ERR_ARGUMENT, "dequantised");
    options.dequantised = 0;
    options.provenance_json = "[1]";
    CHECK_FAILS(prune_model_export(f->model, NULL, 0, NULL, "new", &options), PRUNE_ERR_FORMAT, "provenance");
    CHECK(!there("new"));
    prune_adapters_release(adapters);
}

/* Adapters of another model with other weights; models that are not checkpoints. */
static void models(const fixture *f)
{
    fixture other;
    tiny_model weights;
    lent_model lent;
    lent_layout layout = { PRUNE_ELEMENT_FLOAT32, 0, 0 };
    host h;
    prune_host callbacks = PRUNE_HOST_INIT;
    prune_model *model = NULL;
    prune_adapters *adapters = recovery_solved(f, PRUNE_ADAPTER_BIAS, 0);
    tiny_model_make(&weights, tiny_default_shape(), 99);
    tiny_model_write(&weights, "other");
    CHECK_OK(prune_model_open("other", NULL, &other.model));
    CHECK_FAILS(prune_model_export(other.model, NULL, 0, adapters, "new", NULL), PRUNE_ERR_ARGUMENT, "other weights");
    prune_model_release(other.model);

    CHECK_OK(prune_model_attach(f->model, adapters, &model));
    CHECK_OK(prune_model_export(model, NULL, 0, NULL, "new", NULL)); /* with the adapters that it has */
    remove_tree("new");
    prune_model_release(model);

    lent_make(&lent, &weights, "other", layout);
    CHECK_OK(lent_open(&lent, PRUNE_COMPUTE_FLOAT32, &model));
    CHECK_FAILS(prune_model_export(model, NULL, 0, NULL, "new", NULL), PRUNE_ERR_UNSUPPORTED, "directory");
    prune_model_release(model);
    lent_free(&lent);

    host_init(&h, &weights, &callbacks);
    CHECK_OK(prune_model_from_host(&callbacks, &model));
    CHECK_FAILS(prune_model_export(model, NULL, 0, NULL, "new", NULL), PRUNE_ERR_UNSUPPORTED, "directory");
    prune_model_release(model);
    tiny_model_free(&weights);
    prune_adapters_release(adapters);
    CHECK(!there("new"));
}

static prune_status as_format(const prune_model *model, const uint8_t *keep, const prune_adapters *adapters,
                              prune_format format)
{
    prune_export_options options = PRUNE_EXPORT_OPTIONS_INIT;
    options.format = format;
    return prune_model_export(model, keep, keep == NULL ? 0 : 4, adapters, "new", &options);
}

/* What a format cannot say, with the reason and the format that can. */
static void formats(const fixture *f)
{
    static const uint8_t nothing[4] = { 0, 0, 0, 0 }, late[4] = { 0, 0, 0, 1 }, first[4] = { 0, 1, 1, 1 };
    static const struct {
        const char *old, *changed, *reason;
    } configs[] = {
        { "\"head_dim\": 8,", "\"head_dim\": 4, \"num_attention_heads\": 4, \"x\": {},", "hidden_size" },
        { "\"hidden_act\": \"silu\"", "\"hidden_act\": \"gelu\"", "silu" },
    };
    prune_adapters *adapters = recovery_solved(f, PRUNE_ADAPTER_LOW_RANK, 1);
    CHECK_FAILS(as_format(f->model, half, NULL, PRUNE_FORMAT_HF_PLAIN), PRUNE_ERR_UNSUPPORTED, "block 0");
    CHECK_FAILS(as_format(f->model, half, NULL, PRUNE_FORMAT_HF_PLAIN), PRUNE_ERR_UNSUPPORTED, "hf_custom can");
    CHECK_FAILS(as_format(f->model, nothing, NULL, PRUNE_FORMAT_HF_PLAIN), PRUNE_ERR_UNSUPPORTED, "nothing is kept");
    CHECK_FAILS(as_format(f->model, NULL, adapters, PRUNE_FORMAT_HF_PLAIN), PRUNE_ERR_UNSUPPORTED, "hf_custom can");
    CHECK_FAILS(as_format(f->model, NULL, adapters, PRUNE_FORMAT_DECI), PRUNE_ERR_UNSUPPORTED, "adapter");
    CHECK_FAILS(as_format(f->model, NULL, adapters, PRUNE_FORMAT_ZEROED), PRUNE_ERR_UNSUPPORTED, "hf_custom can");
    CHECK_FAILS(as_format(f->model, nothing, NULL, PRUNE_FORMAT_DECI), PRUNE_ERR_UNSUPPORTED, "nothing is kept");
    CHECK_FAILS(as_format(f->model, nothing, NULL, PRUNE_FORMAT_MLX), PRUNE_ERR_UNSUPPORTED, "no attention is left");
    CHECK_FAILS(as_format(f->model, first, NULL, PRUNE_FORMAT_DECI), PRUNE_ERR_UNSUPPORTED, "ffn.0");
    CHECK_FAILS(as_format(f->model, late, NULL, PRUNE_FORMAT_DECI), PRUNE_ERR_UNSUPPORTED, "ffn.1");
    {
        /* A window shorter than the context; one that is not, is none. */
        prune_model *model = NULL;
        int window;
        for (window = 63; window <= 64; window++) {
            char family[160];
            snprintf(family, sizeof family,
                     "\"architectures\": [\"MistralForCausalLM\"], \"model_type\": \"mistral\", \"sliding_window\": %d",
                     window);
            tiny_model_write(&f->weights, "mistral");
            tiny_model_write_config(&f->weights, "mistral",
                                    "\"architectures\": [\"LlamaForCausalLM\"],\n  \"model_type\": \"llama\"", family);
            CHECK_OK(prune_model_open("mistral", NULL, &model));
            if (window == 63) {
                CHECK_FAILS(as_format(model, half, NULL, PRUNE_FORMAT_DECI), PRUNE_ERR_UNSUPPORTED, "63");
            } else {
                CHECK_OK(as_format(model, half, NULL, PRUNE_FORMAT_DECI));
                remove_tree("new");
            }
            prune_model_release(model);
        }
    }
    {
        prune_model *model = NULL;
        size_t i;
        tiny_model weights;
        tiny_shape shape = tiny_default_shape();
        shape.head_size = 4;
        tiny_model_make(&weights, shape, 3);
        tiny_model_write(&weights, "odd");
        CHECK_OK(prune_model_open("odd", NULL, &model));
        CHECK_FAILS(as_format(model, half, NULL, PRUNE_FORMAT_DECI), PRUNE_ERR_UNSUPPORTED, configs[0].reason);
        prune_model_release(model);
        tiny_model_free(&weights);
        for (i = 1; i < sizeof configs / sizeof configs[0]; i++) {
            tiny_model_write(&f->weights, "odd");
            tiny_model_write_config(&f->weights, "odd", configs[i].old, configs[i].changed);
            CHECK_OK(prune_model_open("odd", NULL, &model));
            CHECK_FAILS(as_format(model, half, NULL, PRUNE_FORMAT_DECI), PRUNE_ERR_UNSUPPORTED, configs[i].reason);
            prune_model_release(model);
        }
    }
    prune_adapters_release(adapters);
    CHECK(!there("new"));
}

/* Somebody else's things are not replaced, and nothing is without being asked. */
static void targets(const fixture *f)
{
    uint64_t before;
    make_directory("targets");
    make_directory("targets/empty");
    write_text("targets", "file", "mine");
    write_text("targets/full", "config.json", "{}");
    CHECK_FAILS(export_to(f->model, everything, "targets/empty", 0), PRUNE_ERR_FILE, "targets/empty");
    CHECK_FAILS(export_to(f->model, everything, "targets/empty", 1), PRUNE_ERR_FILE, "nothing that PruneCore exported");
    CHECK_FAILS(export_to(f->model, everything, "targets/full", 1), PRUNE_ERR_FILE, "nothing that PruneCore exported");
    CHECK_FAILS(export_to(f->model, everything, "targets/file", 0), PRUNE_ERR_FILE, "targets/file");
    CHECK_FAILS(export_to(f->model, everything, "targets/file", 1), PRUNE_ERR_FILE, "not a directory");
    CHECK_FAILS(export_to(f->model, everything, "targets/file/new", 0), PRUNE_ERR_FILE, "targets/file/new");
    CHECK_FAILS(export_to(f->model, everything, "targets/missing/new", 0), PRUNE_ERR_FILE, "No such file");
    CHECK_FAILS(export_to(f->model, everything, "/proc/new", 0), PRUNE_ERR_FILE, "/proc/new");
    CHECK(symlink("nowhere", "targets/dangling") == 0 || errno == EEXIST);
    CHECK_FAILS(export_to(f->model, everything, "targets/dangling", 1), PRUNE_ERR_FILE, "targets/dangling");
    CHECK_OK(export_to(f->model, everything, "targets/good", 0));
    CHECK_FAILS(export_to(f->model, everything, "targets/good", 0), PRUNE_ERR_FILE, "replace");
    write_text("targets/good", "notes.txt", "mine");
    before = fingerprint("targets/good");
    CHECK_FAILS(export_to(f->model, block0, "targets/good", 1), PRUNE_ERR_FILE, "notes.txt");
    CHECK(fingerprint("targets/good") == before);
    CHECK(unlink("targets/good/notes.txt") == 0);
    CHECK_OK(export_to(f->model, block0, "targets/good", 1));
    if (geteuid() != 0) {
        CHECK(chmod("targets/empty", 0555) == 0);
        CHECK_FAILS(export_to(f->model, everything, "targets/empty/new", 0), PRUNE_ERR_FILE, "Permission denied");
    } else {
        printf("skipped: a directory that cannot be written, because root can\n");
    }
    CHECK(file_says("targets", "file", "mine"));
    CHECK(entries("targets") == 5);
    remove_tree("targets");
}

static int32_t stop_at(void *user_data, const prune_progress *progress)
{
    (void)progress;
    return --*(int *)user_data <= 0;
}

/* Stopped at its first word, and at its last. */
static void cancelling(const fixture *f)
{
    prune_export_options options = PRUNE_EXPORT_OPTIONS_INIT;
    uint64_t before;
    int steps;
    make_directory("stop");
    CHECK_OK(export_to(f->model, everything, "stop/out", 0));
    before = fingerprint("stop/out");
    options.progress = stop_at;
    options.user_data = &steps;
    options.replace = 1;
    for (steps = 1; steps > 0;) {
        int rounds = steps;
        prune_status status = prune_model_export(f->model, block0, 4, NULL, "stop/out", &options);
        if (status == PRUNE_OK) {
            CHECK(rounds > 1);
            break;
        }
        CHECK_FAILS(status, PRUNE_ERR_CANCELLED, "export");
        CHECK(fingerprint("stop/out") == before && entries("stop") == 1);
        steps = rounds + 1;
    }
    CHECK(fingerprint("stop/out") != before && entries("stop") == 1);
    remove_tree("stop");
}

/* A file may have `limit` bytes at most: writing fails in the middle, as on a full disk. In a process of its own. */
static void full_files(const fixture *f)
{
    static const rlim_t limits[] = { 1, 300, 800, 3000, 9000 };
    uint64_t before;
    size_t i;
    make_directory("full");
    CHECK_OK(export_to(f->model, everything, "full/out", 0));
    before = fingerprint("full/out");
    for (i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        int state = 0;
        pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            struct rlimit limit = { limits[i], limits[i] };
            int fine;
            signal(SIGXFSZ, SIG_IGN);
            fine = setrlimit(RLIMIT_FSIZE, &limit) == 0 &&
                   export_to(f->model, block0, "full/out", 1) == PRUNE_ERR_FILE &&
                   strstr(prune_last_error(), "File too large") != NULL &&
                   export_to(f->model, half, "full/new", 0) == PRUNE_ERR_FILE;
            _exit(fine ? 0 : 1);
        }
        CHECK(waitpid(child, &state, 0) == child && WIFEXITED(state) && WEXITSTATUS(state) == 0);
        CHECK(fingerprint("full/out") == before && entries("full") == 1);
    }
    remove_tree("full");
}

/* A disk that says how little it has, and one that fills up: a file system of its own, where one may be mounted. */
static void full_disk(const fixture *f)
{
    uint64_t before;
    make_directory("disk");
    if (mount("tmpfs", "disk", "tmpfs", 0, "size=32k") != 0) {
        printf("skipped: a full disk, because mounting one failed: %s\n", strerror(errno));
        rmdir("disk");
        return;
    }
    CHECK_OK(export_to(f->model, everything, "disk/out", 0));
    before = fingerprint("disk/out");
    CHECK_FAILS(export_to(f->model, everything, "disk/new", 0), PRUNE_ERR_FILE, "are free on this disk");
    CHECK_FAILS(export_to(f->model, everything, "disk/out", 1), PRUNE_ERR_FILE, "are free on this disk");
    CHECK(fingerprint("disk/out") == before && entries("disk") == 1);
    /* No room for one more file, of which nobody asks beforehand: the old one has four, the root one, the new one the rest. */
    CHECK(mount("tmpfs", "disk", "tmpfs", MS_REMOUNT, "size=1m,nr_inodes=8") == 0);
    CHECK_FAILS(export_to(f->model, block0, "disk/out", 1), PRUNE_ERR_FILE, "No space left");
    CHECK(fingerprint("disk/out") == before && entries("disk") == 1);
    CHECK(umount("disk") == 0);
    rmdir("disk");
}

/* What the process that is killed does: one mask after the other, to the same place, for ever. Tells `pipe` of the first. */
static int export_for_ever(int pipe)
{
    prune_model *model = NULL;
    int round;
    if (prune_model_open("tiny", NULL, &model) != PRUNE_OK) {
        return 3;
    }
    for (round = 0;; round++) {
        if (export_to(model, round % 2 == 0 ? block0 : everything, "killed/out", 1) != PRUNE_OK) {
            fprintf(stderr, "%s\n", prune_last_error());
            return 4;
        }
        if (round == 0 && write(pipe, "x", 1) != 1) {
            return 6;
        }
    }
}

static void killing(const fixture *f)
{
    uint64_t wholes[2], found;
    int i, seen[2] = { 0, 0 }, leftovers = 0;
    uint64_t random = 2407;
    make_directory("killed");
    CHECK_OK(export_to(f->model, everything, "killed/out", 0));
    wholes[0] = fingerprint("killed/out");
    CHECK_OK(export_to(f->model, block0, "killed/out", 1));
    wholes[1] = fingerprint("killed/out");
    CHECK(wholes[0] != wholes[1]);
    for (i = 0; i < 20; i++) {
        int state = 0;
        struct timespec pause = { 0, 0 };
        int ends[2];
        char byte, number[16];
        pid_t child;
        REQUIRE(pipe(ends) == 0);
        child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            /* A new program: the library of this one may not be used after a fork. */
            snprintf(number, sizeof number, "%d", ends[1]);
            execl("/proc/self/exe", "test_export_errors", "for-ever", number, (char *)NULL);
            _exit(5);
        }
        close(ends[1]);
        CHECK(read(ends[0], &byte, 1) == 1);
        close(ends[0]);
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        pause.tv_nsec = (long)(random >> 33) % 40000000;
        nanosleep(&pause, NULL);
        CHECK(kill(child, SIGKILL) == 0);
        CHECK(waitpid(child, &state, 0) == child && WIFSIGNALED(state));
        found = fingerprint("killed/out");
        CHECK(found == wholes[0] || found == wholes[1]);
        seen[found == wholes[1]] = 1;
        leftovers += entries("killed") > 1;
    }
    CHECK(seen[0] && seen[1]);
    CHECK(leftovers > 0);
    printf("killed 20 times: %d with a directory left beside\n", leftovers);
    /* The next one takes away what is left. */
    CHECK_OK(export_to(f->model, everything, "killed/out", 1));
    CHECK(fingerprint("killed/out") == wholes[0] && entries("killed") == 1);
    remove_tree("killed");
}

int main(int argc, char **argv)
{
    fixture f;
    if (argc == 3 && strcmp(argv[1], "for-ever") == 0) {
        return export_for_ever(atoi(argv[2]));
    }
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    full_files(&f);
    arguments(&f);
    models(&f);
    formats(&f);
    targets(&f);
    cancelling(&f);
    full_disk(&f);
    killing(&f);
    fixture_close(&f);
    return check_report();
}
