/* SPDX-License-Identifier: Apache-2.0 */
/* The public header included twice, and in two translation units of one program: see double_include_b.c. */
#include "prunecore.h"
#include "prunecore.h"

#include "check.h"

int32_t abi_version_of_b(void);
const char *status_name_of_b(prune_status status);

int main(void)
{
    CHECK(prune_abi_version() == abi_version_of_b());
    CHECK(prune_status_name(PRUNE_ERR_FORMAT) == status_name_of_b(PRUNE_ERR_FORMAT));
    return check_report();
}
