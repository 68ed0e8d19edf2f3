// (shape, strides, axis) to rows and classes: the only stride arithmetic of the library.
#pragma once

#include "crossent/crossent.hpp"

namespace crossent {

constexpr int max_axes = 64;

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

  // f(offset, n, stride) for the runs of evenly spaced positions that [first, first + count) is made of.
  template <class F> void for_each_strided_run(index first, index count, F f) const {
    if (axes_ <= 1) return f(first * inner_stride(), count, inner_stride());
    const int last = axes_ - 1;
    while (count > 0) {
      index rest = first, offset = 0;
      for (int d = last; d >= 0; --d) {
        offset += rest % size_[d] * stride_[d];
        rest /= size_[d];
      }
      const index left = size_[last] - first % size_[last], n = left < count ? left : count;
      f(offset, n, stride_[last]);
      first += n;
      count -= n;
    }
  }

 private:
  int axes_ = 0;
  index rows_ = 1;
  index size_[max_axes] = {};
  index stride_[max_axes] = {};
};

}  // namespace crossent
