// Load and store policies: a block of rows as the kernels want it, where it lies or packed on chip.
//
// Along: up to 1024 classes of one row, contiguous. Across: one row per lane, a pack per class. Rows that do not lie so
// (strided, of another dtype, unaligned lanes) are packed into a buffer of one tile; kernels see no difference.
#pragma once

#include "core/kernels.hpp"
#include "kernels/simd/transpose.hpp"
#include "kernels/walk/logit_transform.hpp"

namespace crossent {
namespace {

template <class T> constexpr dtype native = sizeof(T) == 4 ? dtype::float32 : dtype::float64;

// The classes [begin, begin + n) of a row.
struct class_range {
  index begin, n;
};

CROSSENT_INLINE class_range block_range(index block, index classes) {
  const index begin = block * block_classes;
  return {begin, classes - begin < block_classes ? classes - begin : block_classes};
}

// ---- Conversion ------------------------------------------------------------------------------------------------------

template <class T, class S, class Convert>
CROSSENT_INLINE void read_each(const char* from, index stride, index n, T* __restrict to, index to_step, Convert convert) {
  for (; n >= 16; n -= 16, from += 16 * stride, to += 16 * to_step)
    for (index i = 0; i < 16; ++i) to[i * to_step] = static_cast<T>(convert(load_one<S>(from + i * stride)));
  for (index i = 0; i < n; ++i) to[i * to_step] = static_cast<T>(convert(load_one<S>(from + i * stride)));
}

// n numbers `stride` bytes apart, as T.
template <class T> void gather(const char* from, index stride, dtype type, index n, T* to, index to_step,
                               bool round_to_float = false) {
  const auto same = [](auto v) { return v; };
  if (round_to_float && type == dtype::float64)
    return read_each<T, double>(from, stride, n, to, to_step, [](double v) { return static_cast<float>(v); });
  switch (type) {
    case dtype::float32:
      if (stride == 4 && to_step == 1) read_each<T, float>(from, 4, n, to, 1, same);   // known steps make vector code
      else read_each<T, float>(from, stride, n, to, to_step, same);
      return;
    case dtype::float64:
      if (stride == 8 && to_step == 1) read_each<T, double>(from, 8, n, to, 1, same);
      else read_each<T, double>(from, stride, n, to, to_step, same);
      return;
    case dtype::bfloat16:
      if (stride == 2 && to_step == 1) read_each<T, std::uint16_t>(from, 2, n, to, 1, from_bfloat16);
      else read_each<T, std::uint16_t>(from, stride, n, to, to_step, from_bfloat16);
      return;
    case dtype::float16:
      if constexpr (sizeof(T) == 4) {
        if (stride == 2 && to_step == 1)
          for (; n >= 16; n -= 16, from += 32, to += 16) store(to, load_float16(from));
      }
      read_each<T, std::uint16_t>(from, stride, n, to, to_step, from_float16);
  }
}

template <class S, class T, class Convert>
CROSSENT_INLINE void write_each(const T* from, index from_step, index n, char* __restrict to, index stride, Convert convert) {
  for (; n >= 16; n -= 16, from += 16 * from_step, to += 16 * stride)
    for (index i = 0; i < 16; ++i) store_one(to + i * stride, static_cast<S>(convert(from[i * from_step])));
  for (index i = 0; i < n; ++i) store_one(to + i * stride, static_cast<S>(convert(from[i * from_step])));
}

// The way back. A half result is the float32 result, rounded.
template <class T> void scatter(const T* from, index from_step, index n, char* to, index stride, dtype type) {
  const auto same = [](T v) { return v; };
  const auto bfloat = [](T v) { return to_bfloat16(static_cast<float>(v)); };
  const auto half = [](T v) { return to_float16(static_cast<float>(v)); };
  switch (type) {
    case dtype::float32: write_each<float>(from, from_step, n, to, stride, same); return;
    case dtype::float64: write_each<double>(from, from_step, n, to, stride, same); return;
    case dtype::bfloat16:
      if (stride == 2 && from_step == 1) write_each<std::uint16_t>(from, 1, n, to, 2, bfloat);
      else write_each<std::uint16_t>(from, from_step, n, to, stride, bfloat);
      return;
    case dtype::float16:
      if constexpr (sizeof(T) == 4) {
        if (stride == 2 && from_step == 1)
          for (; n >= 16; n -= 16, to += 32, from += 16) store_float16(to, load<float>(from));
      }
      write_each<std::uint16_t>(from, from_step, n, to, stride, half);
  }
}

// The way back for a range of classes of one row. A sink that streams has whole lines of memory written around the caches.
template <class T> CROSSENT_ONCE void convert_back(const T* from, index n, char* to, const sink& s) {
  const index size = item_size(s.type);
  if (!s.stream || s.class_stride != size) return scatter(from, 1, n, to, s.class_stride, s.type);
  alignas(pack_bytes) char line[block_classes * sizeof(double)];
  scatter(from, 1, n, line, size, s.type);
  const index bytes = n * size, before = static_cast<index>(-reinterpret_cast<std::uintptr_t>(to) % pack_bytes);
  index i = before < bytes ? before : bytes;
  __builtin_memcpy(to, line, static_cast<std::size_t>(i));
  for (; i + pack_bytes <= bytes; i += pack_bytes) stream(to + i, load<float>(line + i));
  __builtin_memcpy(to + i, line + i, static_cast<std::size_t>(bytes - i));
}

// ---- Softcap ---------------------------------------------------------------------------------------------------------

// y times the derivative of the softcap at x; 0 stays, whatever x is: it may be of a row that is not to be read.
CROSSENT_INLINE doubles through_softcap(doubles y, doubles x, doubles softcap) {
  return select(y == set1(0.0), y, y * derivative_of_softcap(x, softcap));
}

// Gradients y of the logits of a row become those of the numbers before their softcap.
CROSSENT_ONCE void multiply_by_softcap_derivative(const source& s, index row, class_range r, double* y) {
  constexpr index lanes = pack<double>::lanes;
  if (s.rows[row] == nullptr) return;
  const doubles softcap = set1(s.transform->softcap);
  alignas(pack_bytes) double x[tile_classes];
  for (index c = 0; c < r.n; c += tile_classes) {
    const index n = r.n - c < tile_classes ? r.n - c : tile_classes;
    gather(s.rows[row] + (r.begin + c) * s.class_stride, s.class_stride, s.type, n, x, 1);
    for (index i = 0; i < n; i += lanes) {
      const index here = n - i < lanes ? n - i : lanes;
      double* const to = y + c + i;
      const doubles from = load_partial<double>(to, here, 0.0);
      store_partial(to, here, through_softcap(from, load_partial<double>(x + i, here, 0.0), softcap));
    }
  }
}
// Of the rows of a tile of up to tile_classes.
CROSSENT_ONCE void multiply_tile_by_softcap_derivative(const source& s, index row, class_range r, double* y) {
  constexpr index lanes = pack<double>::lanes;
  const doubles softcap = set1(s.transform->softcap);
  alignas(pack_bytes) double x[tile_classes * lanes];
  for (index l = 0; l < lanes; ++l)
    gather(s.rows[row + l] + r.begin * s.class_stride, s.class_stride, s.type, r.n, x + l, lanes);
  for (index c = 0; c < r.n * lanes; c += lanes)
    store(y + c, through_softcap(load<double>(y + c), load<double>(x + c), softcap));
}

// ---- Along -----------------------------------------------------------------------------------------------------------

// Whether numbers are taken as they lie, or put there. Logits are transformed, and gradients of a softcap made, in float64.
template <class T> CROSSENT_INLINE bool is_native(const source& s) {
  return s.type == native<T> && !s.round_to_float && (sizeof(T) == 4 || s.transform == nullptr);
}
template <class T> CROSSENT_INLINE bool is_native(const sink& s) {
  return s.type == native<T> && (sizeof(T) == 4 || s.softcapped == nullptr);
}
template <class T, class S> CROSSENT_INLINE bool is_direct(const S& s) {
  return is_native<T>(s) && s.class_stride == size_of<T>;
}

template <class T> CROSSENT_INLINE const char* load_classes(const source& s, index row, class_range r, T* buffer) {
  const char* from = s.rows[row] + r.begin * s.class_stride;
  if (is_direct<T>(s)) return from;
  if (s.class_stride == item_size(s.type))
    for (index at = 0; at < r.n * s.class_stride; at += pack_bytes) prefetch_ahead(from + at);
  gather(from, s.class_stride, s.type, r.n, buffer, 1, s.round_to_float);
  if constexpr (sizeof(T) == 8)
    if (s.transform != nullptr) transform_classes(*s.transform, row, r.begin, r.n, buffer);
  return reinterpret_cast<const char*>(buffer);
}

// Of class c of a row.
inline double transformed_logit(const source& s, index row, index c) {
  double z;
  gather(s.rows[row] + c * s.class_stride, s.class_stride, s.type, 1, &z, 1);
  transform_classes(*s.transform, row, c, 1, &z);
  return z;
}
inline double softcap_derivative(const source& s, index row, index c) {
  double derivative = 1;
  multiply_by_softcap_derivative(s, row, {c, 1}, &derivative);
  return derivative;
}

// The classes of a list that are in a range.
CROSSENT_INLINE class_list listed_in(class_list list, class_range r) {
  const auto first_from = [&](index c) CROSSENT_INLINE_LAMBDA {
    index begin = 0, end = list.count;
    while (begin < end) {
      const index middle = begin + (end - begin) / 2;
      if (list.classes[middle] < c) begin = middle + 1;
      else end = middle;
    }
    return begin;
  };
  const index begin = first_from(r.begin);
  return {list.classes + begin, first_from(r.begin + r.n) - begin};
}

// The classes of a row as they lie at `from`, or, where some of them are left out, in the buffer, with `value` in the place of
// these.
template <class T>
CROSSENT_ONCE const char* without_listed(class_list list, class_range r, const char* from, T* buffer, T value) {
  const class_list listed = listed_in(list, r);
  if (listed.count == 0) return from;
  const char* const to = reinterpret_cast<const char*>(buffer);
  for (index at = 0; from != to && at < r.n * size_of<T>; at += pack_bytes) {
    const index left = r.n - at / size_of<T>;
    prefetch_ahead(from + at);
    if (left >= pack<T>::lanes) store(buffer + at / size_of<T>, load<T>(from + at));
    else store_partial(buffer + at / size_of<T>, left, load_partial<T>(from + at, left, T(0)));
  }
  for (index k = 0; k < listed.count; ++k) buffer[listed.classes[k] - r.begin] = value;
  return to;
}

// Where the kernel writes, and the way from there.
template <class T> CROSSENT_INLINE char* open_classes(const sink& s, index row, class_range r, T* buffer) {
  return is_direct<T>(s) ? s.rows[row] + r.begin * s.class_stride : reinterpret_cast<char*>(buffer);
}
template <class T> CROSSENT_INLINE void close_classes(const sink& s, index row, class_range r, T* buffer) {
  if (is_direct<T>(s)) return;
  if constexpr (sizeof(T) == 8)
    if (s.softcapped != nullptr) multiply_by_softcap_derivative(*s.softcapped, row, r, buffer);
  convert_back(buffer, r.n, s.rows[row] + r.begin * s.class_stride, s);
}

// ---- Across ----------------------------------------------------------------------------------------------------------

template <class T> struct tile {
  const char* data;   // the first pack
  index stride;       // bytes from class to class
};

// Bytes from row to row of the tile at `row`; 0 where they differ, or rows are missing.
template <class T, class S> CROSSENT_INLINE index tile_stride(const S& s, index row) {
  return s.tile_strides == nullptr ? 0 : s.tile_strides[row / pack<T>::lanes];
}

// Tiles whose memory is asked for while one is worked on: as many streams as there are classes, which the processor does
// not follow by itself.
constexpr index tiles_ahead = 4;

// f(line of memory) for those of a tile that far ahead, if its rows follow each other as closely as those of this one.
template <class T, class F> CROSSENT_INLINE void for_each_line_ahead(const char* row, index stride, F f) {
  if (stride > 16 * pack_bytes) return;
  const char* from = row + tiles_ahead * pack<T>::lanes * stride;
  for (index at = 0; at < pack<T>::lanes * stride; at += pack_bytes) f(from + at);
}

template <class T> CROSSENT_INLINE tile<T> load_tile_as_given(const source& s, index row, class_range r, T* buffer) {
  constexpr index lanes = pack<T>::lanes;
  const char* const* rows = s.rows + row;
  const index stride = tile_stride<T>(s, row);
  const tile<T> packed{reinterpret_cast<const char*>(buffer), pack_bytes};
  if (stride == item_size(s.type)) {
    const char* from = rows[0] + r.begin * s.class_stride;
    if (is_native<T>(s)) return {from, s.class_stride};
    for (index i = 0; i < r.n; ++i)
      gather(from + i * s.class_stride, item_size(s.type), s.type, lanes, buffer + i * lanes, 1, s.round_to_float);
    return packed;
  }
  if (is_direct<T>(s) && r.n >= 16 / size_of<T>) {
    for_each_line_ahead<T>(rows[0], stride, [](const char* p) { prefetch(p); });
    rows_to_packs(rows, r.begin, r.n, buffer);
    return packed;
  }
  for (index l = 0; l < lanes; ++l) {
    const char* from = rows[l] + r.begin * s.class_stride;
    if (is_native<T>(s))
      for (index i = 0; i < r.n; ++i) buffer[i * lanes + l] = load_one<T>(from + i * s.class_stride);
    else gather(from, s.class_stride, s.type, r.n, buffer + l, lanes, s.round_to_float);
  }
  return packed;
}

template <class T> CROSSENT_INLINE tile<T> load_tile(const source& s, index row, class_range r, T* buffer) {
  const tile<T> x = load_tile_as_given(s, row, r, buffer);
  if constexpr (sizeof(T) == 8)
    if (s.transform != nullptr) transform_tile(*s.transform, row, r.begin, r.n, buffer);
  return x;
}

// Without those of a list, of a tile of `count` rows.
template <class T>
CROSSENT_ONCE tile<T> without_listed(const source& s, index row, index count, class_range r, tile<T> x, T* buffer, T value) {
  constexpr index lanes = pack<T>::lanes;
  const tile<T> packed{reinterpret_cast<const char*>(buffer), pack_bytes};
  for (index i = 0; x.data != packed.data && i < r.n; ++i) store(buffer + i * lanes, load<T>(x.data + i * x.stride));
  for (index l = 0; l < count; ++l) {
    const class_list listed = listed_in(s.without[row + l], r);
    for (index k = 0; k < listed.count; ++k) buffer[(listed.classes[k] - r.begin) * lanes + l] = value;
  }
  return packed;
}

// Of one of several sources: once in the object.
template <class T> CROSSENT_ONCE tile<T> load_one_tile(const source& s, index row, class_range r, T* buffer) {
  return load_tile(s, row, r, buffer);
}

// A tile to write: `count` rows of it are there, the other lanes are dropped.
template <class T> struct output_tile {
  char* data;
  index stride;
  bool direct;
};
template <class T> CROSSENT_INLINE output_tile<T> open_tile(const sink& s, index row, class_range r, T* buffer) {
  if (is_native<T>(s) && tile_stride<T>(s, row) == size_of<T>)
    return {s.rows[row] + r.begin * s.class_stride, s.class_stride, true};
  return {reinterpret_cast<char*>(buffer), pack_bytes, false};
}
// Rows that follow each other without a gap, and so are whole lines together, transposed on chip and stored around the caches.
// entry(c): the pack of class c; transposed: room for the tile
template <class T, class F> CROSSENT_INLINE bool stream_rows(index n, char* to, index stride, T* transposed, F entry) {
  constexpr index lanes = pack<T>::lanes;
  const bool whole_lines = reinterpret_cast<std::uintptr_t>(to) % pack_bytes == 0;
  if (n > tile_classes || !whole_lines || stride != n * size_of<T>) return false;
  packs_to_rows<T>(n, even_rows<char*>{reinterpret_cast<char*>(transposed), stride}, 0, entry);
  for (index i = 0; i < n; ++i) stream(to + i * pack_bytes, load<T>(transposed + i * lanes));
  return true;
}

template <class T>
CROSSENT_INLINE void close_tile(output_tile<T> t, const sink& s, index row, index count, class_range r, T* buffer) {
  constexpr index lanes = pack<T>::lanes;
  if (t.direct) return;
  if constexpr (sizeof(T) == 8)
    if (s.softcapped != nullptr) multiply_tile_by_softcap_derivative(*s.softcapped, row, r, buffer);
  const index stride = tile_stride<T>(s, row);
  if (stride == item_size(s.type)) {   // of another dtype
    char* to = s.rows[row] + r.begin * s.class_stride;
    for (index i = 0; i < r.n; ++i) scatter(buffer + i * lanes, 1, lanes, to + i * s.class_stride, item_size(s.type), s.type);
    return;
  }
  if (s.type == native<T> && s.class_stride == size_of<T> && r.n >= 16 / size_of<T> && count >= lanes) {
    const auto entry = [&](index c) CROSSENT_INLINE_LAMBDA { return load<T>(buffer + c * lanes); };
    alignas(pack_bytes) T transposed[tile_classes * lanes];
    if (s.stream && stream_rows(r.n, s.rows[row], stride, transposed, entry)) return;
    for_each_line_ahead<T>(s.rows[row], stride, [](const char* p) { prefetch_to_write(p); });
    packs_to_rows<T>(r.n, s.rows + row, r.begin, entry);
    return;
  }
  for (index l = 0; l < count && l < lanes; ++l) {
    char* to = s.rows[row + l] + r.begin * s.class_stride;
    if (s.type == native<T>)
      for (index i = 0; i < r.n; ++i) store_one(to + i * s.class_stride, buffer[i * lanes + l]);
    else scatter(buffer + l, lanes, r.n, to, s.class_stride, s.type);
  }
}

template <class T>
CROSSENT_ONCE void close_one_tile(output_tile<T> t, const sink& s, index row, index count, class_range r, T* buffer) {
  close_tile(t, s, row, count, r, buffer);
}

// A tile of more classes is taken in ranges of tile_classes, for which the stack of a small thread has room.
CROSSENT_INLINE index end_class(index end_block, index classes) {
  return end_block * block_classes < classes ? end_block * block_classes : classes;
}
CROSSENT_INLINE class_range next_range(index c, index last) { return {c, last - c < tile_classes ? last - c : tile_classes}; }

// The tiles of a group: f(first row, rows in it).
template <class T, class F> CROSSENT_INLINE void for_each_tile(const source& s, F f) {
  constexpr index lanes = pack<T>::lanes;
  for (index i = 0; i < s.count; i += lanes) f(i, s.count - i < lanes ? s.count - i : lanes);
}

}  // namespace
}  // namespace crossent
