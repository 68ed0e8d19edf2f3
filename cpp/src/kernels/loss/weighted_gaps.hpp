// Losses with many coefficients: the weighted gaps to the maximum, summed over a block, and the argmax.
#pragma once

#include "kernels/walk/row_sums.hpp"
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

// ---- Class probabilities ---------------------------------------------------------------------------------------------

// sum w q with all the digits that are there: the gradient is A p - b, and A is this sum. Products of floats are exact.
template <class T> struct mass_sums;
template <> struct mass_sums<double> : product_sums<double> {};
template <> struct mass_sums<float> {
  static constexpr float missing = 0;
  static constexpr int numbers = 1;
  doubles lane[2];

  double_double<double> over_classes(int) const { return {sum_lanes(lane[0] + lane[1]), 0}; }
  double_double<doubles> over_rows(int, int half) const { return exact(lane[half]); }
};
CROSSENT_INLINE void add_mass(mass_sums<double>& s, doubles q, doubles w) { add_product(s, q, w); }
CROSSENT_INLINE void add_mass(mass_sums<float>& s, pack<float> q, pack<float> w) {
  const halves a = widen(q), b = widen(w);
  s.lane[0] = fma(a.lower, b.lower, s.lane[0]);
  s.lane[1] = fma(a.upper, b.upper, s.lane[1]);
}
CROSSENT_INLINE mass_sums<double> operator+(const mass_sums<double>& a, const mass_sums<double>& b) {
  return {{{a.lane[0] + b.lane[0]}}};
}
CROSSENT_INLINE mass_sums<float> operator+(const mass_sums<float>& a, const mass_sums<float>& b) {
  return {{a.lane[0] + b.lane[0], a.lane[1] + b.lane[1]}};
}

// Class weights as an array of rows.
struct weight_rows {
  const char* rows[batch_rows + 16];

  template <class T> source as_source(const void* weight, const source& like) {
    for (const char*& row : rows) row = static_cast<const char*>(weight);
    return {rows, like.count, like.classes, size_of<T>, native<T>, like.lanes_over_rows, false, nullptr};
  }
};

CROSSENT_ONCE void sum_masses(const source& q, const void* weight, index begin, index end, const block_sums& out) {
  if (weight == nullptr)
    return sum_rows<double, mass_sums<double>, 1>({q}, begin, end, out, [](index, auto) {
      return [](mass_sums<double>& s, const doubles* v) CROSSENT_INLINE_LAMBDA { add_mass(s, v[0], set1(1.0)); };
    });
  weight_rows w;
  sum_rows<double, mass_sums<double>, 2>({q, w.as_source<double>(weight, q)}, begin, end, out, [](index, auto) {
    return [](mass_sums<double>& s, const doubles* v) CROSSENT_INLINE_LAMBDA { add_mass(s, v[0], v[1]); };
  });
}

// Of floats the gaps are added as terms are, and the masses in the same order in float64, where their products are exact.
struct gap_and_mass {
  pack<float> gap;
  doubles mass;
};
struct gap_and_mass_sums {
  doubles gap, mass;
};
CROSSENT_INLINE gap_and_mass operator+(const gap_and_mass& a, const gap_and_mass& b) {
  return {a.gap + b.gap, a.mass + b.mass};
}
CROSSENT_INLINE gap_and_mass_sums accumulated(const gap_and_mass& a) { return {accumulated(a.gap), a.mass}; }
CROSSENT_INLINE gap_and_mass_sums operator+(const gap_and_mass_sums& a, const gap_and_mass_sums& b) {
  return {a.gap + b.gap, a.mass + b.mass};
}
template <bool weighted>
CROSSENT_INLINE gap_and_mass gap_and_mass_of(pack<float> gap, pack<float> q, pack<float> w) {
  const halves a = widen(q), b = widen(w);
  if constexpr (weighted) return {weighted_gap(gap, w * q), fma(a.lower, b.lower, a.upper * b.upper)};
  else return {weighted_gap(gap, q), a.lower + a.upper};
}

template <bool weighted>
void sum_gaps_and_masses(const source& x, const source& q, const void* weight, index begin, index end, const double* max,
                         const probability_sums& out) {
  constexpr index lanes = pack<float>::lanes, group_classes = group_packs * lanes;
  const index blocks = block_count(x.classes);
  alignas(pack_bytes) float in[2][block_classes];
  for (index i = 0; i < x.count; ++i) {
    if (x.rows[i] == nullptr) continue;
    for (index b = begin; b < end; ++b) {
      const class_range r = block_range(b, x.classes);
      const pack<float> top = block_reference<float>(max, i, b, blocks, orientation<false>{});
      const char *from_x = load_classes(x, i, r, in[0]), *from_q = load_classes(q, i, r, in[1]);
      gap_and_mass_sums total{};
      index c = 0;
      for (; c + group_classes <= r.n; c += group_classes)
        total = total + sum_of_group<float, group_packs>([&](index j) CROSSENT_INLINE_LAMBDA {
                  const index at = c + j * lanes;
                  prefetch_ahead(from_q + at * size_of<float>);
                  return gap_and_mass_of<weighted>(top - load<float>(from_x + at * size_of<float>),
                                                   load<float>(from_q + at * size_of<float>),
                                                   weights<float>(weight, r.begin + at, lanes, orientation<false>{}));
                });
      const index packs = (r.n - c + lanes - 1) / lanes;
      if (packs > 0)
        total = total + with_group_size(packs, [&](auto size) {
                  return sum_of_group<float, decltype(size)::value>([&](index j) {
                    const index at = c + j * lanes, n = r.n - at < lanes ? r.n - at : lanes;
                    if (n <= 0) return gap_and_mass{set1(0.0f), set1(0.0)};
                    return gap_and_mass_of<weighted>(top - load_pack<float>(from_x + at * size_of<float>, n),
                                                     load_pack<float>(from_q + at * size_of<float>, n),
                                                     weights<float>(weight, r.begin + at, n, orientation<false>{}));
                  });
                });
      out.weighted_gap_to_max[i * blocks + b] = sum_lanes(total.gap);
      out.mass[i * blocks + b] = sum_lanes(total.mass);
    }
  }
}

// Masses with lanes over rows.
CROSSENT_ONCE void sum_masses_over_rows(const source& q, const void* weight, index begin, index end, double* out) {
  constexpr index lanes = pack<float>::lanes;
  static_assert(tile_classes == group_packs * lanes);
  const index blocks = block_count(q.classes);
  alignas(pack_bytes) float in[tile_classes * lanes];
  for_each_tile<float>(q, [&](index i, index count) {
    for (index b = begin; b < end; ++b) {
      tile_sums<float> sums{};
      const index last = end_class(b + 1, q.classes);
      for (index from = b * block_classes; from < last; from += tile_classes) {
        const class_range r = next_range(from, last);
        const tile<float> t = load_tile(q, i, r, in);
        const auto mass_of = [&](index c) {
          if (c >= r.n) return halves{set1(0.0), set1(0.0)};
          const halves a = widen(load<float>(t.data + c * t.stride));
          const doubles w = set1(static_cast<double>(weights<float>(weight, r.begin + c, 1, orientation<true>{}).r[0][0]));
          return halves{a.lower * w, a.upper * w};
        };
        with_group_size((r.n + lanes - 1) / lanes, [&](auto size) {
          for (index l = 0; l < 8; ++l)
            sums.lane[l] = sums.lane[l] + tree<decltype(size)::value>([&](index j) {
                             const halves lower = mass_of(l + j * lanes), upper = mass_of(l + 8 + j * lanes);
                             return lane_sum<float>{{lower.lower + upper.lower, lower.upper + upper.upper}};
                           });
        });
      }
      const lane_sum<float> sum = add_lanes(sums);
      put<float>(out + i * blocks + b, blocks, count, sum.rows);
    }
  });
}

// Of the block with the maximum of each row. max: of the rows.
template <class T>
void sum_masses_without_max(const source& x, const source& q, const void* weight, index begin, index end, const double* max,
                            const index* max_block, const block_sums& out) {
  weight_rows w;
  const source of_weights = w.as_source<T>(weight, x);
  const index blocks = block_count(x.classes), step = x.lanes_over_rows ? pack<T>::lanes : 1;
  for (index i = 0; i < x.count; i += step) {
    const index n = x.count - i < step ? x.count - i : step;
    transform_of_rows transform;
    if (x.transform != nullptr) transform = *x.transform;
    if (transform.temperature != nullptr) transform.temperature += i;
    const auto from = [&](source s) {
      s.rows += i;
      s.count = n;
      if (s.transform != nullptr) s.transform = &transform;
      if (s.tile_strides != nullptr) s.tile_strides += i / pack<T>::lanes;
      return s;
    };
    for (index b = begin; b < end; ++b) {
      bool has_max = false;
      for (index k = i; k < i + n; ++k) has_max |= max_block[k] == b;
      if (!has_max) continue;
      const block_sums to{{out.hi[0] + i * blocks}, {out.lo[0] + i * blocks}};
      const auto make = [=](auto weighted) {
        return [=](index row, auto o) {
          const pack<T> top = per_row<T>(max, i + row, o);
          return [=](mass_sums<T>& s, const pack<T>* v) CROSSENT_INLINE_LAMBDA {
            pack<T> w = set1<T>(1);
            if constexpr (decltype(weighted)::value) w = v[2];
            add_mass(s, select(v[1] != top, v[0], set1<T>(0)), w);
          };
        };
      };
      if (weight == nullptr) sum_rows<T, mass_sums<T>, 2>({from(q), from(x)}, b, b + 1, to, make(std::false_type{}));
      else sum_rows<T, mass_sums<T>, 3>({from(q), from(x), from(of_weights)}, b, b + 1, to, make(std::true_type{}));
    }
  }
}

template <class T>
void sum_probabilities(const source& x, const source& q, const void* weight, index begin, index end, const double* max,
                       const index* max_block, const probability_sums& out) {
  const index blocks = block_count(x.classes);
  if (sizeof(T) == 4 && !x.lanes_over_rows) {
    if (weight == nullptr) sum_gaps_and_masses<false>(x, q, weight, begin, end, max, out);
    else sum_gaps_and_masses<true>(x, q, weight, begin, end, max, out);
  } else {
    sum_blocks<T, 1>({x, q}, begin, end, {out.weighted_gap_to_max}, [&](index row, index block, auto o) {
      const pack<T> top = block_reference<T>(max, row, block, blocks, o);
      return [=](const pack<T>* v, index c, index n) CROSSENT_INLINE_LAMBDA {
        const pack<T> b = weight == nullptr ? v[1] : weights<T>(weight, c, n, o) * v[1];
        return parts<T, 1>{{weighted_gap(top - v[0], b)}};
      };
    });
    if constexpr (sizeof(T) == 4) sum_masses_over_rows(q, weight, begin, end, out.mass);
    else sum_masses(q, weight, begin, end, {{out.mass}, {out.mass_lo}});
  }
  double row_max[batch_rows + 16] = {};
  for (index i = 0; i < x.count; ++i) row_max[i] = max[i * blocks + max_block[i]];
  sum_masses_without_max<T>(x, q, weight, begin, end, row_max, max_block, {{out.mass_without_max}, {out.mass_without_max_lo}});
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
