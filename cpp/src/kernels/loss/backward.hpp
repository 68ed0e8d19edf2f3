// The backward passes of softmax and log_softmax: a sum over each row, then one pass that writes.
#pragma once

#include "kernels/math/subnormal.hpp"
#include "kernels/walk/block_merging.hpp"
#include "kernels/walk/row_sums.hpp"

namespace crossent {
namespace {

template <class T>
void sum_products(const source& grad, const source* probs, index begin, index end, const block_sums& out) {
  const bool with_probs = probs != nullptr;
  sum_rows<T, product_sums<T>, 2>({grad, with_probs ? *probs : grad}, begin, end, out, [=](index, auto) {
    return [=](product_sums<T>& s, const pack<T>* x) { add_product(s, x[0], with_probs ? x[1] : set1<T>(1)); };
  });
}

// out = f(g, y, sum) over a group of rows; the sum with its rounding error.
template <class T, class F>
CROSSENT_INLINE void write_pairs(const source& grad, const source& other, const sink& to, index begin, index end,
                                 const sums_of_rows& sums, F f) {
  write_blocks<T, 2>({grad, other}, to, begin, end, [&](index i, auto o) {
    const auto s = per_row<T>(sums.hi, sums.lo, i, o);
    return [=](const pack<T>* x, index, index) { return f(x[0], x[1], s); };
  });
}

// a v, rounded once, of a difference and a factor that have rounding errors.
template <class T> CROSSENT_INLINE pack<T> times(const double_double<pack<T>>& a, const double_double<pack<T>>& v) {
  const pack<T> fine = fma(a.hi, v.hi, fma(a.hi, v.lo, a.lo * v.hi)), rough = a.hi * v.hi;
  return select(absolute(rough) < set1(constants<T>::infinity), fine, rough);
}

// 1/T as the product of two numbers: v, which leaves the range with no gradient below 2^64, and a power of two, which meets the
// smaller factor of an entry.
struct split_inverse {
  inverse_temperature v;
  double power;

  explicit split_inverse(double temperature)
      : v(inverse_temperature_of<double>(temperature < 0x1p-800 ? temperature * 0x1p128 : temperature)),
        power(temperature < 0x1p-800 ? 0x1p128 : 1) {}
};

// Numbers that went out of range come back as the largest one, and products with 0 are 0.
template <class T> CROSSENT_INLINE pack<T> within_range(pack<T> x) {
  const pack<T> largest = set1(constants<T>::largest);
  return at_most(at_least(x, -largest), largest);
}

template <class T>
void write_softmax_backward(const source& grad, const source& probs, const sink& to, index begin, index end,
                            const sums_of_rows& sums, double temperature) {
  const split_inverse inverse(temperature);
  const auto v = pair_of<T>(inverse.v.hi, inverse.v.lo);
  const auto over_temperature = [=](pack<T> g, const double_double<pack<T>>& s) {
    const auto d = two_sum(g, -s.hi);
    return times<T>({d.hi, d.lo - s.lo}, v);
  };
  if constexpr (sizeof(T) == 8)
    if (inverse.power != 1)
      return write_pairs<T>(grad, probs, to, begin, end, sums, [=](pack<T> g, pack<T> p, const double_double<pack<T>>& s) {
        return (p * set1(inverse.power)) * within_range(over_temperature(g, s));
      });
  write_pairs<T>(grad, probs, to, begin, end, sums,
                 [=](pack<T> g, pack<T> p, const double_double<pack<T>>& s) { return p * over_temperature(g, s); });
}

template <class T>
void write_log_softmax_backward(const source& grad, const source& log_probs, const sink& to, index begin, index end,
                                const sums_of_rows& sums, double temperature) {
  const split_inverse inverse(temperature);
  const auto v = pair_of<T>(inverse.v.hi, inverse.v.lo);
  const pack<T> power = set1(static_cast<T>(inverse.power));
  write_pairs<T>(grad, log_probs, to, begin, end, sums, [=](pack<T> g, pack<T> l, const double_double<pack<T>>& s) {
    const mask<T> may_be_subnormal = l < set1(subnormal<T>::normal_exponential);
    const pack<T> p = exp(l), usual = times<T>({fma(-p, s.hi, g), -(p * s.lo)}, v) * power;
    if (!any(may_be_subnormal)) return usual;
    // A subnormal probability is not rounded before the sum and 1/T are in it.
    return select(may_be_subnormal, (times<T>(exact(g), v) - exp_times_scaled(l, within_range(times<T>(s, v)))) * power, usual);
  });
}

}  // namespace
}  // namespace crossent
