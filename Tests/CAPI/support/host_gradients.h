/* SPDX-License-Identifier: Apache-2.0 */
/* The callbacks vjp and head_vjp of the host in host.h: gradients as central differences. */
#ifndef HOST_GRADIENTS_H
#define HOST_GRADIENTS_H

#include "prunecore.h"

prune_status host_vjp(void *user_data, int64_t sublayer, const prune_host_state *states,
                      const prune_host_state *gradients, size_t n, prune_host_state *out);

prune_status host_head_vjp(void *user_data, prune_host_state given, prune_objective objective,
                           prune_host_state reference, const int64_t *rows, const int32_t *tokens, const float *weights,
                           size_t n, float *out_losses, prune_host_state *out);

#endif
