/* SPDX-License-Identifier: Apache-2.0 */
#include <prunecore.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    prune_model *model = NULL;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    if (argc != 2 || prune_model_open(argv[1], NULL, &model) != PRUNE_OK ||
        prune_model_info(model, &shape) != PRUNE_OK) {
        fprintf(stderr, "%s\n", prune_last_error());
        return 1;
    }
    printf("%s with %d blocks\n", shape.architecture, (int)shape.n_blocks);
    prune_model_release(model);
    return 0;
}
