// Comparisons of packs, and choosing by them.
#pragma once

#include "kernels/simd/pack.hpp"

namespace crossent {
namespace {

// A truth for each lane. Comparisons with NaN are false, but for !=.
template <class T> struct mask {
  using reg = decltype(typename pack<T>::reg{} < typename pack<T>::reg{});   // all bits of a lane, or none
  reg r[registers];
};
template <class T> CROSSENT_INLINE mask<T> operator<(pack<T> a, pack<T> b) {
  mask<T> m;
  for (int k = 0; k < registers; ++k) m.r[k] = a.r[k] < b.r[k];
  return m;
}
template <class T> CROSSENT_INLINE mask<T> operator==(pack<T> a, pack<T> b) {
  mask<T> m;
  for (int k = 0; k < registers; ++k) m.r[k] = a.r[k] == b.r[k];
  return m;
}
template <class T> CROSSENT_INLINE mask<T> operator!=(pack<T> a, pack<T> b) {
  mask<T> m;
  for (int k = 0; k < registers; ++k) m.r[k] = a.r[k] != b.r[k];
  return m;
}
template <class T> CROSSENT_INLINE mask<T> operator&(mask<T> a, mask<T> b) {
  for (int k = 0; k < registers; ++k) a.r[k] &= b.r[k];
  return a;
}
template <class T> CROSSENT_INLINE mask<T> operator|(mask<T> a, mask<T> b) {
  for (int k = 0; k < registers; ++k) a.r[k] |= b.r[k];
  return a;
}
template <class T> CROSSENT_INLINE mask<T> operator!(mask<T> a) {
  for (int k = 0; k < registers; ++k) a.r[k] = ~a.r[k];
  return a;
}
template <class T> CROSSENT_INLINE pack<T> select(mask<T> m, pack<T> yes, pack<T> no) {
  for (int k = 0; k < registers; ++k) no.r[k] = m.r[k] ? yes.r[k] : no.r[k];
  return no;
}

template <class T> CROSSENT_INLINE bool any(mask<T> m) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return _mm512_movepi32_mask((__m512i)m.r[0]) != 0;
  else return _mm512_movepi64_mask((__m512i)m.r[0]) != 0;
#else
  auto all = m.r[0];
  for (int k = 1; k < registers; ++k) all |= m.r[k];
  std::uint64_t word[native_bytes / 8];
  __builtin_memcpy(word, &all, sizeof all);
  for (int k = 1; k < native_bytes / 8; ++k) word[0] |= word[k];
  return word[0] != 0;
#endif
}

// The larger; b where a is NaN.
template <class T> CROSSENT_INLINE pack<T> larger(pack<T> a, pack<T> b) {
  for (int k = 0; k < registers; ++k) b.r[k] = a.r[k] > b.r[k] ? a.r[k] : b.r[k];
  return b;
}
// x, but not below lo; NaN stays.
template <class T> CROSSENT_INLINE pack<T> at_least(pack<T> x, pack<T> lo) {
  for (int k = 0; k < registers; ++k) x.r[k] = x.r[k] < lo.r[k] ? lo.r[k] : x.r[k];
  return x;
}
template <class T> CROSSENT_INLINE pack<T> at_most(pack<T> x, pack<T> hi) {
  for (int k = 0; k < registers; ++k) x.r[k] = hi.r[k] < x.r[k] ? hi.r[k] : x.r[k];
  return x;
}

template <class T> CROSSENT_INLINE pack<T> absolute(pack<T> a) {
  using uint = typename pack<T>::uint;
  constexpr uint sign = uint{1} << (8 * sizeof(T) - 1);
  for (int k = 0; k < registers; ++k) a.r[k] = (typename pack<T>::reg)((typename pack<T>::ureg)a.r[k] & ~sign);
  return a;
}

}  // namespace
}  // namespace crossent
