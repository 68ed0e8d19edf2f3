// What a subtree of the merge tree over the blocks of a row comes to (core/merge_tree.hpp), so that whoever has other blocks of
// the row can go on with it.
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

// A number of each row in every array; nullptr where it is not wanted.
struct subtree_rows {
  double *max, *max_count;  // as those of block_statistics,
  double *sum_all, *sum_without_max;  // and these, with the reference and the exponent that follow from the maximum
  double *sum_all_lo, *sum_without_max_lo;  // of float64 rows
  double* argmax;  // the first class that has the maximum
  gap_sums_of_rows smoothing;  // of class weights
  gap_sums_of_rows target;  // of class probabilities,
  double *mass_without_max, *mass_without_max_lo;  // their mass without the classes that have the maximum,
  double* argmax_probability;  // and that of the argmax
};

}  // namespace crossent
