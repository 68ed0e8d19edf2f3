// Losses with many coefficients: the weighted gaps to the maximum, summed over a block, and the argmax.
#pragma once

#include "kernels/walk/sums.hpp"

namespace crossent {
namespace {

// The maximum of a block as a reference: 0 where all its logits are -inf.
template <class T, class O> CROSSENT_INLINE pack<T> block_reference(const double* max, index row, index block, index blocks,
                                                                    O) {
  const auto finite = [](double m) { return m == -constants<double>::infinity ? 0 : m; };
  if constexpr (O::lanes_over_rows) {
    alignas(pack_bytes) double lane[16] = {};
    for (index l = 0; l < pack<T>::lanes; ++l) lane[l] = finite(max[(row + l) * blocks + block]);
    return load_as<T>(lane);
  } else {
    return set1(static_cast<T>(finite(max[row * blocks + block])));
  }
}

// w gap, 0 where w is: the gap may be infinite.
template <class T> CROSSENT_INLINE pack<T> weighted_gap(pack<T> gap, pack<T> w) {
  const pack<T> zero = set1<T>(0);
  return select(w != zero, w * gap, zero);
}

template <class T>
void weighted_gap_to_max(const source& x, const void* weight, index begin, index end, const double* max, double* out) {
  const index blocks = block_count(x.classes);
  sum_blocks<T, 1>({x}, begin, end, {out}, [&](index row, index block, auto o) {
    const pack<T> top = block_reference<T>(max, row, block, blocks, o);
    return [=](const pack<T>* v, index c, index n) {
      return parts<T, 1>{{weighted_gap(top - v[0], weights<T>(weight, c, n, o))}};
    };
  });
}

// The same with the weights w q of class probabilities, and their mass; beside them with w, which a smoothed loss needs.
template <class T, bool weighted>
void sum_probabilities_of(const source& x, const source& q, const void* weight, index begin, index end, const double* max,
                          const probability_sums& out) {
  const index blocks = block_count(x.classes);
  sum_blocks<T, 4>({x, q}, begin, end, {out.weighted_gap_to_max, out.mass, out.mass_without_max, out.smoothing_gap_to_max},
                   [&](index row, index block, auto o) {
                     const pack<T> top = block_reference<T>(max, row, block, blocks, o);
                     return [=](const pack<T>* v, index c, index n) CROSSENT_INLINE_LAMBDA {
                       const pack<T> gap = top - v[0];
                       pack<T> b = v[1], smoothing_gap = gap;
                       if constexpr (weighted) {
                         const pack<T> w = weights<T>(weight, c, n, o);
                         b = w * b;
                         smoothing_gap = weighted_gap(gap, w);
                       }
                       return parts<T, 4>{{weighted_gap(gap, b), b, select(v[0] != top, b, set1<T>(0)), smoothing_gap}};
                     };
                   });
}

template <class T>
void sum_probabilities(const source& x, const source& q, const void* weight, index begin, index end, const double* max,
                       const probability_sums& out) {
  if (weight != nullptr) sum_probabilities_of<T, true>(x, q, weight, begin, end, max, out);
  else sum_probabilities_of<T, false>(x, q, weight, begin, end, max, out);
}

// The first class of each row that equals its maximum; 0 where none does (NaN).
template <class T> void argmax(const source& s, const row_statistics& statistics, index* out) {
  alignas(pack_bytes) T buffer[block_classes];
  for (index i = 0; i < s.count; ++i) {
    out[i] = 0;
    if (s.rows[i] == nullptr) continue;
    const class_range r = block_range(statistics.max_block[i], s.classes);
    const T max = static_cast<T>(statistics.max[i]);
    const char* row = load_classes(s, i, r, buffer);
    index c = 0;
    while (c + pack<T>::lanes <= r.n && !any(load<T>(row + c * size_of<T>) == set1(max))) c += pack<T>::lanes;
    while (c < r.n && load_one<T>(row + c * size_of<T>) != max) ++c;
    out[i] = c < r.n ? r.begin + c : 0;
  }
}

}  // namespace
}  // namespace crossent
