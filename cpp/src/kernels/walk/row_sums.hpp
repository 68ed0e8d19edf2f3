// Sums over the blocks of rows with all the digits that are there, in both lane orientations and over any number of arrays.
#pragma once

#include "kernels/walk/tile_statistics.hpp"
#include "kernels/walk/write.hpp"

namespace crossent {
namespace {

template <class T, class Sums, int arrays, class Make>
CROSSENT_INLINE void sum_tiles(const source (&s)[arrays], index begin, index end, const block_sums& out, Make make) {
  constexpr index lanes = pack<T>::lanes;
  alignas(pack_bytes) T in[arrays][tile_classes * lanes];
  const index blocks = block_count(s[0].classes);
  for_each_tile<T>(s[0], [&](index i, index count) {
    const auto add = make(i, orientation<true>{});
    for (index b = begin; b < end; ++b) {
      const class_range block = block_range(b, s[0].classes);
      const index last = block.begin + block.n;
      Sums sums[lanes] = {};
      for (index from = block.begin; from < last; from += tile_classes) {
        const class_range r = next_range(from, last);
        tile<T> t[arrays];
        for (int k = 0; k < arrays; ++k) t[k] = load_tile(s[k], i, r, in[k]);
        for (index c = 0; c < r.n; ++c) {
          pack<T> x[arrays];
          each<arrays>([&](int k) CROSSENT_INLINE_LAMBDA { x[k] = load<T>(t[k].data + c * t[k].stride); });
          add(sums[c % lanes], x);
        }
      }
      for (index half = lanes / 2; half > 0; half /= 2)
        for (index l = 0; l < half; ++l) sums[l] = sums[l] + sums[l + half];
      for (int k = 0; k < Sums::numbers; ++k) {
        per_row_doubles<T> hi, lo;
        each<per_row_doubles<T>::packs>([&](int half) {
          const double_double<doubles> v = sums[0].over_rows(k, half);
          hi.part[half] = v.hi;
          lo.part[half] = v.lo;
        });
        put<T>(out.hi[k] + i * blocks + b, blocks, count, hi.part);
        put<T>(out.lo[k] + i * blocks + b, blocks, count, lo.part);
      }
    }
  });
}

// out = sum over the classes of each block. make(row, orientation) gives add(sums, x), which adds a pack of each array to a
// `Sums`: class c is in lane c mod W of it. The classes that a block lacks to whole packs are Sums::missing in all arrays.
// A `Sums` has `numbers` sums in each lane: over_classes(k) is the k-th with its lanes added, over_rows(k, half) that of the
// rows that are its lanes, eight of them.
template <class T, class Sums, int arrays, class Make>
CROSSENT_INLINE void sum_rows(const source (&s)[arrays], index begin, index end, const block_sums& out, Make make) {
  constexpr index lanes = pack<T>::lanes;
  if (s[0].lanes_over_rows) return sum_tiles<T, Sums>(s, begin, end, out, make);
  alignas(pack_bytes) T in[arrays][block_classes];
  const index blocks = block_count(s[0].classes);
  for (index i = 0; i < s[0].count; ++i) {
    if (s[0].rows[i] == nullptr) continue;
    const auto add = make(i, orientation<false>{});
    for (index b = begin; b < end; ++b) {
      const class_range r = block_range(b, s[0].classes);
      const char* from[arrays];
      for (int k = 0; k < arrays; ++k) from[k] = load_classes(s[k], i, r, in[k]);
      Sums sums{};
      for (index c = 0; c < r.n; c += lanes) {
        pack<T> x[arrays];
        each<arrays>([&](int k) CROSSENT_INLINE_LAMBDA {
          const char* at = from[k] + c * size_of<T>;
          x[k] = r.n - c >= lanes ? load<T>(at) : load_partial<T>(at, r.n - c, Sums::missing);
        });
        add(sums, x);
      }
      for (int k = 0; k < Sums::numbers; ++k) {
        const double_double<double> v = sums.over_classes(k);
        out.hi[k][i * blocks + b] = v.hi;
        out.lo[k][i * blocks + b] = v.lo;
      }
    }
  }
}

// A sum of products in float64: those of float32 are exact, those of float64 have their rounding errors added.
template <class T> struct product_sums {
  static constexpr T missing = 0;
  static constexpr int numbers = 1;
  double_double<doubles> lane[pack<T>::lanes / 8];

  double_double<double> over_classes(int) const {
    if constexpr (sizeof(T) == 4) return add_lanes(lane[0] + lane[1]);
    else return add_lanes(lane[0]);
  }
  double_double<doubles> over_rows(int, int half) const { return lane[half]; }
};
CROSSENT_INLINE void add_product(product_sums<float>& s, pack<float> x, pack<float> y) {
  const halves a = widen(x), b = widen(y);
  s.lane[0] += a.lower * b.lower;
  s.lane[1] += a.upper * b.upper;
}
CROSSENT_INLINE void add_product(product_sums<double>& s, doubles x, doubles y) {
  const doubles p = x * y;
  s.lane[0] += p;
  s.lane[0].lo += product_error(x, y, p);
}
template <class T> CROSSENT_INLINE product_sums<T> operator+(product_sums<T> a, const product_sums<T>& b) {
  each<pack<T>::lanes / 8>([&](int k) { a.lane[k] = a.lane[k] + b.lane[k]; });
  return a;
}

}  // namespace
}  // namespace crossent
