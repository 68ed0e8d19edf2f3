// Losses in -log p of rows, eight to a pack, in float64.
//
// A loss is sum_c b_c (-log p_c), with -log p_c = (max - x_c)/T + log(1 + tail), and may have z logsumexp^2 beside it. It comes
// to a value, and to the coefficients b_c and A, which is sum b, and 2 z logsumexp more with the other term. From these its
// gradient follows, with u = exp((x_c - max)/T):
//
//   T gradient_c = A p_c - b_c = ((A - b_c) u - b_c ((1 - u) + tail)) / (1 + tail)
//
// so that 1 - p of a confident class comes from the tail and is never a difference. A loss gives `loss_value` and
// `coefficients`.
#pragma once

#include "kernels/loss/row_quantities.hpp"

namespace crossent {
namespace {

// N, the numbers of a row: doubles, rounded at each step, or double_double<doubles> for float64 rows, rounded once at the end.
template <class N> CROSSENT_INLINE N number(doubles hi, doubles lo = set1(0.0)) {
  if constexpr (std::is_same_v<N, doubles>) return hi;
  else return {hi, lo};
}
CROSSENT_INLINE doubles one_number(doubles a) { return a; }
CROSSENT_INLINE doubles one_number(double_double<doubles> a) { return a.hi + a.lo; }
CROSSENT_INLINE double_double<doubles> two_numbers(doubles a) { return exact(a); }
CROSSENT_INLINE double_double<doubles> two_numbers(double_double<doubles> a) { return normalised(a); }
// c x, 0 where c is.
CROSSENT_INLINE doubles times(doubles c, doubles x) { return select(c != set1(0.0), c * x, set1(0.0)); }
CROSSENT_INLINE double_double<doubles> times(double_double<doubles> c, double_double<doubles> x) {
  return select(c.hi == set1(0.0), exact(set1(0.0)), c * x);
}
// x / divisor, of doubles by its inverse: one division for several numbers.
template <class N> struct division {
  N divisor;
  CROSSENT_INLINE_MEMBER explicit division(N by) : divisor(by) {}
  CROSSENT_INLINE_MEMBER N operator()(N x) const { return x / divisor; }
};
template <> struct division<doubles> {
  doubles inverse;
  CROSSENT_INLINE_MEMBER explicit division(doubles by) : inverse(set1(1.0) / by) {}
  CROSSENT_INLINE_MEMBER doubles operator()(doubles x) const { return x * inverse; }
};

// Numbers of eight rows that may be subnormal, where they are tiny, times 2^exponent; 0 where not. Of float64 rows alone.
template <class N, int exponent> class tiny_numbers {
 public:
  scaled<double, exponent> number{set1(0.0)};

  CROSSENT_INLINE_MEMBER void set(mask<double> are_tiny, doubles whole_scaled) {
    number.value = select(are_tiny, whole_scaled, set1(0.0));
    are_any_ = any(number.value != set1(0.0));
  }
  // x + a b number
  CROSSENT_INLINE_MEMBER doubles add(doubles x, N a, N b) const {
    if constexpr (!std::is_same_v<N, doubles>)
      if (are_any_) return plus_scaled(x, a, b, number);
    return x;
  }

 private:
  CROSSENT_ONCE doubles plus_scaled(doubles x, N a, N b, scaled<double, exponent> v) {
    return select(v.value == set1(0.0), x, x + unscale(one_number(times(a, b)) * v));
  }
  bool are_any_ = false;
};

// The tail of a row: where it is tiny, log(1 + tail) is the tail and 1 + tail is 1.
template <class N> struct row_tail {
  N tail;  // 0 where it is tiny
  tiny_numbers<N, constants<double>::subnormal_scale> tiny;

  // whole_scaled: the tail as it is held where it is tiny; of doubles, not looked at.
  CROSSENT_INLINE_MEMBER row_tail(double_double<doubles> whole, doubles whole_scaled) {
    tail = number<N>(whole.hi, whole.lo);
    if constexpr (!std::is_same_v<N, doubles>) {
      const mask<double> is_tiny = whole.hi < set1(subnormal<double>::tiny);
      tail = select(is_tiny, exact(set1(0.0)), tail);
      tiny.set(is_tiny, whole_scaled);
    }
  }
};

// u = exp((x - max)/T), 0 for x = -inf. The difference of floats and its quotient err by 2^-52 of 104 at most, unless nothing is
// left of the exponential.
template <class N> struct exp_below_max {
  N u;  // 0 where it is tiny: beside 1 it is nothing
  tiny_numbers<N, 900> tiny;

  CROSSENT_INLINE_MEMBER exp_below_max(doubles x, doubles max, const inverse_temperature& t) {
    const doubles zero = set1(0.0);
    const mask<double> is_finite = x != set1(-constants<double>::infinity);
    if constexpr (std::is_same_v<N, doubles>) {
      const doubles d = t.is_one ? x - max : (x - max) * set1(t.hi);
      u = select(is_finite, short_exp_scaled(at_least(d, lowest_exponent(zero)), zero, magic_of(zero)), zero);
    } else {
      const doubles whole = exp_of(exp_argument_of(x, max, t, zero));
      const mask<double> is_tiny = whole < set1(subnormal<double>::tiny);
      u = exact(select(is_finite & !is_tiny, whole, zero));
      if (any(is_tiny)) tiny.set(is_finite & is_tiny, exp_of(exp_argument_of(x, max, t, set1(900.0))));
    }
  }
};

// 1 - s, s / C and sum w of a smoothing s.
template <class N> struct smoothing {
  N keep, each, weight_sum, temperature;
  bool is_one;  // the temperature

  CROSSENT_INLINE_MEMBER explicit smoothing(const cross_entropy_rows& r)
      : keep(number<N>(set1(1.0)) + number<N>(set1(-r.label_smoothing))),
        each(number<N>(set1(r.label_smoothing)) / number<N>(set1(r.classes))),
        weight_sum(number<N>(set1(r.weight_sum), set1(r.weight_sum_lo))),
        temperature(number<N>(set1(r.temperature))),
        is_one(r.temperature == 1) {}
  // x/T, infinite where x is.
  CROSSENT_INLINE_MEMBER N over_temperature(N x) const {
    if (is_one) return x;
    const mask<double> is_finite = absolute(first_part(x)) < set1(constants<double>::infinity);
    return select(is_finite, x / temperature, x);
  }
};

// S of a row, the mean of (max - x)/T.
template <class N> class mean_gap {
 public:
  N usual = number<N>(set1(0.0));  // 0 where it is tiny
  tiny_numbers<N, constants<double>::subnormal_scale> tiny;

  CROSSENT_INLINE_MEMBER void set(const row_statistics& statistics, const entropy_rows& entropy, index i, const smoothing<N>& s,
                                  N tail) {
    constexpr bool is_float = std::is_same_v<N, doubles>;
    const auto inverse_max_term = load_inverse_max_term(statistics, i);
    const N sum = number<N>(load<double>(entropy.gap_sum + i), load<double>(entropy.gap_sum_lo + i));
    const N of_max = number<N>(inverse_max_term.hi, inverse_max_term.lo);
    const N biased = s.over_temperature(sum * of_max / (number<N>(set1(1.0)) + tail));
    usual = times_power(
        biased, set1(power_of_two<double>(is_float ? -static_cast<int>(bias<float>) : -static_cast<int>(bias<double>))));
    if constexpr (!is_float) {
      const mask<double> is_tiny = usual.hi < set1(subnormal<double>::tiny);
      usual = select(is_tiny, exact(set1(0.0)), usual);
      tiny.set(is_tiny, one_number(biased));
    }
  }
};

// v (sum b (-log p) + z logsumexp^2 - lambda H), from the weighted gaps to the maximum and the coefficients of log_sum.
template <bool probabilities, class N>
CROSSENT_INLINE N loss_value(const row_statistics& statistics, const cross_entropy_rows& r, index i, const smoothing<N>& s,
                             N log_sum, N mean) {
  const auto of = [&](const double* v) CROSSENT_INLINE_LAMBDA { return number<N>(load<double>(v + i)); };
  N loss;
  if constexpr (probabilities) {
    const N mass = number<N>(load<double>(r.mass + i), load<double>(r.mass_lo + i));
    loss = times(s.keep, s.over_temperature(of(r.target_gap_to_max)) + times(mass, log_sum));
  } else {
    const N gap = of(statistics.max) + number<N>(-load<double>(r.target + i));
    loss = times(s.keep * of(r.class_weight), s.over_temperature(gap) + log_sum);
  }
  if (r.smoothed) loss = loss + s.each * (s.over_temperature(of(r.weighted_gap_to_max)) + s.weight_sum * log_sum);
  if (r.z_loss != 0) {
    const N lse = s.over_temperature(of(statistics.max)) + log_sum;
    loss = loss + number<N>(set1(r.z_loss)) * (lse * lse);
  }
  if (r.entropy != nullptr) loss = loss + -times(of(r.entropy->weight), log_sum + mean);
  return times(of(r.row_weight), loss);
}

// b of one class, and A - b, which is never a difference.
template <class N> struct class_coefficients {
  N b, others;
};
template <class N> struct coefficients {
  N sum;  // of b
  N of_p;  // A: the same, or with 2 z logsumexp
  class_coefficients<N> target, max;  // of the class y (class indices alone), and of the class of the maximum
};
template <bool probabilities, class N>
CROSSENT_INLINE coefficients<N> coefficients_of(const row_statistics& statistics, const cross_entropy_rows& r, index i,
                                                const smoothing<N>& s, const row_tail<N>& row, N mean) {
  const auto of = [&](const double* v) CROSSENT_INLINE_LAMBDA { return number<N>(load<double>(v + i)); };
  const auto weight_sum_without = [&](N w) CROSSENT_INLINE_LAMBDA { return s.weight_sum + -w; };
  const auto pair_of_row = [&](const double* v, const double* lo)
                               CROSSENT_INLINE_LAMBDA { return number<N>(load<double>(v + i), load<double>(lo + i)); };
  const N of_targets = s.keep * (probabilities ? pair_of_row(r.mass, r.mass_lo) : of(r.class_weight));
  coefficients<N> c;
  c.sum = r.smoothed ? of_targets + s.each * s.weight_sum : of_targets;
  if constexpr (probabilities) {
    const N w = of(r.argmax_weight);
    c.max.b = (s.keep * of(r.argmax_probability) + s.each) * w;
    c.max.others = s.keep * pair_of_row(r.mass_without_max, r.mass_without_max_lo) + s.each * weight_sum_without(w);
  } else {
    const N w = of(r.class_weight);
    c.target.b = of_targets + s.each * w;
    c.target.others = s.each * weight_sum_without(w);
    const N max_weight = r.smoothed ? of(r.argmax_weight) : number<N>(set1(0.0));
    c.max.b = s.each * max_weight;
    c.max.others = of_targets + s.each * weight_sum_without(max_weight);
  }
  c.of_p = c.sum;
  if (r.z_loss != 0) {
    const N twice_z = number<N>(set1(2 * r.z_loss)),
            slope = twice_z * (s.over_temperature(of(statistics.max)) + log_sum_of(row.tail));
    c.of_p = c.of_p + (slope + twice_z * number<N>(unscale(row.tiny.number)));
    if constexpr (!probabilities) c.target.others = c.target.others + slope;
    c.max.others = c.max.others + slope;
  }
  if (r.entropy != nullptr) {
    const N lambda = of(r.entropy->weight), of_logsumexp = of(r.entropy->logsumexp_weight);
    const N of_max = of_logsumexp + lambda * mean;
    c.of_p = c.of_p + of_max;
    c.max.others = c.max.others + of_max;
    if constexpr (!probabilities) {
      const N gap = s.over_temperature(of(statistics.max) + number<N>(-load<double>(r.target + i)));
      const mask<double> is_finite = absolute(first_part(gap)) < set1(constants<double>::infinity);
      const N difference = select(is_finite, mean + -gap, number<N>(set1(0.0)));  // else the target has no p
      c.target.others = c.target.others + (of_logsumexp + lambda * difference);
    }
  }
  return c;
}

// (1 + tail) times the gradient of a class.
template <class N> CROSSENT_INLINE N entry(const class_coefficients<N>& c, N u, N tail) {
  return c.others * u + -c.b * ((number<N>(set1(1.0)) + -u) + tail);
}
template <class N> CROSSENT_INLINE N entry_of_max(const class_coefficients<N>& c, N tail) { return c.others + -c.b * tail; }

// What the Hessian of eight rows needs: A p (1 - p) of the maximum is A tail / (1 + tail)^2.
template <class N>
CROSSENT_INLINE void hessian_of(const row_statistics& statistics, index i, const row_tail<N>& row, N of_p, N v,
                                hessian_rows& h) {
  const doubles zero = set1(0.0);
  const auto inverse_max_term = load_inverse_max_term(statistics, i);
  const division<N> by_sum(number<N>(set1(1.0)) + row.tail);
  const N probability = by_sum(number<N>(inverse_max_term.hi, inverse_max_term.lo));
  const N scale = number<N>(set1(h.scale)) * v, of_row = scale * of_p;
  const mask<double> has_none = (first_part(v) == zero) | (one_number(of_p) == zero) | (set1(h.scale) == zero);
  const auto store_row = [&](double* to, doubles x) CROSSENT_INLINE_LAMBDA { store(to + i, select(has_none, zero, x)); };
  store(h.probability + i, one_number(probability));
  const double_double<doubles> factor = factor_pair(of_row * probability);
  store_row(h.factor, factor.hi);
  store_row(h.factor_lo, factor.lo);
  store_row(h.of_max, row.tiny.add(one_number(by_sum(by_sum(of_row * row.tail))), of_row, number<N>(set1(1.0))));
}

template <class N, bool probabilities> void cross_entropy_of(const row_statistics& statistics, cross_entropy_rows& r) {
  const doubles zero = set1(0.0);
  const smoothing<N> s(r);
  const division<N> by_divisor(number<N>(set1(r.divisor)) * number<N>(set1(r.gradient_temperature)));
  const auto loss_of = [&](index i, N tail, N mean) CROSSENT_INLINE_LAMBDA {
    return two_numbers(loss_value<probabilities>(statistics, r, i, s, log_sum_of(tail), mean));
  };
  for (index i = 0; i < r.count; i += 8) {
    const row_tail<N> row(load_tail(statistics, i), statistics.is_extended ? load<double>(statistics.tail_scaled + i) : zero);
    const N tail = row.tail, v = number<N>(load<double>(r.row_weight + i));
    mean_gap<N> mean;
    N lambda = number<N>(zero);
    if (r.entropy != nullptr) {
      mean.set(statistics, *r.entropy, i, s, tail);
      lambda = number<N>(load<double>(r.entropy->weight + i));
    }
    const coefficients<N> c = coefficients_of<probabilities>(statistics, r, i, s, row, mean.usual);
    const double_double<doubles> loss = loss_of(i, tail, mean.usual);
    store(r.loss + i, mean.tiny.add(row.tiny.add(loss.hi, v, c.sum + -lambda), v, -lambda));
    if (r.with_loss_lo) store(r.loss_lo + i, loss.lo);
    if (!r.with_gradient) continue;
    if (r.hessian != nullptr) hessian_of(statistics, i, row, c.sum, v, *r.hessian);

    const doubles g = load<double>(r.upstream + i);
    const N one = number<N>(set1(1.0)), scale = by_divisor(number<N>(g) * v);
    const division<N> by_sum(one + tail);
    const doubles counts = r.z_loss != 0 || r.entropy != nullptr ? set1(1.0) : one_number(c.sum);
    const mask<double> has_no_gradient = (first_part(v) == zero) | (counts == zero) | (g == zero);  // whatever is in the row
    const auto store_row = [&](double* to, doubles x)
                               CROSSENT_INLINE_LAMBDA { store(to + i, select(has_no_gradient, zero, x)); };
    const N twice_z = number<N>(set1(2 * r.z_loss));
    const auto gradient_of = [&](N x, const class_coefficients<N>& of, N u) CROSSENT_INLINE_LAMBDA {
      return mean.tiny.add(row.tiny.add(one_number(by_sum(x) * scale), twice_z * u + -of.b, scale), lambda * u, scale);
    };
    const auto inverse_max_term = load_inverse_max_term(statistics, i);
    const auto store_pair = [&](double* to, double* lo, N x) CROSSENT_INLINE_LAMBDA {
      const double_double<doubles> pair = factor_pair(x);
      store_row(to, pair.hi);
      store_row(lo, pair.lo);
    };
    store_pair(r.gradient.factor, r.gradient.factor_lo,
               c.of_p * scale * by_sum(number<N>(inverse_max_term.hi, inverse_max_term.lo)));
    if (r.entropy != nullptr) {
      const N of_entropy = lambda * scale * by_sum(number<N>(inverse_max_term.hi, inverse_max_term.lo));
      store_pair(r.entropy->slope, r.entropy->slope_lo, -of_entropy);
      store_row(r.entropy->factor_tiny, one_number(of_entropy) * mean.tiny.number.value);
    }
    store_pair(r.gradient.beta, r.gradient.beta_lo, scale * s.each);
    if constexpr (probabilities) {
      store_pair(r.gradient.gamma, r.gradient.gamma_lo, scale * s.keep);
      store_row(r.argmax_gradient, gradient_of(entry_of_max(c.max, tail), c.max, one));
    } else {
      const exp_below_max<N> e(load<double>(r.target + i), load<double>(statistics.max + i), r.inverse);
      const doubles of_target = gradient_of(entry(c.target, e.u, tail), c.target, e.u);
      store_row(r.gradient.target_gradient, e.tiny.add(of_target, c.target.others, by_sum(scale)));
      if (r.smoothed) store_row(r.argmax_gradient, gradient_of(entry_of_max(c.max, tail), c.max, one));
    }
  }
}

void cross_entropy(const row_statistics& statistics, cross_entropy_rows& r) {
  using extended = double_double<doubles>;
  const auto of = statistics.is_extended
                      ? r.probabilities ? cross_entropy_of<extended, true> : cross_entropy_of<extended, false>
                  : r.probabilities ? cross_entropy_of<doubles, true>
                                    : cross_entropy_of<doubles, false>;
  of(statistics, r);
}

}  // namespace
}  // namespace crossent
