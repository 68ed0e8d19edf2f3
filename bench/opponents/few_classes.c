// Cross-entropy of rows of few classes. 64 rows at a time are turned, so that the loops go through rows.
#include "common.h"

enum { rows = 64 };

INLINE double tile(const real* restrict x, const int64_t* restrict y, real* restrict g, real scale, int gradient, int past) {
  real t[CLASSES][rows] ALIGNED, max[rows] ALIGNED, total[rows] ALIGNED, sum = 0;
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < CLASSES; ++c) t[c][r] = x[r * CLASSES + c];
  for (int r = 0; r < rows; ++r) max[r] = t[0][r];
  for (int c = 1; c < CLASSES; ++c)
    for (int r = 0; r < rows; ++r) max[r] = fmax(max[r], t[c][r]);
  for (int r = 0; r < rows; ++r) total[r] = 0;
  for (int c = 0; c < CLASSES; ++c)
    for (int r = 0; r < rows; ++r) {
      real e = exp(t[c][r] - max[r]);
      total[r] += e;
      if (gradient) t[c][r] = e;
    }
  for (int r = 0; r < rows; ++r) sum += max[r] + log(total[r]);
  real picked = 0;
  for (int r = 0; r < rows; ++r) picked += x[r * CLASSES + y[r]];
  if (gradient) {
    real back[rows * CLASSES] ALIGNED, *to = past ? back : g;
    for (int r = 0; r < rows; ++r) total[r] = scale / total[r];
    for (int c = 0; c < CLASSES; ++c)
      for (int r = 0; r < rows; ++r) t[c][r] *= total[r];
    for (int r = 0; r < rows; ++r) t[y[r]][r] -= scale;
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < CLASSES; ++c) to[r * CLASSES + c] = t[c][r];
    if (past) put(g, back, rows * CLASSES, past);
  }
  return sum - picked;
}

INLINE double all(const real* x, const int64_t* y, real* g, size n, int threads, int gradient, int past) {
  double sum = 0;
  real scale = (real)1 / n;
#pragma omp parallel for reduction(+ : sum) num_threads(threads)
  for (size at = 0; at < n / rows * rows; at += rows)
    sum += tile(x + at * CLASSES, y + at, g + at * CLASSES, scale, gradient, past);
  for (size r = n / rows * rows; r < n; ++r) {  // what is left
    const real* z = x + r * CLASSES;
    real max = z[0], total = 0;
    for (int c = 1; c < CLASSES; ++c) max = fmax(max, z[c]);
    for (int c = 0; c < CLASSES; ++c) total += exp(z[c] - max);
    sum += max + log(total) - z[y[r]];
    if (gradient)
      for (int c = 0; c < CLASSES; ++c) g[r * CLASSES + c] = (exp(z[c] - max) / total - (c == y[r])) * scale;
  }
  return sum / n;
}

double forward(const real* x, const int64_t* y, real* g, size n, int threads) { return all(x, y, g, n, threads, 0, 0); }

double gradient(const real* x, const int64_t* y, real* g, size n, int threads) {
  return streamed(n * CLASSES) ? all(x, y, g, n, threads, 1, 1) : all(x, y, g, n, threads, 1, 0);
}
