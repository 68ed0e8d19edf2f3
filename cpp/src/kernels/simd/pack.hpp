// The vector vocabulary: packs of 64 bytes on the compiler's vector extensions.
//
// A pack is the fixed virtual width of the library: 16 floats or 8 doubles at every ISA level, held in 1, 2 or 4 native
// registers. Kernels written on packs therefore add in the same order, and give the same bits, whatever the width of
// the machine. Operations that the extensions lack (fused multiply-add, streaming stores, masks to scalars) are written here,
// and nowhere else.
//
// Everything is in an anonymous namespace: the same source is compiled once per level, and a function shared between
// two levels by the linker might have instructions that a machine lacks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/half.hpp"
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define CROSSENT_INLINE static inline __attribute__((always_inline))
#define CROSSENT_INLINE_MEMBER inline __attribute__((always_inline))   // of the object's own state
#define CROSSENT_INLINE_LAMBDA __attribute__((always_inline))
// Of long functions: in line where a pack is one or two registers. Where it is four, compilers would take long over them.
#if defined(__AVX2__)
#define CROSSENT_INLINE_WIDE __attribute__((always_inline))
#else
#define CROSSENT_INLINE_WIDE
#endif
// Long and called from many kernels: once in the object, not once in each of them.
#define CROSSENT_ONCE static __attribute__((noinline))

namespace crossent {
namespace {

#if defined(__AVX512F__)
constexpr int native_bytes = 64;
#elif defined(__AVX2__)
constexpr int native_bytes = 32;
#else
constexpr int native_bytes = 16;
#endif
#if defined(__FMA__) || defined(__aarch64__)
constexpr bool has_fma = true;
#else
constexpr bool has_fma = false;
#endif
constexpr int pack_bytes = 64;
constexpr int registers = pack_bytes / native_bytes;

template <class T> struct bits_of;
template <> struct bits_of<float> {
  using type = std::uint32_t;
};
template <> struct bits_of<double> {
  using type = std::uint64_t;
};

template <class T> struct pack {
  static constexpr int lanes = pack_bytes / static_cast<int>(sizeof(T));
  using uint = typename bits_of<T>::type;
  typedef T reg __attribute__((vector_size(native_bytes)));
  typedef uint ureg __attribute__((vector_size(native_bytes)));
  reg r[registers];
};

// f of each register of packs. Not in a loop, which GCC unrolls only after it has chosen what stays in memory.
template <class To, class F, class... From> CROSSENT_INLINE To map_registers(F f, From... from) {
  static_assert(registers == 1 || registers == 2 || registers == 4);
  To to;
  to.r[0] = f(from.r[0]...);
  if constexpr (registers > 1) to.r[1] = f(from.r[1]...);
  if constexpr (registers > 2) to.r[2] = f(from.r[2]...);
  if constexpr (registers > 2) to.r[3] = f(from.r[3]...);
  return to;
}

template <class P, class F> CROSSENT_INLINE void for_each_register(P&& p, F f) {
  f(p.r[0]);
  if constexpr (registers > 1) f(p.r[1]);
  if constexpr (registers > 2) f(p.r[2]);
  if constexpr (registers > 2) f(p.r[3]);
}

// ---- Moving --------------------------------------------------------------------------------------------------------

template <class T> CROSSENT_INLINE pack<T> set1(T v) {
  using reg = typename pack<T>::reg;
  return map_registers<pack<T>>([v]() CROSSENT_INLINE_LAMBDA { return v - reg{}; });   // keeps -0, as v + 0 does not
}

template <class T> CROSSENT_INLINE pack<T> load(const void* from) {
  const char* at = static_cast<const char*>(from);
  return map_registers<pack<T>>([&]() CROSSENT_INLINE_LAMBDA {
    typename pack<T>::reg r;
    __builtin_memcpy(&r, at, sizeof r);
    at += sizeof r;
    return r;
  });
}

template <class T> CROSSENT_INLINE void store(void* to, pack<T> p) {
  char* at = static_cast<char*>(to);
  for_each_register(p, [&](auto r) CROSSENT_INLINE_LAMBDA {
    __builtin_memcpy(at, &r, sizeof r);
    at += sizeof r;
  });
}

template <class T> CROSSENT_INLINE T load_one(const void* from) {
  T v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
template <class T> CROSSENT_INLINE void store_one(void* to, T v) { __builtin_memcpy(to, &v, sizeof v); }

// All bits set in the first n lanes.
template <class T> CROSSENT_INLINE pack<T> first_lanes_mask(std::ptrdiff_t n) {
  typedef typename bits_of<T>::type uint;
  alignas(pack_bytes) static constexpr uint one[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  pack<T> p;
  for (int k = 0; k < registers; ++k) {
    typename pack<T>::ureg lane;
    __builtin_memcpy(&lane, one + k * native_bytes / static_cast<int>(sizeof(T)), sizeof lane);
    p.r[k] = (typename pack<T>::reg)(lane < static_cast<uint>(n));
  }
  return p;
}

// The first n lanes from memory, the others `fill`.
template <class T> CROSSENT_INLINE pack<T> load_partial(const void* from, std::ptrdiff_t n, T fill) {
#if defined(__AVX512F__)
  const unsigned first = (1u << n) - 1;
  pack<T> p = set1(fill);
  if constexpr (sizeof(T) == 4) p.r[0] = _mm512_mask_loadu_ps(p.r[0], static_cast<__mmask16>(first), from);
  else p.r[0] = _mm512_mask_loadu_pd(p.r[0], static_cast<__mmask8>(first), from);
  return p;
#elif defined(__AVX2__)
  const pack<T> mask = first_lanes_mask<T>(n);
  pack<T> p = set1(fill);
  for (int k = 0; k < 2; ++k) {
    const char* at = static_cast<const char*>(from) + k * native_bytes;
    if constexpr (sizeof(T) == 4) {
      const __m256 v = _mm256_maskload_ps(reinterpret_cast<const float*>(at), (__m256i)mask.r[k]);
      p.r[k] = _mm256_blendv_ps(p.r[k], v, mask.r[k]);
    } else {
      const __m256d v = _mm256_maskload_pd(reinterpret_cast<const double*>(at), (__m256i)mask.r[k]);
      p.r[k] = _mm256_blendv_pd(p.r[k], v, mask.r[k]);
    }
  }
  return p;
#else
  alignas(pack_bytes) T lane[pack<T>::lanes];
  for (int i = 0; i < pack<T>::lanes; ++i)
    lane[i] = i < n ? load_one<T>(static_cast<const char*>(from) + i * static_cast<int>(sizeof(T))) : fill;
  return load<T>(lane);
#endif
}

// The first n lanes only.
template <class T> CROSSENT_INLINE void store_partial(void* to, std::ptrdiff_t n, pack<T> p) {
#if defined(__AVX512F__)
  const unsigned first = (1u << n) - 1;
  if constexpr (sizeof(T) == 4) _mm512_mask_storeu_ps(to, static_cast<__mmask16>(first), p.r[0]);
  else _mm512_mask_storeu_pd(to, static_cast<__mmask8>(first), p.r[0]);
#elif defined(__AVX2__)
  const pack<T> mask = first_lanes_mask<T>(n);
  for (int k = 0; k < 2; ++k) {
    char* at = static_cast<char*>(to) + k * native_bytes;
    if constexpr (sizeof(T) == 4) _mm256_maskstore_ps(reinterpret_cast<float*>(at), (__m256i)mask.r[k], p.r[k]);
    else _mm256_maskstore_pd(reinterpret_cast<double*>(at), (__m256i)mask.r[k], p.r[k]);
  }
#else
  alignas(pack_bytes) T lane[pack<T>::lanes];
  store(lane, p);
  for (int i = 0; i < n; ++i) store_one(static_cast<char*>(to) + i * static_cast<int>(sizeof(T)), lane[i]);
#endif
}

// A store that goes around the caches; `to` is aligned to 64 bytes. The caller of the kernel
// fences before the data is handed on.
template <class T> CROSSENT_INLINE void stream(void* to, pack<T> p) {
#if defined(__x86_64__)
  char* at = static_cast<char*>(to);
  for_each_register(p, [&](auto r) CROSSENT_INLINE_LAMBDA {
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(at), (__m512i)r);
#elif defined(__AVX2__)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(at), (__m256i)r);
#else
    _mm_stream_si128(reinterpret_cast<__m128i*>(at), (__m128i)r);
#endif
    at += sizeof r;
  });
#else
  store(to, p);
#endif
}

CROSSENT_INLINE void prefetch(const void* p) { __builtin_prefetch(p); }
CROSSENT_INLINE void prefetch_to_second_cache(const void* p) { __builtin_prefetch(p, 0, 2); }
// Prefetches memory that is read line after line, in three stages: into the second cache, then, twice, into the first. The
// first cache has too few requests under way to fetch from far memory as fast as it is worked on.
CROSSENT_INLINE void prefetch_ahead(const char* p) {
  prefetch_to_second_cache(p + 8192);
  prefetch(p + 3072);
  prefetch(p + 1024);
}
CROSSENT_INLINE void prefetch_to_write(const void* p) { __builtin_prefetch(p, 1); }

// 16 float16 numbers as floats, and back.
typedef std::uint16_t half_numbers __attribute__((vector_size(native_bytes / 2)));
CROSSENT_INLINE pack<float> load_float16(const void* from) {
  pack<float> p;
#if defined(__AVX512F__)
  p.r[0] = _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(from)));
#elif defined(__F16C__)
  for (int k = 0; k < 2; ++k) p.r[k] = _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(from) + k));
#else
  const char* at = static_cast<const char*>(from);
  for_each_register(p, [&](auto& r) CROSSENT_INLINE_LAMBDA {
    r = float_of_float16<pack<float>::reg>(__builtin_convertvector(load_one<half_numbers>(at), pack<float>::ureg));
    at += sizeof(half_numbers);
  });
#endif
  return p;
}
CROSSENT_INLINE void store_float16(void* to, pack<float> p) {
#if defined(__AVX512F__)
  _mm256_storeu_si256(static_cast<__m256i*>(to), _mm512_cvtps_ph(p.r[0], _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
  for (int k = 0; k < 2; ++k)
    _mm_storeu_si128(static_cast<__m128i*>(to) + k, _mm256_cvtps_ph(p.r[k], _MM_FROUND_TO_NEAREST_INT));
#else
  char* at = static_cast<char*>(to);
  for_each_register(p, [&](auto r) CROSSENT_INLINE_LAMBDA {
    store_one(at, __builtin_convertvector(float16_of_float<pack<float>::ureg>(r), half_numbers));
    at += sizeof(half_numbers);
  });
#endif
}

// ---- Arithmetic ----------------------------------------------------------------------------------------------------

template <class T> CROSSENT_INLINE pack<T> operator+(pack<T> a, pack<T> b) {
  return map_registers<pack<T>>([](auto x, auto y) CROSSENT_INLINE_LAMBDA { return x + y; }, a, b);
}
template <class T> CROSSENT_INLINE pack<T>& operator+=(pack<T>& a, pack<T> b) {
  a = a + b;
  return a;
}
template <class T> CROSSENT_INLINE pack<T> operator-(pack<T> a, pack<T> b) {
  return map_registers<pack<T>>([](auto x, auto y) CROSSENT_INLINE_LAMBDA { return x - y; }, a, b);
}
template <class T> CROSSENT_INLINE pack<T> operator*(pack<T> a, pack<T> b) {
  return map_registers<pack<T>>([](auto x, auto y) CROSSENT_INLINE_LAMBDA { return x * y; }, a, b);
}
template <class T> CROSSENT_INLINE pack<T> operator/(pack<T> a, pack<T> b) {
  return map_registers<pack<T>>([](auto x, auto y) CROSSENT_INLINE_LAMBDA { return x / y; }, a, b);
}
template <class T> CROSSENT_INLINE pack<T> operator-(pack<T> a) {
  return map_registers<pack<T>>([](auto x) CROSSENT_INLINE_LAMBDA { return -x; }, a);
}

#if defined(__AVX512F__)
CROSSENT_INLINE __m512 fma_register(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
CROSSENT_INLINE __m512d fma_register(__m512d a, __m512d b, __m512d c) { return _mm512_fmadd_pd(a, b, c); }
#elif defined(__FMA__)
CROSSENT_INLINE __m256 fma_register(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
CROSSENT_INLINE __m256d fma_register(__m256d a, __m256d b, __m256d c) { return _mm256_fmadd_pd(a, b, c); }
#elif defined(__aarch64__)
CROSSENT_INLINE float32x4_t fma_register(float32x4_t a, float32x4_t b, float32x4_t c) { return vfmaq_f32(c, a, b); }
CROSSENT_INLINE float64x2_t fma_register(float64x2_t a, float64x2_t b, float64x2_t c) { return vfmaq_f64(c, a, b); }
#else  // two roundings: the baseline level has bits of its own
template <class R> CROSSENT_INLINE R fma_register(R a, R b, R c) { return a * b + c; }
#endif

// a * b + c
template <class T> CROSSENT_INLINE pack<T> fma(pack<T> a, pack<T> b, pack<T> c) {
  return map_registers<pack<T>>([](auto x, auto y, auto z) CROSSENT_INLINE_LAMBDA { return fma_register(x, y, z); }, a, b, c);
}

}  // namespace
}  // namespace crossent
