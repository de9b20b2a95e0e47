/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of exports share: directories, and the tensors of a safetensors file. Include after check.h. */
#ifndef EXPORTED_H
#define EXPORTED_H

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "tiny_model.h"

/* Whether a path is there. */
static inline int there(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

/* Entries of a directory, without . and ..; -1 if it cannot be read. */
static inline int entries(const char *directory)
{
    DIR *stream = opendir(directory);
    int count = 0;
    if (stream == NULL) {
        return -1;
    }
    while (readdir(stream) != NULL) {
        count++;
    }
    closedir(stream);
    return count - 2;
}

/* Removes a directory of files, and of directories of files. */
static inline void remove_tree(const char *directory)
{
    DIR *stream = opendir(directory);
    struct dirent *entry;
    char path[1024];
    if (stream == NULL) {
        return;
    }
    while ((entry = readdir(stream)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            int length = snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
            if (length < (int)sizeof path && unlink(path) != 0) {
                remove_tree(path);
            }
        }
    }
    closedir(stream);
    rmdir(directory);
}

/* Whether two directories have the same file of that name. */
static inline int same_file(const char *a, const char *b, const char *name)
{
    size_t n, m;
    char *x = read_file(a, name, &n), *y = read_file(b, name, &m);
    int same = n == m && memcmp(x, y, n) == 0;
    free(x);
    free(y);
    return same;
}

/* A file of a directory has `part` in it. */
static inline int file_says(const char *directory, const char *name, const char *part)
{
    char *text = read_file(directory, name, NULL);
    int says = strstr(text, part) != NULL;
    if (!says) {
        printf("    \"%s\" is not in %s/%s:\n%s\n", part, directory, name, text);
    }
    free(text);
    return says;
}

/* A safetensors file, read whole. */
typedef struct tensor_file {
    char *bytes;
    size_t size;
    uint64_t header; /* bytes of it */
} tensor_file;

static inline tensor_file tensor_file_open(const char *directory, const char *name)
{
    tensor_file file;
    size_t i;
    file.bytes = read_file(directory, name, &file.size);
    file.header = 0;
    REQUIRE(file.size >= 8);
    for (i = 0; i < 8; i++) {
        file.header |= (uint64_t)(unsigned char)file.bytes[i] << (8 * i);
    }
    REQUIRE(file.header + 8 <= file.size);
    return file;
}

static inline void tensor_file_close(tensor_file *file) { free(file->bytes); }

/* How many tensors it has. */
static inline int tensor_file_count(const tensor_file *file)
{
    char *header = malloc(file->header + 1);
    const char *at;
    int count = 0;
    REQUIRE(header != NULL);
    memcpy(header, file->bytes + 8, file->header);
    header[file->header] = '\0';
    for (at = header; (at = strstr(at, "\"data_offsets\"")) != NULL; at++) {
        count++;
    }
    free(header);
    return count;
}

/* The bytes of a tensor of that type and shape, such as "[16, 24]"; NULL if there is none. */
static inline const char *tensor_file_find(const tensor_file *file, const char *name, const char *type,
                                           const char *shape, size_t *out_bytes)
{
    char key[160], wanted[160];
    const char *at, *data = file->bytes + 8 + file->header;
    long long begin, end;
    char *header = malloc(file->header + 1);
    REQUIRE(header != NULL);
    memcpy(header, file->bytes + 8, file->header);
    header[file->header] = '\0';
    snprintf(key, sizeof key, "\"%s\": {\"data_offsets\": ", name);
    at = strstr(header, key);
    if (at == NULL || sscanf(at + strlen(key), "[%lld, %lld]", &begin, &end) != 2) {
        free(header);
        return NULL;
    }
    snprintf(wanted, sizeof wanted, "], \"dtype\": \"%s\", \"shape\": %s}", type, shape);
    at = strchr(at + strlen(key), ']');
    if (at == NULL || strncmp(at, wanted, strlen(wanted)) != 0) {
        printf("    %s is described as %.120s\n", name, at == NULL ? "" : at);
        free(header);
        return NULL;
    }
    free(header);
    *out_bytes = (size_t)(end - begin);
    return data + begin;
}

/* Exports to a directory, which is removed first; of a mask of two blocks, or the model's. */
static inline prune_status export_as(const prune_model *model, const uint8_t *keep, const prune_adapters *adapters,
                                     const char *directory, prune_format format)
{
    prune_export_options options = PRUNE_EXPORT_OPTIONS_INIT;
    options.format = format;
    remove_tree(directory);
    return prune_model_export(model, keep, keep == NULL ? 0 : 4, adapters, directory, &options);
}

/* A tensor of the export has the bits of one of the model's file. */
static inline void same_tensor(const tensor_file *ours, const char *name, const tensor_file *theirs,
                               const tiny_tensor *tensor)
{
    char shape[64];
    size_t size = (size_t)(tensor->end - tensor->begin), found = 0;
    const char *bytes;
    if (tensor->n_dimensions == 2) {
        snprintf(shape, sizeof shape, "[%lld, %lld]", (long long)tensor->shape[0], (long long)tensor->shape[1]);
    } else {
        snprintf(shape, sizeof shape, "[%lld]", (long long)tensor->shape[0]);
    }
    bytes = tensor_file_find(ours, name, tensor->type, shape, &found);
    CHECK(bytes != NULL);
    if (bytes != NULL) {
        CHECK(found == size && memcmp(bytes, theirs->bytes + 8 + theirs->header + tensor->begin, size) == 0);
        /* Aligned as its elements are, for readers that map the file. */
        CHECK((size_t)(bytes - ours->bytes) % (strcmp(tensor->type, "F32") == 0 ? 4u : 2u) == 0);
    }
}

#endif
