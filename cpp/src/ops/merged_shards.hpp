// The numbers of rows whose classes are in shards, as operations take them.
#pragma once

#include <optional>

#include "crossent/shards.hpp"
#include "rows/row_driver.hpp"

namespace crossent {

// The arrays of a subtree of `rows` rows, which lie at `at` one after the other.
subtree_rows subtree_at(double* at, index rows, const subtree_format&);
// The same from row `first` on.
subtree_rows from_row(subtree_rows, index first);

// What all shards have come to, in place of sums over the classes.
class merged_shards {
 public:
  merged_shards(const whole_rows&, double temperature);
  bool of_probabilities() const { return whole_.format.probabilities; }
  // Of these rows, without inputs: all that is wanted of them has been merged.
  row_plan plan(index classes) const;
  void load(index first, index count, row_statistics&) const;
  // Target, argmax and gaps.
  void load(index first, index count, cross_entropy_rows&) const;

 private:
  whole_rows whole_;
  subtree_rows subtree_;
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

struct merged_distillation {
  merged_shards student, teacher;
  std::optional<merged_shards> cross_entropy;   // where its logits are not at the temperature of the divergence
  merged_sums sums;

  merged_distillation(const shards_of_distillation&, double temperature);
  row_plan plan(index classes) const { return student.plan(classes); }
  const merged_shards& of_cross_entropy() const { return cross_entropy ? *cross_entropy : student; }
  void load(row_batch& batch) const {
    student.load(batch.first, batch.count, batch.in[0].statistics);
    teacher.load(batch.first, batch.count, batch.in[1].statistics);
    if (cross_entropy) cross_entropy->load(batch.first, batch.count, batch.in[2].statistics);
  }
};

// The steps of an operation on rows that have been merged: of those with an output as of all rows, but without their own
// statistics and sums; else of the numbers of the rows alone.
void run_merged(row_plan&, row_steps&, const execution&);

}  // namespace crossent
