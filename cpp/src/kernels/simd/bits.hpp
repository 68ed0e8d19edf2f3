// The bits of packs as integers, and tables indexed by them.
#pragma once

#include "kernels/simd/mask.hpp"

namespace crossent {
namespace {

template <class T> struct bits {
  typename pack<T>::ureg r[registers];
};
template <class T> CROSSENT_INLINE bits<T> to_bits(pack<T> a) {
  return map_registers<bits<T>>([](auto x) CROSSENT_INLINE_LAMBDA { return (typename pack<T>::ureg)x; }, a);
}
template <class T> CROSSENT_INLINE pack<T> from_bits(bits<T> b) {
  return map_registers<pack<T>>([](auto x) CROSSENT_INLINE_LAMBDA { return (typename pack<T>::reg)x; }, b);
}
template <class T> CROSSENT_INLINE bits<T> operator+(bits<T> a, bits<T> b) {
  return map_registers<bits<T>>([](auto x, auto y) CROSSENT_INLINE_LAMBDA { return x + y; }, a, b);
}
template <class T> CROSSENT_INLINE bits<T> operator+(bits<T> a, typename pack<T>::uint b) {
  return map_registers<bits<T>>([b](auto x) CROSSENT_INLINE_LAMBDA { return x + b; }, a);
}
template <class T> CROSSENT_INLINE bits<T> operator&(bits<T> a, typename pack<T>::uint b) {
  return map_registers<bits<T>>([b](auto x) CROSSENT_INLINE_LAMBDA { return x & b; }, a);
}
template <class T> CROSSENT_INLINE bits<T> operator|(bits<T> a, typename pack<T>::uint b) {
  return map_registers<bits<T>>([b](auto x) CROSSENT_INLINE_LAMBDA { return x | b; }, a);
}
template <class T> CROSSENT_INLINE bits<T> operator|(bits<T> a, bits<T> b) {
  return map_registers<bits<T>>([](auto x, auto y) CROSSENT_INLINE_LAMBDA { return x | y; }, a, b);
}
template <class T> CROSSENT_INLINE bits<T> operator-(typename pack<T>::uint a, bits<T> b) {
  return map_registers<bits<T>>([a](auto x) CROSSENT_INLINE_LAMBDA { return a - x; }, b);
}
template <class T> CROSSENT_INLINE bits<T> operator<<(bits<T> a, int n) {
  return map_registers<bits<T>>([n](auto x) CROSSENT_INLINE_LAMBDA { return x << n; }, a);
}
template <class T> CROSSENT_INLINE bits<T> operator>>(bits<T> a, int n) {
  return map_registers<bits<T>>([n](auto x) CROSSENT_INLINE_LAMBDA { return x >> n; }, a);
}

// The larger as unsigned integers.
template <class T> CROSSENT_INLINE bits<T> larger(bits<T> a, bits<T> b) {
  return map_registers<bits<T>>([](auto x, auto y) CROSSENT_INLINE_LAMBDA { return x > y ? x : y; }, a, b);
}

// The bits of table[i mod 8], of 4 bytes each, for 16 integers i.
template <class V> CROSSENT_INLINE bits<float> lookup(bits<float> i, const V (&table)[8]) {
  static_assert(sizeof(V) == 4);
  using ureg = pack<float>::ureg;
#if defined(__AVX512F__)
  __m256i t;
  __builtin_memcpy(&t, table, sizeof t);
  return {(ureg)_mm512_permutexvar_epi32((__m512i)i.r[0], _mm512_broadcast_i64x4(t))};
#elif defined(__AVX2__)
  __m256i t;
  __builtin_memcpy(&t, table, sizeof t);
  return map_registers<bits<float>>(
      [t](auto x) CROSSENT_INLINE_LAMBDA { return (ureg)_mm256_permutevar8x32_epi32(t, (__m256i)x); }, i);
#elif defined(__x86_64__)   // from either half of the table, the other giving 0
  __m128i lower, upper;
  __builtin_memcpy(&lower, table, sizeof lower);
  __builtin_memcpy(&upper, table + 4, sizeof upper);
  const __m128i first_bytes = _mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
  const __m128i byte = _mm_set1_epi32(0x03020100);
  return map_registers<bits<float>>(
      [=](auto x) CROSSENT_INLINE_LAMBDA {
        const __m128i at = _mm_add_epi8(_mm_shuffle_epi8((__m128i)((x & 7) << 2), first_bytes), byte);
        const __m128i low = _mm_shuffle_epi8(lower, _mm_add_epi8(at, _mm_set1_epi8(0x70)));
        const __m128i high = _mm_shuffle_epi8(upper, _mm_sub_epi8(at, _mm_set1_epi8(16)));
        return (ureg)_mm_or_si128(low, high);
      },
      i);
#else
  uint8x16x2_t t;
  __builtin_memcpy(&t, table, sizeof t);
  return map_registers<bits<float>>(
      [t](auto x) CROSSENT_INLINE_LAMBDA {
        const ureg at = (x & 7) * 0x04040404u + 0x03020100u;
        return (ureg)vqtbl2q_u8(t, (uint8x16_t)at);
      },
      i);
#endif
}

}  // namespace
}  // namespace crossent
