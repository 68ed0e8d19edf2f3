// (shape, strides, axis) to rows and classes: the only stride arithmetic of the library.
#pragma once

#include "crossent/crossent.hpp"

namespace crossent {

constexpr int max_axes = 64;

// Evenly spaced positions: an offset and a distance, in bytes.
struct strided_run {
  index offset, count, stride;
};

// The positions of all axes but the class axis, in C order, with neighbouring axes merged where the strides allow it.
class row_layout {
 public:
  row_layout() = default;
  // axis < 0: all axes are rows.
  row_layout(int ndim, const index* shape, const index* strides, int axis) {
    for (int d = 0; d < ndim; ++d) {
      if (d == axis) continue;
      rows_ *= shape[d];
      if (shape[d] == 1) continue;
      if (axes_ > 0 && stride_[axes_ - 1] == strides[d] * shape[d]) {
        size_[axes_ - 1] *= shape[d];
        stride_[axes_ - 1] = strides[d];
      } else {
        size_[axes_] = shape[d];
        stride_[axes_] = strides[d];
        ++axes_;
      }
    }
  }

  index rows() const { return rows_; }

  // The distance in bytes between a row and the next, where they follow each other.
  index inner_stride() const { return axes_ == 0 ? 0 : stride_[axes_ - 1]; }

  // offsets[i] = the offset in bytes of row first + i
  void offsets(index first, index count, index* out) const {
    for_each_strided_run(first, count, [&](index offset, index n, index stride) {
      for (index i = 0; i < n; ++i) out[i] = offset + i * stride;
      out += n;
    });
  }

  // The run of evenly spaced positions that [first, first + count) begins with.
  strided_run run_at(index first, index count) const {
    if (axes_ <= 1) return {first * inner_stride(), count, inner_stride()};
    const int last = axes_ - 1;
    index rest = first, offset = 0;
    for (int d = last; d >= 0; --d) {
      offset += rest % size_[d] * stride_[d];
      rest /= size_[d];
    }
    const index left = size_[last] - first % size_[last];
    return {offset, left < count ? left : count, stride_[last]};
  }

  // f(offset, n, stride) for the runs that [first, first + count) is made of.
  template <class F> void for_each_strided_run(index first, index count, F f) const {
    while (count > 0) {
      const strided_run run = run_at(first, count);
      f(run.offset, run.count, run.stride);
      first += run.count;
      count -= run.count;
    }
  }

 private:
  int axes_ = 0;
  index rows_ = 1;
  index size_[max_axes] = {};
  index stride_[max_axes] = {};
};

}  // namespace crossent
