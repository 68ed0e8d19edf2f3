// The backward passes of softmax and log_softmax: a sum over each row, then one pass that writes.
#pragma once

#include "kernels/math/subnormal.hpp"
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

template <class T>
void write_softmax_backward(const source& grad, const source& probs, const sink& to, index begin, index end,
                            const sums_of_rows& sums, const inverse_temperature& t) {
  const auto v = pair_of<T>(t.hi, t.lo);
  write_pairs<T>(grad, probs, to, begin, end, sums, [=](pack<T> g, pack<T> p, const double_double<pack<T>>& s) {
    const auto d = two_sum(g, -s.hi);
    return p * times<T>({d.hi, d.lo - s.lo}, v);
  });
}

template <class T>
void write_log_softmax_backward(const source& grad, const source& log_probs, const sink& to, index begin, index end,
                                const sums_of_rows& sums, const inverse_temperature& t) {
  const auto v = pair_of<T>(t.hi, t.lo);
  write_pairs<T>(grad, log_probs, to, begin, end, sums, [=](pack<T> g, pack<T> l, const double_double<pack<T>>& s) {
    const mask<T> may_be_subnormal = l < set1(subnormal<T>::normal_exponential);
    const pack<T> p = exp(l), usual = times<T>({fma(-p, s.hi, g), -(p * s.lo)}, v);
    if (!any(may_be_subnormal)) return usual;
    // A subnormal probability is not rounded before the sum and 1/T are in it.
    return select(may_be_subnormal, times<T>(exact(g), v) - exp_times_scaled(l, times<T>(s, v)), usual);
  });
}

}  // namespace
}  // namespace crossent
