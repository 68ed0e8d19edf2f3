// From blocks to rows, eight to a pack, in float64: what the statistics of its blocks make of a row, and the range of factors.
#pragma once

#include "rows.hpp"
#include "double_double.hpp"

namespace crossent {
namespace {

// 1/T in two parts of the arithmetic type.
template <class T> inverse_temperature inverse_temperature_of(double temperature) {
  const doubles one = set1(1.0), t = set1(temperature), inverse = one / t, product = inverse * t;
  const double whole = inverse.r[0][0];
  const double rest = (((one - product) - product_error(inverse, t, product)) / t).r[0][0];
  // Beyond the range of the type every difference of logits is; its largest number does as well.
  constexpr double largest = static_cast<double>(constants<T>::largest);
  if (!(whole < largest)) return {largest, 0, false};
  const double high = static_cast<double>(static_cast<T>(whole));
  return {high, (whole - high) + rest, temperature == 1};
}

// The argument of an exponential in two parts, and what scales it.
struct exp_argument {
  doubles x, error, magic;
};
CROSSENT_INLINE doubles exp_of(exp_argument e) { return exp_scaled(e.x, e.error, e.magic); }
// With what rounding leaves out: 1 + g is exact.
CROSSENT_INLINE wide exp_wide(exp_argument e) {
  const exp_parts p = exp_scaled_parts(e.x, e.error, e.magic);
  const doubles whole = set1(1.0) + p.g, sum = whole + p.w;
  return {sum * p.scale, ((whole - sum) + p.w) * p.scale};
}

// (a - b)/T for exp(..) 2^exponent, a and b at any distance; 0 where both are infinite.
CROSSENT_INLINE exp_argument exp_argument_of(doubles a, doubles b, const inverse_temperature& t, doubles exponent) {
  doubles low;
  doubles d = two_sum(a, -b, low);
  const doubles zero = set1(0.0);
  d = select(a == b, zero, d);
  d = at_least(d, set1(-constants<double>::largest));
  low = select(absolute(low) < set1(1.0), low, zero);   // NaN beside an infinite d
  if (!t.is_one) {
    const doubles high = set1(t.high), z = d * high;
    low = fma(low, high, fma(d, set1(t.low), product_error(d, high, z)));
    low = select(absolute(low) < set1(1.0), low, zero);
    d = z;
  }
  const doubles lowest = lowest_exponent(exponent);
  low = select(d < lowest, zero, low);
  return {at_least(d, lowest), low, magic_of(exponent)};
}

// Exponents added to a block's factor, which may be far smaller than its sum is large.
constexpr double headroom = 256;

// exp(..) takes a block's terms to exp((x - max)/T), times 2^headroom.
CROSSENT_INLINE exp_argument block_argument(doubles reference, doubles exponent, doubles max, const inverse_temperature& t) {
  const doubles finite = select(max == set1(-constants<double>::infinity), set1(0.0), max);
  return exp_argument_of(reference, finite, t, exponent + set1(headroom));
}
// The same where that block is the row, with T = 1: `reference` is 0 or the maximum, and the exponent keeps the result near 1.
CROSSENT_INLINE exp_argument row_argument(doubles reference, doubles exponent, doubles max) {
  const doubles zero = set1(0.0), d = select(reference == zero, -max, zero);
  return {select(max == set1(-constants<double>::infinity), zero, d), zero, magic_of(exponent + set1(headroom))};
}

template <class T> struct block_merging {
  static constexpr bool extended = sizeof(T) == 8;
  const doubles unit_scale = exp2_whole(set1(-headroom));
  const double unbias = exp2_whole(set1(-headroom - static_cast<double>(bias<T>))).r[0][0];

  // The factor of a block; of float64 rows with its rounding error.
  CROSSENT_INLINE_MEMBER wide unit(exp_argument e) const {
    if constexpr (extended) return exp_wide(e);
    else return {exp_of(e), set1(0.0)};
  }
  // A sum of terms in that factor's unit. Only the result may be subnormal.
  CROSSENT_INLINE_MEMBER wide product(doubles sum, wide unit) const {
    const doubles p = sum * unit.high;
    if constexpr (extended) return {p, fma(sum, unit.low, product_error(sum, unit.high, p))};
    else return {p, set1(0.0)};
  }
  // The tail of rows i, .. from the sum of its terms and the number of maxima.
  CROSSENT_INLINE_MEMBER wide tail(wide sum, doubles max_count) const {
    const doubles more = max_count - set1(1.0), whole = sum.high * set1(unbias);
    if constexpr (extended) return normalised(wide{whole, sum.low * set1(unbias)} + wide{more, set1(0.0)});
    else return {whole + more, set1(0.0)};
  }
};

template <class T>
void merge_blocks(index rows, index blocks, const inverse_temperature& t, const block_statistics& in, const row_state& out) {
  const block_merging<T> f;
  if (blocks == 1) {
    for (index i = 0; i < rows; i += 8) {
      const doubles max = load<double>(in.max + i), reference = load<double>(in.reference + i), exponent = load<double>(in.exponent + i);
      const wide unit = f.unit(t.is_one ? row_argument(reference, exponent, max) : block_argument(reference, exponent, max, t));
      const wide sum = f.product(load<double>(in.sum_without_max + i), unit), tail = f.tail(sum, load<double>(in.max_count + i));
      store(out.max + i, max);
      store(out.reference + i, reference);
      store(out.exponent + i, exponent);
      store(out.inverse_max_term + i, unit.high * f.unit_scale);
      store(out.tail + i, tail.high);
      store(out.block + i, set1(0.0));
      if constexpr (block_merging<T>::extended) {
        store(out.scaled_tail + i, sum.high * f.unit_scale);
        store(out.inverse_max_term_lo + i, unit.low * f.unit_scale);
        store(out.tail_low + i, tail.low);
      }
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
      alignas(pack_bytes) double part[8], lows[8];
      const wide unit = f.unit(block_argument(load_partial<double>(in.reference + at, n, 0.0),
                                              load_partial<double>(in.exponent + at, n, 0.0), set1(max[top]), t));
      const bool holds_top = top >= b && top < b + 8;
      doubles sum = load_partial<double>(in.sum_all + at, n, 0.0);
      if (holds_top) {
        store(part, sum);
        part[top - b] = in.sum_without_max[i * blocks + top];
        sum = load<double>(part);
      }
      const wide product = f.product(sum, unit);
      store(part, product.high);
      store(lows, product.low);
      for (index k = 0; k < n; ++k) {
        const double s = high + part[k], v = s - high;
        low += ((high - (s - v)) + (part[k] - v)) + lows[k];
        high = s;
      }
      if (holds_top) {
        store(part, unit.high * f.unit_scale);
        store(lows, unit.low * f.unit_scale);
        out.inverse_max_term[i] = part[top - b];
        if constexpr (block_merging<T>::extended) out.inverse_max_term_lo[i] = lows[top - b];
      }
    }
    const double sum = high + low;
    const wide tail = f.tail({set1(sum), set1(low - (sum - high))}, set1(in.max_count[i * blocks + top]));
    out.max[i] = max[top];
    out.reference[i] = in.reference[i * blocks + top];
    out.exponent[i] = in.exponent[i * blocks + top];
    out.block[i] = static_cast<double>(top);
    out.tail[i] = tail.high.r[0][0];
    if constexpr (block_merging<T>::extended) {
      out.tail_low[i] = tail.low.r[0][0];
      out.scaled_tail[i] = sum * f.unit_scale.r[0][0];
    }
  }
}

template <class T> void split_exponents(index rows, double* factor, double* exponent) {
  // Terms stay 2^16 below the end of the range: a divergence multiplies them by logarithms.
  constexpr double largest = static_cast<double>(constants<T>::exponent_bias) - static_cast<double>(bias<T>) - 16;
  using k = constants<double>;
  const doubles bias_pack = set1(static_cast<double>(bias<T>)), unbias = exp2_whole(-bias_pack);
  for (index i = 0; i < rows; i += 8) {
    const doubles f = load<double>(factor + i);
    const bits<double> field = (to_bits(f) >> k::mantissa_bits) & 0x7ff;
    const doubles biased = from_bits<double>(field | 0x4330000000000000u) - set1(k::integer);
    doubles of_factor = biased - set1(static_cast<double>(k::exponent_bias));
    of_factor = select(set1(largest) < of_factor, set1(largest), of_factor);
    store(factor + i, f * exp2_whole(-of_factor) * unbias);
    store(exponent + i, of_factor + bias_pack - load<double>(exponent + i));
  }
}

// Terms are e^d 2^bias with d < 1. They are 0 below the normal numbers, where a factor of up to `most` makes less of them
// than half the smallest subnormal; from `least` on, the factor is a normal number with 2^-bias in it.
template <class T> bool unbias_factors(index rows, double* factor) {
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
    outside = outside + select(size < set1(least), size, select(set1(most) < size, size, zero));
  }
  if (any(outside != zero)) return false;
  for (index i = 0; i < rows; i += 8) store(factor + i, load<double>(factor + i) * set1(unbias));
  return true;
}

}  // namespace
}  // namespace crossent
