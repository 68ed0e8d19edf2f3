// Cross-entropy of (N, CLASSES, inner), the classes on axis 1. Blocks of positions that stay in the first-level cache.
#include "common.h"

enum { block = 256 };

// `width` positions: a constant where it is `block`.
INLINE double positions(const real* restrict x, const int64_t* restrict y, real* restrict g, size inner, int width, real scale,
                        int gradient, int past) {
  real e[CLASSES][block] ALIGNED, max[block] ALIGNED, total[block] ALIGNED, picked[block] ALIGNED, sum = 0;
  int target[block] ALIGNED;
  for (int p = 0; p < width; ++p) target[p] = y[p];
  for (int p = 0; p < width; ++p) max[p] = x[p];
  for (int c = 1; c < CLASSES; ++c)
    for (int p = 0; p < width; ++p) max[p] = fmax(max[p], x[c * inner + p]);
  for (int p = 0; p < width; ++p) total[p] = picked[p] = 0;
  for (int c = 0; c < CLASSES; ++c)
    for (int p = 0; p < width; ++p) {
      real v = exp(x[c * inner + p] - max[p]);
      total[p] += v;
      picked[p] = target[p] == c ? x[c * inner + p] : picked[p];
      if (gradient) e[c][p] = v;
    }
  for (int p = 0; p < width; ++p) sum += max[p] + log(total[p]) - picked[p];
  if (gradient) {
    for (int p = 0; p < width; ++p) total[p] = scale / total[p];
    for (int c = 0; c < CLASSES; ++c) {
      real* to = past ? e[c] : g + c * inner;
      for (int p = 0; p < width; ++p) to[p] = e[c][p] * total[p] - (target[p] == c ? scale : 0);
      if (past) put(g + c * inner, e[c], width, past);
    }
  }
  return sum;
}

INLINE double all(const real* x, const int64_t* y, real* g, size n, size inner, int threads, int gradient, int past) {
  double sum = 0;
  real scale = (real)1 / (n * inner);
#pragma omp parallel for collapse(2) reduction(+ : sum) num_threads(threads)
  for (size i = 0; i < n; ++i)
    for (size p = 0; p < inner; p += block) {
      size at = i * CLASSES * inner + p;
      const int64_t* target = y + i * inner + p;
      if (p + block <= inner) sum += positions(x + at, target, g + at, inner, block, scale, gradient, past);
      else sum += positions(x + at, target, g + at, inner, inner - p, scale, gradient, past);
    }
  return sum / (n * inner);
}

double forward(const real* x, const int64_t* y, real* g, size n, size inner, int threads) {
  return all(x, y, g, n, inner, threads, 0, 0);
}

double gradient(const real* x, const int64_t* y, real* g, size n, size inner, int threads) {
  return streamed(n * CLASSES * inner) ? all(x, y, g, n, inner, threads, 1, 1) : all(x, y, g, n, inner, threads, 1, 0);
}
