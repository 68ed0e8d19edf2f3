// Statistics of a row of logits; measures of information of probabilities q, and of a second row t of them.
#pragma once

#include "oracle_classes.hpp"
#include "oracle_elements.hpp"

inline void log_prob(const call& a, std::int64_t i, verdict& v) {
  const real exact = row_of(a, i).minus_log_p(a.y[i]);
  v.see(0, a.result[i], -exact, exact);
}
inline void max_log_prob(const call& a, std::int64_t i, verdict& v) {
  const real exact = row_of(a, i).log_total;
  v.see(0, a.result[i], -exact, exact);
}
inline void row_entropy(const call& a, std::int64_t i, verdict& v) {
  const softmax_row row = row_of(a, i);
  sum exact;
  for (std::int64_t c = 0; c < a.classes; ++c) exact.add(dot(row.p(c), row.minus_log_p(c)));
  v.see(0, a.result[i], exact, exact);
}
inline void sum_of_squares(const call& a, std::int64_t i, verdict& v) {
  const softmax_row row = row_of(a, i);
  sum exact;
  for (std::int64_t c = 0; c < a.classes; ++c) exact.add(row.p(c) * row.p(c));
  v.see(0, a.result[i], exact, exact);
}

inline real log_of(real p) { return p > 0.5L && p < 2 ? std::log1p(p - 1) : std::log(p); }

// Sums of terms of two signs are measured at the sum of what the terms are.
struct measure {
  sum value, scale;
  void add(real first, real second) {
    value.add(first - second);
    scale.add(std::max(std::fabs(first), std::fabs(second)));
  }
};
inline void information_entropy(const call& a, std::int64_t i, verdict& v) {
  measure m;
  for (const double* p = a.q + i * a.classes; p != a.q + (i + 1) * a.classes; ++p) m.add(dot(*p, -log_of(*p)), 0);
  v.see(0, a.result[i], m.value, m.scale);
}
inline void information_cross_entropy(const call& a, std::int64_t i, verdict& v) {
  measure m;
  for (std::int64_t c = i * a.classes; c < (i + 1) * a.classes; ++c) m.add(dot(a.q[c], -log_of(a.t[c])), 0);
  v.see(0, a.result[i], m.value, m.scale);
}
inline void information_kl(const call& a, std::int64_t i, verdict& v) {
  measure m;
  for (std::int64_t c = i * a.classes; c < (i + 1) * a.classes; ++c) {
    m.add(dot(a.q[c], log_of(a.q[c])), dot(a.q[c], log_of(a.t[c])));
  }
  v.see(0, a.result[i], m.value, m.scale);
}
inline void information_js(const call& a, std::int64_t i, verdict& v) {
  measure m;
  for (std::int64_t c = i * a.classes; c < (i + 1) * a.classes; ++c) {
    const real mean = (real(a.q[c]) + a.t[c]) / 2;
    for (const real p : {real(a.q[c]), real(a.t[c])}) m.add(dot(p / 2, log_of(p)), dot(p / 2, log_of(mean)));
  }
  v.see(0, a.result[i], m.value, m.scale);
}
inline void nll_loss(const call& a, std::int64_t i, verdict& v) {
  const real exact = dot(row_weight(a, i) * class_weight(a, a.y[i]), -a.x[i * a.classes + a.y[i]]);
  v.see(0, a.result[i], exact, exact);
}
inline void nll_gradient(const call& a, std::int64_t i, verdict& v) {
  const real exact = -row_weight(a, i) * class_weight(a, a.y[i]) * upstream(a, i);
  for (std::int64_t c = 0; c < a.classes; ++c) v.see(c, a.result[i * a.classes + c], c == a.y[i] ? exact : 0, exact);
}
