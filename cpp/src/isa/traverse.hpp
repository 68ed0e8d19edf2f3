// The two ways through a group of rows, in both lane orientations and over any number of arrays: one that writes an entry
// per class, one that sums over the classes of a block.
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
      for (int k = 0; k < arrays; ++k) t[k] = arrays > 1 ? load_one_across(s[k], i, r, in[k]) : load_across(s[k], i, r, in[k]);
      const open_tile<T> y = open_across(to, i, count, r, out);
      for (index c = 0; c < r.n; ++c) {
        pack<T> x[arrays];
        for (int k = 0; k < arrays; ++k) x[k] = load<T>(t[k].data + c * t[k].stride);
        store(y.data + c * y.stride, entry(x, r.begin + c, 1));
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
        for (int k = 0; k < arrays; ++k) x[k] = load<T>(from[k] + c * size_of<T>);
        return entry(x, r.begin + c, lanes);
      };
      const index full = r.n / lanes * lanes, rest = r.n - full;
      if (to.stream && reinterpret_cast<std::uintptr_t>(y) % pack_bytes == 0 && direct_along<T>(to)) {
        for (index c = 0; c < full; c += lanes) stream(y + c * size_of<T>, whole(c));
      } else {
        for (index c = 0; c < full; c += lanes) store(y + c * size_of<T>, whole(c));
      }
      if (rest > 0) {
        pack<T> x[arrays];
        for (int k = 0; k < arrays; ++k) x[k] = load_partial<T>(from[k] + full * size_of<T>, rest, T(0));
        store_partial(y + full * size_of<T>, rest, entry(x, r.begin + full, rest));
      }
      close_along(to, i, r, out);
    }
  }
  if (to.stream) stream_fence();
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
  for (int k = 0; k < sums; ++k) a.v[k] = a.v[k] + b.v[k];
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

// What writes an entry per class beside the sums: nothing.
template <class T> struct no_entries {
  CROSSENT_INLINE_MEMBER void open_row(index, run) {}
  CROSSENT_INLINE_MEMBER void close_row(index, run) {}
  CROSSENT_INLINE_MEMBER void skip_row(index, index, index, index) {}
  CROSSENT_INLINE_MEMBER void open_tile_of(index, index, run) {}
  CROSSENT_INLINE_MEMBER void close_tile(index, index, run) {}
  CROSSENT_INLINE_MEMBER void fence() {}
};

// The rows of a sink, if it has any. Terms call put().
template <class T> struct entries {
  const sink& to;
  T* buffer;         // a block of rows
  char* at = nullptr;
  index stride = 0;  // from pack to pack
  bool direct = false, streamed = false;

  CROSSENT_INLINE_MEMBER void open_row(index row, run r) {
    if (to.rows == nullptr) return;
    stride = size_of<T>;
    char* y = open_along(to, row, r, buffer);
    streamed = to.stream && reinterpret_cast<std::uintptr_t>(y) % pack_bytes == 0 && direct_along<T>(to);
    at = y - r.begin * stride;
  }
  CROSSENT_INLINE_MEMBER void close_row(index row, run r) {
    if (at != nullptr) close_along(to, row, r, buffer);
  }
  CROSSENT_INLINE_MEMBER void skip_row(index row, index begin, index end, index classes) {   // zeros
    for (index b = begin; b < end && to.rows != nullptr; ++b) {
      const run r = block_run(b, classes);
      char* y = open_along(to, row, r, buffer);
      for (index c = 0; c < r.n; ++c) store_one(y + c * size_of<T>, T(0));
      close_along(to, row, r, buffer);
    }
  }
  CROSSENT_INLINE_MEMBER void open_tile_of(index row, index count, run r) {
    if (to.rows == nullptr) return;
    const open_tile<T> y = open_across(to, row, count, r, buffer);
    stride = y.stride;
    direct = y.direct;
    at = y.data - r.begin * stride;
  }
  CROSSENT_INLINE_MEMBER void close_tile(index row, index count, run r) {
    if (at != nullptr) close_across({at + r.begin * stride, stride, direct}, to, row, count, r, buffer);
  }
  CROSSENT_INLINE_MEMBER void fence() {
    if (to.stream) stream_fence();
  }
  // Entries from class c on: n of a row, or one of each row of a tile.
  template <class O> CROSSENT_INLINE_MEMBER void put(index c, index n, pack<T> v, O) const {
    if (at == nullptr) return;
    char* y = at + c * stride;
    if (O::across) store(y, v);
    else if (n < pack<T>::lanes) store_partial(y, n, v);
    else if (streamed) stream(y, v);
    else store(y, v);
  }
};

// out[k][row * blocks + block] = sum over the classes of term(x, c, n).v[k], in the order of the row's definition.
// make(row, block, orientation, entries) gives the term function; the entries of the block are open while it is called.
// Light terms are in line for every pack of a group, heavy ones once.
enum class terms { light, heavy };

template <class T, int sums, terms weight, int arrays, class Make, class Entries>
CROSSENT_INLINE void sum_along(const source (&s)[arrays], index begin, index end, double* const (&out)[sums], Make make,
                               Entries& to) {
  constexpr index lanes = pack<T>::lanes;
  const index blocks = (s[0].classes + block_classes - 1) / block_classes;
  alignas(pack_bytes) T in[arrays][block_classes];
  for (index i = 0; i < s[0].count; ++i) {
    if (s[0].rows[i] == nullptr) {
      to.skip_row(i, begin, end, s[0].classes);
      continue;
    }
    for (index b = begin; b < end; ++b) {
      const run r = block_run(b, s[0].classes);
      to.open_row(i, r);
      const auto term = make(i, b, orientation<false>{}, to);
      const char* from[arrays];
      for (int k = 0; k < arrays; ++k) from[k] = load_along(s[k], i, r, in[k]);
      const index packs = (r.n + lanes - 1) / lanes;
      accumulator<T> total[sums] = {};
      const auto put = [&](const parts<T, sums>& group) {
        for (int k = 0; k < sums; ++k) total[k].put(total[k], group.v[k]);
      };
      index g = 0;
      for (; weight == terms::heavy && g < packs; g += group_packs) {
        parts<T, sums> group[group_packs];
        const index n = packs - g < group_packs ? packs - g : group_packs;
        for (index j = 0; j < n; ++j) {
          const index c = (g + j) * lanes, left = r.n - c;
          pack<T> x[arrays];
          for (int k = 0; k < arrays; ++k)
            x[k] = left >= lanes ? load<T>(from[k] + c * size_of<T>) : load_partial<T>(from[k] + c * size_of<T>, left, T(0));
          group[j] = term(x, r.begin + c, left < lanes ? left : lanes);
          if (left >= lanes) continue;
          for (int k = 0; k < sums; ++k)
            group[j].v[k] = if_equal(first_lanes<T>(left), set1<T>(0), set1<T>(0), group[j].v[k]);
        }
        put(add_group<T, sums>([&](index j) { return group[j]; }, n));
      }
      for (; weight == terms::light && (g + group_packs) * lanes <= r.n; g += group_packs)
        put(tree<group_packs>([&](index j) {
          pack<T> x[arrays];
          for (int k = 0; k < arrays; ++k) x[k] = load<T>(from[k] + (g + j) * pack_bytes);
          return term(x, r.begin + (g + j) * lanes, lanes);
        }));
      if (weight == terms::light && g < packs) {
        const auto at = [&](index j) {
          const index c = (g + j) * lanes, left = r.n - c;
          pack<T> x[arrays];
          if (left >= lanes) {
            for (int k = 0; k < arrays; ++k) x[k] = load<T>(from[k] + c * size_of<T>);
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
      to.close_row(i, r);
    }
  }
  to.fence();
}

template <class T, int sums, int arrays, class Make, class Entries>
CROSSENT_INLINE void sum_across(const source (&s)[arrays], index begin, index end, double* const (&out)[sums], Make make,
                                Entries& to) {
  constexpr index lanes = pack<T>::lanes, group_classes = group_packs * lanes;
  const index blocks = (s[0].classes + block_classes - 1) / block_classes;
  alignas(pack_bytes) T in[arrays][block_classes * lanes];
  for_each_tile<T>(s[0], [&](index i, index count) {
    for (index b = begin; b < end; ++b) {
      const run r = block_run(b, s[0].classes);
      to.open_tile_of(i, count, r);
      const auto term = make(i, b, orientation<true>{}, to);
      tile<T> t[arrays];
      for (int k = 0; k < arrays; ++k) t[k] = arrays > 1 ? load_one_across(s[k], i, r, in[k]) : load_across(s[k], i, r, in[k]);
      tile_sums<T> total[sums];
      for (index g = 0; g < r.n; g += group_classes) {
        const index n = r.n - g < group_classes ? r.n - g : group_classes;
        pack<T> terms[sums][group_classes];
        for (index c = 0; c < n; ++c) {
          pack<T> x[arrays];
          for (int k = 0; k < arrays; ++k) x[k] = load<T>(t[k].data + (g + c) * t[k].stride);
          const parts<T, sums> v = term(x, r.begin + g + c, 1);
          for (int k = 0; k < sums; ++k) terms[k][c] = v.v[k];
        }
        for (int k = 0; k < sums; ++k) add_terms(total[k], terms[k], n, g == 0);
      }
      for (int k = 0; k < sums; ++k) {
        pack<double> rows[2];
        total[k].total(total[k], rows);
        put<T>(out[k] + i * blocks + b, blocks, count, rows);
      }
      to.close_tile(i, count, r);
    }
  });
}

template <class T, int sums, terms weight = terms::light, int arrays, class Make>
CROSSENT_INLINE void sum_blocks(const source (&s)[arrays], index begin, index end, double* const (&out)[sums], Make make) {
  no_entries<T> none;
  const auto alone = [&](index row, index block, auto o, no_entries<T>) { return make(row, block, o); };
  if (s[0].across) sum_across<T, sums>(s, begin, end, out, alone, none);
  else sum_along<T, sums, weight>(s, begin, end, out, alone, none);
}

// The same with entries for `to`: make(row, block, orientation, entries) is given a copy of what takes them.
template <class T, int sums, bool only_along, int arrays, class Make>
CROSSENT_INLINE void sum_and_write(const source (&s)[arrays], const sink& to, index begin, index end,
                                   double* const (&out)[sums], Make make) {
  if (!only_along && s[0].across) {
    alignas(pack_bytes) T buffer[block_classes * pack<T>::lanes];
    entries<T> e{to, buffer};
    sum_across<T, sums>(s, begin, end, out, make, e);
  } else {
    alignas(pack_bytes) T buffer[block_classes];
    entries<T> e{to, buffer};
    sum_along<T, sums, terms::heavy>(s, begin, end, out, make, e);
  }
}

}  // namespace
}  // namespace crossent
