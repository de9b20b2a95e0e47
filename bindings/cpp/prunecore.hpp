// SPDX-License-Identifier: Apache-2.0
/// \file prunecore.hpp
/// C++17 door to PruneCore: owners that give their handle back, values, and exceptions over prunecore.h.
///
/// Header-only, no logic beyond conversion: every function here calls the C function that its comment names, and that
/// function's comment in prunecore.h is the contract (shapes, units, errors). What is added:
///  - Model, Data, Statistics, Generation, Game, Search, Adapters and Moments own one handle each. They can be moved, not copied.
///    Using one that was moved from throws Error, as NULL does in C.
///  - A status other than PRUNE_OK is thrown as prune::Error, with the library's sentence as what().
///  - Sizes that C cannot see are checked before the call: tokens against sequence lengths, masks of unequal length.
///  - Programs that run a model themselves derive from Host; their exceptions come out of the call that led to them.
///  - Buffers are sized by asking the library, so nothing has to be known in advance.
///
/// Threads: as in C. const member functions may run on several threads at once; others need the object to themselves.
///
/// Programs include this file alone. The parts are in prunecore/, one per topic.
#ifndef PRUNECORE_HPP
#define PRUNECORE_HPP

#if defined(_MSVC_LANG) ? _MSVC_LANG < 201703L : __cplusplus < 201703L
#error "prunecore.hpp needs C++17"
#endif

#include "prunecore/library.hpp"    // Error, version, runtime_info, set_threads
#include "prunecore/span.hpp"       // span, mutable_span
#include "prunecore/handle.hpp"     // owners of handles
#include "prunecore/progress.hpp"   // Progress
#include "prunecore/mask.hpp"       // Granularity, Mask
#include "prunecore/data.hpp"       // Data, ChoiceItem
#include "prunecore/scores.hpp"     // Metric, ScoreOptions, Scores
#include "prunecore/evaluation.hpp" // EvaluateOptions, Evaluation
#include "prunecore/coalitions.hpp" // Measure, CoalitionOptions, Damages
#include "prunecore/game.hpp"       // Estimator, GameOptions, Game
#include "prunecore/shapley.hpp"    // ShapleyOptions, GameProgress
#include "prunecore/search.hpp"     // Strategy, SearchOptions, Search
#include "prunecore/generation.hpp" // GenerateOptions, Generation
#include "prunecore/element.hpp"    // ElementType
#include "prunecore/rows.hpp"       // Rows
#include "prunecore/tensors.hpp"    // Tensor
#include "prunecore/kinds.hpp"      // AdapterKind, Objective
#include "prunecore/host.hpp"       // Host, HostShape
#include "prunecore/model.hpp"      // LendOptions, Model
#include "prunecore/statistics.hpp" // Statistics
#include "prunecore/recovery.hpp"   // RecoverOptions, Adapters, recover
#include "prunecore/moments.hpp"    // Moments
#include "prunecore/gradients.hpp"  // vjp, gradient
#include "prunecore/exporting.hpp"  // Format, ExportOptions, export_model

#endif // PRUNECORE_HPP
