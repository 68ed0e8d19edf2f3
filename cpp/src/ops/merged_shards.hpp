// The numbers of rows whose classes are in shards, as operations take them.
#pragma once

#include "core/kernels.hpp"
#include "crossent/shards.hpp"

namespace crossent {

// The arrays of a subtree of `rows` rows, which lie at `at` one after the other.
subtree_rows subtree_at(double* at, index rows, const subtree_format&);
// The same from row `first` on.
subtree_rows from_row(const subtree_rows&, index first);

// What all shards have come to, in place of sums over the classes.
class merged_shards {
 public:
  merged_shards(const whole_rows&, double temperature);
  bool of_probabilities() const { return whole_.format.probabilities; }
  void load(index first, index count, row_statistics&) const;
  // Target, argmax and gaps.
  void load(index first, index count, cross_entropy_rows&) const;

 private:
  whole_rows whole_;
  subtree_rows subtree_;
  const dtype_kernels& kernel_;
  inverse_temperature t_;
};

}  // namespace crossent
