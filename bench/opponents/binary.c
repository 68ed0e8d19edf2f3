// Binary cross-entropy of logits.
#include "common.h"

enum { block = 1024 };

INLINE double part(const real* restrict x, const real* restrict y, real* restrict g, int n, real scale, int gradient,
                   int past) {
  real sum = 0, terms[block] ALIGNED, buffer[block] ALIGNED, *to = past ? buffer : g;
  for (int i = 0; i < n; ++i) terms[i] = exp(-fabs(x[i]));
  for (int i = 0; i < n; ++i) {
    real e = terms[i], s = 1 + e;
    sum += fmax(x[i], (real)0) - x[i] * y[i] + log(s);
    if (gradient) to[i] = ((x[i] < 0 ? e : (real)1) / s - y[i]) * scale;
  }
  if (gradient && past) put(g, buffer, n, past);
  return sum;
}

INLINE double all(const real* x, const real* y, real* g, size n, int threads, int gradient, int past) {
  double sum = 0;
  real scale = (real)1 / n;
#pragma omp parallel for reduction(+ : sum) num_threads(threads)
  for (size at = 0; at < n; at += block)
    if (at + block <= n) sum += part(x + at, y + at, g + at, block, scale, gradient, past);
    else sum += part(x + at, y + at, g + at, n - at, scale, gradient, past);
  return sum / n;
}

double forward(const real* x, const real* y, real* g, size n, int threads) { return all(x, y, g, n, threads, 0, 0); }

double gradient(const real* x, const real* y, real* g, size n, int threads) {
  return streamed(n) ? all(x, y, g, n, threads, 1, 1) : all(x, y, g, n, threads, 1, 0);
}
