// Between packs of floats and packs of doubles, and from a pack to one number.
#pragma once

#include <utility>

#include "core/kernels.hpp"
#include "kernels/simd/mask.hpp"

namespace crossent {
namespace {

using half_register = float __attribute__((vector_size(native_bytes / 2)));

CROSSENT_INLINE half_register lower_half(pack<float>::reg v) {
#if defined(__AVX512F__)
  return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
#elif defined(__AVX2__)
  return __builtin_shufflevector(v, v, 0, 1, 2, 3);
#else
  return __builtin_shufflevector(v, v, 0, 1);
#endif
}
CROSSENT_INLINE half_register upper_half(pack<float>::reg v) {
#if defined(__AVX512F__)
  return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#elif defined(__AVX2__)
  return __builtin_shufflevector(v, v, 4, 5, 6, 7);
#else
  return __builtin_shufflevector(v, v, 2, 3);
#endif
}

CROSSENT_INLINE pack<float>::reg both_halves(half_register lower, half_register upper) {
#if defined(__AVX512F__)   // (of the shuffle GCC 12 makes two moves and a permutation)
  return _mm512_insertf32x8(_mm512_castps256_ps512(lower), upper, 1);
#elif defined(__AVX2__)
  return _mm256_set_m128(upper, lower);   // GCC 12 clears the upper half of `lower` first
#else
  return __builtin_shufflevector(lower, upper, 0, 1, 2, 3);
#endif
}

// (GCC 12 takes two conversions and a shuffle for a whole register.)
CROSSENT_INLINE pack<double>::reg to_doubles(half_register v) {
#if defined(__AVX512F__)
  return _mm512_cvtps_pd(v);
#elif defined(__AVX2__)
  return _mm256_cvtps_pd(v);
#else
  return __builtin_convertvector(v, pack<double>::reg);
#endif
}
CROSSENT_INLINE half_register to_floats(pack<double>::reg v) {
#if defined(__AVX512F__)
  return _mm512_cvtpd_ps(v);
#elif defined(__AVX2__)
  return _mm256_cvtpd_ps(v);
#else
  return __builtin_convertvector(v, half_register);
#endif
}

using doubles = pack<double>;

struct halves {
  pack<double> lower, upper;
};

// Lanes 0..7 and 8..15. Register k of the floats fills two registers of the doubles.
template <int k> CROSSENT_INLINE pack<double>::reg widened_register(pack<float> a) {
  return to_doubles(k % 2 == 0 ? lower_half(a.r[k / 2]) : upper_half(a.r[k / 2]));
}
template <int... k> CROSSENT_INLINE halves widen(pack<float> a, std::integer_sequence<int, k...>) {
  return {{widened_register<k>(a)...}, {widened_register<registers + k>(a)...}};
}
CROSSENT_INLINE halves widen(pack<float> a) { return widen(a, std::make_integer_sequence<int, registers>{}); }

// The way back, rounded.
template <int k> CROSSENT_INLINE pack<double>::reg register_of(const halves& w) {
  return k < registers ? w.lower.r[k % registers] : w.upper.r[k % registers];
}
template <int... k> CROSSENT_INLINE pack<float> narrow(const halves& w, std::integer_sequence<int, k...>) {
  return {both_halves(to_floats(register_of<2 * k>(w)), to_floats(register_of<2 * k + 1>(w)))...};
}
CROSSENT_INLINE pack<float> narrow(const halves& w) { return narrow(w, std::make_integer_sequence<int, registers>{}); }

// Lane l + lane l+8 in float32, then as doubles.
template <int... k> CROSSENT_INLINE pack<double> widen_sum(pack<float> a, std::integer_sequence<int, k...>) {
  const pack<float> sum{(a.r[k] + a.r[k + registers / 2])...};
  return widen(sum).lower;
}
CROSSENT_INLINE pack<double> widen_sum(pack<float> a) {
  if constexpr (registers == 1) return {to_doubles(lower_half(a.r[0]) + upper_half(a.r[0]))};
  else return widen_sum(a, std::make_integer_sequence<int, registers / 2>{});
}

// n doubles (n = lanes of T) in consecutive memory as a pack of T.
template <class T> CROSSENT_INLINE pack<T> load_as(const double* from) {
  if constexpr (sizeof(T) == 8) {
    return load<T>(from);
  } else {
    return narrow({load<double>(from), load<double>(from + 8)});
  }
}

// f over all lanes: l and l + W/2, l and l + W/4, .., in quarters of a pack, which every level has registers for.
template <class T, class F> CROSSENT_INLINE T reduce_lanes(pack<T> p, F f) {
  typedef T quarter __attribute__((vector_size(16)));
  alignas(pack_bytes) quarter q[4];
  store(q, p);
  quarter v = f(f(q[0], q[2]), f(q[1], q[3]));
  if constexpr (sizeof(T) == 4) v = f(v, __builtin_shufflevector(v, v, 2, 3, 0, 1));
  if constexpr (sizeof(T) == 4) v = f(v, __builtin_shufflevector(v, v, 1, 0, 3, 2));
  else v = f(v, __builtin_shufflevector(v, v, 1, 0));
  return v[0];
}

template <class T> CROSSENT_INLINE T largest_lane(pack<T> p) {
  return reduce_lanes(p, [](auto a, auto b) { return b > a ? b : a; });
}
template <class T> CROSSENT_INLINE T sum_lanes(pack<T> p) {
  return reduce_lanes(p, [](auto a, auto b) { return a + b; });
}

// 1 in the first n lanes, 0 in the others.
template <class T> CROSSENT_INLINE pack<T> first_lanes(index n) {
  alignas(pack_bytes) T lane[pack<T>::lanes];
  for (int i = 0; i < pack<T>::lanes; ++i) lane[i] = i < n ? T(1) : T(0);
  return load<T>(lane);
}

}  // namespace
}  // namespace crossent
