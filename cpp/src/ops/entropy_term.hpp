// The entropy of the softmax as a part of a loss in -log p (cross_entropy_term.hpp): its sums over the classes, and the gradient
// of both together.
#pragma once

#include <vector>

#include "rows/row_driver.hpp"

namespace crossent {

// What is known of the rows of a batch.
class entropy_state {
 public:
  entropy_rows rows{};

  // Room for the sums of all blocks, which are 0 in rows that are not read.
  void reserve(const row_batch&);
  void sum(row_batch&, int logits, index begin, index end);
  // Of blocks begin .. end - 1 of a row, in units of the terms of their maximum.
  void merged(row_batch&, int logits, index row, index begin, index end, double* sum, double* sum_lo);
  void merge(row_batch&, int logits);
  // After cross_entropy(): the numbers that the entries are written with.
  void scale(row_batch&, const row_statistics&, gradient_rows&);
  void write(row_batch&, int logits, const source* q, index begin, index end, const gradient_rows&) const;

 private:
  std::vector<double> sums_;  // of each (row, block), and their rounding errors
};

}  // namespace crossent
