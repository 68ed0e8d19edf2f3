// What some blocks of a row come to, a subtree of the merge tree over all of them (core/merge_tree.hpp), so that whoever has others
// can go on with it.
#pragma once

#include "core/double_double.hpp"
#include "crossent/crossent.hpp"

namespace crossent {

// sum w (max - x) over classes with weights w, and sum w.
struct gap_sums {
  double_double<double> gap, mass;
};

struct gap_sums_of_rows {
  double *gap, *gap_lo, *mass, *mass_lo;
};

// Of several rows: a number of each in every array; nullptr where it is not wanted.
struct partial_state {
  double *max, *max_count;  // as those of block_statistics,
  double *sum_all, *sum_without_max;  // and these, with the reference and the exponent that follow from the maximum
  double *sum_all_lo, *sum_without_max_lo;  // of float64 rows
  double* argmax;  // the first class that has the maximum
  double *gap, *gap_lo;  // with the entropy: sum e (max - x), as sum_all; gap_lo of float64 rows
  gap_sums_of_rows smoothing;  // of class weights
  gap_sums_of_rows target;  // of class probabilities,
  double *mass_without_max, *mass_without_max_lo;  // their mass without the classes that have the maximum,
  double* argmax_probability;  // and that of the argmax
};

}  // namespace crossent
