// Merges the statistics of the blocks of a row, eight blocks or rows to a pack, in float64; and keeps the factors of rows in
// range.
#pragma once

#include "kernels/simd/double_double.hpp"
#include "kernels/walk/definition.hpp"

namespace crossent {
namespace {

// 1/T in two parts of the arithmetic type.
template <class T> inverse_temperature inverse_temperature_of(double temperature) {
  const doubles one = set1(1.0), t = set1(temperature), inverse = one / t, product = inverse * t;
  const double whole = inverse.r[0][0];
  const double error = (((one - product) - product_error(inverse, t, product)) / t).r[0][0];
  // Beyond the range of the type every difference of logits is; its largest number does as well.
  constexpr double largest = static_cast<double>(constants<T>::largest);
  if (!(whole < largest)) return {largest, 0, false};
  const double hi = static_cast<double>(static_cast<T>(whole));
  return {hi, (whole - hi) + error, temperature == 1};
}

// The argument of an exponential as x + error, and the `magic` that sets its power of two.
struct exp_argument {
  doubles x, error, magic;
};
CROSSENT_INLINE doubles exp_of(exp_argument e) { return exp_scaled(e.x, e.error, e.magic); }
// The exponential with its rounding error: 1 + g is exact.
CROSSENT_INLINE double_double<doubles> extended_exp_of(exp_argument e) {
  const exp_parts p = exp_scaled_parts(e.x, e.error, e.magic);
  const doubles whole = set1(1.0) + p.g, sum = whole + p.w;
  return {sum * p.scale, ((whole - sum) + p.w) * p.scale};
}

// (a - b)/T for exp(..) 2^exponent, a and b at any distance; 0 where both are infinite.
CROSSENT_INLINE exp_argument exp_argument_of(doubles a, doubles b, const inverse_temperature& t, doubles exponent) {
  const doubles zero = set1(0.0), one = set1(1.0);
  const auto difference = two_sum(a, -b);
  doubles d = at_least(select(a != b, difference.hi, zero), set1(-constants<double>::largest));
  doubles error = select(absolute(difference.lo) < one, difference.lo, zero);  // NaN beside an infinite d
  if (!t.is_one) {
    const doubles inverse_hi = set1(t.hi), z = d * inverse_hi;
    error = fma(error, inverse_hi, fma(d, set1(t.lo), product_error(d, inverse_hi, z)));
    error = select(absolute(error) < one, error, zero);
    d = z;
  }
  const doubles lowest = lowest_exponent(exponent);
  return {at_least(d, lowest), select(d < lowest, zero, error), magic_of(exponent)};
}

// exp(..) takes a block's terms to exp((x - max)/T), times 2^block_headroom.
CROSSENT_INLINE exp_argument block_argument(doubles reference, doubles exponent, doubles max, const inverse_temperature& t) {
  const doubles finite = select(max != set1(-constants<double>::infinity), max, set1(0.0));
  return exp_argument_of(reference, finite, t, exponent + set1(block_headroom));
}
// The same where that block is the row, with T = 1: `reference` is 0 or the maximum, and the exponent keeps the result near 1.
CROSSENT_INLINE exp_argument row_argument(doubles reference, doubles exponent, doubles max) {
  const doubles zero = set1(0.0), d = select(reference == zero, -max, zero);
  return {select(max != set1(-constants<double>::infinity), d, zero), zero, magic_of(exponent + set1(block_headroom))};
}

template <class T> struct block_merging {
  static constexpr bool extended = sizeof(T) == 8;
  using number = double_double<doubles>;
  const doubles unscaled = exp2_whole(set1(-block_headroom));
  const double unbiased = exp2_whole(set1(-block_headroom - static_cast<double>(bias<T>))).r[0][0];

  // The factor of a block's terms, times 2^block_headroom; of float64 rows with its rounding error.
  CROSSENT_INLINE_MEMBER number factor(exp_argument e) const {
    if constexpr (extended) return extended_exp_of(e);
    else return exact(exp_of(e));
  }
  // A sum of terms times their factor. Only the result may be subnormal.
  CROSSENT_INLINE_MEMBER number product(doubles sum, number factor) const {
    const doubles p = sum * factor.hi;
    if constexpr (extended) return {p, fma(sum, factor.lo, product_error(sum, factor.hi, p))};
    else return exact(p);
  }
  // The tail of a row from the sum of its terms without one group's maxima, and how many those are.
  CROSSENT_INLINE_MEMBER number tail(number sum, doubles max_count) const {
    const doubles more = max_count - set1(1.0), whole = sum.hi * set1(unbiased);
    if constexpr (extended) return normalised(number{whole, sum.lo * set1(unbiased)} + exact(more));
    else return exact(whole + more);
  }
};

// A row of one block, eight rows to a pack.
struct single_block {
  doubles max, reference, exponent, sum_without_max, max_count;
};
template <class T> struct merged_block {
  typename block_merging<T>::number factor, sum, tail;   // the factor and the sum: times 2^block_headroom
};
template <class T>
CROSSENT_INLINE merged_block<T> merge(const block_merging<T>& merging, const single_block& b, const inverse_temperature& t) {
  merged_block<T> m;
  m.factor = merging.factor(t.is_one ? row_argument(b.reference, b.exponent, b.max)
                                     : block_argument(b.reference, b.exponent, b.max, t));
  m.sum = merging.product(b.sum_without_max, m.factor);
  m.tail = merging.tail(m.sum, b.max_count);
  return m;
}

template <class T> void merge_single_blocks(index rows, const inverse_temperature& t, const block_statistics& in,
                                            row_statistics& out) {
  const block_merging<T> merging;
  for (index i = 0; i < rows; i += 8) {
    const auto of = [&](const double* v) CROSSENT_INLINE_LAMBDA { return load<double>(v + i); };
    const single_block b{of(in.max), of(in.reference), of(in.exponent), of(in.sum_without_max), of(in.max_count)};
    const merged_block<T> m = merge(merging, b, t);
    store(out.max + i, b.max);
    store(out.reference + i, b.reference);
    store(out.exponent + i, b.exponent);
    store(out.inverse_max_term + i, m.factor.hi * merging.unscaled);
    store(out.tail + i, m.tail.hi);
    for (index l = 0; l < 8; ++l) out.max_block[i + l] = 0;
    if constexpr (block_merging<T>::extended) {
      store(out.tail_scaled + i, m.sum.hi * merging.unscaled);
      store(out.inverse_max_term_lo + i, m.factor.lo * merging.unscaled);
      store(out.tail_lo + i, m.tail.lo);
    }
  }
}

// A row of several blocks, eight blocks to a pack.
template <class T>
void merge_row(index row, index blocks, const inverse_temperature& t, const block_statistics& in, row_statistics& out) {
  const block_merging<T> merging;
  const index first = row * blocks;
  index top = first;   // the first block that holds the maximum
  for (index b = first; b < first + blocks; ++b)
    if (in.max[b] > in.max[top]) top = b;
  double_double<double> row_sum{};
  for (index b = first; b < first + blocks; b += 8) {
    const index n = first + blocks - b < 8 ? first + blocks - b : 8;
    const bool holds_top = top >= b && top < b + 8;
    alignas(pack_bytes) double hi[8], lo[8];
    store(hi, load_partial<double>(in.sum_all + b, n, 0.0));
    if (holds_top) hi[top - b] = in.sum_without_max[top];
    const auto factor = merging.factor(block_argument(load_partial<double>(in.reference + b, n, 0.0),
                                                      load_partial<double>(in.exponent + b, n, 0.0), set1(in.max[top]), t));
    const auto product = merging.product(load<double>(hi), factor);
    store(hi, product.hi);
    store(lo, product.lo);
    for (index k = 0; k < n; ++k) row_sum += double_double{hi[k], lo[k]};
    if (!holds_top) continue;
    store(hi, factor.hi * merging.unscaled);
    store(lo, factor.lo * merging.unscaled);
    out.inverse_max_term[row] = hi[top - b];
    if constexpr (block_merging<T>::extended) out.inverse_max_term_lo[row] = lo[top - b];
  }
  const double sum = row_sum.hi + row_sum.lo;
  const auto tail = merging.tail({set1(sum), set1(row_sum.lo - (sum - row_sum.hi))}, set1(in.max_count[top]));
  out.max[row] = in.max[top];
  out.reference[row] = in.reference[top];
  out.exponent[row] = in.exponent[top];
  out.max_block[row] = top - first;
  out.tail[row] = tail.hi.r[0][0];
  if constexpr (block_merging<T>::extended) {
    out.tail_lo[row] = tail.lo.r[0][0];
    out.tail_scaled[row] = sum * merging.unscaled.r[0][0];
  }
}

template <class T>
void merge_blocks(index rows, index blocks, const inverse_temperature& t, const block_statistics& in, row_statistics& out) {
  out.is_extended = block_merging<T>::extended;
  if (blocks == 1) return merge_single_blocks<T>(rows, t, in, out);
  for (index i = 0; i < rows; ++i) merge_row<T>(i, blocks, t, in, out);
}

template <class T> void split_exponents(index rows, double* factor, double* exponent) {
  constexpr double largest = static_cast<double>(constants<T>::exponent_bias) - static_cast<double>(bias<T>) - term_headroom;
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

// Takes the bias of cached terms out of a factor. Terms are e^d 2^bias with d < 1. They are 0 below the normal numbers, where a
// factor of up to `most` makes less of them than half the smallest subnormal; from `least` on, the factor is a normal number
// with 2^-bias in it.
template <class T> struct unbiasing {
  using k = constants<T>;
  const doubles unbias = exp2_whole(set1(-static_cast<double>(bias<T>)));
  const doubles least = exp2_whole(set1<double>(bias<T> - k::exponent_bias + cached_headroom));
  const doubles most = exp2_whole(set1<double>(bias<T> - k::mantissa_bits - cached_headroom));

  CROSSENT_INLINE_MEMBER doubles operator()(doubles factor) const { return factor * unbias; }
  CROSSENT_INLINE_MEMBER mask<double> is_outside(doubles factor) const {   // NaN is not
    const doubles size = absolute(factor);
    return ((size < least) & (size != set1(0.0))) | (most < size);
  }
};
template <class T> bool unbias_factors(index rows, double* factor) {
  const unbiasing<T> unbias;
  mask<double> outside{};
  for (index i = 0; i < rows; i += 8)
    outside =
        outside | unbias.is_outside(i + 8 <= rows ? load<double>(factor + i) : load_partial<double>(factor + i, rows - i, 0.0));
  if (any(outside)) return false;
  for (index i = 0; i < rows; i += 8) store(factor + i, unbias(load<double>(factor + i)));
  return true;
}

}  // namespace
}  // namespace crossent
