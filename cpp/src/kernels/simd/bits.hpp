// The bits of packs as integers, and tables indexed by them.
#pragma once

#include "kernels/simd/mask.hpp"

namespace crossent {
namespace {

template <class T> struct bits {
  typename pack<T>::ureg r[registers];
};
template <class T> CROSSENT_INLINE bits<T> to_bits(pack<T> a) {
  bits<T> b;
  for (int k = 0; k < registers; ++k) b.r[k] = (typename pack<T>::ureg)a.r[k];
  return b;
}
template <class T> CROSSENT_INLINE pack<T> from_bits(bits<T> b) {
  pack<T> a;
  for (int k = 0; k < registers; ++k) a.r[k] = (typename pack<T>::reg)b.r[k];
  return a;
}
template <class T> CROSSENT_INLINE bits<T> operator+(bits<T> a, bits<T> b) {
  for (int k = 0; k < registers; ++k) a.r[k] += b.r[k];
  return a;
}
template <class T> CROSSENT_INLINE bits<T> operator+(bits<T> a, typename pack<T>::uint b) {
  for (int k = 0; k < registers; ++k) a.r[k] += b;
  return a;
}
template <class T> CROSSENT_INLINE bits<T> operator&(bits<T> a, typename pack<T>::uint b) {
  for (int k = 0; k < registers; ++k) a.r[k] &= b;
  return a;
}
template <class T> CROSSENT_INLINE bits<T> operator|(bits<T> a, typename pack<T>::uint b) {
  for (int k = 0; k < registers; ++k) a.r[k] |= b;
  return a;
}
template <class T> CROSSENT_INLINE bits<T> operator|(bits<T> a, bits<T> b) {
  for (int k = 0; k < registers; ++k) a.r[k] |= b.r[k];
  return a;
}
template <class T> CROSSENT_INLINE bits<T> operator-(typename pack<T>::uint a, bits<T> b) {
  for (int k = 0; k < registers; ++k) b.r[k] = a - b.r[k];
  return b;
}
template <class T> CROSSENT_INLINE bits<T> operator<<(bits<T> a, int n) {
  for (int k = 0; k < registers; ++k) a.r[k] <<= n;
  return a;
}
template <class T> CROSSENT_INLINE bits<T> operator>>(bits<T> a, int n) {
  for (int k = 0; k < registers; ++k) a.r[k] >>= n;
  return a;
}

// The larger as unsigned integers.
template <class T> CROSSENT_INLINE bits<T> larger(bits<T> a, bits<T> b) {
  for (int k = 0; k < registers; ++k) b.r[k] = a.r[k] > b.r[k] ? a.r[k] : b.r[k];
  return b;
}

// The bits of table[i mod 8], of 4 bytes each, for 16 integers i.
template <class V> CROSSENT_INLINE bits<float> lookup(bits<float> i, const V (&table)[8]) {
  static_assert(sizeof(V) == 4);
  bits<float> out;
#if defined(__AVX512F__)
  __m256i t;
  __builtin_memcpy(&t, table, sizeof t);
  out.r[0] = (pack<float>::ureg)_mm512_permutexvar_epi32((__m512i)i.r[0], _mm512_broadcast_i64x4(t));
#elif defined(__AVX2__)
  __m256i t;
  __builtin_memcpy(&t, table, sizeof t);
  for (int k = 0; k < 2; ++k) out.r[k] = (pack<float>::ureg)_mm256_permutevar8x32_epi32(t, (__m256i)i.r[k]);
#elif defined(__x86_64__)   // from either half of the table, the other giving 0
  __m128i t[2];
  __builtin_memcpy(t, table, sizeof t);
  const __m128i first_bytes = _mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
  const __m128i byte = _mm_set1_epi32(0x03020100);
  for (int k = 0; k < 4; ++k) {
    const __m128i at = _mm_add_epi8(_mm_shuffle_epi8((__m128i)((i.r[k] & 7) << 2), first_bytes), byte);
    const __m128i low = _mm_shuffle_epi8(t[0], _mm_add_epi8(at, _mm_set1_epi8(0x70)));
    const __m128i high = _mm_shuffle_epi8(t[1], _mm_sub_epi8(at, _mm_set1_epi8(16)));
    out.r[k] = (pack<float>::ureg)_mm_or_si128(low, high);
  }
#else
  uint8x16x2_t t;
  __builtin_memcpy(&t, table, sizeof t);
  for (int k = 0; k < 4; ++k) {
    const pack<float>::ureg at = (i.r[k] & 7) * 0x04040404u + 0x03020100u;
    out.r[k] = (pack<float>::ureg)vqtbl2q_u8(t, (uint8x16_t)at);
  }
#endif
  return out;
}

}  // namespace
}  // namespace crossent
