// SPDX-License-Identifier: Apache-2.0
/// \file kinds.hpp
/// Kinds of adapters, what they are made for, and kinds of norms. Part of prunecore.hpp, which is what programs include.
#ifndef PRUNECORE_KINDS_HPP
#define PRUNECORE_KINDS_HPP

#include "prunecore.h"

namespace prune {

/// What an adapter computes from the hidden state.
enum class AdapterKind : prune_adapter_kind {
  by_default = PRUNE_ADAPTER_DEFAULT, ///< low_rank
  bias = PRUNE_ADAPTER_BIAS,          ///< a constant: the emulated update
  low_rank = PRUNE_ADAPTER_LOW_RANK,  ///< a constant and a matrix of low rank
  linear = PRUNE_ADAPTER_LINEAR       ///< a constant and a whole matrix
};

/// What adapters are made to bring near the full model. Definitions beside PRUNE_OBJECTIVE_* in prunecore.h.
enum class Objective : prune_objective {
  closed_form = PRUNE_OBJECTIVE_CLOSED_FORM, ///< least squares of each update alone; solved, not trained
  mse = PRUNE_OBJECTIVE_MSE,
  ce = PRUNE_OBJECTIVE_CE,
  kl = PRUNE_OBJECTIVE_KL,
  js = PRUNE_OBJECTIVE_JS
};

/// The formula of a norm. Definitions beside PRUNE_NORM_* in prunecore.h.
enum class NormKind : prune_norm_kind {
  rms = PRUNE_NORM_RMS,    ///< root-mean-square
  layer = PRUNE_NORM_LAYER ///< with a mean that is taken away, and a bias
};

} // namespace prune

#endif // PRUNECORE_KINDS_HPP
