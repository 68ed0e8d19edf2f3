// Sums over the classes of a block, in both lane orientations and over any number of arrays; beside them an entry per class.
#pragma once

#include "kernels/walk/write.hpp"

namespace crossent {
namespace {

// The terms of a class, one for each of several sums.
template <class T, int sums> struct parts {
  pack<T> v[sums];
};
template <class T, int sums> CROSSENT_INLINE parts<T, sums> operator+(parts<T, sums> a, const parts<T, sums>& b) {
  each<sums>([&](int k) { a.v[k] = a.v[k] + b.v[k]; });
  return a;
}

// The same in accumulators.
template <class T, int sums> struct part_sums {
  accumulator<T> v[sums];
};
template <class T, int sums> CROSSENT_INLINE part_sums<T, sums> accumulated(const parts<T, sums>& a) {
  part_sums<T, sums> s;
  each<sums>([&](int k) { s.v[k] = accumulated(a.v[k]); });
  return s;
}
template <int sums> CROSSENT_INLINE part_sums<double, sums> accumulated(const parts<double, sums>& a,
                                                                        const parts<double, sums>& b) {
  part_sums<double, sums> s;
  each<sums>([&](int k) { s.v[k] = two_sum(a.v[k], b.v[k]); });
  return s;
}
template <int sums> CROSSENT_INLINE part_sums<double, sums> operator+(part_sums<double, sums> a, const parts<double, sums>& b) {
  each<sums>([&](int k) { a.v[k] = a.v[k] + b.v[k]; });
  return a;
}
template <class T, int sums> CROSSENT_INLINE part_sums<T, sums> operator+(part_sums<T, sums> a, const part_sums<T, sums>& b) {
  each<sums>([&](int k) { a.v[k] = a.v[k] + b.v[k]; });
  return a;
}

// Up to eight terms, added as those of a group; a missing one is 0.
template <class T, int sums, class F> CROSSENT_INLINE part_sums<T, sums> add_group(F term, index count) {
  parts<T, sums> zero;
  for (int k = 0; k < sums; ++k) zero.v[k] = set1<T>(0);
  return with_group_size(count, [&](auto size) {
    return sum_of_group<T, decltype(size)::value>([&](index j) { return j < count ? term(j) : zero; });
  });
}

// Sums without entries: every step does nothing.
template <class T> struct no_entries {
  CROSSENT_INLINE_MEMBER void open_tile_of(index, class_range) {}
  CROSSENT_INLINE_MEMBER void close_tile(index, index, class_range) {}
};

// The rows of a sink, if it has any, with lanes over rows. Terms call put().
template <class T> struct entries {
  const sink& to;
  T* buffer;         // a tile
  char* at = nullptr;
  index stride = 0;  // from pack to pack
  bool direct = false;

  CROSSENT_INLINE_MEMBER void open_tile_of(index row, class_range r) {
    if (to.rows == nullptr) return;
    const output_tile<T> y = open_tile(to, row, r, buffer);
    stride = y.stride;
    direct = y.direct;
    at = y.data - r.begin * stride;
  }
  CROSSENT_INLINE_MEMBER void close_tile(index row, index count, class_range r) {
    if (at != nullptr) close_one_tile({at + r.begin * stride, stride, direct}, to, row, count, r, buffer);
  }
  CROSSENT_INLINE_MEMBER void put(index c, pack<T> v) const {
    if (at != nullptr) store(at + c * stride, v);
  }
};

// The groups of a block of a row from pack g on, given to put().
template <class T, int sums, terms weight, int arrays, class Term, class Put>
CROSSENT_INLINE void put_rolled(const Term& term, const char* const (&from)[arrays], class_range r, index g, const Put& put) {
  constexpr index lanes = pack<T>::lanes;
  const index packs = (r.n + lanes - 1) / lanes;
  for (; g < packs; g += group_packs) {
    parts<T, sums> group[group_packs];
    const index n = packs - g < group_packs ? packs - g : group_packs, left = r.n - (g + n - 1) * lanes;
    const index last = left < lanes ? left : lanes;   // classes of the last pack
    pack<T> x[group_packs][arrays];
    for (index j = 0; j < n; ++j)
      for (int k = 0; k < arrays; ++k) x[j][k] = load_pack<T>(from[k] + (g + j) * pack_bytes, j < n - 1 ? lanes : last);
    if constexpr (weight == terms::heavy) term(x, n, group);
    else
      for (index j = 0; j < n; ++j) group[j] = term(x[j], r.begin + (g + j) * lanes, j < n - 1 ? lanes : last);
    if (last < lanes)
      for (int k = 0; k < sums; ++k)
        group[n - 1].v[k] = select(first_lanes<T>(last) != set1<T>(0), group[n - 1].v[k], set1<T>(0));
    put(add_group<T, sums>([&](index j) { return group[j]; }, n));
  }
}

// out[k][row * blocks + block] = sum over the classes of term(x, c, n).v[k], in the order of the row's definition.
// make(row, block, orientation) gives the term function.
template <class T, int sums, terms weight, int arrays, class Make>
CROSSENT_INLINE void sum_over_classes(const source (&s)[arrays], index begin, index end, double* const (&out)[sums],
                                      Make make) {
  constexpr index lanes = pack<T>::lanes;
  const index blocks = block_count(s[0].classes);
  alignas(pack_bytes) T in[arrays][block_classes];
  for (index i = 0; i < s[0].count; ++i) {
    if (s[0].rows[i] == nullptr) continue;
    for (index b = begin; b < end; ++b) {
      const class_range r = block_range(b, s[0].classes);
      const auto term = make(i, b, orientation<false>{});
      const char* from[arrays];
      for (int k = 0; k < arrays; ++k) from[k] = load_classes(s[k], i, r, in[k]);
      part_sums<T, sums> total{};
      const auto put = [&](const part_sums<T, sums>& group) { total = total + group; };
      index g = 0;
      if constexpr (weight == terms::light)
        for (; (g + group_packs) * lanes <= r.n; g += group_packs)
          put(sum_of_group<T, group_packs>([&](index j) CROSSENT_INLINE_LAMBDA {
            pack<T> x[arrays];
            each<arrays>([&](int k) CROSSENT_INLINE_LAMBDA {
              x[k] = load<T>(from[k] + (g + j) * pack_bytes);
              if (k > 0) prefetch_ahead(from[k] + (g + j) * pack_bytes);  // the logits are in the cache since their statistics
            });
            return term(x, r.begin + (g + j) * lanes, lanes);
          }));
      put_rolled<T, sums, weight>(term, from, r, g, put);
      for (int k = 0; k < sums; ++k) out[k][i * blocks + b] = sum_lanes(total.v[k]);
    }
  }
}

// The same; make(row, block, orientation, entries) is called while the entries of the tile are open.
template <class T, int sums, terms weight, int arrays, class Make, class Entries>
CROSSENT_INLINE void sum_over_rows(const source (&s)[arrays], index begin, index end, double* const (&out)[sums], Make make,
                                   Entries& to) {
  constexpr index lanes = pack<T>::lanes, group_classes = group_packs * lanes;
  static_assert(tile_classes % group_classes == 0);
  const index blocks = block_count(s[0].classes);
  alignas(pack_bytes) T in[arrays][tile_classes * lanes];
  for_each_tile<T>(s[0], [&](index i, index count) {
    for (index b = begin; b < end; ++b) {
      tile_sums<T> total[sums];
      const index first = b * block_classes, last = end_class(b + 1, s[0].classes);
      for (index from = first; from < last; from += tile_classes) {
        const class_range r = next_range(from, last);
        to.open_tile_of(i, r);
        const auto term = make(i, b, orientation<true>{}, to);
        tile<T> t[arrays];
        for (int k = 0; k < arrays; ++k) t[k] = arrays > 1 ? load_one_tile(s[k], i, r, in[k]) : load_tile(s[k], i, r, in[k]);
        for (index g = 0; g < r.n; g += group_classes) {
          const index n = r.n - g < group_classes ? r.n - g : group_classes;
          alignas(pack_bytes) T group[sums][group_classes * lanes];
          if constexpr (weight == terms::heavy) {
            for (index c = 0; c < n; c += group_packs) {
              const index m = n - c < group_packs ? n - c : group_packs;
              pack<T> x[group_packs][arrays];
              parts<T, sums> v[group_packs];
              for (index j = 0; j < m; ++j)
                for (int k = 0; k < arrays; ++k) x[j][k] = load<T>(t[k].data + (g + c + j) * t[k].stride);
              term(x, m, v);
              for (index j = 0; j < m; ++j)
                for (int k = 0; k < sums; ++k) store(group[k] + (c + j) * lanes, v[j].v[k]);
            }
          } else {
            for (index c = 0; c < n; ++c) {
              pack<T> x[arrays];
              each<arrays>([&](int k) { x[k] = load<T>(t[k].data + (g + c) * t[k].stride); });
              const parts<T, sums> v = term(x, r.begin + g + c, 1);
              for (int k = 0; k < sums; ++k) store(group[k] + c * lanes, v.v[k]);
            }
          }
          for (int k = 0; k < sums; ++k) add_classes(total[k], group[k], n, r.begin + g == first);
        }
        to.close_tile(i, count, r);
      }
      for (int k = 0; k < sums; ++k) {
        pack<double> rows[2];
        const lane_sum<T> sum = add_lanes(total[k]);
        each<lane_sum<T>::packs>([&](int half) { rows[half] = rounded(sum.rows[half]); });
        put<T>(out[k] + i * blocks + b, blocks, count, rows);
      }
    }
  });
}

template <class T, int sums, terms weight = terms::light, int arrays, class Make>
CROSSENT_INLINE void sum_blocks(const source (&s)[arrays], index begin, index end, double* const (&out)[sums], Make make) {
  if (!s[0].lanes_over_rows) return sum_over_classes<T, sums, weight>(s, begin, end, out, make);
  no_entries<T> none;
  sum_over_rows<T, sums, weight>(
      s, begin, end, out, [&](index row, index block, auto o, no_entries<T>) { return make(row, block, o); }, none);
}

// Lanes over rows, with entries for `to`: make(row, block, orientation, entries) gets a copy of the `entries` that takes them.
template <class T, int sums, int arrays, class Make>
CROSSENT_INLINE void sum_and_write_over_rows(const source (&s)[arrays], const sink& to, index begin, index end,
                                             double* const (&out)[sums], Make make) {
  alignas(pack_bytes) T buffer[tile_classes * pack<T>::lanes];
  entries<T> e{to, buffer};
  sum_over_rows<T, sums, terms::light>(s, begin, end, out, make, e);
}

}  // namespace
}  // namespace crossent
