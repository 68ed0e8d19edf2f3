// Of one row of logits: cross-entropy, its gradient and Hessian; softmax, log_softmax, logsumexp and their backward functions.
#pragma once

#include "oracle_rows.hpp"

inline softmax_row row_of(const call& a, std::int64_t i) { return {a.x + i * a.classes, a.classes, a.temperature}; }

struct loss_in_log_p {
  real value = 0, scale = 0;
};
// With a z-loss the error of logsumexp is carried through it: that of log(total), where max + log(total) cancels.
inline loss_in_log_p cross_entropy_of(const call& a, std::int64_t i, const softmax_row& row) {
  const coefficients k(a, i);
  sum loss;
  for (std::int64_t c = 0; c < a.classes; ++c) {
    if (k.b[c] != 0) loss.add(static_cast<real>(k.b[c]) * row.minus_log_p(c));
  }
  const real vz = row_weight(a, i) * a.z_loss;
  if (vz == 0) return {loss, loss};
  const real lse = static_cast<real>(row.logsumexp());
  loss.add(vz * lse * lse);
  return {loss, std::max(std::fabs(loss), std::fabs(2 * vz * lse * row.log_total))};
}
inline void cross_entropy_loss(const call& a, std::int64_t i, verdict& v) {
  const loss_in_log_p exact = cross_entropy_of(a, i, row_of(a, i));
  v.see(0, a.result[i], exact.value, exact.scale);
}

// Entry c: (A - b_c) p_c - b_c (1 - p_c), A with the slope of the z-loss in it, and the larger of the two terms. The error of
// logsumexp is carried through the slope: one ULP of it, four of log(total).
struct gradient_in_log_p {
  const softmax_row& row;
  coefficients k;
  wide slope = 0;
  real carried = 0;

  gradient_in_log_p(const call& a, std::int64_t i, const softmax_row& r) : row(r), k(a, i) {
    if (a.z_loss == 0) return;
    const wide vz = wide(row_weight(a, i)) * a.z_loss;
    slope = 2 * vz * row.logsumexp();
    carried = std::max(std::fabs(static_cast<real>(slope)) / 4, std::fabs(static_cast<real>(2 * vz) * row.log_total));
  }
  loss_in_log_p entry(std::int64_t c) const {
    const real first = static_cast<real>(k.others(c) + slope) * row.p(c);
    const real second = static_cast<real>(k.b[c]) * row.one_minus_p(c);
    return {first - second, std::max({std::fabs(first), std::fabs(second), carried * row.p(c)})};
  }
};
inline void cross_entropy_gradient(const call& a, std::int64_t i, verdict& v) {
  const softmax_row row = row_of(a, i);
  const gradient_in_log_p gradient(a, i, row);
  const real factor = upstream(a, i) / a.temperature;
  for (std::int64_t c = 0; c < a.classes; ++c) {
    const loss_in_log_p exact = gradient.entry(c);
    v.see(c, a.result[i * a.classes + c], exact.value * factor, exact.scale * factor);
  }
}
inline void cross_entropy_hessian(const call& a, std::int64_t i, verdict& v) {
  const softmax_row row = row_of(a, i);
  const real all = static_cast<real>(coefficients(a, i).total);
  for (std::int64_t c = 0; c < a.classes; ++c) {
    const real exact = all * row.p(c) * row.one_minus_p(c);
    v.see(c, a.result[i * a.classes + c], exact, exact);
  }
}

// ---- Normalisers ----------------------------------------------------------------------------------------------------

inline void softmax(const call& a, std::int64_t i, verdict& v) {
  const softmax_row row = row_of(a, i);
  for (std::int64_t c = 0; c < a.classes; ++c) v.see(c, a.result[i * a.classes + c], row.p(c), row.p(c));
}
inline void log_softmax(const call& a, std::int64_t i, verdict& v) {
  const softmax_row row = row_of(a, i);
  for (std::int64_t c = 0; c < a.classes; ++c) {
    v.see(c, a.result[i * a.classes + c], -row.minus_log_p(c), row.minus_log_p(c));
  }
}
// 4 units are 1 ULP of the result and 4 ULP of log1p(tail).
inline void logsumexp(const call& a, std::int64_t i, verdict& v) {
  const softmax_row row = row_of(a, i);
  const real exact = static_cast<real>(row.logsumexp());
  v.see_in_units(0, a.result[i], exact, spacing(a, exact) / 4 + spacing(a, row.log_total));
}
inline void logsumexp_backward(const call& a, std::int64_t i, verdict& v) {
  const softmax_row row = row_of(a, i);
  for (std::int64_t c = 0; c < a.classes; ++c) {
    const real exact = upstream(a, i) * row.p(c);
    v.see(c, a.result[i * a.classes + c], exact, exact);
  }
}
// t: the upstream gradient. p (g - sum g p) / T, at the larger of |g| and sum |g p|, times p / T.
inline void softmax_backward(const call& a, std::int64_t i, verdict& v) {
  const double *g = a.t + i * a.classes, *p = a.q + i * a.classes;
  sum inner, size;
  for (std::int64_t c = 0; c < a.classes; ++c) {
    inner.add(real(g[c]) * p[c]);
    size.add(std::fabs(real(g[c]) * p[c]));
  }
  for (std::int64_t c = 0; c < a.classes; ++c) {
    const real factor = p[c] / real(a.temperature);
    v.see(c, a.result[i * a.classes + c], (g[c] - inner) * factor, std::max(std::fabs(real(g[c])), real(size)) * factor);
  }
}
// x: the log-probabilities. (g - exp(log_p) sum g) / T, at the larger of |g| and p sum |g|.
inline void log_softmax_backward(const call& a, std::int64_t i, verdict& v) {
  const double *g = a.t + i * a.classes, *log_p = a.x + i * a.classes;
  sum inner, size;
  for (std::int64_t c = 0; c < a.classes; ++c) {
    inner.add(g[c]);
    size.add(std::fabs(g[c]));
  }
  for (std::int64_t c = 0; c < a.classes; ++c) {
    const real p = std::exp(real(log_p[c]));
    v.see(c, a.result[i * a.classes + c], (g[c] - p * inner) / a.temperature,
          std::max(std::fabs(real(g[c])), p * size) / a.temperature);
  }
}
