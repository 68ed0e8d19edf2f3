// The statistics of a block of a tile: a row in each lane.
#pragma once

#include "kernels/walk/definition.hpp"

namespace crossent {
namespace {

// One value per row into every blocks-th entry.
template <class T> CROSSENT_INLINE void put(double* to, index blocks, index count, const pack<double>* v) {
  alignas(pack_bytes) double lane[16];
  const bool direct = blocks == 1 && count == pack<T>::lanes;
  for (int k = 0; k < pack<T>::lanes / 8; ++k) store((direct ? to : lane) + 8 * k, v[k]);
  if (direct) return;
  for (index l = 0; l < count; ++l) to[l * blocks] = lane[l];
}
template <class T> CROSSENT_INLINE void put(double* to, index blocks, index count, pack<T> v) {
  if constexpr (sizeof(T) == 8) {
    put<T>(to, blocks, count, &v);
  } else {
    const halves w = widen(v);
    const pack<double> both[2] = {w.lower, w.upper};
    put<T>(to, blocks, count, both);
  }
}

// Of lane l (and l + 8, of floats) of a group of classes: the sum of its terms, for 8 rows in each pack.
template <int count, class T> CROSSENT_INLINE void sum_class_lane(const pack<T>* e, index l, pack<double>* rows) {
  constexpr index lanes = pack<T>::lanes;
  const auto of_lane = [&](index k) { return tree<count>([&](index j) { return e[k + j * lanes]; }); };
  if constexpr (sizeof(T) == 4) {
    const halves w = widen(of_lane(l) + of_lane(l + 8));
    rows[0] = w.lower;
    rows[1] = w.upper;
  } else {
    rows[0] = of_lane(l);
  }
}

// The sums of a tile: for each of 8 class lanes, one accumulator per 8 rows.
template <class T> struct tile_sums {
  static constexpr int double_packs = pack<T>::lanes / 8;
  accumulator<T> lane[8][double_packs];

  // The terms of n classes, up to a group, added as the definition of a row wants it; of the first group, put there.
  CROSSENT_INLINE_MEMBER void add(pack<T>* e, index n, bool first) {
    constexpr index lanes = pack<T>::lanes;
    with_group_size((n + lanes - 1) / lanes, [&](auto size) {
      constexpr int count = decltype(size)::value;
      for (index i = n; i < count * lanes; ++i) e[i] = set1<T>(0);
      for (index l = 0; l < 8; ++l) {
        pack<double> rows[double_packs];
        sum_class_lane<count>(e, l, rows);
        each<double_packs>(
            [&](int k) CROSSENT_INLINE_LAMBDA { lane[l][k] = first ? accumulator_of<T>(rows[k]) : lane[l][k] + rows[k]; });
      }
    });
  }
  // One sum per row.
  CROSSENT_INLINE_MEMBER void add_lanes(pack<double>* out) const {
    for (int k = 0; k < double_packs; ++k) {
      const auto pair = [&](int l) CROSSENT_INLINE_LAMBDA { return lane[l][k] + lane[l + 4][k]; };
      out[k] = rounded((pair(0) + pair(2)) + (pair(1) + pair(3)));
    }
  }
};

template <class T> CROSSENT_ONCE void add_classes(tile_sums<T>& s, pack<T>* e, index n, bool first) { s.add(e, n, first); }

// The maximum of each row of a tile, the first group of classes that holds it, and the tile as its terms are taken from: where
// it was, or in the buffer.
template <class T> struct tile_maximum {
  tile<T> x;
  pack<T> max, group, top;   // top: the maximum as it is in x
  reference<T> ref;
};
// look(c, x_c) sees every class.
template <class T, class F>
CROSSENT_INLINE tile_maximum<T> maximum_of_tile(tile<T> x, index n, const inverse_temperature& t, T* buffer, F look) {
  constexpr index lanes = pack<T>::lanes, group_classes = group_packs * lanes;
  const auto logit = [&](index c) { return load<T>(x.data + c * x.stride); };
  // Lines that are a power of two apart share one set of the first cache, and would not be there for the second look.
  const bool copy = x.stride % 4096 == 0;
  pack<T> max = set1(-constants<T>::infinity), max_group = set1<T>(0);
  for (index c = 0, g = 0; c < n; c += group_classes, ++g) {
    const index end = n - c < group_classes ? n : c + group_classes;
    pack<T> m = set1(-constants<T>::infinity);
    for (index i = c; i < end; ++i) {
      const pack<T> v = logit(i);
      m = larger(v, m);
      look(i, v);
      if (x.stride != pack_bytes) prefetch(x.data + i * x.stride + tiles_ahead * pack_bytes);
      if (copy) store(buffer + i * lanes, v);
    }
    if (g > 0) max_group = select(max < m, set1(static_cast<T>(g)), max_group);
    max = larger(m, max);
  }
  if (copy) x = {reinterpret_cast<const char*>(buffer), pack_bytes};
  const reference<T> ref = reference_of(max, t);
  if (!any(ref.value != set1<T>(0))) return {x, max, max_group, max, ref};
  for (index c = 0; c < n; ++c) store(buffer + c * lanes, rebased(logit(c), ref.value));   // far out in some row
  return {{reinterpret_cast<const char*>(buffer), pack_bytes}, max, max_group, rebased(max, ref.value), ref};
}

// Of rows that are one group of classes: the sum of the terms without the maximum; returns how often that is there.
// exponentials: where e_c is left.
template <class T, temperature how>
CROSSENT_INLINE pack<T> sum_only_group(const tile_maximum<T>& m, index n, const inverse_temperature& t, T* exponentials,
                                       pack<double>* sum) {
  constexpr index lanes = pack<T>::lanes;
  const exponential<T, how> term(set1(bias<T>) - m.ref.exponent, t);
  const pack<T> zero = set1<T>(0), one = set1<T>(1);
  pack<T> max_count = zero, e[group_packs * lanes];
  for (index c = 0; c < n; ++c) {
    const pack<T> v = load<T>(m.x.data + c * m.x.stride), e_c = term(v);
    max_count = max_count + select(v == m.top, one, zero);
    if (exponentials != nullptr) store(exponentials + c * lanes, e_c);
    e[c] = select(v != m.top, e_c, zero);
  }
  tile_sums<T> sums;
  sums.add(e, n, true);
  sums.add_lanes(sum);
  return max_count;
}

template <class T, temperature how>
CROSSENT_INLINE void statistics_over_rows(const source& rows, index row, index count, class_range r, bool only_block,
                                          const inverse_temperature& s, const block_statistics& out, index entry, index blocks,
                                          T* buffer) {
  constexpr index lanes = pack<T>::lanes, group_classes = group_packs * lanes;
  const tile_maximum<T> m = maximum_of_tile(load_tile(rows, row, r, buffer), r.n, s, buffer, [](index, pack<T>) {});
  T* const exponentials = out.exponentials != nullptr ? static_cast<T*>(out.exponentials) + row * r.n : nullptr;
  pack<double> sum_all[2], sum_without_max[2];
  pack<T> max_count = set1<T>(0);
  if (only_block && r.n <= group_classes) {
    max_count = sum_only_group<T, how>(m, r.n, s, exponentials, sum_without_max);
  } else {
    const exponential<T, how> term(set1(bias<T>) - m.ref.exponent, s);
    const pack<T> zero = set1<T>(0), one = set1<T>(1);
    const auto logit = [&](index c) { return load<T>(m.x.data + c * m.x.stride); };
    tile_sums<T> all, without_max;
    pack<T> e[group_classes];
    for (index c = 0, g = 0; c < r.n; c += group_classes, ++g) {
      const index n = r.n - c < group_classes ? r.n - c : group_classes;
      // A row whose maximum is in another group compares with NaN: nothing is equal.
      const pack<T> here = select(m.group == set1(static_cast<T>(g)), m.top, set1(constants<T>::nan));
      for (index i = 0; i < n; ++i) e[i] = term(logit(c + i));
      if (!only_block) add_classes(all, e, n, c == 0);
      for (index i = 0; i < n; ++i) {
        const pack<T> v = logit(c + i);
        max_count = max_count + select(v == here, one, zero);
        if (exponentials != nullptr) store(exponentials + (c + i) * lanes, e[i]);
        e[i] = select(v != here, e[i], zero);
      }
      add_classes(without_max, e, n, c == 0);
    }
    if (!only_block) all.add_lanes(sum_all);
    without_max.add_lanes(sum_without_max);
  }
  put<T>(out.sum_without_max + entry, blocks, count, sum_without_max);
  if (!only_block) put<T>(out.sum_all + entry, blocks, count, sum_all);
  put<T>(out.max + entry, blocks, count, m.max);
  put<T>(out.reference + entry, blocks, count, m.ref.value);
  put<T>(out.exponent + entry, blocks, count, m.ref.exponent);
  put<T>(out.max_count + entry, blocks, count, max_count);
}

}  // namespace
}  // namespace crossent
