// The sums of the blocks of some rows, and of the rows.
#pragma once

#include "core/kernels.hpp"
#include "core/merge_tree.hpp"
#include "rows/row_buffer.hpp"

namespace crossent {

class summed_blocks {
 public:
  // Room for so many sums of so many rows, if it is not there.
  void reserve(index rows, index blocks, int sums = 1) {
    if (memory_.data() != nullptr) return;
    blocks_ = blocks;
    entries_ = rows * blocks;
    memory_.reserve(2 * sums * entries_ * static_cast<index>(sizeof(double)));
  }
  block_sums out() { return {{at(0), at(2), at(4), at(6)}, {at(1), at(3), at(5), at(7)}}; }
  double_double<double> whole_row(index i, index k = 0) const { return subtree(i, k, 0, blocks_); }
  double row(index i, index k = 0) const { return rounded(whole_row(i, k)); }
  // Of blocks begin .. end - 1.
  double_double<double> subtree(index row, index k, index begin, index end) const {
    const index first = row * blocks_ + begin;
    const double *hi = at(2 * k) + first, *lo = at(2 * k + 1) + first;
    using number = double_double<double>;
    return merge_tree(end - begin, [=](index b) { return number{hi[b], lo[b]}; }, [](number a, number b) { return a + b; });
  }
  double row_with_tiny(index i) const { return row(i) + row(i, 1) * tiny_unit; }

 private:
  static_assert(tiny_sums_exponent == 500);
  static constexpr double tiny_unit = 0x1p-500;

  double* at(index array) const { return reinterpret_cast<double*>(memory_.data()) + array * entries_; }

  line_memory memory_;
  index blocks_ = 1, entries_ = 0;
};

}  // namespace crossent
