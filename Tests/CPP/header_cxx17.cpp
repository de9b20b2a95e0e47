// SPDX-License-Identifier: Apache-2.0
// The public header as C++17: it compiles, its functions have C linkage, and its initialisers fill every field.
#include "prunecore.h"
#include "prunecore.h"

#include <type_traits>

#include "check.h"

static_assert(std::is_same_v<prune_status, int32_t> && std::is_same_v<prune_compute, int32_t>);
static_assert(std::is_standard_layout_v<prune_score_options> && std::is_trivial_v<prune_score_options>);
static_assert(std::is_standard_layout_v<prune_game_run_options> && std::is_trivial_v<prune_game_run_options>);

int main() {
  prune_runtime runtime = PRUNE_RUNTIME_INIT;
  const prune_model_options model = PRUNE_MODEL_OPTIONS_INIT;
  const prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
  const prune_data_options data = PRUNE_DATA_OPTIONS_INIT;
  const prune_cost cost = PRUNE_COST_INIT;
  const prune_score_options score = PRUNE_SCORE_OPTIONS_INIT;
  const prune_statistics_options statistics = PRUNE_STATISTICS_OPTIONS_INIT;
  const prune_evaluate_options evaluate = PRUNE_EVALUATE_OPTIONS_INIT;
  const prune_coalition_options coalition = PRUNE_COALITION_OPTIONS_INIT;
  const prune_walk_report report = PRUNE_WALK_REPORT_INIT;
  const prune_choices choices = PRUNE_CHOICES_INIT;
  const prune_game_options game = PRUNE_GAME_OPTIONS_INIT;
  const prune_game_state state = PRUNE_GAME_STATE_INIT;
  const prune_game_run_options shapley = PRUNE_GAME_RUN_OPTIONS_INIT;
  CHECK(prune_abi_version() == PRUNE_ABI_VERSION);
  CHECK(runtime.loop_kernels == nullptr && model.compute == PRUNE_COMPUTE_AUTOMATIC && shape.reserved == 0);
  CHECK(prune_runtime_info(&runtime) == PRUNE_OK && runtime.threads >= 1);
  CHECK(model.struct_size == sizeof model && shape.struct_size == sizeof shape && data.struct_size == sizeof data);
  CHECK(cost.struct_size == sizeof cost && score.struct_size == sizeof score);
  CHECK(statistics.struct_size == sizeof statistics && evaluate.struct_size == sizeof evaluate);
  CHECK(score.progress == nullptr && score.user_data == nullptr && data.token_weights == nullptr);
  CHECK(coalition.struct_size == sizeof coalition && report.struct_size == sizeof report);
  CHECK(choices.struct_size == sizeof choices && game.struct_size == sizeof game && state.struct_size == sizeof state);
  CHECK(shapley.struct_size == sizeof shapley && shapley.coalitions == nullptr);
  CHECK(coalition.user_data == nullptr && report.seconds == 0.0 && choices.answers == nullptr);
  CHECK(game.truncation == 0.0 && state.reserved == 0 && shapley.user_data == nullptr);
  CHECK(coalition.reference == nullptr && coalition.cap == PRUNE_CAP_DEFAULT);
  return check_report();
}
