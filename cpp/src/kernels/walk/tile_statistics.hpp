// The statistics of a block of a tile: a row in each lane.
#pragma once

#include "kernels/walk/definition.hpp"

namespace crossent {
namespace {

// The numbers of the rows of a tile, eight to a pack.
template <class T> struct per_row_doubles {
  static constexpr int packs = pack<T>::lanes / 8;
  doubles part[packs];

  per_row_doubles() = default;
  CROSSENT_INLINE_MEMBER explicit per_row_doubles(pack<T> v) {
    if constexpr (sizeof(T) == 8) {
      part[0] = v;
    } else {
      const halves w = widen(v);
      part[0] = w.lower;
      part[1] = w.upper;
    }
  }
  CROSSENT_INLINE_MEMBER pack<T> narrowed() const {
    if constexpr (sizeof(T) == 8) return part[0];
    else return narrow({part[0], part[1]});
  }
};

// One value per row into every blocks-th entry.
template <class T> CROSSENT_INLINE void put(double* to, index blocks, index count, const pack<double>* v) {
  alignas(pack_bytes) double lane[16];
  const bool direct = blocks == 1 && count == pack<T>::lanes;
  for (int k = 0; k < pack<T>::lanes / 8; ++k) store((direct ? to : lane) + 8 * k, v[k]);
  if (direct) return;
  for (index l = 0; l < count; ++l) to[l * blocks] = lane[l];
}
template <class T> CROSSENT_INLINE void put(double* to, index blocks, index count, pack<T> v) {
  put<T>(to, blocks, count, per_row_doubles<T>(v).part);
}

// The sum of one of 8 class lanes, for each row of a tile.
template <class T> struct lane_sum {
  static constexpr int packs = pack<T>::lanes / 8;
  accumulator<T> rows[packs];
};
template <class T> CROSSENT_INLINE lane_sum<T> operator+(lane_sum<T> a, lane_sum<T> b) {
  each<lane_sum<T>::packs>([&](int k) CROSSENT_INLINE_LAMBDA { a.rows[k] = a.rows[k] + b.rows[k]; });
  return a;
}
template <class T> CROSSENT_INLINE void put_sum(double* to, double* lo, index blocks, index count, const lane_sum<T>& s) {
  if constexpr (sizeof(T) == 4) {
    put<T>(to, blocks, count, s.rows);
  } else {
    put<T>(to, blocks, count, &s.rows[0].hi);
    put<T>(lo, blocks, count, &s.rows[0].lo);
  }
}
// Lanes l, l + step, .. by the binary tree over l and l + 4, l + 2, l + 1. Those from `count` on are 0, and left out.
template <int l, int step, int count, class F> CROSSENT_INLINE auto tree_of_lanes(const F& lane) {
  if constexpr (step == 8) return lane(l);
  else if constexpr (l + step >= count) return tree_of_lanes<l, 2 * step, count>(lane);
  else return tree_of_lanes<l, 2 * step, count>(lane) + tree_of_lanes<l + step, 2 * step, count>(lane);
}
// One sum per row.
template <class T, int count = 8, class F> CROSSENT_INLINE lane_sum<T> add_lanes(F lane) {
  return tree_of_lanes<0, 1, count>(lane);
}

// The terms of one of 8 class lanes; of floats, of lanes l and l + 8. A row in each lane of a pack.
template <class T> struct class_lane;
template <> struct class_lane<float> {
  pack<float> lower, upper;
};
template <> struct class_lane<double> {
  doubles terms;
};
CROSSENT_INLINE class_lane<float> operator+(class_lane<float> a, class_lane<float> b) {
  return {a.lower + b.lower, a.upper + b.upper};
}
CROSSENT_INLINE class_lane<double> operator+(class_lane<double> a, class_lane<double> b) { return {a.terms + b.terms}; }
CROSSENT_INLINE lane_sum<float> accumulated(class_lane<float> a) {
  const halves rows = widen(a.lower + a.upper);
  return {{rows.lower, rows.upper}};
}
CROSSENT_INLINE lane_sum<double> accumulated(class_lane<double> a) { return {{exact(a.terms)}}; }
CROSSENT_INLINE lane_sum<double> accumulated(class_lane<double> a, class_lane<double> b) {
  return {{two_sum(a.terms, b.terms)}};
}
CROSSENT_INLINE lane_sum<double> operator+(const lane_sum<double>& a, class_lane<double> b) { return {{a.rows[0] + b.terms}}; }

// The terms of a group of `count` packs of classes in lane l. e: a pack per class.
template <int count, class T> CROSSENT_INLINE lane_sum<T> sum_class_lane(const T* e, index l) {
  constexpr index lanes = pack<T>::lanes;
  return sum_of_group<T, count>([&](index j) CROSSENT_INLINE_LAMBDA {
    const T* at = e + (l + j * lanes) * lanes;
    if constexpr (sizeof(T) == 4) return class_lane<T>{load<T>(at), load<T>(at + 8 * lanes)};
    else return class_lane<T>{load<T>(at)};
  });
}
// The sums of a tile: for each of 8 class lanes, one accumulator per row.
template <class T> struct tile_sums {
  lane_sum<T> lane[8];
};
// The terms of n classes, up to a group, added as the definition of a row wants it; of the first group, put there.
template <class T> CROSSENT_ONCE void add_classes(tile_sums<T>& s, T* e, index n, bool first) {
  constexpr index lanes = pack<T>::lanes;
  with_group_size((n + lanes - 1) / lanes, [&](auto size) {
    for (index i = n; i < decltype(size)::value * lanes; ++i) store(e + i * lanes, set1<T>(0));
    for (index l = 0; l < 8; ++l) {
      const lane_sum<T> sum = sum_class_lane<decltype(size)::value>(e, l);
      s.lane[l] = first ? sum : s.lane[l] + sum;
    }
  });
}
template <class T> CROSSENT_INLINE lane_sum<T> add_lanes(const tile_sums<T>& s) {
  return add_lanes<T>([&](int l) CROSSENT_INLINE_LAMBDA { return s.lane[l]; });
}

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
  tile_maximum<T> m;
  m.x = x;
  m.max = set1(-constants<T>::infinity);
  m.group = set1<T>(0);
  const auto visit = [&](auto see) CROSSENT_INLINE_LAMBDA {
    for (index c = 0, g = 0; c < n; c += group_classes, ++g) {
      const index end = n - c < group_classes ? n : c + group_classes;
      pack<T> of_group = set1(-constants<T>::infinity);
      for (index i = c; i < end; ++i) {
        const char* at = x.data + i * x.stride;
        const pack<T> v = load<T>(at);
        of_group = larger(v, of_group);
        look(i, v);
        see(i, at, v);
      }
      if (g > 0) m.group = select(m.max < of_group, set1(static_cast<T>(g)), m.group);
      m.max = larger(of_group, m.max);
    }
  };
  if (x.stride == pack_bytes) {
    visit([](index, const char*, pack<T>) CROSSENT_INLINE_LAMBDA {});
  } else if (x.stride % 4096 == 0) {
    // Lines a power of two apart share one set of each cache. They would not be there for the second look, and of more lines
    // than a set has, the last push out the first: so they are asked for in the reverse order of their use.
    const char* ahead = x.data + (n - 1) * x.stride + tiles_ahead * pack_bytes;
    visit([&](index i, const char*, pack<T> v) CROSSENT_INLINE_LAMBDA {
      prefetch(ahead);
      ahead -= x.stride;
      store(buffer + i * lanes, v);
    });
    m.x = {reinterpret_cast<const char*>(buffer), pack_bytes};
  } else {
    visit([&](index, const char* at, pack<T>) CROSSENT_INLINE_LAMBDA { prefetch(at + tiles_ahead * pack_bytes); });
  }
  m.ref = reference_of(m.max, t);
  m.top = m.max;
  if (!any(m.ref.value != set1<T>(0))) return m;
  for (index c = 0; c < n; ++c)   // far out in some row
    store(buffer + c * lanes, rebased(load<T>(m.x.data + c * m.x.stride), m.ref.value));
  m.x = {reinterpret_cast<const char*>(buffer), pack_bytes};
  m.top = rebased(m.max, m.ref.value);
  return m;
}

// The terms of n classes, up to `count` and a pack, in each row; more terms cost more, and are 0.
template <int count, class T> CROSSENT_INLINE lane_sum<T> add_few_classes(T* e, index n) {
  constexpr index lanes = pack<T>::lanes;
  for (index i = n; i < count; ++i) store(e + i * lanes, set1<T>(0));
  return add_lanes<T, count == 16 ? 8 : count>([&](int l) CROSSENT_INLINE_LAMBDA {
    if constexpr (count == 16) {
      return sum_class_lane<1>(e, l);
    } else {
      const per_row_doubles<T> rows(load<T>(e + l * lanes));
      lane_sum<T> s;
      each<lane_sum<T>::packs>([&](int k) CROSSENT_INLINE_LAMBDA { s.rows[k] = accumulator_of<T>(rows.part[k]); });
      return s;
    }
  });
}

// Of rows that are one group of classes: the sum of the terms without the maximum; returns how often that is there.
// keep(c, e_c) sees every term. e: room for a group.
template <class T, temperature how, class F>
CROSSENT_INLINE pack<T> sum_only_group(const tile_maximum<T>& m, index n, const inverse_temperature& t, T* e, lane_sum<T>& sum,
                                       F keep) {
  const exponential<T, how> term(set1(bias<T>) - m.ref.exponent, t);
  const pack<T> zero = set1<T>(0), one = set1<T>(1);
  pack<T> others = zero;
  for (index c = 0; c < n; ++c) {
    const pack<T> v = load<T>(m.x.data + c * m.x.stride), e_c = term(v);
    const mask<T> is_other = v != m.top;
    keep(c, e_c);
    others = select(is_other, others + one, others);
    store(e + c * pack<T>::lanes, select(is_other, e_c, zero));
  }
  if (n > pack<T>::lanes) {   // in line, the temporaries of the trees would take 80 KB of stack
    tile_sums<T> sums;
    add_classes(sums, e, n, true);
    sum = add_lanes(sums);
  } else if (n > 8) {
    sum = add_few_classes<16>(e, n);
  } else if (n > 4) {
    sum = add_few_classes<8>(e, n);
  } else if (n > 2) {
    sum = add_few_classes<4>(e, n);
  } else {
    sum = add_few_classes<2>(e, n);
  }
  return set1(static_cast<T>(n)) - others;
}

template <class T, temperature how>
CROSSENT_INLINE void statistics_over_rows(const source& rows, index row, index count, class_range r, bool only_block,
                                          const inverse_temperature& s, const block_statistics& out, index entry, index blocks,
                                          T* buffer) {
  constexpr index lanes = pack<T>::lanes, group_classes = group_packs * lanes;
  tile<T> x = load_tile(rows, row, r, buffer);
  if (rows.without != nullptr) x = without_listed(rows, row, count, r, x, buffer, -constants<T>::infinity);
  const tile_maximum<T> m = maximum_of_tile(x, r.n, s, buffer, [](index, pack<T>) {});
  T* const exponentials = out.exponentials != nullptr ? static_cast<T*>(out.exponentials) + row * r.n : nullptr;
  alignas(pack_bytes) T e[group_classes * lanes];
  lane_sum<T> sum_all, sum_without_max;
  pack<T> max_count = set1<T>(0);
  if (only_block && r.n <= group_classes) {
    max_count = sum_only_group<T, how>(m, r.n, s, e, sum_without_max, [&](index c, pack<T> e_c) CROSSENT_INLINE_LAMBDA {
      if (exponentials != nullptr) store(exponentials + c * lanes, e_c);
    });
  } else {
    const exponential<T, how> term(set1(bias<T>) - m.ref.exponent, s);
    const pack<T> zero = set1<T>(0), one = set1<T>(1);
    const auto logit = [&](index c) { return load<T>(m.x.data + c * m.x.stride); };
    tile_sums<T> all, without_max;
    for (index c = 0, g = 0; c < r.n; c += group_classes, ++g) {
      const index n = r.n - c < group_classes ? r.n - c : group_classes;
      // A row whose maximum is in another group compares with NaN: nothing is equal.
      const pack<T> here = select(m.group == set1(static_cast<T>(g)), m.top, set1(constants<T>::nan));
      for (index i = 0; i < n; ++i) store(e + i * lanes, term(logit(c + i)));
      if (!only_block) add_classes(all, e, n, c == 0);
      for (index i = 0; i < n; ++i) {
        const pack<T> v = logit(c + i), e_c = load<T>(e + i * lanes);
        max_count = max_count + select(v == here, one, zero);
        if (exponentials != nullptr) store(exponentials + (c + i) * lanes, e_c);
        store(e + i * lanes, select(v != here, e_c, zero));
      }
      add_classes(without_max, e, n, c == 0);
    }
    if (!only_block) sum_all = add_lanes(all);
    sum_without_max = add_lanes(without_max);
  }
  put_sum<T>(out.sum_without_max + entry, out.sum_without_max_lo + entry, blocks, count, sum_without_max);
  if (!only_block) put_sum<T>(out.sum_all + entry, out.sum_all_lo + entry, blocks, count, sum_all);
  put<T>(out.max + entry, blocks, count, m.max);
  put<T>(out.reference + entry, blocks, count, m.ref.value);
  put<T>(out.exponent + entry, blocks, count, m.ref.exponent);
  put<T>(out.max_count + entry, blocks, count, max_count);
}

}  // namespace
}  // namespace crossent
