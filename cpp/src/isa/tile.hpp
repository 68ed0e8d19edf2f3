// Load and store policies: a block of rows as the kernels want it, where it lies or packed on chip.
//
// Along: up to 1024 classes of one row, contiguous. Across: one row per lane, a pack per class. Rows that do not lie so
// (strided, unaligned lanes) are packed into a buffer of one tile; kernels see no difference.
#pragma once

#include "../kernels.hpp"
#include "vec.hpp"

namespace crossent {
namespace {

template <class T> constexpr index size_of = static_cast<index>(sizeof(T));

// The classes [begin, begin + n) of a row.
template <class T> struct run {
  index begin, n;
};

template <class T> CROSSENT_INLINE run<T> block_run(index block, index classes) {
  const index begin = block * block_classes;
  return {begin, classes - begin < block_classes ? classes - begin : block_classes};
}

// ---- Along -----------------------------------------------------------------------------------------------------------

template <class T> CROSSENT_INLINE const char* load_along(const char* row, index class_stride, run<T> r, T* buffer) {
  const char* from = row + r.begin * class_stride;
  if (class_stride == size_of<T>) return from;
  for (index i = 0; i < r.n; ++i) buffer[i] = load_one<T>(from + i * class_stride);
  return reinterpret_cast<const char*>(buffer);
}

// Where the kernel writes, and the way from there.
template <class T> CROSSENT_INLINE char* open_along(char* row, index class_stride, run<T> r, T* buffer) {
  return class_stride == size_of<T> ? row + r.begin * class_stride : reinterpret_cast<char*>(buffer);
}
template <class T> CROSSENT_INLINE void close_along(char* row, index class_stride, run<T> r, const T* buffer) {
  if (class_stride == size_of<T>) return;
  for (index i = 0; i < r.n; ++i) store_one(row + (r.begin + i) * class_stride, buffer[i]);
}

// ---- Across ----------------------------------------------------------------------------------------------------------

template <class T> struct tile {
  const char* data;   // the first pack
  index stride;       // bytes from class to class
};

// Whether the rows of a tile are neighbours in memory.
template <class T, class P> CROSSENT_INLINE bool neighbours(P const* rows) {
  for (int l = 1; l < pack<T>::lanes; ++l)
    if (rows[l] - rows[0] != l * size_of<T>) return false;
  return true;
}

template <class T>
CROSSENT_INLINE tile<T> load_across(const char* const* rows, index class_stride, run<T> r, T* buffer) {
  if (neighbours<T>(rows)) return {rows[0] + r.begin * class_stride, class_stride};
  for (int l = 0; l < pack<T>::lanes; ++l) {
    const char* from = rows[l] + r.begin * class_stride;
    for (index i = 0; i < r.n; ++i) buffer[i * pack<T>::lanes + l] = load_one<T>(from + i * class_stride);
  }
  return {reinterpret_cast<const char*>(buffer), pack_bytes};
}

// A tile to write: `count` rows of it are there, the other lanes are dropped.
template <class T> struct open_tile {
  char* data;
  index stride;
  bool direct;
};
template <class T>
CROSSENT_INLINE open_tile<T> open_across(char* const* rows, index count, index class_stride, run<T> r, T* buffer) {
  if (count >= pack<T>::lanes && neighbours<T>(rows)) return {rows[0] + r.begin * class_stride, class_stride, true};
  return {reinterpret_cast<char*>(buffer), pack_bytes, false};
}
template <class T>
CROSSENT_INLINE void close_across(open_tile<T> t, char* const* rows, index count, index class_stride, run<T> r,
                                  const T* buffer) {
  if (t.direct) return;
  for (index l = 0; l < count && l < pack<T>::lanes; ++l) {
    char* to = rows[l] + r.begin * class_stride;
    for (index i = 0; i < r.n; ++i) store_one(to + i * class_stride, buffer[i * pack<T>::lanes + l]);
  }
}

// The tiles of a group: f(first row, rows in it).
template <class T, class F> CROSSENT_INLINE void for_each_tile(const source& s, F f) {
  constexpr index lanes = pack<T>::lanes;
  for (index i = 0; i < s.count; i += lanes) f(i, s.count - i < lanes ? s.count - i : lanes);
}

}  // namespace
}  // namespace crossent
