/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

const int32_t fixture_ids[FIXTURE_TOKENS] = { 1, 5, 9, 30, 2, 17, 9, 1, 8, 8, 31, 0, 1, 22, 13, 4 };
const int64_t fixture_lengths[FIXTURE_SEQUENCES] = { 7, 5, 4 };

void fixture_open_shape(fixture *f, const char *directory, tiny_shape shape)
{
    f->model = NULL;
    f->data = NULL;
    tiny_model_make(&f->weights, shape, 2407);
    tiny_model_write(&f->weights, directory);
    if (prune_model_open(directory, NULL, &f->model) != PRUNE_OK) {
        return;
    }
    (void)prune_data_create(fixture_ids, fixture_lengths, FIXTURE_SEQUENCES, NULL, &f->data);
}

void fixture_open(fixture *f, const char *directory) { fixture_open_shape(f, directory, tiny_default_shape()); }

void fixture_close(fixture *f)
{
    prune_data_release(f->data);
    prune_model_release(f->model);
    tiny_model_free(&f->weights);
}
