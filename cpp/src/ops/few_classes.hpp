// Cross-entropy over few classes without weights or smoothing, in one step per tile of rows.
#pragma once

#include "rows/row_inputs.hpp"
#include "rows/row_plan.hpp"

namespace crossent {

class few_class_cross_entropy {
 public:
  // losses: of every row, in C order, or nullptr.
  few_class_cross_entropy(const row_plan&, const targets&, const upstream&, double* losses);
  // Whether it has the rows of such a call.
  static bool applies(const row_plan&, const row_loss_options&);
  // How many of the rows [first, first + count) are done.
  index take(index first, index count) const;

 private:
  const row_plan& plan_;
  const targets& y_;
  const upstream& upstream_;
  double* losses_;
};

}  // namespace crossent
