// From the statistics of blocks to those of rows, in float64; and keeps the factors of rows in range.
#pragma once

#include "kernels/walk/block_tree.hpp"

namespace crossent {
namespace {

// The first block that holds the maximum of a row.
CROSSENT_INLINE index max_block_of(const double* max, index blocks) {
  index top = 0;
  for (index b = 1; b < blocks; ++b) top = max[b] > max[top] ? b : top;
  return top;
}

// ---- Rows of one block -----------------------------------------------------------------------------------------------

// Eight rows to a pack.
template <class T> struct single_block {
  doubles max, reference, exponent, max_count;
  accumulator<T> sum_without_max;
};
template <class T> struct row_numbers {
  typename block_merging<T>::number factor, sum, tail;   // the factor and the sum: times 2^block_headroom
};
template <class T>
CROSSENT_INLINE row_numbers<T> numbers_of(const block_merging<T>& merging, const single_block<T>& b,
                                          const inverse_temperature& t) {
  row_numbers<T> m;
  m.factor = merging.factor(t.is_one ? row_argument(b.reference, b.exponent, b.max)
                                     : block_argument(b.reference, b.exponent, b.max, t));
  m.sum = merging.product(b.sum_without_max, m.factor);
  m.tail = merging.tail(m.sum, b.max_count);
  return m;
}

template <class T>
CROSSENT_INLINE void finish_rows(index rows, const inverse_temperature& t, const block_statistics& in, row_statistics& out) {
  const block_merging<T> merging;
  for (index i = 0; i < rows; i += 8) {
    const auto of = [&](const double* v) CROSSENT_INLINE_LAMBDA { return load<double>(v + i); };
    single_block<T> b{of(in.max), of(in.reference), of(in.exponent), of(in.max_count), {}};
    if constexpr (block_merging<T>::extended) b.sum_without_max = {of(in.sum_without_max), of(in.sum_without_max_lo)};
    else b.sum_without_max = of(in.sum_without_max);
    const row_numbers<T> m = numbers_of(merging, b, t);
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
    return finish_rows<T>(rows, t, in, out);
  }
  constexpr index room = batch_rows + 8;   // numbers are stored eight times: the lanes after the last row have its
  double max[room], reference[room], exponent[room], sum[room], sum_lo[room], max_count[room];
  for (index i = 0; i < rows; ++i) {
    const index first = i * blocks, top = max_block_of(in.max + first, blocks);
    const summed_terms<T> row = merge_blocks_of_row<T>(in, first, blocks, top, t);
    out.max_block[i] = top;
    store(max + i, row.max);
    store(reference + i, row.reference);
    store(exponent + i, row.exponent);
    store(max_count + i, set1(in.max_count[first + top]));
    store(sum + i, first_part(row.sum));
    if constexpr (block_merging<T>::extended) store(sum_lo + i, row.sum.lo);
  }
  finish_rows<T>(rows, t, {max, reference, exponent, nullptr, sum, nullptr, sum_lo, max_count}, out);
}

template <class T> void split_exponents(index rows, double* factor, double* factor_lo, double* exponent) {
  constexpr double largest = static_cast<double>(constants<T>::exponent_bias) - static_cast<double>(bias<T>) - term_headroom;
  using k = constants<double>;
  const doubles bias_pack = set1(static_cast<double>(bias<T>)), unbias = exp2_whole(-bias_pack);
  for (index i = 0; i < rows; i += 8) {
    const doubles f = load<double>(factor + i);
    const bits<double> field = (to_bits(f) >> k::mantissa_bits) & 0x7ff;
    const doubles biased = from_bits<double>(field | 0x4330000000000000u) - set1(k::integer);
    doubles of_factor = biased - set1(static_cast<double>(k::exponent_bias));
    of_factor = select(set1(largest) < of_factor, set1(largest), of_factor);
    const doubles whole = exp2_whole(-of_factor);
    store(factor + i, f * whole * unbias);
    if (factor_lo != nullptr) store(factor_lo + i, load<double>(factor_lo + i) * whole * unbias);
    store(exponent + i, of_factor + bias_pack - load<double>(exponent + i));
  }
}

// Takes the bias of cached terms out of a factor. Terms are e^d 2^bias with d < 1. They are 0 below the normal numbers, where a
// factor of up to `most` makes less of them than half the smallest subnormal; from `least` on, the factor is a normal number
// with 2^-bias in it, and its rounding error, cut as `factor_pair` and `per_row` do, is a multiple of the least one.
template <class T> struct unbiasing {
  using k = constants<T>;
  const doubles unbias = exp2_whole(set1(-static_cast<double>(bias<T>)));
  const doubles least = exp2_whole(set1<double>(bias<T> - k::exponent_bias + cached_headroom + k::mantissa_bits + 1));
  const doubles most = exp2_whole(set1<double>(bias<T> - k::mantissa_bits - cached_headroom));

  CROSSENT_INLINE_MEMBER doubles operator()(doubles factor) const { return factor * unbias; }
  CROSSENT_INLINE_MEMBER mask<double> is_outside(doubles factor) const {   // NaN is not
    const doubles size = absolute(factor);
    return ((size < least) & (size != set1(0.0))) | (most < size);
  }
};
template <class T> bool unbias_factors(index rows, double* factor, double* factor_lo) {
  const unbiasing<T> unbias;
  mask<double> outside{};
  for (index i = 0; i < rows; i += 8)
    outside =
        outside | unbias.is_outside(i + 8 <= rows ? load<double>(factor + i) : load_partial<double>(factor + i, rows - i, 0.0));
  if (any(outside)) return false;
  for (index i = 0; i < rows; i += 8) {
    store(factor + i, unbias(load<double>(factor + i)));
    if (factor_lo != nullptr) store(factor_lo + i, unbias(load<double>(factor_lo + i)));
  }
  return true;
}

}  // namespace
}  // namespace crossent
