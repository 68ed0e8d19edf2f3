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

// The same as hi + lo of one sign: of floats both from the number, of doubles `lo` from a second one. So the products of both with
// 0 have one sign, too: that of a product which is small enough to vanish.
template <class T, class O> CROSSENT_INLINE double_double<pack<T>> per_row(const double* v, const double* lo, index row, O o) {
  double_double<pack<T>> number{per_row<T>(v, row, o), set1<T>(0)};
  if constexpr (sizeof(T) == 8) {
    number.lo = per_row<T>(lo, row, o);
  } else if constexpr (O::lanes_over_rows) {
    const halves hi = widen(number.hi);
    number.lo =
        narrow({cut<9>(hi.lower, load<double>(v + row) - hi.lower), cut<9>(hi.upper, load<double>(v + row + 8) - hi.upper)});
  } else {
    const doubles hi = set1(static_cast<double>(number.hi.r[0][0]));
    number.lo = set1(static_cast<T>(cut<9>(hi, set1(v[row]) - hi).r[0][0]));
  }
  const pack<T> zero = set1<T>(0);
  number.lo = select(number.lo == number.lo, number.lo, zero);  // of an infinite number
  const mask<T> differ = ((zero < number.hi) & (number.lo < zero)) | ((number.hi < zero) & (zero < number.lo));
  const pack<T> nearer_zero = from_bits<T>(to_bits<T>(number.hi) + ~typename pack<T>::uint{0});
  number.lo = select(differ, number.lo + (number.hi - nearer_zero), number.lo);
  number.hi = select(differ, nearer_zero, number.hi);
  number.lo = select(number.lo == zero, select(number.hi < zero, -zero, zero), number.lo);
  return number;
}

// hi + lo in all lanes.
template <class T> CROSSENT_INLINE double_double<pack<T>> pair_of(double v, double v_lo = 0) {
  const T hi = static_cast<T>(v);
  const double lo = (v - static_cast<double>(hi)) + v_lo;
  return {set1(hi), set1(lo == lo ? static_cast<T>(lo) : T(0))};  // NaN of an infinite one
}

// The weights of n classes from c on, or that of class c in every lane (lanes over rows).
template <class T, class O> CROSSENT_INLINE pack<T> weights(const void* weight, index c, index n, O) {
  if (weight == nullptr) return set1<T>(1);
  const char* w = static_cast<const char*>(weight) + c * size_of<T>;
  if constexpr (O::lanes_over_rows) return set1(load_one<T>(w));
  else return n == pack<T>::lanes ? load<T>(w) : load_partial<T>(w, n, T(0));
}

// Light terms and entries are of a pack, in line for every pack of a whole group. Heavy ones are of up to a group, in line once:
// they go through its packs step by step, as their chain of operations is longer than a processor looks ahead.
enum class terms { light, heavy };

template <class T> CROSSENT_ONCE pack<T> load_part(const char* from, index n) { return load_partial<T>(from, n, T(0)); }
template <class T> CROSSENT_ONCE void store_part(char* to, index n, pack<T> p) { store_partial(to, n, p); }
// The first n numbers of a pack, at most all; 0 in the other lanes.
template <class T> CROSSENT_INLINE pack<T> load_pack(const char* from, index n) {
  return n >= pack<T>::lanes ? load<T>(from) : load_part<T>(from, n);
}

// ---- Writing ---------------------------------------------------------------------------------------------------------

// out = entry(x, c, n) with x[k] a pack of source k, of the classes c .. c + n - 1 of one row (lanes over classes), or of class
// c of a tile of rows (lanes over rows). make(row, orientation) gives the entry function of a row, or of the tile that starts
// there. A heavy one is entry(x, c, n, out), with x[j] the packs of n classes from c on: as many to a pack as it has lanes, or one.
template <class T, int arrays, terms weight = terms::light, class Make>
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
      const auto put = [&](index c, pack<T> v) CROSSENT_INLINE_LAMBDA {
        char* at = y.data + c * y.stride;
        if (streams) {
          stream(at, v);
        } else {
          prefetch_to_write(at + tiles_ahead * pack_bytes);
          store(at, v);
        }
      };
      if constexpr (weight == terms::heavy) {
        for (index c = 0; c < r.n; c += group_packs) {
          const index n = r.n - c < group_packs ? r.n - c : group_packs;
          pack<T> x[group_packs][arrays], out_of_group[group_packs];
          for (index j = 0; j < n; ++j)
            for (int k = 0; k < arrays; ++k) x[j][k] = load<T>(t[k].data + (c + j) * t[k].stride);
          entry(x, r.begin + c, n, out_of_group);
          for (index j = 0; j < n; ++j) put(c + j, out_of_group[j]);
        }
      } else {
        for (index c = 0; c < r.n; ++c) {
          pack<T> x[arrays];
          each<arrays>([&](int k) { x[k] = load<T>(t[k].data + c * t[k].stride); });
          put(c, entry(x, r.begin + c, 1));
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

// The entries of a range of classes to y, around the caches where `streams`: those before the first whole line of memory, then
// whole packs, then the last ones.
template <class T> CROSSENT_INLINE index entries_before_line(const char* y, bool streams) {
  return streams ? static_cast<index>(-reinterpret_cast<std::uintptr_t>(y) % pack_bytes) / size_of<T> : 0;
}
template <class T, int arrays, class Entry>
CROSSENT_INLINE void write_light(const Entry& entry, const char* const (&from)[arrays], const char* next, index next_stride,
                                 char* y, class_range r, bool streams) {
  constexpr index lanes = pack<T>::lanes;
  const auto whole = [&](index c) CROSSENT_INLINE_LAMBDA {
    pack<T> x[arrays];
    each<arrays>([&](int k) CROSSENT_INLINE_LAMBDA {
      x[k] = load<T>(from[k] + c * size_of<T>);
      prefetch(from[k] + c * size_of<T> + 8 * pack_bytes);  // from the second cache
    });
    if (next != nullptr) prefetch_to_second_cache(next + (r.begin + c) * next_stride);
    return entry(x, r.begin + c, lanes);
  };
  index part = entries_before_line<T>(y, streams);
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
}
template <class T, int arrays, class Entry>
CROSSENT_INLINE void write_heavy(const Entry& entry, const char* const (&from)[arrays], char* y, class_range r, bool streams) {
  constexpr index lanes = pack<T>::lanes, most = group_packs * lanes;
  index n = entries_before_line<T>(y, streams);
  if (n == 0) n = most;
  for (index c = 0; c < r.n; c += n, n = most) {
    if (n > r.n - c) n = r.n - c;
    pack<T> x[group_packs][arrays], out[group_packs];
    for (index j = 0; j * lanes < n; ++j)
      for (int k = 0; k < arrays; ++k) x[j][k] = load_pack<T>(from[k] + c * size_of<T> + j * pack_bytes, n - j * lanes);
    entry(x, r.begin + c, n, out);
    char* at = y + c * size_of<T>;
    for (index j = 0; j * lanes < n; ++j, at += pack_bytes) {
      if (n - j * lanes < lanes) store_part(at, n - j * lanes, out[j]);
      else if (streams) stream(at, out[j]);
      else store(at, out[j]);
    }
  }
}

template <class T, terms weight, int arrays, class Make>
CROSSENT_INLINE void write_over_classes(const source (&s)[arrays], const sink& to, index begin, index end, Make make) {
  alignas(pack_bytes) T in[arrays][block_classes];
  alignas(pack_bytes) T out[block_classes];
  for (index i = 0; i < s[0].count; ++i) {
    if (s[0].rows[i] == nullptr) {
      write_zeros(to, i, begin, end, s[0].classes, out);
      continue;
    }
    const auto entry = make(i, orientation<false>{});
    const char* const next = s[0].next == nullptr ? nullptr : s[0].next + i * s[0].next_row_stride;
    for (index b = begin; b < end; ++b) {
      const class_range r = block_range(b, s[0].classes);
      char* y = open_classes(to, i, r, out);
      const char* from[arrays];
      for (int k = 0; k < arrays; ++k) from[k] = load_classes(s[k], i, r, in[k]);
      const bool streams = to.stream && is_direct<T>(to) && reinterpret_cast<std::uintptr_t>(y) % size_of<T> == 0;
      if (streams) prefetch_to_write(y + r.n * size_of<T>);  // the line that the last entries share with the next row
      if constexpr (weight == terms::light) write_light<T>(entry, from, next, s[0].next_class_stride, y, r, streams);
      else write_heavy<T>(entry, from, y, r, streams);
      close_classes(to, i, r, out);
    }
  }
}

template <class T, int arrays, terms weight = terms::light, class Make>
CROSSENT_INLINE void write_blocks(const source (&s)[arrays], const sink& to, index begin, index end, Make make) {
  if (s[0].lanes_over_rows) write_over_rows<T, arrays, weight>(s, to, begin, end, make);
  else write_over_classes<T, weight>(s, to, begin, end, make);
}

}  // namespace
}  // namespace crossent
