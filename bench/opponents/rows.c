// Cross-entropy and log-softmax of long contiguous rows, block by block: a block is in the first-level cache for its
// maximum and its exponentials, a row in the second-level cache for the gradient, which is written stage by stage.
// Rows of up to 4096 classes are one block, whose terms are kept for the gradient.
#include "common.h"

enum { whole = CLASSES <= 4096, block = whole ? CLASSES : 512, stage = whole ? CLASSES : 2048 };

INLINE size least(size a, size b) { return a < b ? a : b; }

// The maximum, and the sum of exp(x - maximum). `terms`: those of the last block.
INLINE double sum_exp(const real* x, real* maximum, real* terms) {
  real max = x[0];
  double total = 0;
  for (size at = 0; at < CLASSES; at += block) {
    size end = least(at + block, CLASSES);
    real before = max, part = 0;
    for (size i = at; i < end; ++i) max = fmax(max, x[i]);
    for (size i = at; i < end; ++i) terms[i - at] = exp(x[i] - max);  // a sum in this loop would be spilled for each call
    for (size i = 0; i < end - at; ++i) part += terms[i];
    total = total * exp(before - max) + part;
  }
  *maximum = max;
  return total;
}

double forward(const real* x, const int64_t* y, real* g, size n, int threads) {
  double sum = 0;
#pragma omp parallel for reduction(+ : sum) num_threads(threads)
  for (size r = 0; r < n; ++r) {
    real max, terms[block] ALIGNED;
    double total = sum_exp(x + r * CLASSES, &max, terms);
    sum += max + log(total) - x[r * CLASSES + y[r]];
  }
  return sum / n;
}

// `g` may be `x`.
double gradient(const real* x, const int64_t* y, real* g, size n, int threads) {
  double sum = 0;
  int past = streamed(n * CLASSES) && x != g;
#pragma omp parallel for reduction(+ : sum) num_threads(threads)
  for (size r = 0; r < n; ++r) {
    const real* row = x + r * CLASSES;
    real max, scale = (real)1 / n, terms[block] ALIGNED, buffer[stage] ALIGNED;
    double total = sum_exp(row, &max, terms);
    sum += max + log(total) - row[y[r]];
    real factor = scale / total;
    for (size at = 0; at < CLASSES; at += stage) {
      size count = least(stage, CLASSES - at);
      for (size i = 0; i < count; ++i) buffer[i] = (whole ? terms[i] : exp(row[at + i] - max)) * factor;
      if (y[r] >= at && y[r] < at + count) buffer[y[r] - at] -= scale;
      put(g + r * CLASSES + at, buffer, count, past);
    }
  }
  return sum / n;
}

void log_softmax(const real* x, const void* unused, real* out, size n, int threads) {
  int past = streamed(n * CLASSES);
#pragma omp parallel for num_threads(threads)
  for (size r = 0; r < n; ++r) {
    const real* row = x + r * CLASSES;
    real max, terms[block] ALIGNED, buffer[stage] ALIGNED;
    double total = sum_exp(row, &max, terms);
    real shift = max + log(total);
    for (size at = 0; at < CLASSES; at += stage) {
      size count = least(stage, CLASSES - at);
      for (size i = 0; i < count; ++i) buffer[i] = row[at + i] - shift;
      put(out + r * CLASSES + at, buffer, count, past);
    }
  }
}
