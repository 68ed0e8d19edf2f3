// Comparisons of packs, and choosing by them.
#pragma once

#include <type_traits>

#include "kernels/simd/pack.hpp"

namespace crossent {
namespace {

// A truth for each lane. Comparisons with NaN are false, but for !=.
#if defined(__AVX512F__)   // in the mask registers; GCC 12 moves masks of the compiler's vectors to and from packs
template <class T> struct mask {
  std::conditional_t<sizeof(T) == 4, __mmask16, __mmask8> r = 0;
};
template <int predicate, class T> CROSSENT_INLINE mask<T> compare(pack<T> a, pack<T> b) {
  if constexpr (sizeof(T) == 4) return {_mm512_cmp_ps_mask(a.r[0], b.r[0], predicate)};
  else return {_mm512_cmp_pd_mask(a.r[0], b.r[0], predicate)};
}
template <class T> CROSSENT_INLINE mask<T> operator<(pack<T> a, pack<T> b) { return compare<_CMP_LT_OQ>(a, b); }
template <class T> CROSSENT_INLINE mask<T> operator==(pack<T> a, pack<T> b) { return compare<_CMP_EQ_OQ>(a, b); }
template <class T> CROSSENT_INLINE mask<T> operator!=(pack<T> a, pack<T> b) { return compare<_CMP_NEQ_UQ>(a, b); }
CROSSENT_INLINE mask<float> operator&(mask<float> a, mask<float> b) { return {_kand_mask16(a.r, b.r)}; }
CROSSENT_INLINE mask<double> operator&(mask<double> a, mask<double> b) { return {_kand_mask8(a.r, b.r)}; }
CROSSENT_INLINE mask<float> operator|(mask<float> a, mask<float> b) { return {_kor_mask16(a.r, b.r)}; }
CROSSENT_INLINE mask<double> operator|(mask<double> a, mask<double> b) { return {_kor_mask8(a.r, b.r)}; }
CROSSENT_INLINE mask<float> operator!(mask<float> a) { return {_knot_mask16(a.r)}; }
CROSSENT_INLINE mask<double> operator!(mask<double> a) { return {_knot_mask8(a.r)}; }
template <class T> CROSSENT_INLINE pack<T> select(mask<T> m, pack<T> yes, pack<T> no) {
  if constexpr (sizeof(T) == 4) no.r[0] = _mm512_mask_blend_ps(m.r, no.r[0], yes.r[0]);
  else no.r[0] = _mm512_mask_blend_pd(m.r, no.r[0], yes.r[0]);
  return no;
}
template <class T> CROSSENT_INLINE bool any(mask<T> m) { return m.r != 0; }
#else
template <class T> struct mask {
  using reg = decltype(typename pack<T>::reg{} < typename pack<T>::reg{});  // all bits of a lane, or none
  reg r[registers];
};
template <class T> CROSSENT_INLINE mask<T> operator<(pack<T> a, pack<T> b) {
  return map_registers<mask<T>>([](auto x, auto y) CROSSENT_INLINE_LAMBDA { return x < y; }, a, b);
}
template <class T> CROSSENT_INLINE mask<T> operator==(pack<T> a, pack<T> b) {
  return map_registers<mask<T>>([](auto x, auto y) CROSSENT_INLINE_LAMBDA { return x == y; }, a, b);
}
template <class T> CROSSENT_INLINE mask<T> operator!=(pack<T> a, pack<T> b) {
  return map_registers<mask<T>>([](auto x, auto y) CROSSENT_INLINE_LAMBDA { return x != y; }, a, b);
}
template <class T> CROSSENT_INLINE mask<T> operator&(mask<T> a, mask<T> b) {
  return map_registers<mask<T>>([](auto x, auto y) CROSSENT_INLINE_LAMBDA { return x & y; }, a, b);
}
template <class T> CROSSENT_INLINE mask<T> operator|(mask<T> a, mask<T> b) {
  return map_registers<mask<T>>([](auto x, auto y) CROSSENT_INLINE_LAMBDA { return x | y; }, a, b);
}
template <class T> CROSSENT_INLINE mask<T> operator!(mask<T> a) {
  return map_registers<mask<T>>([](auto x) CROSSENT_INLINE_LAMBDA { return ~x; }, a);
}
template <class T> CROSSENT_INLINE pack<T> select(mask<T> m, pack<T> yes, pack<T> no) {
  return map_registers<pack<T>>([](auto c, auto x, auto y) CROSSENT_INLINE_LAMBDA { return c ? x : y; }, m, yes, no);
}
template <class T> CROSSENT_INLINE bool any(mask<T> m) {
  auto all = m.r[0];
  for (int k = 1; k < registers; ++k) all |= m.r[k];
#if defined(__AVX2__)
  return _mm256_movemask_ps((__m256)all) != 0;
#else
  std::uint64_t word[native_bytes / 8];
  __builtin_memcpy(word, &all, sizeof all);
  for (int k = 1; k < native_bytes / 8; ++k) word[0] |= word[k];
  return word[0] != 0;
#endif
}
#endif

// a > b ? a : b and a < b ? a : b, of registers; one instruction of x86, which GCC 12 does not find where a number is constant.
#if defined(__AVX512F__)
CROSSENT_INLINE __m512 max_register(__m512 a, __m512 b) { return _mm512_max_ps(a, b); }
CROSSENT_INLINE __m512d max_register(__m512d a, __m512d b) { return _mm512_max_pd(a, b); }
CROSSENT_INLINE __m512 min_register(__m512 a, __m512 b) { return _mm512_min_ps(a, b); }
CROSSENT_INLINE __m512d min_register(__m512d a, __m512d b) { return _mm512_min_pd(a, b); }
#elif defined(__AVX2__)
CROSSENT_INLINE __m256 max_register(__m256 a, __m256 b) { return _mm256_max_ps(a, b); }
CROSSENT_INLINE __m256d max_register(__m256d a, __m256d b) { return _mm256_max_pd(a, b); }
CROSSENT_INLINE __m256 min_register(__m256 a, __m256 b) { return _mm256_min_ps(a, b); }
CROSSENT_INLINE __m256d min_register(__m256d a, __m256d b) { return _mm256_min_pd(a, b); }
#else
template <class R> CROSSENT_INLINE R max_register(R a, R b) { return a > b ? a : b; }
template <class R> CROSSENT_INLINE R min_register(R a, R b) { return a < b ? a : b; }
#endif

// The larger; b where a is NaN.
template <class T> CROSSENT_INLINE pack<T> larger(pack<T> a, pack<T> b) {
  return map_registers<pack<T>>([](auto x, auto y) CROSSENT_INLINE_LAMBDA { return max_register(x, y); }, a, b);
}
// x, but not below lo; NaN stays.
template <class T> CROSSENT_INLINE pack<T> at_least(pack<T> x, pack<T> lo) { return larger(lo, x); }
template <class T> CROSSENT_INLINE pack<T> at_most(pack<T> x, pack<T> hi) {
  return map_registers<pack<T>>([](auto a, auto b) CROSSENT_INLINE_LAMBDA { return min_register(a, b); }, hi, x);
}

template <class T> CROSSENT_INLINE pack<T> absolute(pack<T> a) {
  using uint = typename pack<T>::uint;
  constexpr uint sign = uint{1} << (8 * sizeof(T) - 1);
  using reg = typename pack<T>::reg;
  using ureg = typename pack<T>::ureg;
  return map_registers<pack<T>>([](auto x) CROSSENT_INLINE_LAMBDA { return (reg)((ureg)x & ~sign); }, a);
}

}  // namespace
}  // namespace crossent
