// The divergence from a teacher that is known of some classes of a row, all in `wide`: what is left to the other classes is a
// difference, which the exponentials have to have in full. The formulas are those of tests/oracle/sparse.py.
#pragma once

#include "oracle_rows.hpp"

namespace in_wide {

inline wide abs(wide x) { return x < 0 ? -x : x; }
inline wide largest(wide a, wide b, wide c = 0) { return std::max(a, std::max(b, c)); }
// Within 2^-95.
inline wide exp(wide x) {
  if (!(x > -11000)) return 0;
  const wide y = x / 65536;
  wide series = 1;
  for (int k = 18; k > 0; --k) series = 1 + y / k * series;
  for (int k = 0; k < 16; ++k) series *= series;
  return series;
}
inline wide log(wide x) {
  if (x == 0) return -HUGE_VALL;
  const wide y = std::log(static_cast<real>(x));
  return y + (x * exp(-y) - 1);
}
inline wide log1p(wide x) {
  return abs(x) < wide(1e-8L) ? x * (1 - x * (wide(1) / 2 - x * (wide(1) / 3 - x / 4))) : log(1 + x);
}
// e^u - 1 - u
inline wide phi(wide u) {
  if (abs(u) > wide(0.25L)) return exp(u) - 1 - u;
  wide series = 1;
  for (int k = 28; k > 2; --k) series = 1 + u / k * series;
  return u * u / 2 * series;
}
// What a class adds to the divergence of p from `other` = p e^u, never negative.
inline wide divergence_term(wide p, wide other, wide u) {
  if (p == 0) return other;
  return abs(u) < 1 ? p * phi(u) : other - p - p * u;
}
inline wide to_mixture(wide d, wide share) {
  if (d < -11000) return -log1p(-share);
  return -log1p(share * (phi(d) + d));
}

}  // namespace in_wide

enum { bucket, zero, renormalize, uniform };

// What a row is made of: the classes that are listed, and one that stands for all the others.
struct category {
  std::int64_t of_class;   // -1: the others
  wide p, others;          // of the teacher; what the other categories have together
  wide q, one_minus_q;     // of the student
  wide d;                  // log p - log q
};

struct sparse_row {
  std::vector<wide> q, minus_log_q, one_minus_q;
  std::vector<category> found;   // the last is that of the others
  std::vector<char> is_listed;
  std::int64_t others = 0;
  wide total = 0, rest = 0, rho = 0, log_rho = 0;
  wide lacking = 0;   // of the teacher to 1, under "zero"
  bool says_nothing = false;

  sparse_row(const call& a, std::int64_t i)
      : q(a.classes), minus_log_q(a.classes), one_minus_q(a.classes), is_listed(a.classes, 0) {
    set_student(a.x + i * a.classes);
    for (std::int64_t k = i * a.listed; k < (i + 1) * a.listed; ++k) add(a.listed_classes[k], a.listed_values[k]);
    const int tail = static_cast<int>(a.tail);
    others = a.classes - static_cast<std::int64_t>(found.size());
    says_nothing = total == 0 && (tail == renormalize || tail == zero);
    rest = 1 - total;
    if (tail == renormalize || ((rest <= 0 || others == 0) && tail != zero)) {
      for (category& f : found) f.p /= total;
      rest = 0;
    }
    if (tail == zero) {
      lacking = rest;
      rest = 0;
    }
    wide listed = 0;
    for (std::int64_t c = 0; c < a.classes; ++c) (is_listed[c] ? listed : rho) += q[c];
    log_rho = rho < wide(0.5L) ? in_wide::log(rho) : in_wide::log1p(-listed);
    found.push_back({-1, rest, 0, rho, listed, 0});
    for (category& f : found) set_ratio(f);
  }

 private:
  void set_student(const double* x) {
    const std::int64_t n = static_cast<std::int64_t>(q.size()), argmax = std::max_element(x, x + n) - x;
    wide tail = 0;
    for (std::int64_t c = 0; c < n; ++c) {
      q[c] = in_wide::exp(wide(x[c]) - x[argmax]);
      if (c != argmax) tail += q[c];
    }
    const wide log_total = in_wide::log1p(tail);
    for (std::int64_t c = 0; c < n; ++c) {
      one_minus_q[c] = (c == argmax ? tail : (1 + tail) - q[c]) / (1 + tail);
      q[c] /= 1 + tail;
      minus_log_q[c] = (wide(x[argmax]) - x[c]) + log_total;
    }
  }
  void add(std::int64_t c, double value) {
    if (c < 0) return;
    const wide p = in_wide::exp(value);
    total += p;
    if (!is_listed[c]) found.push_back({c, 0, 0, q[c], one_minus_q[c], 0});
    is_listed[c] = 1;
    for (category& f : found) {
      if (f.of_class == c) f.p += p;
    }
  }
  void set_ratio(category& f) const {
    for (const category& other : found) {
      if (&other != &f) f.others += other.p;
    }
    const wide log_p = f.p > wide(0.5L) ? in_wide::log1p(-(f.others + lacking)) : in_wide::log(f.p);
    const wide log_q = f.of_class < 0 ? log_rho : -minus_log_q[f.of_class];
    f.d = log_p < -1e5L && log_q < -1e5L ? wide(0) : log_p - log_q;
  }
};

// The loss and the gradient of each class, with what they are measured at: the loss at the sizes of its terms where they are
// larger, as a divergence that vanishes is a sum of two signs.
struct sparse_divergence {
  wide loss = 0, loss_scale = 0;
  std::vector<wide> gradient, scale;

  sparse_divergence(const call& a, std::int64_t i) : gradient(a.classes, wide(0)), scale(a.classes, wide(0)) {
    const sparse_row row(a, i);
    if (row.says_nothing) return;
    std::vector<wide> values, scales;
    if (a.divergence == 0) forward(row, a, values, scales);
    else mixed(row, a, values, scales);
    loss_scale = in_wide::largest(in_wide::abs(loss), loss_scale, in_wide::abs(values.back()));
    for (std::size_t k = 0; k + 1 < row.found.size(); ++k) {
      gradient[row.found[k].of_class] = values[k];
      scale[row.found[k].of_class] = scales[k];
    }
    for (std::int64_t c = 0; c < a.classes; ++c) {
      if (row.is_listed[c] || row.rho == 0) continue;
      gradient[c] = row.q[c] / row.rho * values.back();
      scale[c] = row.q[c] / row.rho * scales.back();
    }
    if (a.tail == uniform && row.rest > 0) spread(row, a);
  }

 private:
  void forward(const sparse_row& row, const call& a, std::vector<wide>& values, std::vector<wide>& scales) {
    for (const category& f : row.found) {
      const wide term = f.p == 0 ? f.p : f.p * f.d;
      loss += a.tail == zero ? term : in_wide::divergence_term(f.p, f.q, -f.d);
      loss_scale += in_wide::abs(term);
      const wide first = f.others * f.q, second = f.p * f.one_minus_q;
      values.push_back(first - second);
      scales.push_back(std::max(first, second));
    }
  }
  void mixed(const sparse_row& row, const call& a, std::vector<wide>& values, std::vector<wide>& scales) {
    const bool js = a.divergence == 2;
    const wide share = js ? wide(0.5L) : wide(1);
    wide inner = 0, other = 0, size = 0;
    std::vector<wide> own;
    for (const category& f : row.found) {
      own.push_back(js ? in_wide::to_mixture(f.d, share) : -f.d);
      const wide m = js ? (f.p + f.q) / 2 : f.p;
      inner += in_wide::divergence_term(f.q, m, -own.back());
      if (f.q != 0) size += in_wide::abs(f.q * own.back());
      if (!js) continue;
      const wide ratio = in_wide::to_mixture(-f.d, share);
      other += in_wide::divergence_term(f.p, m, -ratio);
      if (f.p != 0) loss_scale += in_wide::abs(f.p * ratio) / 2;
    }
    loss_scale += size * share;
    loss = js ? (inner + other) / 2 : inner;
    // A subnormal probability is rounded before it meets a log-ratio of up to 745.
    const wide rounding = a.digits == 53 ? static_cast<wide>(0x1p-1015) : wide(0);
    for (std::size_t k = 0; k < row.found.size(); ++k) {
      const category& f = row.found[k];
      const wide least = f.of_class < 0 ? f.one_minus_q : row.rho, factor = share * f.q;
      values.push_back(f.q == 0 ? f.q : factor * (own[k] - inner));
      scales.push_back(f.q == 0 ? f.q : factor * in_wide::largest(in_wide::abs(own[k]), size, least));
      if (scales.back() < rounding) scales.back() = rounding;
    }
  }
  void spread(const sparse_row& row, const call& a) {
    const wide n = static_cast<wide>(row.others), b = row.rest / n, one_minus_b = row.others == 1 ? row.total : 1 - b;
    wide sum = 0;
    for (std::int64_t c = 0; c < a.classes; ++c) {
      if (row.is_listed[c]) continue;
      sum += row.minus_log_q[c] + row.log_rho;
      const wide first = one_minus_b * row.q[c], second = b * row.one_minus_q[c];
      gradient[c] = first - second;
      scale[c] = std::max(first, second);
    }
    loss += row.rest * (sum / n - in_wide::log(n));
    loss_scale = in_wide::largest(loss_scale, row.rest * sum / n);
  }
};

inline void sparse_loss(const call& a, std::int64_t i, verdict& v) {
  const sparse_divergence exact(a, i);
  const real w = row_weight(a, i);
  v.see(0, a.result[i], static_cast<real>(exact.loss) * w, static_cast<real>(exact.loss_scale) * w);
}
inline void sparse_gradient(const call& a, std::int64_t i, verdict& v) {
  const sparse_divergence exact(a, i);
  const real factor = row_weight(a, i) * upstream(a, i);
  for (std::int64_t c = 0; c < a.classes; ++c) {
    v.see(c, a.result[i * a.classes + c], static_cast<real>(exact.gradient[c]) * factor,
          static_cast<real>(exact.scale[c]) * factor);
  }
}
