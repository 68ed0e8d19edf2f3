// Divergences of two softmax rows, from their logits: sums and gradients. Formulas: docs/design.md.
//
// With d = log(t_c / s_c) a class adds s phi(d) = t phi*(d) to KL(t || s): neither negative nor cancelling. The form of the
// larger of s and t is taken, so that only e^-|d| occurs.
#pragma once

#include "forward_divergence.hpp"
#include "phi.hpp"

namespace crossent {
namespace {

// A number and what its rounding left out.
template <class T> struct rounded {
  pack<T> value, rest;
};

// log(t/s) from the logits: 0 where both are -inf, and nothing left out where it is infinite.
template <class T> CROSSENT_INLINE rounded<T> log_ratio_of(pack<T> s, pack<T> t, pack<T> d, pack<T> rest) {
  const pack<T> zero = set1<T>(0), infinity = set1(constants<T>::infinity);
  const auto unless_masked = [&](pack<T> v) { return if_equal(s, -infinity, if_equal(t, -infinity, zero, v), v); };
  return {unless_masked(d), if_less(absolute(d), infinity, unless_masked(rest), zero)};
}

// d = ((x_t - max_t) - (x_s - max_s)) / T - (log_sum_t - log_sum_s): accurate relative to d itself, as rows that are nearly
// equal need.
template <class T> struct log_ratio;

template <> struct log_ratio<float> {   // in float64
  pack<double> student[2], teacher[2], gap[2], inverse;

  template <class O> log_ratio(const divergence_rows& p, index row, O) : inverse(set1(p.t.high + p.t.low)) {
    for (int k = 0; k < 2; ++k) {
      const auto of = [&](const double* v) { return O::across ? load<double>(v + row + 8 * k) : set1(v[row]); };
      student[k] = of(p.student.max);
      teacher[k] = of(p.teacher.max);
      gap[k] = of(p.gap);
    }
  }
  rounded<float> operator()(pack<float> s, pack<float> t) const {
    const two_packs ws = widen(s), wt = widen(t);
    const auto of = [&](pack<double> xs, pack<double> xt, int k) {
      return fma((xt - teacher[k]) - (xs - student[k]), inverse, -gap[k]);
    };
    const two_packs whole{of(ws.low, wt.low, 0), of(ws.high, wt.high, 1)};
    const pack<float> d = narrow(whole);
    const two_packs wide_d = widen(d);
    return log_ratio_of(s, t, d, narrow({whole.low - wide_d.low, whole.high - wide_d.high}));
  }
};

template <> struct log_ratio<double> {   // as sums of two doubles
  pack<double> student, teacher, gap, gap_low, high, low;

  template <class O> log_ratio(const divergence_rows& p, index row, O o)
      : student(per_row<double>(p.student.max, row, o)),
        teacher(per_row<double>(p.teacher.max, row, o)),
        gap(per_row<double>(p.gap, row, o)),
        gap_low(per_row<double>(p.gap_low, row, o)),
        high(set1(p.t.high)),
        low(set1(p.t.low)) {}
  rounded<double> operator()(pack<double> s, pack<double> t) const {
    pack<double> el, er, e, ep, es;
    const pack<double> left = two_sum(t, -teacher, el), right = two_sum(s, -student, er);
    const pack<double> rough = two_sum(left, -right, e);
    const pack<double> whole = rough + (e + (el - er)), rest = ((rough - whole) + e) + (el - er);
    const pack<double> product = whole * high;
    ep = product_error(whole, high, product);
    const pack<double> sum = two_sum(product, -gap, es);
    const pack<double> correction = es + ((ep - gap_low) + fma(whole, low, rest * high)), d = sum + correction;
    const pack<double> infinite = (left - right) * high;   // of which the errors are NaN
    const pack<double> result = if_equal(absolute(infinite), set1(constants<double>::infinity), infinite, d);
    return log_ratio_of(s, t, result, correction - (d - sum));
  }
};

// p_c of one of the two rows.
template <class T> struct probability {
  exponential<T, division::rounded> term;
  pack<T> offset, factor, rest;

  template <class O> probability(const distribution_rows& r, const scaling& t, index row, O o)
      : term(per_row<T>(r.shift, row, o), t),
        offset(per_row<T>(r.offset, row, o)),
        factor(per_row<T>(r.factor, row, o)),
        rest(per_row<T>(r.rest, row, o)) {}
  // p v, 0 where p is (NaN where the row is), rounded once beside the exponential. The terms are biased: only the last product
  // can be subnormal.
  pack<T> times(pack<T> x, rounded<T> v) const {
    const pack<T> e = raised(x), ev = e * v.value, product = ev * factor;
    const pack<T> low = fma(fma(e, v.rest, product_error(e, v.value, ev)), factor, product_error(ev, factor, product));
    const pack<T> fine = if_less(absolute(low), absolute(product), product + low, product);   // not where it is NaN
    return if_equal(e, set1<T>(0), e * factor, fine);
  }
  pack<T> operator()(pack<T> x) const { return raised(x) * factor; }

 private:
  pack<T> raised(pack<T> x) const {
    if constexpr (sizeof(T) == 4) return term(x - offset, rest);
    pack<T> error;   // an offset of float64 rows is their maximum
    const pack<T> from_offset = two_sum(x, -offset, error);
    return term(from_offset, error, rest);
  }
};

// The larger of s and t times v, for the price of one exponential: d > 0 says that it is t.
template <class T> struct larger_probability {
  probability<T> student, teacher;

  pack<T> times(pack<T> d, pack<T> s, pack<T> t, rounded<T> v) const {
    const pack<T> zero = set1<T>(0);
    const auto choose = [&](pack<T> yes, pack<T> no) { return if_less(zero, d, yes, no); };
    probability<T> p = student;
    p.term.magic = choose(teacher.term.magic, p.term.magic);
    p.term.lowest = choose(teacher.term.lowest, p.term.lowest);
    p.offset = choose(teacher.offset, p.offset);
    p.factor = choose(teacher.factor, p.factor);
    p.rest = choose(teacher.rest, p.rest);
    return p.times(choose(t, s), v);
  }
};

// beta and 1 - beta.
template <class T> struct mixture {
  rounded<T> teacher, student;

  explicit mixture(double beta) : teacher(of(beta, 0)), student(of(1 - beta, (1 - (1 - beta)) - beta)) {}

 private:
  static rounded<T> of(double share, double low) {
    const T value = static_cast<T>(share);
    return {set1(value), set1(static_cast<T>((share - static_cast<double>(value)) + low))};
  }
};

// log(t/m) and log(s/m) for m = beta t + (1 - beta) s, from d: -log1p((1 - beta) expm1(-d)) and -log1p(beta expm1(d)), what is
// lost to the roundings of d and of the products added to first order. Where e^|d| leaves the range, the logarithm of the
// smaller of s and t is -|d| beside that of the larger.
template <class T> struct mixture_ratios {
  pack<T> teacher, student;
};
template <class T> CROSSENT_ONCE mixture_ratios<T> mixture_ratios_of(const rounded<T>& d, const mixture<T>& share) {
  const pack<T> zero = set1<T>(0), one = set1<T>(1), size = absolute(d.value), limit = set1<T>(64);
  const auto choose = [&](pack<T> yes, pack<T> no) { return if_less(zero, d.value, yes, no); };
  const auto choose_share = [&](const rounded<T>& yes, const rounded<T>& no) {
    return rounded<T>{choose(yes.value, no.value), choose(yes.rest, no.rest)};
  };
  const rounded<T> of_smaller = choose_share(share.student, share.teacher), of_larger = choose_share(share.teacher, share.student);
  const pack<T> size_rest = choose(d.rest, -d.rest), falls = exp(-size), near = at_most(size, limit);
  // share expm1(x) and what it leaves out, x having left out `rest`, power being exp(x)
  const auto product = [&](const rounded<T>& of, pack<T> e, pack<T> power, pack<T> rest) {
    const pack<T> a = of.value * e;
    return rounded<T>{a, fma(of.value * power, rest, fma(of.rest, e, product_error(of.value, e, a)))};
  };
  const pack<T> mixed = fma(of_smaller.value, falls, of_larger.value);   // m / larger; log1p is for where it is near 1
  const rounded<T> less = product(of_smaller, expm1(-size), falls, -size_rest);
  const pack<T> log_larger = -if_less(mixed, set1<T>(T(0.5)), log(mixed), log1p(less.value) + less.rest / mixed);
  const pack<T> grown = expm1(near);
  const rounded<T> more = product(of_larger, grown, one + grown, size_rest);
  const pack<T> log_smaller = -(log1p(more.value) + more.rest / (one + more.value));
  const pack<T> smaller = if_less(limit, size, log_larger - size, log_smaller);
  return {choose(log_larger, smaller), choose(smaller, log_larger)};
}

// Whether these kernels do the forward divergence: that of float32 rows has its own.
template <class T> constexpr bool forward = sizeof(T) == 8;

// `inner` is sum s log(s/t), or of s/m, as it stands: an error that the log-ratios of a row have in common leaves the
// gradient with it.
template <class T>
void divergence_sums(const source& student, const source& teacher, index begin, index end, const divergence_rows& p,
                     double* value, double* inner) {
  sum_blocks<T, 2, terms::heavy>({student, teacher}, begin, end, {value, inner}, [&](index row, index, auto o) {
    const log_ratio<T> ratio(p, row, o);
    const larger_probability<T> larger_of{{p.student, p.t, row, o}, {p.teacher, p.t, row, o}};
    const divergence_kind kind = p.kind;
    const mixture<T> share(p.beta);
    return [=](const pack<T>* x, index, index) {
      const pack<T> zero = set1<T>(0), one = set1<T>(1);
      const auto [d, d_rest] = ratio(x[0], x[1]);
      if (kind != divergence_kind::js) {
        const bool is_forward = forward<T> && kind == divergence_kind::forward;
        const pack<T> star = is_forward ? if_less(zero, d, one, zero) : if_less(zero, d, zero, one);
        const pack<T> v = phi_or_star(-absolute(d), if_less(zero, d, -d_rest, d_rest), star);
        const pack<T> term = larger_of.times(d, x[0], x[1], {v, zero});
        return parts<T, 2>{{term, kind == divergence_kind::reverse ? larger_of.student.times(x[0], {-d, -d_rest}) : zero}};
      }
      // KL(p || m) adds p phi*(log p/m) where p > m, and m phi(log p/m) elsewhere.
      const mixture_ratios<T> ratios = mixture_ratios_of<T>({d, d_rest}, share);
      const pack<T> s = larger_of.student(x[0]), t = larger_of.teacher(x[1]);
      const pack<T> m = fma(share.teacher.value, t, share.student.value * s);
      const auto part = [&](pack<T> q, pack<T> log_q) {
        const pack<T> v = if_less(zero, log_q, q, m) * phi_or_star(-absolute(log_q), zero, if_less(zero, log_q, one, zero));
        return if_equal(m, zero, zero, v);
      };
      const pack<T> of_student = part(s, ratios.student);
      const pack<T> value = fma(share.teacher.value, part(t, ratios.teacher), share.student.value * of_student);
      return parts<T, 2>{{value, larger_of.student.times(x[0], {ratios.student, zero})}};
    };
  });
}

// out = d(scale D)/d(student logits) + e_c factor - weight_c (beta + gamma q_c): the second part where `hard` is given, the
// scale in the factors of the distributions, of js with 1 - beta in it.
template <class T>
void write_divergence(const source& student, const source& teacher, const source* q, const sink& to, index begin, index end,
                      const divergence_rows& p, const row_scale* hard) {
  write_blocks<T, 3>({student, teacher, q ? *q : student}, to, begin, end, [&](index row, auto o) {
    const log_ratio<T> ratio(p, row, o);
    const larger_probability<T> larger_of{{p.student, p.t, row, o}, {p.teacher, p.t, row, o}};
    const pack<T> zero = set1<T>(0), inner = per_row<T>(p.inner, row, o), inner_low = per_row<T>(p.inner_low, row, o);
    const pack<T> scaled_gap = per_row<T>(p.scaled_gap, row, o), unscaled = set1(scaled_back<T>);
    const divergence_kind kind = p.kind;
    const mixture<T> share(p.beta);
    const bool with_hard = hard != nullptr;
    const hard_gradient<T> of_hard(with_hard ? *hard : row_scale{}, q != nullptr, row, o);
    return [=](const pack<T>* x, index c, index n) {
      const auto [d, d_rest] = ratio(x[0], x[1]);
      pack<T> g;
      if (forward<T> && kind == divergence_kind::forward) {   // s - t
        // Where the logits differ by nothing, a gap that may be subnormal is all that is left.
        const pack<T> v = if_equal(d, zero, -scaled_gap, expm1(-absolute(d))), part = larger_of.times(d, x[0], x[1], {v, zero});
        g = if_equal(d, zero, -part * unscaled, if_less(zero, d, part, -part));
      } else {                             // s (log s/t - sum s log s/t), or the same of s/m
        const bool js = kind == divergence_kind::js;
        const pack<T> log_s = js ? mixture_ratios_of<T>({d, d_rest}, share).student : -d;
        pack<T> lost;
        const pack<T> difference = two_sum(log_s, -inner, lost);
        g = larger_of.student.times(x[0], {difference, lost - (inner_low + (js ? zero : d_rest))});
      }
      g = if_equal(larger_of.student.factor, zero, zero, g);
      return with_hard ? g + of_hard(x[0], x[2], c, n, o) : g;
    };
  });
}

}  // namespace
}  // namespace crossent
