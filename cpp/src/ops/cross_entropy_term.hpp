// Cross-entropy as a term of an operation on rows: alone in cross_entropy.cpp, beside a divergence in distillation_loss.cpp.
#pragma once

#include "core/double_double.hpp"
#include "ops/entropy_term.hpp"
#include "rows/gradient_temperature.hpp"
#include "rows/row_driver.hpp"
#include "rows/row_inputs.hpp"

namespace crossent {

class merged_statistics;

// Upstream gradients of log_prob, entropy and logsumexp, as those of a loss with these coefficients; each may be absent.
class row_statistics_upstream {
 public:
  row_statistics_upstream(const view& log_prob, const view& entropy, const view& logsumexp, dtype arithmetic)
      : values_{{log_prob, arithmetic}, {entropy, arithmetic}, {logsumexp, arithmetic}} {}
  // A row of no coefficient gets the weight 0.
  void load(index first, index count, cross_entropy_rows&, entropy_rows&) const;

 private:
  row_values values_[3];
};

// The state of a loss in -log p for the rows of a batch.
struct cross_entropy_state {
  std::vector<double> sums;   // of each (row, block), one array after the other
  cross_entropy_rows rows{};
  std::unique_ptr<entropy_state> entropy;   // where the loss has it
  index* y() { return rows.gradient.target; }
};

// The numbers of its inputs. probabilities: -1 where targets are indices.
struct cross_entropy_inputs {
  int logits, probabilities;
  bool with_entropy;   // the term has that of its options, or coefficients
};

class cross_entropy_term {
 public:
  // Adds the term to an operation that reads `logits`, and the probabilities, where they are the target.
  static cross_entropy_inputs describe(row_description&, int logits, const targets&, const view& probabilities,
                                       bool with_entropy = false);
  // share: of the gradient. Of a shard the plan has the classes that are here, and `sum` and `put_partial_state` give their part;
  // `finish` needs what all shards came to.
  cross_entropy_term(const row_plan&, const cross_entropy_inputs&, const targets&, const upstream&, const row_loss_options&,
                     double share, const execution&);

  bool with_loss_lo = false;               // whether the rounding errors of losses are wanted
  const merged_statistics* merged = nullptr;   // of rows that are in shards
  const row_statistics_upstream* coefficients = nullptr;   // of each row, in place of those of a loss

  // all_rows: also those that no coefficient of this term reaches.
  void load(row_batch&, cross_entropy_state&, bool all_rows) const;
  void sum(row_batch&, cross_entropy_state&, index begin, index end) const;
  // The logits of the targets that are here.
  void load_targets(row_batch&, cross_entropy_state&) const;
  // From the sums, of each row: target_gap_to_max, of class indices too, and the mass of its target, which is 1 for these.
  void target_gaps(row_batch&, cross_entropy_state&) const;
  // The class of the maximum among those that are here, where it is wanted, and the logits of the targets among them.
  void find_classes(row_batch&, cross_entropy_state&) const;
  // What blocks begin .. end - 1 come to, after that; to: of the rows of the batch.
  void put_partial_state(row_batch&, cross_entropy_state&, index begin, index end, const partial_state& to) const;
  // Losses, the gradient's factors and its single entries.
  void finish(row_batch&, cross_entropy_state&) const;
  // Single entries of a gradient that goes through a softcap.
  void multiply_by_softcap_derivative(row_batch&, cross_entropy_state&) const;
  static constexpr double alone = 1 - 0x1p-12;   // the tail of a maximum that is
  const row_statistics& statistics(const row_batch& batch) const { return batch.in[logits_].statistics; }
  source logits(const row_batch& batch) const { return batch.input(logits_); }
  // nullptr where targets are indices.
  const source* probabilities(const row_batch&, source& storage) const;
  void write(row_batch&, const cross_entropy_state&, index begin, index end) const;
  // f(row, class, gradient): the entries that the difference of two rounded numbers would lose.
  template <class F> void for_each_entry(row_batch& batch, cross_entropy_state& state, F f) const {
    cross_entropy_rows& r = state.rows;
    for (index i = 0; i < batch.count; ++i) {
      if (r.row_weight[i] == 0) continue;
      // Where the maximum is not alone, p is at most 1/2 and nothing is lost. An equal logit in another group of classes has a
      // rounded term in the tail, which may be a little less than 1; so may a tail of smaller logits, and then p is 1/2 as well.
      const bool of_max = probabilities_ < 0 ? smoothed_ : batch.in[logits_].statistics.tail[i] < alone;
      if (of_max && r.argmax[i] >= 0) f(i, r.argmax[i], r.argmax_gradient[i]);
      if (probabilities_ < 0 && r.gradient.target[i] >= 0) f(i, r.gradient.target[i], r.gradient.target_gradient[i]);
    }
  }

 private:
  // With class probabilities: their gaps, and their mass without the classes that have the maximum.
  struct target_sums {
    gap_sums all;
    double_double<double> mass_without_max;
  };

  void load_entropy(row_batch&, cross_entropy_state&) const;
  bool needs_argmax() const { return smoothed_ || probabilities_ >= 0; }
  void sum_class_weights(const execution&);
  void pack_class_weights(const execution&);
  gap_sums merge_gaps(row_batch&, index row, index begin, index end, const double* gaps, const double* mass,
                      const double* mass_lo) const;
  gap_sums merge_smoothing_gaps(row_batch&, const cross_entropy_state&, index row, index begin, index end) const;
  probability_sums sums_of_probabilities(row_batch&, cross_entropy_state&) const;
  target_sums merge_probabilities(row_batch&, cross_entropy_state&, index row, index begin, index end) const;
  double probability_of(const row_batch&, index row, index c) const;
  void merge(row_batch&, cross_entropy_state&) const;
  void leave_entries_of_others(cross_entropy_state&) const;

  const row_plan& plan_;
  int logits_, probabilities_;
  bool with_entropy_;
  const targets& y_;
  const upstream& upstream_;
  const row_loss_options& options_;
  double share_;
  bool smoothed_;                        // as the targets are
  index first_class_, whole_classes_;    // of the plan's classes, and all that there are
  inverse_temperature inverse_;          // in float64
  double_double<double> weight_sum_{};
  const void* weight_ = nullptr;         // contiguous, in the arithmetic dtype; nullptr: ones
  line_memory packed_weight_;            // where they were not
  std::vector<double> block_weights_, block_weights_lo_;   // sum of the weights of each block of classes
};

}  // namespace crossent
