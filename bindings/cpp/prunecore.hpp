// SPDX-License-Identifier: Apache-2.0
/// \file prunecore.hpp
/// C++17 door to PruneCore: owners that give their handle back, values, and exceptions over prunecore.h.
///
/// Header-only, no logic beyond conversion: every function here calls the C function that its comment names, and that
/// function's comment in prunecore.h is the contract (shapes, units, errors). What is added:
///  - Model, Data, Statistics, Generation, Game, Search, Adapters and Moments own one handle each. They can be moved,
///    not copied. Using one that was moved from throws Error, as NULL does in C.
///  - A status other than PRUNE_OK is thrown as prune::Error, with the library's sentence as what().
///  - Sizes that C cannot see are checked before the call: tokens against sequence lengths, masks of unequal length.
///  - Programs that run a model themselves derive from Host; their exceptions come out of the call that led to them.
///  - Buffers are sized by asking the library, so nothing has to be known in advance.
///  - Structs of options derive from those of prunecore.h: options.remove is prune_search_options.remove. They declare
///    only what C++ writes differently: enums, arrays, strings and callbacks.
///
/// Names are those of the Python package, but for these:
///
///   C++                              Python                      why
///   Model::export_to                 Model.export                export is a word of C++
///   Model::mask, set_mask            Model.mask                  a property
///   Model::sublayers, shape          Model.sublayers, shape      functions, not properties; so for all other classes
///   Model::recover(data, mask)       Model.recover(mask, data)   an empty mask, the model's, is the default
///   Model::share(data, mask)         Model.share(mask, data)     likewise
///   Statistics(n_blocks)             Model.statistics            they need no model
///   Search(model, options)           Model.search                which makes, runs and reads one
///   EditedMask, merge_blocks(model)  Mask, Model.merge_blocks    masks have their edits; JSON here
///   Adapters::values, set_values     Adapters.get, set           get() is the C handle, in every owner
///   Adapters::list                   Adapters, as a sequence
///   Generation::sequence(i)          Generation.tokens, losses, reasons
///   Scores::operator[](metric)       Scores, as a mapping
///   Strategy::one_shot and others    "one_shot"                  enums, where Python has strings
///
/// Threads: as in C. const member functions may run on several threads at once; others need the object to themselves.
///
/// Programs include this file alone. The parts are in prunecore/, one per topic.
#ifndef PRUNECORE_HPP
#define PRUNECORE_HPP

#if defined(_MSVC_LANG) ? _MSVC_LANG < 201703L : __cplusplus < 201703L
#error "prunecore.hpp needs C++17"
#endif

#include "prunecore/library.hpp"         // Error, version, runtime_info, architectures, set_threads
#include "prunecore/span.hpp"            // span, mutable_span
#include "prunecore/handle.hpp"          // owners of handles
#include "prunecore/options.hpp"         // what options have in common
#include "prunecore/progress.hpp"        // Progress
#include "prunecore/mask.hpp"            // Granularity, Mask, EditedMask
#include "prunecore/data.hpp"            // Data, ChoiceItem
#include "prunecore/scores.hpp"          // Metric, ScoreOptions, Scores
#include "prunecore/evaluation.hpp"      // EvaluateOptions, Evaluation
#include "prunecore/coalitions.hpp"      // Measure, CoalitionOptions, Damages
#include "prunecore/game.hpp"            // Estimator, GameOptions, Game
#include "prunecore/shapley.hpp"         // GameRunOptions, GameProgress
#include "prunecore/search.hpp"          // Strategy, SearchOptions, Search
#include "prunecore/generation.hpp"      // GenerateOptions, Generation
#include "prunecore/element.hpp"         // ElementType
#include "prunecore/rows.hpp"            // Rows
#include "prunecore/tensors.hpp"         // Tensor
#include "prunecore/kinds.hpp"           // AdapterKind, Objective, NormKind
#include "prunecore/recover_options.hpp" // RecoverOptions, AdapterInput, Stream, BlockSlot, Start
#include "prunecore/healing_options.hpp" // HealingOptions, Schedule
#include "prunecore/share_options.hpp"   // ShareOptions, SharingOptions, SharingBase
#include "prunecore/export_options.hpp"  // Format, ExportOptions
#include "prunecore/host.hpp"            // Host, HostShape
#include "prunecore/model.hpp"           // LendOptions, Model
#include "prunecore/statistics.hpp"      // Statistics
#include "prunecore/recovery.hpp"        // Adapters
#include "prunecore/healing.hpp"         // Healed, HealingSummary
#include "prunecore/sharing.hpp"         // SharedModel
#include "prunecore/moments.hpp"         // Moments
#include "prunecore/gradients.hpp"       // Gradient
#include "prunecore/exporting.hpp"       // Model::export_to
#include "prunecore/merging.hpp"         // MergeOptions, merge_blocks

#endif // PRUNECORE_HPP
