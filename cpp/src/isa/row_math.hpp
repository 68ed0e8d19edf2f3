// What happens once per row, eight rows to a pack, in float64: factors, logarithms, losses, coefficients.
#pragma once

#include "merge_blocks.hpp"

namespace crossent {
namespace {

// The tail as losses see it: a row whose maximum is infinite has none.
CROSSENT_INLINE doubles loss_tail(const row_state& s, index i) {
  return select(absolute(load<double>(s.max + i)) == set1(constants<double>::infinity), set1(constants<double>::nan), load<double>(s.tail + i));
}
// The same, and the unit, as sums of two numbers.
CROSSENT_INLINE wide wide_tail(const row_state& s, index i) {
  return {loss_tail(s, i), s.tail_low == nullptr ? set1(0.0) : load<double>(s.tail_low + i)};
}
CROSSENT_INLINE wide extended_inverse_max_term(const row_state& s, index i) {
  return {load<double>(s.inverse_max_term + i), s.inverse_max_term_lo == nullptr ? set1(0.0) : load<double>(s.inverse_max_term_lo + i)};
}

// Below this a tail is known by its scaled number alone. log(1 + tail) is the tail, and 1 + tail is 1.
constexpr double small_tail = 0x1p-900;

// log(1 + x) of x >= 0: of the last two sums of log1p the rounding errors are kept.
CROSSENT_ONCE wide log1p_wide(wide x) {
  doubles u, low;
  const log_parts<double> y = log1p_parts(x.high, u);
  const doubles high = two_sum(y.e * set1(constants<double>::ln2_high), y.f, low);
  return normalised({log_limits(u, high), (low - y.less) + x.low / u});
}

void softmax_factor(index rows, const row_state& s, const row_coefficient& c, double* out, double* low) {
  const doubles one = set1(1.0), zero = set1(0.0);
  const bool plain = c.upstream == nullptr && c.weight == nullptr && s.tail_low == nullptr;
  const auto exact = [](double v) { return wide{set1(v), set1(0.0)}; };
  const wide multiplier = exact(c.multiplier[0]) * exact(c.multiplier[1]) * exact(c.multiplier[2]);
  const wide divisor = exact(c.divisor[0]) * exact(c.divisor[1]);
  for (index i = 0; i < rows; i += 8) {
    const wide unit = extended_inverse_max_term(s, i), tail = wide_tail(s, i);
    if (plain) {
      store(out + i, unit.high / (one + tail.high));
      if (low != nullptr) store(low + i, zero);
      continue;
    }
    const doubles g = c.upstream ? load<double>(c.upstream + i) : one, v = c.weight ? load<double>(c.weight + i) : one;
    const wide p = unit / (wide{one, zero} + tail);
    const wide product = (wide{g, zero} * wide{v, zero}) * (multiplier * p) / divisor;
    const doubles rounded = product.high + product.low;
    store(out + i, select(g == zero, zero, select(v == zero, zero, rounded)));
    if (low != nullptr) store(low + i, product.low - (rounded - product.high));
  }
}

void log_sum(index rows, const row_state& s, double* out) {
  for (index i = 0; i < rows; i += 8) {
    if (s.tail_low == nullptr) {
      store(out + i, log1p(loss_tail(s, i)));
      continue;
    }
    store(out + i, log1p_wide(wide_tail(s, i)).high);
  }
}

// Near each other the tails are compared, not their logarithms: an error of log_sum may be large beside small divergences.
void log_sum_difference(index rows, const row_state& a, const row_state& b, double* out, double* low, double* scaled) {
  const doubles one = set1(1.0), half = set1(0.5), zero = set1(0.0), small = set1(small_tail);
  for (index i = 0; i < rows; i += 8) {
    const wide ta = wide_tail(a, i), tb = wide_tail(b, i);
    const doubles pa = one + ta.high, pb = one + tb.high;
    const auto choose = [&](doubles near, doubles far) { return select(pa < half * pb, far, select(pb < half * pa, far, near)); };
    if (a.tail_low == nullptr) {
      store(out + i, choose(log1p((ta.high - tb.high) / pb), log1p(ta.high) - log1p(tb.high)));
      store(low + i, zero);
      store(scaled + i, zero);
      continue;
    }
    const auto if_normal = [&](doubles yes, doubles no) {
      return select(ta.high < small, select(tb.high < small, no, yes), yes);
    };
    const wide minus_tb{-tb.high, -tb.low}, log_b = log1p_wide(tb);
    const wide near = log1p_wide((ta + minus_tb) / (wide{one, zero} + tb));
    const wide far = normalised(log1p_wide(ta) + wide{-log_b.high, -log_b.low});
    store(out + i, if_normal(choose(near.high, far.high), zero));
    store(low + i, if_normal(choose(near.low, far.low), zero));
    store(scaled + i, if_normal(zero, load<double>(a.scaled_tail + i) - load<double>(b.scaled_tail + i)));
  }
}

void logsumexp(index rows, const row_state& s, double* out) {
  const doubles inf = set1(constants<double>::infinity);
  for (index i = 0; i < rows; i += 8) {
    const doubles max = load<double>(s.max + i), tail = load<double>(s.tail + i);
    // An infinite maximum is the result, unless a NaN stands beside it.
    store(out + i, max + select(absolute(max) == inf, tail - tail, log1p(tail)));
  }
}

// x + a b `small`, which is scaled; a = 0 takes part in nothing.
CROSSENT_ONCE doubles plus_small(doubles x, wide a, wide b, doubles small) {
  const doubles zero = set1(0.0), unscaled = set1(scaled_back<double>);
  const wide product = where_not_zero(a.high, a * b);
  return select(small == zero, x, x + (product.high + product.low) * small * unscaled);
}

// A product, sum or quotient of what is known of a row: rounded at once, or kept as a wide number to the end.
template <bool extended> struct coefficient;
template <> struct coefficient<false> {
  using type = doubles;
  CROSSENT_INLINE doubles of(doubles a, doubles = {}) { return a; }
  CROSSENT_INLINE doubles rounded(doubles a) { return a; }
  CROSSENT_INLINE doubles negative(doubles a) { return -a; }
  CROSSENT_INLINE doubles log1p_of(wide a) { return log1p(a.high); }
  // c v, 0 where c is.
  CROSSENT_INLINE doubles times(doubles c, doubles v) { return select(c == set1(0.0), set1(0.0), c * v); }
  CROSSENT_INLINE wide both(doubles a) { return {a, set1(0.0)}; }
  // exp(x - max) of floats: the difference errs by 2^-53 of 104 at most, unless nothing is left of the exponential.
  CROSSENT_INLINE doubles exp_below(doubles x, doubles max) {
    return exp_scaled(at_least(x - max, lowest_exponent(set1(0.0))), magic_of(set1(0.0)));
  }
};
template <> struct coefficient<true> {
  using type = wide;
  CROSSENT_INLINE wide of(doubles a, doubles low = {}) { return {a, low}; }
  CROSSENT_INLINE doubles rounded(wide a) { return a.high + a.low; }
  CROSSENT_INLINE wide negative(wide a) { return {-a.high, -a.low}; }
  CROSSENT_INLINE wide log1p_of(wide a) { return log1p_wide(a); }
  CROSSENT_INLINE wide times(wide c, wide v) { return where_not_zero(c.high, c * v); }
  CROSSENT_INLINE wide both(wide a) { return normalised(a); }
  CROSSENT_INLINE doubles exp_below(doubles x, doubles max) { return exp_of(exp_argument_of(x, max, inverse_temperature{}, set1(0.0))); }
};

// What the rows of a loss in -log p have in common.
template <class k> struct loss_constants {
  typename k::type keep, eps, weight_sum;

  explicit loss_constants(const cross_entropy_rows& r)
      : keep(k::of(set1(1.0)) + k::of(set1(-r.label_smoothing))),
        eps(k::of(set1(r.label_smoothing)) / k::of(set1(r.classes))),
        weight_sum(k::of(set1(r.weight_sum), set1(r.weight_sum_low))) {}
};

// v (a (max - x_y + L) + eps (sum w (max - x) + W L)), L = log(1 + tail), or the same of class probabilities.
template <bool probabilities, class k>
CROSSENT_INLINE wide loss_of(const cross_entropy_rows& r, index i, const loss_constants<k>& of_all, doubles max, wide tail) {
  const typename k::type log_sum = k::log1p_of(tail);
  typename k::type loss;
  if constexpr (probabilities) {
    const auto mass_log_sum = k::times(k::of(load<double>(r.mass + i)), log_sum);
    loss = k::times(of_all.keep, k::of(load<double>(r.target_gap_to_max + i)) + mass_log_sum);
  } else {
    const auto gap = k::of(max) + k::of(-load<double>(r.target + i));
    loss = k::times(of_all.keep * k::of(load<double>(r.class_weight + i)), gap + log_sum);
  }
  if (r.weighted_gap_to_max != nullptr)
    loss = loss + of_all.eps * (k::of(load<double>(r.weighted_gap_to_max + i)) + of_all.weight_sum * log_sum);
  return k::both(k::times(k::of(load<double>(r.row_weight + i)), loss));
}

// Losses in -log p (formulas: docs/design.md). A gradient entry is ((A - b) u - b ((1 - u) + tail)) / (1 + tail) with
// u = exp(x_c - max): 1 - p of a confident class comes from the tail, and is never a difference.
template <bool extended, bool probabilities> CROSSENT_INLINE void cross_entropy_of(const cross_entropy_rows& r) {
  using k = coefficient<extended>;
  using number = typename k::type;
  const doubles zero = set1(0.0), one = set1(1.0), inf = set1(constants<double>::infinity);
  const loss_constants<k> of_all(r);
  const loss_constants<coefficient<false>> rounded(r);
  const number keep = of_all.keep, eps = of_all.eps, weight_sum = of_all.weight_sum, divisor = k::of(set1(r.divisor));
  // The three products and sums of a loss without smoothing may be rounded one by one.
  const bool wide_loss = extended && (r.weighted_gap_to_max != nullptr || r.loss_low != nullptr);
  for (index i = 0; i < r.count; i += 8) {
    const doubles v = load<double>(r.row_weight + i);
    const doubles max = load<double>(r.state.max + i);
    wide row_tail = extended ? wide_tail(r.state, i) : wide{loss_tail(r.state, i), zero};
    doubles small = zero;   // a small tail is multiplied by its coefficient alone, before it is scaled back
    if constexpr (extended) {
      const auto if_small = [&](doubles yes, doubles no) { return select(row_tail.high < set1(small_tail), yes, no); };
      small = if_small(load<double>(r.state.scaled_tail + i), zero);
      row_tail = {if_small(zero, row_tail.high), if_small(zero, row_tail.low)};
    }
    const bool some_small = extended && any(small != zero);
    const auto with_small = [&](doubles x, number by, number and_by) {
      if constexpr (extended) return some_small ? plus_small(x, by, and_by, small) : x;
      else return x;
    };
    const number tail = k::of(row_tail.high, row_tail.low);
    const wide loss = wide_loss ? loss_of<probabilities>(r, i, of_all, max, row_tail)
                                : loss_of<probabilities>(r, i, rounded, max, row_tail);
    // a: what the targets alone add to A, total: A
    const number a = keep * k::of(load<double>((probabilities ? r.mass : r.class_weight) + i));
    const number total = r.weighted_gap_to_max != nullptr ? a + eps * weight_sum : a;
    store(r.loss + i, with_small(loss.high, k::of(v), total));
    if (r.loss_low != nullptr) store(r.loss_low + i, loss.low);
    if (r.factor == nullptr) continue;

    const doubles g = load<double>(r.upstream + i);
    const number sum = k::of(one) + tail, scale = k::of(g) * k::of(v) / divisor;
    // 0: the row has no gradient, whatever is in it
    const doubles off = select(v == zero, zero, select(k::rounded(total) == zero, zero, g));
    const wide inverse_max = extended ? extended_inverse_max_term(r.state, i) : wide{load<double>(r.state.inverse_max_term + i), zero};
    const number unit = k::of(inverse_max.high, inverse_max.low) / sum;
    store(r.factor + i, select(off == zero, zero, k::rounded(total * scale * unit)));
    store(r.beta + i, select(off == zero, zero, k::rounded(scale * eps)));

    if constexpr (probabilities) {
      store(r.gamma + i, select(off == zero, zero, k::rounded(scale * keep)));
      const number w = k::of(load<double>(r.argmax_weight + i));
      const number top = (keep * k::of(load<double>(r.argmax_probability + i)) + eps) * w;
      const number others = keep * k::of(load<double>(r.mass_without_max + i)) + eps * (weight_sum + k::of(-one) * w);
      const number entry = others + k::negative(tail) * top;
      store(r.argmax_gradient + i, select(off == zero, zero, with_small(k::rounded(entry / sum * scale), k::negative(top), scale)));
    } else {
      const doubles w = load<double>(r.class_weight + i), x = load<double>(r.target + i);
      const doubles u = select(x == -inf, zero, k::exp_below(x, max));
      const number others = eps * (weight_sum + k::of(-w));   // A - b, without cancellation
      const number rest = (k::of(one) + k::of(-u)) + tail;
      const number own = k::negative(a + eps * k::of(w)), target = others * k::of(u) + own * rest;
      store(r.target_gradient + i, select(off == zero, zero, with_small(k::rounded(target / sum * scale), own, scale)));
      if (r.weighted_gap_to_max != nullptr) {
        const doubles argmax_weight = load<double>(r.argmax_weight + i);
        const number smoothed = k::negative(eps * k::of(argmax_weight));
        const number top = a + eps * (weight_sum + k::of(-argmax_weight)) + tail * smoothed;
        store(r.argmax_gradient + i, select(off == zero, zero, with_small(k::rounded(top / sum * scale), smoothed, scale)));
      }
    }
  }
}

void cross_entropy(const cross_entropy_rows& r) {
  const bool probabilities = r.mass != nullptr;
  if (r.extended) probabilities ? cross_entropy_of<true, true>(r) : cross_entropy_of<true, false>(r);
  else probabilities ? cross_entropy_of<false, true>(r) : cross_entropy_of<false, false>(r);
}

double exp_quotient(double high, double low, double divisor) {
  const wide q = wide{set1(high), set1(low)} / wide{set1(divisor), set1(0.0)};
  return exp(q.high, q.low).r[0][0];
}

void sum(index n, const double* x, double* high, double* low) {
  accumulator<double> s{};
  index i = 0;
  for (; i + 8 <= n; i += 8) s = s.add(s, load<double>(x + i));
  if (i < n) s = s.add(s, load_partial<double>(x + i, n - i, 0.0));
  double h[8], l[8];
  store(h, s.high);
  store(l, s.low);
  *high = h[0];
  *low = l[0];
  for (int k = 1; k < 8; ++k) {
    const double t = *high + h[k], v = t - *high;
    *low += ((*high - (t - v)) + (h[k] - v)) + l[k];
    *high = t;
  }
}

}  // namespace
}  // namespace crossent
