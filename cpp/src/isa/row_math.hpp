// What happens once per row, eight rows (or blocks) to a pack, in float64: folding blocks, losses, coefficients.
#pragma once

#include "rows.hpp"
#include "wide.hpp"

namespace crossent {
namespace {

// 1/T in two parts of the arithmetic type.
template <class T> scaling inverse_of(double temperature) {
  const doubles one = set1(1.0), t = set1(temperature), inverse = one / t, product = inverse * t;
  const double whole = inverse.r[0][0];
  const double rest = (((one - product) - product_error(inverse, t, product)) / t).r[0][0];
  // Beyond the range of the type every difference of logits is; its largest number does as well.
  constexpr double largest = static_cast<double>(constants<T>::largest);
  if (!(whole < largest)) return {largest, 0, false};
  const double high = static_cast<double>(static_cast<T>(whole));
  return {high, (whole - high) + rest, temperature == 1};
}

// exp((a - b)/T) 2^shift, a and b at any distance; 1 times 2^shift where both are infinite.
CROSSENT_INLINE doubles exp_difference(doubles a, doubles b, const scaling& t, doubles shift) {
  doubles low;
  doubles d = two_sum(a, -b, low);
  const doubles zero = set1(0.0);
  d = if_equal(a, b, zero, d);
  d = at_least(d, set1(-constants<double>::largest));
  low = if_less(absolute(low), set1(1.0), low, zero);   // NaN beside an infinite d
  if (!t.is_one) {
    const doubles high = set1(t.high), z = d * high;
    low = fma(low, high, fma(d, set1(t.low), product_error(d, high, z)));
    low = if_less(absolute(low), set1(1.0), low, zero);
    d = z;
  }
  const doubles lowest = lowest_exponent(shift);
  low = if_less(d, lowest, zero, low);
  return exp_scaled(at_least(d, lowest), low, magic_of(shift));
}

// Exponents added to a block's factor, which may be far smaller than its sum is large.
constexpr double headroom = 256;

// The factor that takes a block's terms to exp((x - max)/T), times 2^headroom.
CROSSENT_INLINE doubles block_unit(doubles offset, doubles shift, doubles max, const scaling& t) {
  const doubles finite = if_equal(max, set1(-constants<double>::infinity), set1(0.0), max);
  return exp_difference(offset, finite, t, shift + set1(headroom));
}

// The same where that block is the row, with T = 1: `offset` is 0 or the maximum, and the shift keeps the result near 1.
CROSSENT_INLINE doubles row_unit(doubles offset, doubles shift, doubles max) {
  const doubles zero = set1(0.0), d = if_equal(offset, zero, -max, zero);
  return exp_scaled(if_equal(max, set1(-constants<double>::infinity), zero, d), magic_of(shift + set1(headroom)));
}

template <class T>
void fold(index rows, index blocks, const scaling& t, const block_statistics& in, const row_state& out) {
  const doubles unbias = exp2_whole(set1(-headroom - static_cast<double>(bias<T>)));
  const doubles unit_scale = exp2_whole(set1(-headroom)), one = set1(1.0);
  if (blocks == 1) {
    for (index i = 0; i < rows; i += 8) {
      const doubles max = load<double>(in.max + i), offset = load<double>(in.offset + i), shift = load<double>(in.shift + i);
      const doubles unit = t.is_one ? row_unit(offset, shift, max) : block_unit(offset, shift, max, t);
      store(out.max + i, max);
      store(out.offset + i, offset);
      store(out.shift + i, shift);
      store(out.unit + i, unit * unit_scale);
      store(out.tail + i, (load<double>(in.excluded + i) * unit) * unbias + (load<double>(in.ties + i) - one));
      store(out.block + i, set1(0.0));
    }
    return;
  }
  for (index i = 0; i < rows; ++i) {
    const double* max = in.max + i * blocks;
    index top = 0;
    for (index b = 1; b < blocks; ++b)
      if (max[b] > max[top]) top = b;
    double high = 0, low = 0;
    for (index b = 0; b < blocks; b += 8) {
      const index at = i * blocks + b, n = blocks - b < 8 ? blocks - b : 8;
      alignas(pack_bytes) double part[8], units[8];
      const doubles unit = block_unit(load_partial<double>(in.offset + at, n, 0.0), load_partial<double>(in.shift + at, n, 0.0),
                                      set1(max[top]), t);
      const bool holds_top = top >= b && top < b + 8;
      doubles sum = load_partial<double>(in.plain + at, n, 0.0);
      if (holds_top) {
        store(part, sum);
        part[top - b] = in.excluded[i * blocks + top];
        sum = load<double>(part);
      }
      store(part, sum * unit);
      for (index k = 0; k < n; ++k) {
        const double s = high + part[k], v = s - high;
        low += (high - (s - v)) + (part[k] - v);
        high = s;
      }
      if (holds_top) {
        store(units, unit * unit_scale);
        out.unit[i] = units[top - b];
      }
    }
    out.max[i] = max[top];
    out.offset[i] = in.offset[i * blocks + top];
    out.shift[i] = in.shift[i * blocks + top];
    out.block[i] = static_cast<double>(top);
    // Only here may it be subnormal.
    out.tail[i] = (high + low) * unbias.r[0][0] + (in.ties[i * blocks + top] - 1);
  }
}

template <class T> void spread(index rows, double* factor, double* shift) {
  // Terms stay 2^16 below the end of the range: a divergence multiplies them by logarithms.
  constexpr double largest = static_cast<double>(constants<T>::exponent_bias) - static_cast<double>(bias<T>) - 16;
  using k = constants<double>;
  const doubles bias_pack = set1(static_cast<double>(bias<T>)), unbias = exp2_whole(-bias_pack);
  for (index i = 0; i < rows; i += 8) {
    const doubles f = load<double>(factor + i);
    const bits<double> field = (to_bits(f) >> k::mantissa_bits) & 0x7ff;
    const doubles biased = from_bits<double>(field | 0x4330000000000000u) - set1(k::integer);
    doubles exponent = biased - set1(static_cast<double>(k::exponent_bias));
    exponent = if_less(set1(largest), exponent, set1(largest), exponent);
    store(factor + i, f * exp2_whole(-exponent) * unbias);
    store(shift + i, exponent + bias_pack - load<double>(shift + i));
  }
}

// Terms are e^d 2^bias with d < 1. They are 0 below the normal numbers, where a factor of up to `most` makes less of them
// than half the smallest subnormal; from `least` on, the factor is a normal number with 2^-bias in it.
template <class T> bool scale_terms(index rows, double* factor) {
  using k = constants<T>;
  constexpr T margin = 4;
  const double unbias = exp2_whole(set1(-static_cast<double>(bias<T>))).r[0][0];
  const double least = exp2_whole(set1<double>(bias<T> - k::exponent_bias + margin)).r[0][0];
  const double most = exp2_whole(set1<double>(bias<T> - k::mantissa_bits - margin)).r[0][0];
  const doubles zero = set1(0.0);
  doubles outside = zero;
  for (index i = 0; i < rows; i += 8) {
    const doubles f = i + 8 <= rows ? load<double>(factor + i) : load_partial<double>(factor + i, rows - i, 0.0);
    const doubles size = absolute(f);   // of NaN makes NaN
    outside = outside + if_less(size, set1(least), size, if_less(set1(most), size, size, zero));
  }
  if (any_different(outside, zero)) return false;
  for (index i = 0; i < rows; i += 8) store(factor + i, load<double>(factor + i) * set1(unbias));
  return true;
}

// The tail as losses see it: a row whose maximum is infinite has none.
CROSSENT_INLINE doubles loss_tail(const row_state& s, index i) {
  return if_equal(absolute(load<double>(s.max + i)), set1(constants<double>::infinity), set1(constants<double>::nan),
                  load<double>(s.tail + i));
}

void softmax_factor(index rows, const row_state& s, const row_coefficient& c, double* out) {
  const doubles one = set1(1.0), zero = set1(0.0);
  const bool plain = c.upstream == nullptr && c.weight == nullptr;
  const auto exact = [](double v) { return wide{set1(v), set1(0.0)}; };
  const wide multiplier = exact(c.multiplier[0]) * exact(c.multiplier[1]), divisor = exact(c.divisor[0]) * exact(c.divisor[1]);
  for (index i = 0; i < rows; i += 8) {
    const doubles unit = load<double>(s.unit + i), tail = loss_tail(s, i);
    if (plain) {
      store(out + i, unit / (one + tail));
      continue;
    }
    const doubles g = c.upstream ? load<double>(c.upstream + i) : one, v = c.weight ? load<double>(c.weight + i) : one;
    const wide p = wide{unit, zero} / (wide{one, zero} + wide{tail, zero});
    const wide product = (wide{g, zero} * wide{v, zero}) * (multiplier * p) / divisor;
    const doubles rounded = product.high + product.low;
    store(out + i, if_equal(g, zero, zero, if_equal(v, zero, zero, rounded)));
  }
}

void log_sum(index rows, const row_state& s, double* out) {
  for (index i = 0; i < rows; i += 8) store(out + i, log1p(loss_tail(s, i)));
}

// Near each other the tails are compared, not their logarithms: an error of log_sum may be large beside small divergences.
void log_sum_gap(index rows, const row_state& a, const row_state& b, double* out) {
  const doubles one = set1(1.0), half = set1(0.5);
  for (index i = 0; i < rows; i += 8) {
    const doubles ta = loss_tail(a, i), tb = loss_tail(b, i), pa = one + ta, pb = one + tb;
    const doubles near = log1p((ta - tb) / pb), far = log1p(ta) - log1p(tb);
    store(out + i, if_less(pa, half * pb, far, if_less(pb, half * pa, far, near)));
  }
}

void logsumexp(index rows, const row_state& s, double* out) {
  const doubles inf = set1(constants<double>::infinity);
  for (index i = 0; i < rows; i += 8) {
    const doubles max = load<double>(s.max + i), tail = load<double>(s.tail + i);
    // An infinite maximum is the result, unless a NaN stands beside it.
    store(out + i, max + if_equal(absolute(max), inf, tail - tail, log1p(tail)));
  }
}

// log(1 + x) of x >= 0: of the last two sums of log1p the rounding errors are kept.
CROSSENT_ONCE wide log1p_wide(doubles x) {
  doubles u, low;
  const log_parts<double> y = log1p_parts(x, u);
  const doubles high = two_sum(y.e * set1(constants<double>::ln2_high), y.f, low);
  return normalised({log_limits(u, high), low - y.less});
}

// A product, sum or quotient of what is known of a row: rounded at once, or kept as a wide number to the end.
template <bool precise> struct coefficient;
template <> struct coefficient<false> {
  using type = doubles;
  CROSSENT_INLINE doubles of(doubles a, doubles = {}) { return a; }
  CROSSENT_INLINE doubles rounded(doubles a) { return a; }
  CROSSENT_INLINE doubles log1p_of(doubles a) { return log1p(a); }
  // c v, 0 where c is.
  CROSSENT_INLINE doubles times(doubles c, doubles v) { return if_equal(c, set1(0.0), set1(0.0), c * v); }
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
  CROSSENT_INLINE wide log1p_of(doubles a) { return log1p_wide(a); }
  CROSSENT_INLINE wide times(wide c, wide v) { return where_not_zero(c.high, c * v); }
  CROSSENT_INLINE wide both(wide a) { return normalised(a); }
  CROSSENT_INLINE doubles exp_below(doubles x, doubles max) { return exp_difference(x, max, scaling{}, set1(0.0)); }
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
CROSSENT_INLINE wide loss_of(const cross_entropy_rows& r, index i, const loss_constants<k>& of_all, doubles max, doubles tail) {
  const typename k::type log_sum = k::log1p_of(tail);
  typename k::type loss;
  if constexpr (probabilities) {
    const auto spread = k::times(k::of(load<double>(r.mass + i)), log_sum);
    loss = k::times(of_all.keep, k::of(load<double>(r.target_deviation + i)) + spread);
  } else {
    const auto gap = k::of(max) + k::of(-load<double>(r.target + i));
    loss = k::times(of_all.keep * k::of(load<double>(r.class_weight + i)), gap + log_sum);
  }
  if (r.deviation != nullptr)
    loss = loss + of_all.eps * (k::of(load<double>(r.deviation + i)) + of_all.weight_sum * log_sum);
  return k::both(k::times(k::of(load<double>(r.row_weight + i)), loss));
}

// Losses in -log p (formulas: docs/design.md). A gradient entry is ((A - b) u - b ((1 - u) + tail)) / (1 + tail) with
// u = exp(x_c - max): 1 - p of a confident class comes from the tail, and is never a difference.
template <bool precise, bool probabilities> CROSSENT_INLINE void cross_entropy_of(const cross_entropy_rows& r) {
  using k = coefficient<precise>;
  using number = typename k::type;
  const doubles zero = set1(0.0), one = set1(1.0), inf = set1(constants<double>::infinity);
  const loss_constants<k> of_all(r);
  const loss_constants<coefficient<false>> rounded(r);
  const number keep = of_all.keep, eps = of_all.eps, weight_sum = of_all.weight_sum, divisor = k::of(set1(r.divisor));
  // The three products and sums of a loss without smoothing may be rounded one by one.
  const bool wide_loss = precise && (r.deviation != nullptr || r.loss_low != nullptr);
  for (index i = 0; i < r.count; i += 8) {
    const doubles v = load<double>(r.row_weight + i);
    const doubles max = load<double>(r.state.max + i), tail = loss_tail(r.state, i);
    const wide loss = wide_loss ? loss_of<probabilities>(r, i, of_all, max, tail)
                                : loss_of<probabilities>(r, i, rounded, max, tail);
    store(r.loss + i, loss.high);
    if (r.loss_low != nullptr) store(r.loss_low + i, loss.low);
    if (r.factor == nullptr) continue;

    const doubles g = load<double>(r.upstream + i);
    // a: what the targets alone add to A, total: A
    const number a = keep * k::of(load<double>((probabilities ? r.mass : r.class_weight) + i));
    const number total = r.deviation != nullptr ? a + eps * weight_sum : a;
    const number sum = k::of(one) + k::of(tail), scale = k::of(g) * k::of(v) / divisor;
    // 0: the row has no gradient, whatever is in it
    const doubles off = if_equal(v, zero, zero, if_equal(k::rounded(total), zero, zero, g));
    const number unit = k::of(load<double>(r.state.unit + i)) / sum;
    store(r.factor + i, if_equal(off, zero, zero, k::rounded(total * scale * unit)));
    store(r.beta + i, if_equal(off, zero, zero, k::rounded(scale * eps)));

    if constexpr (probabilities) {
      store(r.gamma + i, if_equal(off, zero, zero, k::rounded(scale * keep)));
      const number w = k::of(load<double>(r.top_weight + i));
      const number top = (keep * k::of(load<double>(r.top_probability + i)) + eps) * w;
      const number others = keep * k::of(load<double>(r.others + i)) + eps * (weight_sum + k::of(-one) * w);
      const number entry = others + k::of(-tail) * top;
      store(r.top_gradient + i, if_equal(off, zero, zero, k::rounded(entry / sum * scale)));
    } else {
      const doubles w = load<double>(r.class_weight + i), x = load<double>(r.target + i);
      const doubles u = if_equal(x, -inf, zero, k::exp_below(x, max));
      const number others = eps * (weight_sum + k::of(-w));   // A - b, without cancellation
      const number rest = (k::of(one) + k::of(-u)) + k::of(tail);
      const number target = others * k::of(u) + k::of(-one) * (a + eps * k::of(w)) * rest;
      store(r.target_gradient + i, if_equal(off, zero, zero, k::rounded(target / sum * scale)));
      if (r.deviation != nullptr) {
        const doubles top_weight = load<double>(r.top_weight + i);
        const number top = a + eps * (weight_sum + k::of(-top_weight)) + k::of(-tail) * eps * k::of(top_weight);
        store(r.top_gradient + i, if_equal(off, zero, zero, k::rounded(top / sum * scale)));
      }
    }
  }
}

void cross_entropy(const cross_entropy_rows& r) {
  const bool probabilities = r.mass != nullptr;
  if (r.precise) probabilities ? cross_entropy_of<true, true>(r) : cross_entropy_of<true, false>(r);
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
