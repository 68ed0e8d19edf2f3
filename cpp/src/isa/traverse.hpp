// The ways through a group of rows, in both lane orientations and over any number of arrays: one that writes an entry per
// class, one that sums over the classes of a block, and one that sums over whole rows with all the digits that are there.
#pragma once

#include "statistics.hpp"

namespace crossent {
namespace {

// Lanes along the classes (false) or across rows (true), as a type.
template <bool value> struct orientation {
  static constexpr bool across = value;
};

// A per-row number as a pack: one per lane (across), or the same in all (along).
template <class T, class O> CROSSENT_INLINE pack<T> per_row(const double* v, index row, O) {
  if constexpr (O::across) return load_as<T>(v + row);
  else return set1(static_cast<T>(v[row]));
}

// The weights of n classes from c on, or that of class c in every lane (across).
template <class T, class O> CROSSENT_INLINE pack<T> weights(const void* weight, index c, index n, O) {
  if (weight == nullptr) return set1<T>(1);
  const char* w = static_cast<const char*>(weight) + c * size_of<T>;
  if constexpr (O::across) return set1(load_one<T>(w));
  else return n == pack<T>::lanes ? load<T>(w) : load_partial<T>(w, n, T(0));
}

// ---- Writing ---------------------------------------------------------------------------------------------------------

// out = entry(x, c, n) with x[k] a pack of source k, of the classes c .. c + n - 1 of one row (along), or of class c of a
// tile of rows (across). make(row, orientation) gives the entry function of a row, or of the tile that starts there.
template <class T, int arrays, class Make>
CROSSENT_INLINE void write_across(const source (&s)[arrays], const sink& to, index begin, index end, Make make) {
  constexpr index lanes = pack<T>::lanes;
  alignas(pack_bytes) T in[arrays][block_classes * lanes];
  alignas(pack_bytes) T out[block_classes * lanes];
  for_each_tile<T>(s[0], [&](index i, index count) {
    const auto entry = make(i, orientation<true>{});
    for (index b = begin; b < end; ++b) {
      const run r = block_run(b, s[0].classes);
      tile<T> t[arrays];
      for (int k = 0; k < arrays; ++k) t[k] = load_across(s[k], i, r, in[k]);
      const open_tile<T> y = open_across(to, i, count, r, out);
      const bool streams = to.stream && y.direct && (reinterpret_cast<std::uintptr_t>(y.data) | y.stride) % pack_bytes == 0;
      for (index c = 0; c < r.n; ++c) {
        pack<T> x[arrays];
        each<arrays>([&](int k) { x[k] = load<T>(t[k].data + c * t[k].stride); });
        const pack<T> v = entry(x, r.begin + c, 1);
        char* at = y.data + c * y.stride;
        if (streams) {
          stream(at, v);
        } else {
          prefetch_to_write(at + tiles_ahead * pack_bytes);
          store(at, v);
        }
      }
      close_across(y, to, i, count, r, out);
    }
  });
}

template <class T, int arrays, class Make>
CROSSENT_INLINE void write_along(const source (&s)[arrays], const sink& to, index begin, index end, Make make) {
  constexpr index lanes = pack<T>::lanes;
  alignas(pack_bytes) T in[arrays][block_classes];
  alignas(pack_bytes) T out[block_classes];
  for (index i = 0; i < s[0].count; ++i) {
    const auto entry = make(i, orientation<false>{});
    for (index b = begin; b < end; ++b) {
      const run r = block_run(b, s[0].classes);
      char* y = open_along(to, i, r, out);
      if (s[0].rows[i] == nullptr) {
        for (index c = 0; c < r.n; ++c) store_one(y + c * size_of<T>, T(0));
        close_along(to, i, r, out);
        continue;
      }
      const char* from[arrays];
      for (int k = 0; k < arrays; ++k) from[k] = load_along(s[k], i, r, in[k]);
      const auto whole = [&](index c) {
        pack<T> x[arrays];
        each<arrays>([&](int k) { x[k] = load<T>(from[k] + c * size_of<T>); });
        return entry(x, r.begin + c, lanes);
      };
      const bool streams = to.stream && direct_along<T>(to) && reinterpret_cast<std::uintptr_t>(y) % size_of<T> == 0;
      if (streams) prefetch_to_write(y + r.n * size_of<T>);   // the line that the last entries share with what follows
      // Entries before the first whole line of memory, then whole packs, then what is left.
      index part = streams ? static_cast<index>(-reinterpret_cast<std::uintptr_t>(y) % pack_bytes) / size_of<T> : 0;
      for (index c = 0; c < r.n; part = r.n - c) {
        if (part > r.n) part = r.n;
        if (part > 0) {
          pack<T> x[arrays];
          for (int k = 0; k < arrays; ++k) x[k] = load_partial<T>(from[k] + c * size_of<T>, part, T(0));
          store_partial(y + c * size_of<T>, part, entry(x, r.begin + c, part));
          c += part;
        }
        if (streams) {
          for (; c + lanes <= r.n; c += lanes) stream(y + c * size_of<T>, whole(c));
        } else {
          for (; c + lanes <= r.n; c += lanes) store(y + c * size_of<T>, whole(c));
        }
      }
      close_along(to, i, r, out);
    }
  }
}

template <class T, int arrays, class Make>
CROSSENT_INLINE void write_blocks(const source (&s)[arrays], const sink& to, index begin, index end, Make make) {
  if (s[0].across) write_across<T>(s, to, begin, end, make);
  else write_along<T>(s, to, begin, end, make);
}

// ---- Summing ---------------------------------------------------------------------------------------------------------

// What a class adds to each of several sums.
template <class T, int sums> struct parts {
  pack<T> v[sums];
};
template <class T, int sums> CROSSENT_INLINE parts<T, sums> operator+(parts<T, sums> a, const parts<T, sums>& b) {
  each<sums>([&](int k) { a.v[k] = a.v[k] + b.v[k]; });
  return a;
}

// Up to eight terms, added by the tree of a group; a missing one is 0.
template <class T, int sums, class F> CROSSENT_INLINE parts<T, sums> add_group(F term, index count) {
  parts<T, sums> zero;
  for (int k = 0; k < sums; ++k) zero.v[k] = set1<T>(0);
  return with_group_size(count, [&](auto size) {
    return tree<decltype(size)::value>([&](index j) { return j < count ? term(j) : zero; });
  });
}

// out[k][row * blocks + block] = sum over the classes of term(x, c, n).v[k], in the order of the row's definition.
// make(row, block, orientation) gives the term function.
template <class T, int sums, int arrays, class Make>
CROSSENT_INLINE void sum_along(const source (&s)[arrays], index begin, index end, double* const (&out)[sums], Make make) {
  constexpr index lanes = pack<T>::lanes;
  const index blocks = (s[0].classes + block_classes - 1) / block_classes;
  alignas(pack_bytes) T in[arrays][block_classes];
  for (index i = 0; i < s[0].count; ++i) {
    if (s[0].rows[i] == nullptr) continue;
    for (index b = begin; b < end; ++b) {
      const run r = block_run(b, s[0].classes);
      const auto term = make(i, b, orientation<false>{});
      const char* from[arrays];
      for (int k = 0; k < arrays; ++k) from[k] = load_along(s[k], i, r, in[k]);
      const index packs = (r.n + lanes - 1) / lanes;
      accumulator<T> total[sums] = {};
      const auto put = [&](const parts<T, sums>& group) {
        each<sums>([&](int k) { total[k].put(total[k], group.v[k]); });
      };
      index g = 0;
      for (; (g + group_packs) * lanes <= r.n; g += group_packs)
        put(tree<group_packs>([&](index j) {
          pack<T> x[arrays];
          each<arrays>([&](int k) {
            x[k] = load<T>(from[k] + (g + j) * pack_bytes);
            prefetch(from[k] + (g + j) * pack_bytes + block_classes * size_of<T>);
          });
          return term(x, r.begin + (g + j) * lanes, lanes);
        }));
      if (g < packs) {
        const auto at = [&](index j) {
          const index c = (g + j) * lanes, left = r.n - c;
          pack<T> x[arrays];
          if (left >= lanes) {
            each<arrays>([&](int k) { x[k] = load<T>(from[k] + c * size_of<T>); });
            return term(x, r.begin + c, lanes);
          }
          for (int k = 0; k < arrays; ++k) x[k] = load_partial<T>(from[k] + c * size_of<T>, left, T(0));
          parts<T, sums> t = term(x, r.begin + c, left);
          for (int k = 0; k < sums; ++k) t.v[k] = if_equal(first_lanes<T>(left), set1<T>(0), set1<T>(0), t.v[k]);
          return t;
        };
        put(add_group<T, sums>(at, packs - g));
      }
      for (int k = 0; k < sums; ++k) out[k][i * blocks + b] = total[k].sum_lanes_of(total[k]);
    }
  }
}

template <class T, int sums, int arrays, class Make>
CROSSENT_INLINE void sum_across(const source (&s)[arrays], index begin, index end, double* const (&out)[sums], Make make) {
  constexpr index lanes = pack<T>::lanes, group_classes = group_packs * lanes;
  const index blocks = (s[0].classes + block_classes - 1) / block_classes;
  alignas(pack_bytes) T in[arrays][block_classes * lanes];
  for_each_tile<T>(s[0], [&](index i, index count) {
    for (index b = begin; b < end; ++b) {
      const run r = block_run(b, s[0].classes);
      const auto term = make(i, b, orientation<true>{});
      tile<T> t[arrays];
      for (int k = 0; k < arrays; ++k) t[k] = load_across(s[k], i, r, in[k]);
      tile_sums<T> total[sums];
      for (index g = 0; g < r.n; g += group_classes) {
        const index n = r.n - g < group_classes ? r.n - g : group_classes;
        pack<T> terms[sums][group_classes];
        for (index c = 0; c < n; ++c) {
          pack<T> x[arrays];
          each<arrays>([&](int k) { x[k] = load<T>(t[k].data + (g + c) * t[k].stride); });
          const parts<T, sums> v = term(x, r.begin + g + c, 1);
          for (int k = 0; k < sums; ++k) terms[k][c] = v.v[k];
        }
        for (int k = 0; k < sums; ++k) add_terms(total[k], terms[k], n, g == 0);
      }
      for (int k = 0; k < sums; ++k) {
        pack<double> rows[2];
        add_lanes(total[k], rows);
        put<T>(out[k] + i * blocks + b, blocks, count, rows);
      }
    }
  });
}

template <class T, int sums, int arrays, class Make>
CROSSENT_INLINE void sum_blocks(const source (&s)[arrays], index begin, index end, double* const (&out)[sums], Make make) {
  if (s[0].across) sum_across<T, sums>(s, begin, end, out, make);
  else sum_along<T, sums>(s, begin, end, out, make);
}

// ---- Summing whole rows ----------------------------------------------------------------------------------------------

// out[i] = sum over all classes of row i. make(row, orientation) gives add(sums, x), which adds a pack of each array to a
// `Sums`: class c is in lane c mod W of it. The classes that a block lacks to whole packs are Sums::missing in all arrays.
template <class T, class Sums, int arrays, class Make>
CROSSENT_INLINE void sum_rows(const source (&s)[arrays], double* out, Make make) {
  constexpr index lanes = pack<T>::lanes;
  const index blocks = (s[0].classes + block_classes - 1) / block_classes;
  if (s[0].across) {
    alignas(pack_bytes) T in[arrays][block_classes * lanes];
    for_each_tile<T>(s[0], [&](index i, index count) {
      const auto add = make(i, orientation<true>{});
      Sums sums[lanes] = {};
      for (index b = 0; b < blocks; ++b) {
        const run r = block_run(b, s[0].classes);
        tile<T> t[arrays];
        for (int k = 0; k < arrays; ++k) t[k] = load_across(s[k], i, r, in[k]);
        for (index c = 0; c < r.n; ++c) {
          pack<T> x[arrays];
          for (int k = 0; k < arrays; ++k) x[k] = load<T>(t[k].data + c * t[k].stride);
          add(sums[c % lanes], x);
        }
      }
      for (index half = lanes / 2; half > 0; half /= 2)
        for (index l = 0; l < half; ++l) sums[l].join(sums[l], sums[l + half]);
      alignas(pack_bytes) double total[16];
      sums[0].put(sums[0], total);
      for (index l = 0; l < count; ++l) out[i + l] = total[l];
    });
    return;
  }
  alignas(pack_bytes) T in[arrays][block_classes];
  for (index i = 0; i < s[0].count; ++i) {
    const auto add = make(i, orientation<false>{});
    Sums sums{};
    for (index b = 0; b < blocks; ++b) {
      const run r = block_run(b, s[0].classes);
      const char* from[arrays];
      for (int k = 0; k < arrays; ++k) from[k] = load_along(s[k], i, r, in[k]);
      for (index c = 0; c < r.n; c += lanes) {
        pack<T> x[arrays];
        for (int k = 0; k < arrays; ++k) {
          const char* at = from[k] + c * size_of<T>;
          x[k] = r.n - c >= lanes ? load<T>(at) : load_partial<T>(at, r.n - c, Sums::missing);
        }
        add(sums, x);
      }
    }
    out[i] = sums.sum_lanes_of(sums);
  }
}

// A sum of products in float64: those of float32 are exact, those of float64 have their rounding errors added.
template <class T> struct product_sums {
  static constexpr T missing = 0;
  static constexpr int halves = pack<T>::lanes / 8;
  accumulator<double> lane[halves];

  CROSSENT_INLINE void add(product_sums& s, pack<T> x, pack<T> y) {
    if constexpr (sizeof(T) == 4) {
      const two_packs a = widen(x), b = widen(y);
      s.lane[0] = s.lane[0].add(s.lane[0], a.low * b.low);
      s.lane[1] = s.lane[1].add(s.lane[1], a.high * b.high);
    } else {
      const pack<double> p = x * y;
      s.lane[0] = s.lane[0].add(s.lane[0], p);
      s.lane[0].low = s.lane[0].low + product_error(x, y, p);
    }
  }
  CROSSENT_INLINE void join(product_sums& a, const product_sums& b) {
    for (int k = 0; k < halves; ++k) a.lane[k] = a.lane[k].join(a.lane[k], b.lane[k]);
  }
  CROSSENT_INLINE void put(const product_sums& s, double* to) {
    for (int k = 0; k < halves; ++k) store(to + 8 * k, s.lane[k].total(s.lane[k]));
  }
  CROSSENT_INLINE double sum_lanes_of(product_sums s) {
    if constexpr (halves == 2) s.lane[0] = s.lane[0].join(s.lane[0], s.lane[1]);
    return s.lane[0].sum_lanes_of(s.lane[0]);
  }
};

}  // namespace
}  // namespace crossent
