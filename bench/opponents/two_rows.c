// Losses of a row of logits and a row of targets: cross-entropy with smoothed probabilities, KL divergence of logits.
#include "common.h"

enum { block = 512, stage = 2048 };

INLINE size least(size a, size b) { return a < b ? a : b; }

double soft(const real* x, const real* q, real* g, size n, real smoothing, int threads) {
  double sum = 0;
  int past = streamed(n * CLASSES);
#pragma omp parallel for reduction(+ : sum) num_threads(threads)
  for (size r = 0; r < n; ++r) {
    const real *row = x + r * CLASSES, *target = q + r * CLASSES;
    real max = row[0], scale = (real)1 / n, keep = 1 - smoothing, rest = smoothing / CLASSES, buffer[stage] ALIGNED;
    double total = 0, mass = 0, dot = 0;
    for (size at = 0; at < CLASSES; at += block) {
      size end = least(at + block, CLASSES);
      real before = max, e = 0, m = 0, d = 0, terms[block] ALIGNED;
      for (size i = at; i < end; ++i) max = fmax(max, row[i]);
      for (size i = at; i < end; ++i) terms[i - at] = exp(row[i] - max);
      for (size i = at; i < end; ++i) {
        real t = target[i] * keep + rest;
        e += terms[i - at];
        m += t;
        d += t * row[i];
      }
      total = total * exp(before - max) + e;
      mass += m;
      dot += d;
    }
    sum += mass * (max + log(total)) - dot;
    real factor = scale * mass / total;
    for (size at = 0; at < CLASSES; at += stage) {
      size count = least(stage, CLASSES - at);
      for (size i = 0; i < count; ++i) buffer[i] = exp(row[at + i] - max) * factor - (target[at + i] * keep + rest) * scale;
      put(g + r * CLASSES + at, buffer, count, past);
    }
  }
  return sum / n;
}

// `scale`: 1 / temperature.
double divergence(const real* x, const real* z, real* g, size n, real scale, int threads) {
  double sum = 0;
  int past = streamed(n * CLASSES);
#pragma omp parallel for reduction(+ : sum) num_threads(threads)
  for (size r = 0; r < n; ++r) {
    const real *student = x + r * CLASSES, *teacher = z + r * CLASSES;
    real top_x = student[0], top_z = teacher[0], buffer[stage] ALIGNED;
    static _Thread_local real terms_x[CLASSES] ALIGNED, terms_z[CLASSES] ALIGNED;  // fewer exponentials for more memory
    double total_x = 0, total_z = 0, dot = 0;
    for (size i = 0; i < CLASSES; ++i) {
      top_x = fmax(top_x, student[i]);
      top_z = fmax(top_z, teacher[i]);
    }
    for (size at = 0; at < CLASSES; at += block) {
      size end = least(at + block, CLASSES);
      real sum_x = 0, sum_z = 0, d = 0;
      for (size i = at; i < end; ++i) {
        terms_x[i] = exp((student[i] - top_x) * scale);
        terms_z[i] = exp((teacher[i] - top_z) * scale);
      }
      for (size i = at; i < end; ++i) {
        sum_x += terms_x[i];
        sum_z += terms_z[i];
        d += terms_z[i] * (teacher[i] - student[i]);
      }
      total_x += sum_x;
      total_z += sum_z;
      dot += d;
    }
    sum += scale * (dot / total_z + top_x - top_z) + log(total_x / total_z);
    real a = scale / n / total_x, b = scale / n / total_z;
    for (size at = 0; at < CLASSES; at += stage) {
      size count = least(stage, CLASSES - at);
      for (size i = 0; i < count; ++i) buffer[i] = terms_x[at + i] * a - terms_z[at + i] * b;
      put(g + r * CLASSES + at, buffer, count, past);
    }
  }
  return sum / n;
}
