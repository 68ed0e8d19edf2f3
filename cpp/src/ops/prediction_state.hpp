// What the classes that are here say of rows beyond their statistics: of all classes in predict.cpp, of a shard in
// prediction_shards.cpp.
#pragma once

#include "rows/row_driver.hpp"
#include "rows/summed_blocks.hpp"

namespace crossent {

struct prediction_state {
  summed_blocks sums;  // e (max - x) and e^2; how many logits are above that of the target, and equal to it

  void reserve(const row_batch& batch) { sums.reserve(batch_rows, batch.blocks, 4); }
  void sum(const row_batch& batch, const double* target_logits, index begin, index end) {
    batch.plan->kernel().prediction_sums(batch.input(0), batch.in[0].statistics, target_logits, begin, end,
                                         batch.plan->input(0).t, sums.out());
  }
  // The classes of a larger logit than the target's, or of an equal one and a lower index. target: its class, counted from the
  // first that is here.
  index classes_ahead(const row_batch& batch, index i, index target, double target_logit) const {
    const index classes = batch.plan->classes, above = static_cast<index>(sums.row(i, 2));
    const bool is_here = 0 <= target && target < classes;
    if (target < 0 || sums.row(i, 3) == (is_here ? 1 : 0)) return above;
    return above + batch.plan->kernel().count_equal(batch.input(0), i, std::min(target, classes), target_logit);
  }
};

}  // namespace crossent
