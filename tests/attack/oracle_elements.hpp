// Losses of single elements, each a row of one class: x, its target q, its weight v, the weight t of the positive class.
#pragma once

#include "oracle.hpp"

inline real sigmoid(real x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
inline real softplus(real x) {
  return std::isinf(x) ? std::max(x, real(0)) : std::log1p(std::exp(-std::fabs(x))) + std::max(x, real(0));
}
// With 0 inf = 0.
inline real dot(real coefficient, real value) { return coefficient == 0 ? 0 : coefficient * value; }

inline void sigmoid(const call& a, std::int64_t i, verdict& v) { v.see(0, a.result[i], sigmoid(a.x[i]), sigmoid(a.x[i])); }
inline void log_sigmoid(const call& a, std::int64_t i, verdict& v) {
  v.see(0, a.result[i], -softplus(-a.x[i]), softplus(-a.x[i]));
}

// The coefficients of softplus(-x) and softplus(x) in the binary cross-entropy of a logit.
struct binary_coefficients {
  real positive, negative;

  binary_coefficients(const call& a, std::int64_t i) {
    const real y = a.q[i], keep = 1 - real(a.smoothing), half = real(a.smoothing) / 2, w = row_weight(a, i);
    positive = w * (a.t ? a.t[i] : 1) * (y * keep + half);
    negative = w * ((1 - y) * keep + half);
  }
};
inline void binary_logits_loss(const call& a, std::int64_t i, verdict& v) {
  const binary_coefficients k(a, i);
  const real loss = dot(k.positive, softplus(-real(a.x[i]))) + dot(k.negative, softplus(a.x[i]));
  v.see(0, a.result[i], loss, loss);
}
inline void binary_logits_gradient(const call& a, std::int64_t i, verdict& v) {
  const binary_coefficients k(a, i);
  const real up = k.negative * sigmoid(real(a.x[i])) * upstream(a, i),
             down = k.positive * sigmoid(-real(a.x[i])) * upstream(a, i);
  v.see(0, a.result[i], up - down, std::max(std::fabs(up), std::fabs(down)));
}
inline void binary_logits_hessian(const call& a, std::int64_t i, verdict& v) {
  const binary_coefficients k(a, i);
  const real exact = (k.positive + k.negative) * sigmoid(real(a.x[i])) * sigmoid(-real(a.x[i]));
  v.see(0, a.result[i], exact, exact);
}

// The same of a probability x; logarithms are bounded by -100.
inline void binary_loss(const call& a, std::int64_t i, verdict& v) {
  const real p = a.x[i], y = a.q[i], floor = -100;
  const real log_p = std::max(p > 0.5L ? std::log1p(p - 1) : std::log(p), floor), log_q = std::max(std::log1p(-p), floor);
  const real loss = row_weight(a, i) * (dot(y, -log_p) + dot(1 - y, -log_q));
  v.see(0, a.result[i], loss, loss);
}
inline void binary_gradient(const call& a, std::int64_t i, verdict& v) {
  const real p = a.x[i], y = a.q[i], factor = row_weight(a, i) * upstream(a, i);
  const real up = dot(factor, dot(1 - y, 1 / (1 - p))), down = dot(factor, dot(y, 1 / p));
  v.see(0, a.result[i], up - down, std::max(std::fabs(up), std::fabs(down)));
}

// t (log t - log_p) of a log-probability x and the target q: at the larger of its terms.
inline void kl_div_loss(const call& a, std::int64_t i, verdict& v) {
  const real q = a.q[i], log_q = q > 0.5L ? std::log1p(q - 1) : std::log(q);
  const real first = dot(q, log_q), second = dot(q, a.x[i]);
  v.see(0, a.result[i], first - second, std::max(std::fabs(first), std::fabs(second)));
}
// The same where the target is given by its logarithm.
inline void kl_div_log_target_loss(const call& a, std::int64_t i, verdict& v) {
  const real q = std::exp(real(a.q[i])), first = dot(q, a.q[i]), second = dot(q, a.x[i]);
  const real difference = q == 0 ? 0 : q * static_cast<real>(wide(a.q[i]) - a.x[i]);
  v.see(0, a.result[i], difference, std::max(std::fabs(first), std::fabs(second)));
}
