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
    index at[max_axes] = {}, offset = 0;
    for (int d = axes_ - 1; d >= 0; --d) {
      at[d] = first % size_[d];
      first /= size_[d];
      offset += at[d] * stride_[d];
    }
    for (index i = 0; i < count; ++i) {
      out[i] = offset;
      for (int d = axes_ - 1; d >= 0; --d) {
        offset += stride_[d];
        if (++at[d] < size_[d]) break;
        offset -= stride_[d] * size_[d];
        at[d] = 0;
      }
    }
  }

  // f(offset, n, stride) for the stretches of evenly spaced positions that [first, first + count) is made of.
  template <class F> void for_each_stretch(index first, index count, F f) const {
    if (axes_ == 0) return f(index{0}, count, index{0});
    const int last = axes_ - 1;
    while (count > 0) {
      const index at = first % size_[last], n = size_[last] - at < count ? size_[last] - at : count;
      index offset;
      offsets(first, 1, &offset);
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
