// The mean and the variance of the gaps to the maximum under the softmax of a row: the derivatives of its log-normalizer in the
// inverse temperature.
#pragma once

#include "kernels/loss/row_quantities.hpp"
#include "kernels/walk/sums.hpp"

namespace crossent {
namespace {

// sum e g and sum e g^2 of each block, with g = (max - x)/T, in units of the terms.
template <class T>
void gap_moment_sums(const source& x, const row_statistics& statistics, index begin, index end, const inverse_temperature& t,
                     double* gaps, double* squares) {
  sum_blocks<T, 2>({x}, begin, end, {gaps, squares}, [&](index row, index, auto o) {
    const exponential<T, temperature::any> term(set1(bias<T>) - per_row<T>(statistics.exponent, row, o), t);
    const pack<T> reference = per_row<T>(statistics.reference, row, o), max = per_row<T>(statistics.max, row, o);
    const pack<T> zero = set1<T>(0), inverse = set1(static_cast<T>(t.hi));
    return [=](const pack<T>* v, index, index) CROSSENT_INLINE_LAMBDA {
      const pack<T> e = term(v[0] - reference), gap = select(e == zero, zero, (max - v[0]) * inverse), product = e * gap;
      return parts<T, 2>{{product, product * gap}};
    };
  });
}

// The moments of each row from its sums, in place: sum p g, and sum p g^2 less the square of that.
template <class T> void gap_moments(index rows, const row_statistics& statistics, double* mean, double* variance) {
  const doubles one = set1(1.0), zero = set1(0.0), unbias = exp2_whole(set1(-static_cast<double>(bias<T>)));
  for (index i = 0; i < rows; i += 8) {
    const doubles factor = load_inverse_max_term(statistics, i).hi / (one + load_tail(statistics, i).hi) * unbias;
    const doubles of_gaps = load<double>(mean + i) * factor;
    const doubles difference = load<double>(variance + i) * factor - of_gaps * of_gaps;
    store(mean + i, of_gaps);
    store(variance + i, select(difference < zero, zero, difference));
  }
}

}  // namespace
}  // namespace crossent
