// A row of logits and what its softmax is made of; the coefficients of a loss in -log p.
#pragma once

#include "oracle.hpp"

struct softmax_row {
  std::vector<real> gap, gap_lo, e;   // (max - x_c) / T and its rounding error; exp of minus that
  std::int64_t argmax = 0;
  wide top = 0;                       // max / T
  real tail = 0, total = 0, log_total = 0;   // of the classes but one maximum; 1 + tail; its logarithm

  softmax_row(const double* x, std::int64_t n, double temperature) : gap(n), gap_lo(n), e(n) {
    argmax = std::max_element(x, x + n) - x;
    const double max = x[argmax];
    top = wide(max) / temperature;
    sum others;
    for (std::int64_t c = 0; c < n; ++c) {
      set_gap(c, max, x[c], temperature);
      e[c] = gap[c] > 11000 ? 0 : std::exp(-gap[c]) * (1 - gap_lo[c]);
      if (c != argmax) others.add(e[c]);
    }
    tail = others;
    total = 1 + tail;
    log_total = std::log1p(tail);
  }
  real p(std::int64_t c) const { return e[c] / total; }
  real one_minus_p(std::int64_t c) const { return (c == argmax ? tail : total - e[c]) / total; }
  real minus_log_p(std::int64_t c) const { return gap[c] + (gap_lo[c] + log_total); }
  wide logsumexp() const { return top + log_total; }

 private:
  void set_gap(std::int64_t c, double max, double x, double temperature) {
    if (temperature == 1) {
      gap[c] = real(max) - x;
      const real back = max - gap[c];
      gap_lo[c] = (max - (gap[c] + back)) + (back - x);
    } else {
      const wide g = (wide(max) - x) / temperature;
      gap[c] = static_cast<real>(g);
      gap_lo[c] = static_cast<real>(g - gap[c]);
    }
    if (std::isinf(gap[c])) gap_lo[c] = 0;
  }
};

// b_c of each class, their sum A, and A - b_c.
struct coefficients {
  std::vector<wide> b;
  wide total = 0;

  coefficients(const call& a, std::int64_t i) : b(a.classes, wide(0)) {
    const wide keep = wide(1) - a.smoothing, spread = wide(a.smoothing) / static_cast<wide>(a.classes), v = row_weight(a, i);
    for (std::int64_t c = 0; c < a.classes && (a.q || a.smoothing != 0); ++c) {
      const wide q = a.q ? keep * a.q[i * a.classes + c] + spread : spread;
      b[c] = q == 0 ? q : v * class_weight(a, c) * q;
    }
    if (!a.q) b[a.y[i]] += v * keep * class_weight(a, a.y[i]);
    for (std::int64_t c = 0; c < a.classes; ++c) {
      if (b[c] > b[largest_]) largest_ = c;
    }
    for (std::int64_t c = 0; c < a.classes; ++c) {
      if (c != largest_) without_largest_ += b[c];
    }
    total = b[largest_] + without_largest_;
  }
  // A difference would lose what is left without the largest of them.
  wide others(std::int64_t c) const { return c == largest_ ? without_largest_ : total - b[c]; }

 private:
  std::int64_t largest_ = 0;
  wide without_largest_ = 0;
};
