/* SPDX-License-Identifier: Apache-2.0 */
/* What executions and the making of seeds share. */
#ifndef EXECUTIONS_H
#define EXECUTIONS_H

#include "../../CAPI/support/fixture.h"

/* A model and its data, after prepare_executions. */
extern fixture bench;

/* The training whose checkpoints are read: of the sublayers that this mask removes. */
prune_recover_options training_options(void);
extern const uint8_t training_keep[FIXTURE_SUBLAYERS];

#endif
