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

// out = f(g, y, sum) over a group of rows.
template <class T, class F>
CROSSENT_INLINE void write_pairs(const source& grad, const source& other, const sink& to, index begin, index end,
                                 const double* sum, F f) {
  write_blocks<T, 2>({grad, other}, to, begin, end, [&](index i, auto o) {
    const pack<T> s = per_row<T>(sum, i, o);
    return [=](const pack<T>* x, index, index) { return f(x[0], x[1], s); };
  });
}

template <class T>
void write_softmax_backward(const source& grad, const source& probs, const sink& to, index begin, index end, const double* sum,
                            double scale) {
  const pack<T> v = set1(static_cast<T>(scale));
  write_pairs<T>(grad, probs, to, begin, end, sum, [=](pack<T> g, pack<T> p, pack<T> s) { return p * ((g - s) * v); });
}

template <class T>
void write_log_softmax_backward(const source& grad, const source& log_probs, const sink& to, index begin, index end,
                                const double* sum, double scale) {
  const pack<T> v = set1(static_cast<T>(scale));
  write_pairs<T>(grad, log_probs, to, begin, end, sum, [=](pack<T> g, pack<T> l, pack<T> s) {
    const mask<T> may_be_subnormal = l < set1(subnormal<T>::normal_exponential);
    const pack<T> usual = fma(-exp(l), s, g) * v;
    if (!any(may_be_subnormal)) return usual;
    // A subnormal probability is not rounded before the sum and 1/T are in it.
    return select(may_be_subnormal, g * v - exp_times_scaled(l, s * v), usual);
  });
}

}  // namespace
}  // namespace crossent
