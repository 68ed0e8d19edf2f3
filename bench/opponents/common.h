// What the files of this folder share. Each is compiled with -DREAL=float or double, and -DCLASSES where it needs them.
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <tgmath.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

typedef REAL real;
typedef ptrdiff_t size;
#define INLINE static inline __attribute__((always_inline))
#define ALIGNED __attribute__((aligned(64)))

// Whether so much output goes past the caches, which saves reading it first.
INLINE int streamed(size elements) { return elements * (size)sizeof(real) >= 32 << 20; }

// A copy to `to`, past the caches: the one thing that plain C has no words for.
INLINE void put(real* restrict to, const real* restrict from, size n, int past) {
#ifdef __SSE2__
  size bytes = n * (size)sizeof(real);
  if (past && (uintptr_t)to % 16 == 0 && bytes % 16 == 0) {
    for (size i = 0; i < bytes / 16; ++i) _mm_stream_si128((__m128i*)to + i, _mm_loadu_si128((const __m128i*)from + i));
    return;
  }
#endif
  memcpy(to, from, n * sizeof(real));
}

#ifdef OWN_EXP  // of float: in line, where the one of the C library is a call; not exact below 2^-126, as that is not
INLINE float own_exp(float x) {
  x = x < -87.3f ? -87.3f : x;
  float n = __builtin_rintf(x * 1.44269504f), r = x - n * 0.693359375f + n * 2.12194440e-4f, p = 1.3814e-3f;
  p = p * r + 8.3693e-3f;
  p = p * r + 4.16683e-2f;
  p = p * r + 1.666642e-1f;
  p = (p * r + 0.5f) * r * r + r + 1;
  int32_t bits = ((int32_t)n + 127) * (1 << 23);
  float power;
  memcpy(&power, &bits, sizeof power);
  return p * power;
}
#undef exp
#define exp own_exp
#endif
