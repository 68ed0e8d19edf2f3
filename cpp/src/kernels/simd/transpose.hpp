// Rows of few classes, transposed on chip: from one row after the other to a pack per class with a row in each lane, and back.
#pragma once

#include <utility>

#include "core/kernels.hpp"
#include "kernels/simd/pack.hpp"

namespace crossent {
namespace {

template <class T> constexpr index size_of = static_cast<index>(sizeof(T));

// f(0), .., f(n - 1) without a loop, which would leave arrays of packs in memory.
template <class F, int... i> CROSSENT_INLINE void each(F f, std::integer_sequence<int, i...>) { (f(i), ...); }
template <int n, class F> CROSSENT_INLINE void each(F f) { each(f, std::make_integer_sequence<int, n>{}); }

// A pack of four quarters of 16 bytes from four places, and to them.
template <class T> CROSSENT_INLINE pack<T> load_quarters(const char* const (&from)[4]) {
  pack<T> p;
#if defined(__AVX2__)
  const auto quarter = [&](int k) { return _mm_loadu_ps(reinterpret_cast<const float*>(from[k])); };
#endif
#if defined(__AVX512F__)
  const __m512 two = _mm512_insertf32x4(_mm512_castps128_ps512(quarter(0)), quarter(1), 1);
  p.r[0] = (typename pack<T>::reg)_mm512_insertf32x4(_mm512_insertf32x4(two, quarter(2), 2), quarter(3), 3);
#elif defined(__AVX2__)
  for (int k = 0; k < 2; ++k) p.r[k] = (typename pack<T>::reg)_mm256_set_m128(quarter(2 * k + 1), quarter(2 * k));
#else
  each<4>([&](int k) CROSSENT_INLINE_LAMBDA { __builtin_memcpy(&p.r[k], from[k], 16); });
#endif
  return p;
}
template <class T> CROSSENT_INLINE void store_quarters(char* const (&to)[4], pack<T> p) {
  each<4>([&](int k) CROSSENT_INLINE_LAMBDA { __builtin_memcpy(to[k], reinterpret_cast<const char*>(&p) + 16 * k, 16); });
}

// The lower (upper) halves of each quarter of a and b, an element of `bytes` of a and one of b in turn: where lane `to` is from.
template <int bytes, bool upper> constexpr int interleaved_lane(int to) {
  constexpr int lanes = native_bytes / 4;
  const int major = to % 4 / 2, minor = to % 2;
  return to / 4 * 4 + 2 * upper + (bytes == 4 ? major + minor * lanes : minor + major * lanes);
}
template <int bytes, bool upper, class T, int... to>
CROSSENT_INLINE pack<T> interleave(pack<T> a, pack<T> b, std::integer_sequence<int, to...>) {
  using reg = pack<float>::reg;
  return map_registers<pack<T>>(
      [](auto x, auto y) CROSSENT_INLINE_LAMBDA {
        return (decltype(x))__builtin_shufflevector((reg)x, (reg)y, interleaved_lane<bytes, upper>(to)...);
      },
      a, b);
}
template <int bytes, bool upper, class T> CROSSENT_INLINE pack<T> interleave(pack<T> a, pack<T> b) {
  return interleave<bytes, upper>(a, b, std::make_integer_sequence<int, native_bytes / 4>{});
}

// Squares of 16 bytes a side, four to a pack, transposed in place.
CROSSENT_INLINE void transpose(pack<float> (&p)[4]) {
  const pack<float> a = interleave<4, false>(p[0], p[1]), b = interleave<4, false>(p[2], p[3]);
  const pack<float> c = interleave<4, true>(p[0], p[1]), d = interleave<4, true>(p[2], p[3]);
  p[0] = interleave<8, false>(a, b);
  p[1] = interleave<8, true>(a, b);
  p[2] = interleave<8, false>(c, d);
  p[3] = interleave<8, true>(c, d);
}
CROSSENT_INLINE void transpose(pack<double> (&p)[2]) {
  const pack<double> a = p[0];
  p[0] = interleave<8, false>(a, p[1]);
  p[1] = interleave<8, true>(a, p[1]);
}

// Rows that follow each other at equal distances, as an array of pointers to them.
template <class P> struct even_rows {
  P first;
  index stride;
  CROSSENT_INLINE_MEMBER P operator[](index i) const { return first + i * stride; }
};

// The contiguous rows of a tile of n classes, at least as many as a square has, to packs; the last squares may overlap.
template <class T, class Rows> CROSSENT_INLINE void rows_to_packs(const Rows& rows, index begin, index n, T* packs) {
  constexpr index side = 16 / size_of<T>, lanes = pack<T>::lanes;
  for (index square = 0; square < n; square += side) {
    const index c = square + side <= n ? square : n - side, at = (begin + c) * size_of<T>;
    pack<T> p[side];
    each<side>([&](int i) CROSSENT_INLINE_LAMBDA {
      p[i] = load_quarters<T>({rows[i] + at, rows[side + i] + at, rows[2 * side + i] + at, rows[3 * side + i] + at});
    });
    transpose(p);
    each<side>([&](int i) CROSSENT_INLINE_LAMBDA { store(packs + (c + i) * lanes, p[i]); });
  }
}
// entry(c): the pack of class c
template <class T, class Rows, class F> CROSSENT_INLINE void packs_to_rows(index n, const Rows& rows, index begin, F entry) {
  constexpr index side = 16 / size_of<T>;
  for (index square = 0; square < n; square += side) {
    const index c = square + side <= n ? square : n - side, at = (begin + c) * size_of<T>;
    pack<T> p[side];
    each<side>([&](int i) CROSSENT_INLINE_LAMBDA { p[i] = entry(c + i); });
    transpose(p);
    each<side>([&](int i) CROSSENT_INLINE_LAMBDA {
      store_quarters<T>({rows[i] + at, rows[side + i] + at, rows[2 * side + i] + at, rows[3 * side + i] + at}, p[i]);
    });
  }
}

// ---- Contiguous rows of two or three classes -----------------------------------------------------------------------

// Class c of so many rows as a register has lanes, which are the elements of `classes` registers. The third one may be nothing.
template <int classes, int c, class R, int... i>
CROSSENT_INLINE R class_of_rows(R x, R y, R z, std::integer_sequence<int, i...>) {
  constexpr int lanes = sizeof...(i);
  constexpr auto at = [](int row) { return row * classes + c; };
  if constexpr (classes == 2) return __builtin_shufflevector(x, y, at(i)...);
  const R two = __builtin_shufflevector(x, y, (at(i) < 2 * lanes ? at(i) : 0)...);
  return __builtin_shufflevector(two, z, (at(i) < 2 * lanes ? i : at(i) - lanes)...);
}
// The other way: register `part` of the rows, of whose classes a, b and c are.
template <int classes, int part, class R, int... i>
CROSSENT_INLINE R rows_of_classes(R a, R b, R c, std::integer_sequence<int, i...>) {
  constexpr int lanes = sizeof...(i);
  constexpr auto row = [](int lane) { return (part * lanes + lane) / classes; };
  constexpr auto class_of = [](int lane) { return (part * lanes + lane) % classes; };
  const R two = __builtin_shufflevector(a, b, (class_of(i) == 1 ? lanes + row(i) : row(i))...);
  if constexpr (classes == 2) return two;
  return __builtin_shufflevector(two, c, (class_of(i) == 2 ? lanes + row(i) : i)...);
}

template <int classes, class T> CROSSENT_INLINE void short_rows_to_packs(const char* rows, T* packs) {
  using reg = typename pack<T>::reg;
  constexpr std::make_integer_sequence<int, pack<T>::lanes / registers> lanes;
  each<registers>([&](int k) CROSSENT_INLINE_LAMBDA {
    const char* from = rows + k * classes * native_bytes;
    char* to = reinterpret_cast<char*>(packs) + k * native_bytes;
    reg in[3];
    each<classes>([&](int j) CROSSENT_INLINE_LAMBDA { __builtin_memcpy(&in[j], from + j * native_bytes, sizeof(reg)); });
    const auto put = [&](int c, reg r) CROSSENT_INLINE_LAMBDA { __builtin_memcpy(to + c * pack_bytes, &r, sizeof r); };
    put(0, class_of_rows<classes, 0>(in[0], in[1], in[classes - 1], lanes));
    put(1, class_of_rows<classes, 1>(in[0], in[1], in[classes - 1], lanes));
    if constexpr (classes == 3) put(2, class_of_rows<classes, 2>(in[0], in[1], in[2], lanes));
  });
}
// entry(c): the pack of class c
template <int classes, class T, class F> CROSSENT_INLINE void packs_to_short_rows(char* rows, bool streams, F entry) {
  using reg = typename pack<T>::reg;
  constexpr std::make_integer_sequence<int, pack<T>::lanes / registers> lanes;
  const pack<T> p[] = {entry(0), entry(1), entry(classes - 1)};
  pack<T> out[classes];
  each<registers>([&](int k) CROSSENT_INLINE_LAMBDA {
    const auto put = [&](int part, reg r) CROSSENT_INLINE_LAMBDA {
      const int at = k * classes + part;
      out[at / registers].r[at % registers] = r;
    };
    put(0, rows_of_classes<classes, 0>(p[0].r[k], p[1].r[k], p[2].r[k], lanes));
    put(1, rows_of_classes<classes, 1>(p[0].r[k], p[1].r[k], p[2].r[k], lanes));
    if constexpr (classes == 3) put(2, rows_of_classes<classes, 2>(p[0].r[k], p[1].r[k], p[2].r[k], lanes));
  });
  for (int c = 0; c < classes; ++c) streams ? stream(rows + c * pack_bytes, out[c]) : store(rows + c * pack_bytes, out[c]);
}

// The even (odd) ones of 16 doubles.
template <bool odd> CROSSENT_INLINE pack<double> every_other(const double* numbers) {
  using reg = pack<double>::reg;
  constexpr std::make_integer_sequence<int, native_bytes / 8> lanes;
  pack<double> p;
  each<registers>([&](int k) CROSSENT_INLINE_LAMBDA {
    const char* from = reinterpret_cast<const char*>(numbers) + 2 * k * native_bytes;
    reg x, y;
    __builtin_memcpy(&x, from, sizeof x);
    __builtin_memcpy(&y, from + native_bytes, sizeof y);
    p.r[k] = class_of_rows<2, odd>(x, y, y, lanes);
  });
  return p;
}

}  // namespace
}  // namespace crossent
