// From the statistics of blocks to those of rows, in float64; and keeps the factors of rows in range.
//
// The blocks of a row are merged to one (core/merge_tree.hpp says in which order), of which the row's numbers follow. Two
// blocks have most often the same reference, 0: then one sum is moved by a power of two, without an error.
#pragma once

#include "core/merge_tree.hpp"
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
    else return exact(short_exp_scaled(e.x, e.error, e.magic));
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

// ---- Blocks to one block ---------------------------------------------------------------------------------------------

// Blocks as one: `sum` is that of the terms of all, counted as those of the block with the largest maximum are. In one that
// holds the maximum of the row, it is without the terms that its `max_count` counts.
template <class T> struct merged_blocks {
  using number = std::conditional_t<block_merging<T>::extended, double_double<double>, double>;
  double max, reference, exponent;
  number sum;
};
CROSSENT_INLINE double first_part(double a) { return a; }
CROSSENT_INLINE double first_part(double_double<double> a) { return a.hi; }
CROSSENT_INLINE double scaled_by(double a, double power) { return a * power; }
CROSSENT_INLINE double_double<double> scaled_by(double_double<double> a, double power) { return {a.hi * power, a.lo * power}; }

// The sum of b where it is counted as the terms of a are: times exp((r_b - r_a)/T) 2^(N_b - N_a).
template <class T>
CROSSENT_ONCE typename merged_blocks<T>::number rebased_sum(const merged_blocks<T>& a, const merged_blocks<T>& b,
                                                            const inverse_temperature& t, double exponent) {
  const block_merging<T> merging;
  const auto factor = merging.factor(exp_argument_of(set1(b.reference), set1(a.reference), t, set1(exponent + block_headroom)));
  const auto sum = scaled_by(b.sum, merging.unscaled.r[0][0]);
  if constexpr (block_merging<T>::extended) {
    const auto product = double_double{set1(sum.hi), set1(sum.lo)} * factor;
    return {product.hi.r[0][0], product.lo.r[0][0]};
  } else {
    return sum * factor.hi.r[0][0];
  }
}
// The maximum of b is not above that of a.
template <class T>
CROSSENT_INLINE merged_blocks<T> merge_smaller(merged_blocks<T> a, const merged_blocks<T>& b, const inverse_temperature& t) {
  if (first_part(b.sum) == 0) return a;   // its classes are masked, whatever the range of their factor
  const double exponent = b.exponent - a.exponent, lowest = -static_cast<double>(constants<double>::exponent_bias);
  if (a.reference != b.reference) {
    a.sum = a.sum + rebased_sum(a, b, t, exponent);
  } else {   // a power of two, in two steps: the product may be as small as terms with their bias
    const double step = exponent + block_headroom, power = exp2_whole(set1(step < lowest ? lowest : step)).r[0][0];
    a.sum = a.sum + scaled_by(scaled_by(b.sum, exp2_whole(set1(-block_headroom)).r[0][0]), power);
  }
  return a;
}
template <class T>
CROSSENT_INLINE merged_blocks<T> merge(const merged_blocks<T>& a, const merged_blocks<T>& b, const inverse_temperature& t) {
  return b.max > a.max ? merge_smaller(b, a, t) : merge_smaller(a, b, t);
}

// The first block that holds the maximum of a row.
CROSSENT_INLINE index max_block_of(const double* max, index blocks) {
  index top = 0;
  for (index b = 1; b < blocks; ++b)
    if (max[b] > max[top]) top = b;
  return top;
}
template <class T>
CROSSENT_INLINE merged_blocks<T> merge_row(index first, index blocks, index top, const inverse_temperature& t,
                                           const block_statistics& in) {
  const auto leaf = [&](index b) CROSSENT_INLINE_LAMBDA {
    const index at = first + b;
    merged_blocks<T> block{in.max[at], in.reference[at], in.exponent[at], {}};
    const double sum = b == top ? in.sum_without_max[at] : in.sum_all[at];
    if constexpr (block_merging<T>::extended) block.sum = {sum, 0};
    else block.sum = sum;
    return block;
  };
  return merge_tree(blocks, leaf, [&](const merged_blocks<T>& a, const merged_blocks<T>& b) CROSSENT_INLINE_LAMBDA {
    return merge(a, b, t);
  });
}

// ---- Rows of one block -----------------------------------------------------------------------------------------------

// Eight rows to a pack.
struct single_block {
  doubles max, reference, exponent, sum_without_max, max_count;
};
template <class T> struct row_numbers {
  typename block_merging<T>::number factor, sum, tail;   // the factor and the sum: times 2^block_headroom
};
template <class T>
CROSSENT_INLINE row_numbers<T> numbers_of(const block_merging<T>& merging, const single_block& b,
                                          const inverse_temperature& t) {
  row_numbers<T> m;
  m.factor = merging.factor(t.is_one ? row_argument(b.reference, b.exponent, b.max)
                                     : block_argument(b.reference, b.exponent, b.max, t));
  m.sum = merging.product(b.sum_without_max, m.factor);
  m.tail = merging.tail(m.sum, b.max_count);
  return m;
}

// sum_lo: the second part of `sum_without_max`, or nullptr.
template <class T>
CROSSENT_INLINE void finish_rows(index rows, const inverse_temperature& t, const block_statistics& in, const double* sum_lo,
                                 row_statistics& out) {
  const block_merging<T> merging;
  for (index i = 0; i < rows; i += 8) {
    const auto of = [&](const double* v) CROSSENT_INLINE_LAMBDA { return load<double>(v + i); };
    const single_block b{of(in.max), of(in.reference), of(in.exponent), of(in.sum_without_max), of(in.max_count)};
    row_numbers<T> m = numbers_of(merging, b, t);
    if (sum_lo != nullptr) {
      m.sum = normalised(decltype(m.sum){m.sum.hi, m.sum.lo + of(sum_lo) * m.factor.hi});
      m.tail = merging.tail(m.sum, b.max_count);
    }
    store(out.max + i, b.max);
    store(out.reference + i, b.reference);
    store(out.exponent + i, b.exponent);
    store(out.inverse_max_term + i, m.factor.hi * merging.unscaled);
    store(out.tail + i, m.tail.hi);
    if constexpr (block_merging<T>::extended) {
      store(out.tail_scaled + i, m.sum.hi * merging.unscaled);
      store(out.inverse_max_term_lo + i, m.factor.lo * merging.unscaled);
      store(out.tail_lo + i, m.tail.lo);
    }
  }
}

template <class T>
void merge_blocks(index rows, index blocks, const inverse_temperature& t, const block_statistics& in, row_statistics& out) {
  out.is_extended = block_merging<T>::extended;
  if (blocks == 1) {
    for (index i = 0; i < batch_rows; ++i) out.max_block[i] = 0;
    return finish_rows<T>(rows, t, in, nullptr, out);
  }
  alignas(pack_bytes) double numbers[6][batch_rows] = {};
  auto& [max, reference, exponent, sum, sum_lo, max_count] = numbers;
  for (index i = 0; i < rows; ++i) {
    const index first = i * blocks, top = max_block_of(in.max + first, blocks);
    const merged_blocks<T> row = merge_row<T>(first, blocks, top, t, in);
    out.max_block[i] = top;
    max[i] = row.max;
    reference[i] = row.reference;
    exponent[i] = row.exponent;
    max_count[i] = in.max_count[first + top];
    if constexpr (block_merging<T>::extended) {
      sum[i] = row.sum.hi;
      sum_lo[i] = row.sum.lo;
    } else {
      sum[i] = row.sum;
    }
  }
  finish_rows<T>(rows, t, {max, reference, exponent, nullptr, sum, max_count}, block_merging<T>::extended ? sum_lo : nullptr,
                 out);
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
