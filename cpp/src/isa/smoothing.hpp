// What label smoothing asks of a block: sum w (max - x), and where the maximum is.
#pragma once

#include "statistics.hpp"

namespace crossent {
namespace {

// w (max - x), 0 where w is.
template <class T> CROSSENT_INLINE pack<T> deviation_of(pack<T> x, pack<T> max, pack<T> w) {
  const pack<T> zero = set1<T>(0);
  return if_equal(w, zero, zero, w * (max - x));
}

template <class T>
void deviation(const source& s, const void* weight, index begin, index end, const double* max, double* out) {
  constexpr index lanes = pack<T>::lanes, group_classes = group_packs * lanes;
  const index blocks = (s.classes + block_classes - 1) / block_classes;
  const char* w = static_cast<const char*>(weight);
  const pack<T> one = set1<T>(1), zero = set1<T>(0);
  alignas(pack_bytes) T buffer[block_classes * lanes];

  const auto along = [&](index i, index b) {
    const run<T> r = block_run<T>(b, s.classes);
    const double m = max[i * blocks + b];
    const pack<T> top = set1(m == -constants<double>::infinity ? T(0) : static_cast<T>(m));
    const char* x = load_along(s.rows[i], s.class_stride, r, buffer);
    accumulator<T> sum;
    for (index c = 0; c < r.n; c += group_classes) {
      const pack<T> group = tree<group_packs>([&](index j) {
        const index at = c + j * lanes, left = r.n - at;
        if (left <= 0) return zero;
        if (left >= lanes)
          return deviation_of(load<T>(x + at * size_of<T>), top, w ? load<T>(w + (r.begin + at) * size_of<T>) : one);
        return deviation_of(load_partial<T>(x + at * size_of<T>, left, T(0)), top,
                            w ? load_partial<T>(w + (r.begin + at) * size_of<T>, left, T(0)) : first_lanes<T>(left));
      });
      if constexpr (sizeof(T) == 4) sum = sum.add(sum, widen_sum(group));
      else sum = sum.add(sum, group);
    }
    out[i * blocks + b] = sum.sum_lanes_of(sum);
  };

  const auto across = [&](index i, index count, index b) {
    const run<T> r = block_run<T>(b, s.classes);
    alignas(pack_bytes) double tops[16] = {};
    for (index l = 0; l < count; ++l) {
      const double m = max[(i + l) * blocks + b];
      tops[l] = m == -constants<double>::infinity ? 0 : m;
    }
    const pack<T> top = load_as<T>(tops);
    const tile<T> x = load_across(s.rows + i, s.class_stride, r, buffer);
    tile_sums<T> sums;
    for (index c = 0; c < r.n; c += group_classes) {
      const auto lane = [&](index l) {
        return tree<group_packs>([&](index j) {
          const index at = c + l + j * lanes;
          if (at >= r.n) return zero;
          const pack<T> weight_of_class = w ? set1(load_one<T>(w + (r.begin + at) * size_of<T>)) : one;
          return deviation_of(load<T>(x.data + at * x.stride), top, weight_of_class);
        });
      };
      for (int l = 0; l < 8; ++l) {
        if constexpr (sizeof(T) == 4) sums.add(sums, l, lane(l) + lane(l + 8));
        else sums.add(sums, l, lane(l));
      }
    }
    pack<double> total[2];
    sums.total(sums, total);
    put<T>(out + i * blocks + b, blocks, count, total);
  };

  if (s.across) {
    for_each_tile<T>(s, [&](index i, index count) {
      for (index b = begin; b < end; ++b) across(i, count, b);
    });
  } else {
    for (index i = 0; i < s.count; ++i) {
      if (s.rows[i] == nullptr) continue;
      for (index b = begin; b < end; ++b) along(i, b);
    }
  }
}

// The first class of each row that equals its maximum; 0 where none does (NaN).
template <class T> void locate(const source& s, const row_state& state, double* out) {
  for (index i = 0; i < s.count; ++i) {
    out[i] = 0;
    if (s.rows[i] == nullptr) continue;
    const run<T> r = block_run<T>(static_cast<index>(state.block[i]), s.classes);
    const T max = static_cast<T>(state.max[i]);
    const char* row = s.rows[i] + r.begin * s.class_stride;
    index c = 0;
    if (s.class_stride == size_of<T>) {
      while (c + pack<T>::lanes <= r.n && !any_equal(load<T>(row + c * size_of<T>), set1(max))) c += pack<T>::lanes;
    }
    while (c < r.n && load_one<T>(row + c * s.class_stride) != max) ++c;
    out[i] = static_cast<double>(c < r.n ? r.begin + c : 0);
  }
}

}  // namespace
}  // namespace crossent
