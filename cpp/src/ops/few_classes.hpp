// Cross-entropy over few classes without weights or smoothing, in one step per tile of rows.
#pragma once

#include "rows/reduction.hpp"
#include "rows/row_inputs.hpp"
#include "rows/row_plan.hpp"

namespace crossent {

class few_class_cross_entropy {
 public:
  few_class_cross_entropy(const row_plan&, const targets&, const upstream&, const row_losses&);
  // Whether it has rows with such options, of few classes with indices as targets.
  static bool applies(const row_loss_options&);
  // How many of `count` rows from `first` on are done.
  index run(index first, index count, int worker) const;

 private:
  const row_plan& plan_;
  const targets& y_;
  const upstream& upstream_;
  const row_losses& losses_;
};

}  // namespace crossent
