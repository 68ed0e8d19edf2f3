// Walks a batch of rows, in both lane orientations and over any number of arrays, and writes an entry per class. (Sums over the
// classes of a block: sums.hpp; of a row: row_sums.hpp.)
#pragma once

#include "kernels/walk/statistics.hpp"

namespace crossent {
namespace {

// Lanes over classes (false) or over rows (true), as a type.
template <bool value> struct orientation {
  static constexpr bool lanes_over_rows = value;
};

// The number of a row as a pack: a row per lane (lanes over rows), or the same in all lanes (lanes over classes).
template <class T, class O> CROSSENT_INLINE pack<T> per_row(const double* v, index row, O) {
  if constexpr (O::lanes_over_rows) return load_as<T>(v + row);
  else return set1(static_cast<T>(v[row]));
}

// The weights of n classes from c on, or that of class c in every lane (lanes over rows).
template <class T, class O> CROSSENT_INLINE pack<T> weights(const void* weight, index c, index n, O) {
  if (weight == nullptr) return set1<T>(1);
  const char* w = static_cast<const char*>(weight) + c * size_of<T>;
  if constexpr (O::lanes_over_rows) return set1(load_one<T>(w));
  else return n == pack<T>::lanes ? load<T>(w) : load_partial<T>(w, n, T(0));
}

// ---- Writing ---------------------------------------------------------------------------------------------------------

// out = entry(x, c, n) with x[k] a pack of source k, of the classes c .. c + n - 1 of one row (lanes over classes), or of class
// c of a tile of rows (lanes over rows). make(row, orientation) gives the entry function of a row, or of the tile that starts
// there.
template <class T, int arrays, class Make>
CROSSENT_INLINE void write_over_rows(const source (&s)[arrays], const sink& to, index begin, index end, Make make) {
  constexpr index lanes = pack<T>::lanes;
  alignas(pack_bytes) T in[arrays][tile_classes * lanes];
  alignas(pack_bytes) T out[tile_classes * lanes];
  const index last = end_class(end, s[0].classes);
  for_each_tile<T>(s[0], [&](index i, index count) {
    const auto entry = make(i, orientation<true>{});
    for (index from = begin * block_classes; from < last; from += tile_classes) {
      const class_range r = next_range(from, last);
      tile<T> t[arrays];
      for (int k = 0; k < arrays; ++k) t[k] = arrays > 1 ? load_one_tile(s[k], i, r, in[k]) : load_tile(s[k], i, r, in[k]);
      const output_tile<T> y = open_tile(to, i, r, out);
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
      arrays > 1 ? close_one_tile(y, to, i, count, r, out) : close_tile(y, to, i, count, r, out);
    }
  });
}

// Of a row that is not read.
template <class T>
CROSSENT_ONCE void write_zeros(const sink& to, index row, index begin, index end, index classes, T* buffer) {
  for (index b = begin; b < end; ++b) {
    const class_range r = block_range(b, classes);
    char* y = open_classes(to, row, r, buffer);
    for (index c = 0; c < r.n; ++c) store_one(y + c * size_of<T>, T(0));
    close_classes(to, row, r, buffer);
  }
}

template <class T, int arrays, class Make>
CROSSENT_INLINE void write_over_classes(const source (&s)[arrays], const sink& to, index begin, index end, Make make) {
  constexpr index lanes = pack<T>::lanes;
  alignas(pack_bytes) T in[arrays][block_classes];
  alignas(pack_bytes) T out[block_classes];
  for (index i = 0; i < s[0].count; ++i) {
    if (s[0].rows[i] == nullptr) {
      write_zeros(to, i, begin, end, s[0].classes, out);
      continue;
    }
    const auto entry = make(i, orientation<false>{});
    for (index b = begin; b < end; ++b) {
      const class_range r = block_range(b, s[0].classes);
      char* y = open_classes(to, i, r, out);
      const char* from[arrays];
      for (int k = 0; k < arrays; ++k) from[k] = load_classes(s[k], i, r, in[k]);
      const auto whole = [&](index c) {
        pack<T> x[arrays];
        each<arrays>([&](int k) {
          x[k] = load<T>(from[k] + c * size_of<T>);
          prefetch(from[k] + c * size_of<T> + 8 * pack_bytes);  // from the second cache
        });
        return entry(x, r.begin + c, lanes);
      };
      const bool streams = to.stream && is_direct<T>(to) && reinterpret_cast<std::uintptr_t>(y) % size_of<T> == 0;
      if (streams) prefetch_to_write(y + r.n * size_of<T>);  // the line that the last entries share with the next row
      // Entries before the first whole line of memory, then whole packs, then the last entries.
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
      close_classes(to, i, r, out);
    }
  }
}

template <class T, int arrays, class Make>
CROSSENT_INLINE void write_blocks(const source (&s)[arrays], const sink& to, index begin, index end, Make make) {
  if (s[0].lanes_over_rows) write_over_rows<T>(s, to, begin, end, make);
  else write_over_classes<T>(s, to, begin, end, make);
}

}  // namespace
}  // namespace crossent
