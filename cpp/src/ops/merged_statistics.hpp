// The numbers of rows whose classes are in shards, as operations take them.
#pragma once

#include <optional>

#include "crossent/shards.hpp"
#include "rows/row_driver.hpp"

namespace crossent {

// The arrays of the state of `rows` rows, which lie at `at` one after the other.
partial_state partial_state_at(double* at, index rows, const partial_state_format&);
// The same from row `first` on.
partial_state from_row(partial_state, index first);

// What all shards have come to, in place of sums over the classes.
class merged_statistics : public known_statistics {
 public:
  explicit merged_statistics(const merged_state&);
  virtual ~merged_statistics() = default;
  bool of_probabilities() const { return whole_.format.probabilities; }
  dtype arithmetic() const { return whole_.format.extended ? dtype::float64 : dtype::float32; }
  double temperature() const { return whole_.format.temperature; }
  index rows() const { return whole_.rows; }
  void load(index first, index count, int input, row_statistics&) const override;
  // Target, argmax and gaps.
  void load(index first, index count, cross_entropy_rows&) const;

 private:
  merged_state whole_;
  partial_state state_;
  const dtype_kernels& kernel_;
  inverse_temperature t_;
};

// Two sums of each row over all classes: of a divergence, its value and what its gradient needs.
class merged_sums {
 public:
  merged_sums(const double* columns, index rows) : columns_(columns), rows_(rows) {}
  double_double<double> of(index column, index row) const {
    const double* const sum = columns_ + 2 * (column * rows_ + row);
    return {sum[0], sum[1]};
  }
  double_double<double> value(index row) const { return of(0, row); }
  double_double<double> inner(index row) const { return of(1, row); }

 private:
  const double* columns_;
  index rows_;
};

struct merged_distillation : known_statistics {
  merged_statistics student, teacher;
  std::optional<merged_statistics> cross_entropy;   // where its logits are not at the temperature of the divergence
  merged_sums sums;

  explicit merged_distillation(const shards_of_distillation&);
  const merged_statistics& of_cross_entropy() const { return cross_entropy ? *cross_entropy : student; }
  virtual ~merged_distillation() = default;
  int inputs() const override { return cross_entropy ? 3 : 2; }
  void load(index first, index count, int input, row_statistics& out) const override {
    (input == 0 ? student : input == 1 ? teacher : *cross_entropy).load(first, count, 0, out);
  }
};

// The description of an operation on rows of which `merged` knows the statistics, and the steps the sums. logits: of a shard, where
// something is written there; else nothing is read.
row_description describe_merged(const known_statistics& merged, const merged_statistics& rows, const view& logits, int axis,
                                const class_shard&, const mutable_view& out, const logit_transform&);

}  // namespace crossent
