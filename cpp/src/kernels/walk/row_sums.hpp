// Sums over whole rows with all the digits that are there, in both lane orientations and over any number of arrays.
#pragma once

#include "kernels/walk/write.hpp"

namespace crossent {
namespace {

// Sums of rows that are not complete yet, between calls: `kept` has row_sums_bytes for each row.
template <class Sums> struct kept_sums {
  static_assert(sizeof(Sums) <= row_sums_bytes);
  Sums* kept;
  bool is_first, is_last;   // call

  CROSSENT_INLINE_MEMBER void resume(index row, Sums* sums, index n) const {
    for (index l = 0; l < n && !is_first; ++l) sums[l] = kept[row + l];
  }
  CROSSENT_INLINE_MEMBER void keep(index row, const Sums* sums, index n) const {
    for (index l = 0; l < n; ++l) kept[row + l] = sums[l];
  }
};

template <class T, class Sums, int arrays, class Make>
CROSSENT_INLINE void sum_tiles(const source (&s)[arrays], index begin, index end, const kept_sums<Sums>& kept, double* out,
                               Make make) {
  constexpr index lanes = pack<T>::lanes;
  alignas(pack_bytes) T in[arrays][tile_classes * lanes];
  const index last = end_class(end, s[0].classes);
  for_each_tile<T>(s[0], [&](index i, index count) {
    const auto add = make(i, orientation<true>{});
    Sums sums[lanes] = {};
    kept.resume(i, sums, lanes);
    for (index from = begin * block_classes; from < last; from += tile_classes) {
      const class_range r = next_range(from, last);
      tile<T> t[arrays];
      for (int k = 0; k < arrays; ++k) t[k] = load_tile(s[k], i, r, in[k]);
      for (index c = 0; c < r.n; ++c) {
        pack<T> x[arrays];
        each<arrays>([&](int k) { x[k] = load<T>(t[k].data + c * t[k].stride); });
        add(sums[c % lanes], x);
      }
    }
    if (!kept.is_last) return kept.keep(i, sums, lanes);
    for (index half = lanes / 2; half > 0; half /= 2)
      for (index l = 0; l < half; ++l) sums[l] = sums[l] + sums[l + half];
    alignas(pack_bytes) double total[16];
    store_rows(total, sums[0]);
    for (index l = 0; l < count; ++l) out[i + l] = total[l];
  });
}

// out[i] = sum over all classes of row i. make(row, orientation) gives add(sums, x), which adds a pack of each array to a
// `Sums`: class c is in lane c mod W of it. The classes that a block lacks to whole packs are Sums::missing in all arrays.
// The blocks are taken in order, in one call or in several (see kernels.hpp).
template <class T, class Sums, int arrays, class Make>
CROSSENT_INLINE void sum_rows(const source (&s)[arrays], index begin, index end, void* memory, double* out, Make make) {
  constexpr index lanes = pack<T>::lanes;
  const kept_sums<Sums> kept{static_cast<Sums*>(memory), begin == 0, end == block_count(s[0].classes)};
  if (s[0].lanes_over_rows) return sum_tiles<T>(s, begin, end, kept, out, make);
  alignas(pack_bytes) T in[arrays][block_classes];
  for (index i = 0; i < s[0].count; ++i) {
    const auto add = make(i, orientation<false>{});
    Sums sums{};
    kept.resume(i, &sums, 1);
    for (index b = begin; b < end; ++b) {
      const class_range r = block_range(b, s[0].classes);
      const char* from[arrays];
      for (int k = 0; k < arrays; ++k) from[k] = load_classes(s[k], i, r, in[k]);
      for (index c = 0; c < r.n; c += lanes) {
        pack<T> x[arrays];
        each<arrays>([&](int k) {
          const char* at = from[k] + c * size_of<T>;
          x[k] = r.n - c >= lanes ? load<T>(at) : load_partial<T>(at, r.n - c, Sums::missing);
        });
        add(sums, x);
      }
    }
    if (kept.is_last) out[i] = sum_lanes(sums);
    else kept.keep(i, &sums, 1);
  }
}

// A sum of products in float64: those of float32 are exact, those of float64 have their rounding errors added.
template <class T> struct product_sums {
  static constexpr T missing = 0;
  static constexpr int double_packs = pack<T>::lanes / 8;
  double_double<doubles> lane[double_packs];
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
  for (int k = 0; k < product_sums<T>::double_packs; ++k) a.lane[k] = a.lane[k] + b.lane[k];
  return a;
}
template <class T> CROSSENT_INLINE void store_rows(double* to, const product_sums<T>& s) {
  for (int k = 0; k < product_sums<T>::double_packs; ++k) store(to + 8 * k, rounded(s.lane[k]));
}
CROSSENT_INLINE double sum_lanes(const product_sums<float>& s) { return sum_lanes(s.lane[0] + s.lane[1]); }
CROSSENT_INLINE double sum_lanes(const product_sums<double>& s) { return sum_lanes(s.lane[0]); }

}  // namespace
}  // namespace crossent
