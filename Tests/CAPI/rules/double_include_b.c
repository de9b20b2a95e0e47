/* SPDX-License-Identifier: Apache-2.0 */
#include "prunecore.h"
#include "prunecore.h"

int32_t abi_version_of_b(void);
const char *status_name_of_b(prune_status status);

int32_t abi_version_of_b(void) { return prune_abi_version(); }

const char *status_name_of_b(prune_status status) { return prune_status_name(status); }
