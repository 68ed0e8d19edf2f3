// Cross-entropy as a part of an operation on rows: alone in cross_entropy.cpp, beside a divergence in distillation.cpp.
#pragma once

#include "row_pass.hpp"
#include "targets.hpp"

namespace crossent {

class cross_entropy_part {
 public:
  // Adds the probabilities, where they are the target, to the inputs of `op`; `logits` is the number of the input.
  // scale: of the gradient.
  cross_entropy_part(row_operation& op, int logits, const targets&, const upstream&, const row_loss_options&,
                     const view& probabilities, double scale, const execution&);

  bool keeps_low = false;   // what losses leave out is wanted

  void prepare(row_group&, bool all_rows) const;
  void settle(row_group&) const;
  void sum(row_group&, index begin, index end) const;
  // Losses, the numbers for `scale_of` and the single entries of the gradient.
  void finish(row_group&) const;
  row_scale scale_of(const row_group&) const;
  // Whether the entry of the target is among what `scale_of` gives, and no entry is left for `for_each_entry`.
  bool writes_target() const { return op_.across && op_.classes <= block_classes && probabilities_ < 0 && !smoothed(); }
  // nullptr where targets are indices.
  const source* probabilities(const row_group&, source& storage) const;
  // f(row, class, gradient, in `hard`): the entries that the difference of two rounded numbers would lose.
  template <class F> void for_each_entry(row_group& g, F f) const {
    for (index i = 0; i < g.count; ++i) {
      if (g.hard->row_weight[i] == 0) continue;
      // Where the maximum is not alone, p is at most 1/2 and nothing is lost.
      const bool top = probabilities_ < 0 ? smoothed() : g.in[logits_].tail[i] < 1;
      if (top) f(i, static_cast<index>(g.hard->top_class[i]), g.hard->top_gradient[i]);
      if (probabilities_ < 0 && g.hard->y[i] >= 0) f(i, g.hard->y[i], g.hard->target_gradient[i]);
    }
  }

 private:
  bool smoothed() const { return smoothed_; }
  // The sum over the blocks of `part` and of mass * (max of the row - max of the block).
  double fold_deviation(row_group&, index row, const double* part, const double* mass) const;
  // Where the sums over (row, block) are: of the smoothing, and of the probabilities.
  double* smoothing_sums(row_group& g) const { return g.hard->sums.data(); }
  probability_statistics probability_sums(row_group& g) const;
  void fold_smoothing(row_group&) const;
  void fold_probabilities(row_group&) const;

  row_operation& op_;
  int logits_, probabilities_ = -1;
  const targets& y_;
  const upstream& upstream_;
  const row_loss_options& options_;
  double scale_;
  bool smoothed_;                        // over classes of which some have a weight
  compensated weight_sum_;
  const void* weight_ = nullptr;         // contiguous, in the arithmetic dtype; nullptr: ones
  line_memory packed_weight_;            // where they were not
  std::vector<double> block_weights_;    // sum of the weights of each block of classes
};

}  // namespace crossent
