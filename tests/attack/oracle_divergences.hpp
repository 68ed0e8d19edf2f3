// Divergences of two rows of logits, and distillation. d_c = log t_c - log s_c has full accuracy where the rows are equal but
// for their last bits: the difference of the logarithms of the sums is one logarithm.
#pragma once

#include "oracle_classes.hpp"

enum { forward_kl, reverse_kl, jensen_shannon };

// e^u - 1 - u
inline real phi(real u) {
  if (std::fabs(u) > 0.5L) return std::expm1(u) - u;
  real series = 1;
  for (int k = 20; k > 2; --k) series = 1 + u / k * series;
  return u * u / 2 * series;
}
// p e^u - p - p u, where p e^u is `other`: what a class adds to KL(p || other), never negative.
inline real divergence_term(real p, real other, real u) {
  if (p == 0) return other;
  return std::fabs(u) < 1 ? p * phi(u) : other - p - p * u;
}
// log(p / m) with m = share q + (1 - share) p and d = log q - log p.
inline real to_mixture(real d, real share) {
  if (std::isinf(d)) return d > 0 ? -HUGE_VALL : -std::log1p(-share);
  return -std::log1p(share * std::expm1(d));
}

struct two_rows {
  softmax_row s, t;
  std::vector<real> d;

  two_rows(const call& a, std::int64_t i)
      : s(a.x + i * a.classes, a.classes, a.temperature), t(a.t + i * a.classes, a.classes, a.temperature), d(a.classes, 0) {
    const double *x = a.x + i * a.classes, *z = a.t + i * a.classes;
    const wide maxima = wide(x[s.argmax]) - z[t.argmax], near = wide(s.log_total) - t.log_total;
    std::vector<wide> u(a.classes, wide(0));   // log s - log t, but for what `near` is off
    sum off;
    for (std::int64_t c = 0; c < a.classes; ++c) {
      if (std::isinf(x[c]) && std::isinf(z[c])) continue;
      u[c] = ((wide(x[c]) - z[c]) - maxima) / a.temperature - near;
      const real of_class = static_cast<real>(u[c]);
      off.add(std::fabs(of_class) < 1 ? t.p(c) * std::expm1(of_class) : s.p(c) - t.p(c));
    }
    const real correction = std::log1p(off);
    for (std::int64_t c = 0; c < a.classes; ++c) {
      if (!(std::isinf(x[c]) && std::isinf(z[c]))) d[c] = static_cast<real>(wide(correction) - u[c]);
    }
  }
  real p(std::int64_t c) const { return s.p(c); }
};

// The divergence, and what its gradient is made of.
struct divergence {
  two_rows rows;
  int kind;
  bool is_float64;
  real beta, value = 0, inner = 0, inverse;
  real size = 0, terms = 0;   // of the terms of `inner`, whose sum may cancel; of those of the value
  std::vector<real> own;   // log(s / t), or log(s / m)

  divergence(const call& a, std::int64_t i)
      : rows(a, i),
        kind(static_cast<int>(a.divergence)),
        is_float64(a.digits == 53),
        beta(kind == reverse_kl ? 1 : a.beta),
        inverse(1 / real(a.temperature)) {
    sum of_student, of_teacher, sizes, sizes_of_teacher;
    own.resize(rows.d.size());
    for (std::size_t c = 0; c < own.size(); ++c) {
      const real s = rows.s.p(c), t = rows.t.p(c), d = rows.d[c];
      if (kind == forward_kl) {
        of_teacher.add(divergence_term(t, s, -d));
        sizes_of_teacher.add(size_of(t, d));
        continue;
      }
      own[c] = kind == reverse_kl ? -d : to_mixture(d, beta);
      const real m = beta * t + (1 - beta) * s;
      of_student.add(divergence_term(s, m, -own[c]));
      sizes.add(size_of(s, own[c]));
      if (kind != jensen_shannon) continue;
      const real other = to_mixture(-d, 1 - beta);
      of_teacher.add(divergence_term(t, m, -other));
      sizes_of_teacher.add(size_of(t, other));
    }
    inner = of_student;
    size = sizes;
    if (kind == forward_kl) beta = 1;
    value = kind == reverse_kl ? inner : beta * of_teacher + (1 - beta) * inner;
    terms = kind == reverse_kl ? size : beta * sizes_of_teacher + (1 - beta) * size;
  }
  static real size_of(real p, real log_ratio) { return p == 0 ? 0 : p * std::fabs(log_ratio); }
  loss_in_log_p entry(std::int64_t c) const {
    const real s = rows.s.p(c);
    if (kind == forward_kl) {
      const real first = s * rows.t.one_minus_p(c), second = rows.t.p(c) * rows.s.one_minus_p(c);
      return {(first - second) * inverse, std::max(first, second) * inverse};
    }
    const real factor = (kind == reverse_kl ? 1 : 1 - beta) * inverse;
    const real value = s == 0 ? 0 : s * (own[c] - inner);
    const real least_log_ratio = is_float64 ? 0x1p-51L : 0x1p-22L, least = is_float64 ? 0x1p-1019L : 0x1p-123L;
    return {factor * value, factor * std::max(s == 0 ? 0 : s * std::max({std::fabs(own[c]), size, least_log_ratio}), least)};
  }
};

// What is promised of a divergence: 1e-5 of it, or of 2e-9, in float32.
inline real promised(const call& a, real value) {
  return a.digits == 53 ? 1e-12L * std::max(value, 1e-18L) : 1e-5L * std::max(value, 2e-9L);
}
inline void divergence_loss(const call& a, std::int64_t i, verdict& v) {
  const real value = divergence(a, i).value, w = row_weight(a, i);
  v.see_in_units(0, a.result[i], value * w, promised(a, value) * w);
}
inline void divergence_gradient(const call& a, std::int64_t i, verdict& v) {
  const divergence of_row(a, i);
  const real factor = upstream(a, i) * row_weight(a, i);
  for (std::int64_t c = 0; c < a.classes; ++c) {
    const loss_in_log_p exact = of_row.entry(c);
    v.see(c, a.result[i * a.classes + c], exact.value * factor, exact.scale * factor);
  }
}

// alpha T^2 of the divergence and 1 - alpha of the cross-entropy at the temperature 1. A loss is measured at the sizes of the
// divergence's terms where they are larger, and not below what is promised of a divergence that vanishes; a gradient at the larger
// of what the two are measured at.
inline real share_of_divergence(const call& a, std::int64_t i) {
  return real(a.alpha) * a.temperature * a.temperature * row_weight(a, i);
}
// A cross-entropy that does not count may be infinite.
inline loss_in_log_p counted(loss_in_log_p of_target, real share) { return share != 0 ? of_target : loss_in_log_p{}; }
inline void distillation_loss(const call& a, std::int64_t i, verdict& v) {
  const real share = share_of_divergence(a, i), rest = 1 - real(a.alpha);
  const loss_in_log_p of_target = counted(cross_entropy_of(a, i, softmax_row(a.x + i * a.classes, a.classes, 1)), rest);
  const divergence of_teacher(a, i);
  const real exact = share * of_teacher.value + rest * of_target.value;
  const real scale = std::max({exact, share * of_teacher.terms, rest * of_target.scale});
  v.see_in_units(0, a.result[i], exact, std::max(spacing(a, scale), share * promised(a, 0) / 4));
}
inline void distillation_gradient(const call& a, std::int64_t i, verdict& v) {
  const softmax_row row(a.x + i * a.classes, a.classes, 1);
  const gradient_in_log_p of_target(a, i, row);
  const divergence of_teacher(a, i);
  const real share = share_of_divergence(a, i), rest = 1 - real(a.alpha), factor = upstream(a, i);
  for (std::int64_t c = 0; c < a.classes; ++c) {
    const loss_in_log_p first = of_teacher.entry(c), second = counted(of_target.entry(c), rest);
    v.see(c, a.result[i * a.classes + c], (share * first.value + rest * second.value) * factor,
          std::max(share * first.scale, rest * second.scale) * factor);
  }
}
