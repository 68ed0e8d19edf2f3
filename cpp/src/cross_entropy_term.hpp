// Cross-entropy as a part of an operation on rows: alone in cross_entropy.cpp, beside a divergence in distillation.cpp.
#pragma once

#include "row_driver.hpp"
#include "targets.hpp"

namespace crossent {

class cross_entropy_term {
 public:
  // Adds the probabilities, where they are the target, to the inputs of `op`; `logits` is the number of the input.
  // scale: of the gradient.
  cross_entropy_term(row_operation& op, int logits, const targets&, const upstream&, const row_loss_options&,
                     const view& probabilities, double scale, const execution&);

  bool keeps_lo = false;   // what losses leave out is wanted

  void prepare(row_batch&, bool all_rows) const;
  void settle(row_batch&) const;
  void sum(row_batch&, index begin, index end) const;
  // Losses, the numbers for `scale_of` and the single entries of the gradient.
  void finish(row_batch&) const;
  row_scale scale_of(const row_batch&) const;
  // Whether the entry of the target is among what `scale_of` gives, and no entry is left for `for_each_entry`.
  bool writes_target() const { return op_.lanes_over_rows && op_.classes <= block_classes && probabilities_ < 0 && !smoothed(); }
  // nullptr where targets are indices.
  const source* probabilities(const row_batch&, source& storage) const;
  // f(row, class, gradient, in `cross_entropy`): the entries that the difference of two rounded numbers would lose.
  template <class F> void for_each_entry(row_batch& batch, F f) const {
    for (index i = 0; i < batch.count; ++i) {
      if (batch.cross_entropy->row_weight[i] == 0) continue;
      // Where the maximum is not alone, p is at most 1/2 and nothing is lost.
      const bool top = probabilities_ < 0 ? smoothed() : batch.in[logits_].tail[i] < 1;
      if (top) f(i, static_cast<index>(batch.cross_entropy->argmax[i]), batch.cross_entropy->argmax_gradient[i]);
      if (probabilities_ < 0 && batch.cross_entropy->y[i] >= 0) f(i, batch.cross_entropy->y[i], batch.cross_entropy->target_gradient[i]);
    }
  }

 private:
  bool smoothed() const { return smoothed_; }
  // The sum over the blocks of `part` and of mass * (max of the row - max of the block).
  double merge_gaps(row_batch&, index row, const double* part, const double* mass) const;
  // Where the sums over (row, block) are: of the smoothing, and of the probabilities.
  double* smoothing_sums(row_batch& batch) const { return batch.cross_entropy->sums.data(); }
  probability_statistics probability_sums(row_batch& batch) const;
  void merge_smoothing(row_batch&) const;
  void merge_probabilities(row_batch&) const;

  row_operation& op_;
  int logits_, probabilities_ = -1;
  const targets& y_;
  const upstream& upstream_;
  const row_loss_options& options_;
  double scale_;
  bool smoothed_;                        // over classes of which some have a weight
  double_double<double> weight_sum_{};
  const void* weight_ = nullptr;         // contiguous, in the arithmetic dtype; nullptr: ones
  line_memory packed_weight_;            // where they were not
  std::vector<double> block_weights_;    // sum of the weights of each block of classes
};

}  // namespace crossent
