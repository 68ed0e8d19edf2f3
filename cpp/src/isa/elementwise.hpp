// Losses of single elements: binary cross-entropy and kl_div. One pass gives the value, its sum and the gradient.
#pragma once

#include "sums.hpp"

namespace crossent {
namespace {

template <class T> struct element_result {
  pack<T> loss, grad;
  pack<T> weight;   // 0: the element does not count, whatever flows back to it
};

// coefficient * value, 0 where the coefficient is.
template <class T> CROSSENT_INLINE pack<T> weighted(pack<T> coefficient, pack<T> value) {
  const pack<T> zero = set1<T>(0);
  return if_equal(coefficient, zero, zero, coefficient * value);
}

// x: probability, target, weight
template <class T> struct binary_cross_entropy_element {
  pack<T> floor;
  explicit binary_cross_entropy_element(const element_block& b) : floor(set1(static_cast<T>(b.log_floor))) {}

  element_result<T> operator()(const pack<T>* x, bool with_grad) const {
    const pack<T> one = set1<T>(1), p = x[0], yes = x[1], no = one - yes, w = x[2];
    element_result<T> r;
    r.weight = w;
    r.loss = weighted(w, weighted(yes, -at_least(log(p), floor)) + weighted(no, -at_least(log1p(-p), floor)));
    if (with_grad) r.grad = weighted(w, weighted(no, one / (one - p)) - weighted(yes, one / p));
    return r;
  }
};

// x: logit, target, weight, weight of the positive class
template <class T> struct binary_cross_entropy_with_logits_element {
  pack<T> keep, spread;
  explicit binary_cross_entropy_with_logits_element(const element_block& b)
      : keep(set1(static_cast<T>(1 - b.label_smoothing))), spread(set1(static_cast<T>(b.label_smoothing / 2))) {}

  element_result<T> operator()(const pack<T>* x, bool with_grad) const {
    const pack<T> zero = set1<T>(0), one = set1<T>(1), w = x[2];
    const pack<T> yes = x[3] * fma(x[1], keep, spread), no = fma(one - x[1], keep, spread);
    const pack<T> e = exp(-absolute(x[0])), l = log1p(e);
    element_result<T> r;
    r.weight = if_equal(yes + no, zero, zero, w);
    // Products and a sum, not an fma: the same bits for (-x, 1 - y).
    r.loss = weighted(w, weighted(yes, larger(-x[0], zero) + l) + weighted(no, larger(x[0], zero) + l));
    if (with_grad) {
      // sigmoid(|x|) and sigmoid(-|x|), with the rounding errors of 1 + e and of the quotient.
      const pack<T> sum = one + e, sum_low = e - (sum - one), quotient = one / sum;
      const pack<T> product = quotient * sum;
      const pack<T> rest = ((one - product) - product_error(quotient, sum, product)) - quotient * sum_low;
      const pack<T> near = fma(quotient, rest, quotient), far = e * near;
      r.grad = weighted(w, weighted(no, if_less(zero, x[0], near, far)) - weighted(yes, if_less(zero, x[0], far, near)));
    }
    return r;
  }
};

// x: log-probability, target probability
template <class T> struct kl_div_element {
  explicit kl_div_element(const element_block&) {}
  element_result<T> operator()(const pack<T>* x, bool) const { return {weighted(x[1], log(x[1]) - x[0]), -x[1], set1<T>(1)}; }
};

// x: log-probability, logarithm of the target probability
template <class T> struct kl_div_log_element {
  explicit kl_div_log_element(const element_block&) {}
  element_result<T> operator()(const pack<T>* x, bool) const {
    const pack<T> t = exp(x[1]);
    return {weighted(t, x[1] - x[0]), -t, set1<T>(1)};
  }
};

// Up to 1024 elements in contiguous memory, summed as the classes of a block are.
template <class T, template <class> class Element> void elementwise(const element_block& b) {
  constexpr index lanes = pack<T>::lanes, arrays = element_block::arrays;
  const Element<T> element(b);
  const pack<T> scale = set1(static_cast<T>(b.scale)), zero = set1<T>(0);
  const char* const* in = reinterpret_cast<const char* const*>(b.input);
  char* loss = static_cast<char*>(b.loss);
  char* grad = static_cast<char*>(b.grad);
  const index packs = (b.n + lanes - 1) / lanes;
  accumulator<T> total{};
  for (index g = 0; g < packs; g += group_packs) {
    const auto at = [&](index j) {
      const index i = (g + j) * lanes, left = b.n - i;
      pack<T> x[arrays];
      for (int k = 0; k < arrays; ++k) {
        if (in[k] == nullptr) x[k] = set1<T>(1);
        else x[k] = left >= lanes ? load<T>(in[k] + i * size_of<T>) : load_partial<T>(in[k] + i * size_of<T>, left, T(0));
      }
      element_result<T> r = element(x, grad != nullptr);
      if (grad) r.grad = if_equal(r.weight, zero, zero, weighted(x[arrays - 1] * scale, r.grad));
      if (left >= lanes) {
        if (loss) store(loss + i * size_of<T>, r.loss);
        if (grad) store(grad + i * size_of<T>, r.grad);
      } else {
        if (loss) store_partial(loss + i * size_of<T>, left, r.loss);
        if (grad) store_partial(grad + i * size_of<T>, left, r.grad);
        r.loss = if_equal(first_lanes<T>(left), zero, zero, r.loss);
      }
      return parts<T, 1>{{r.loss}};
    };
    const pack<T> group = add_group<T, 1>(at, packs - g < group_packs ? packs - g : group_packs).v[0];
    if constexpr (sizeof(T) == 4) total = total.add(total, widen_sum(group));
    else total = total.add(total, group);
  }
  if (b.sum) *b.sum = total.sum_lanes_of(total);
}

// Whether all of n numbers are in [low, high]; NaN is not.
template <class T> bool in_range(const void* x, index n, double low, double high) {
  constexpr index lanes = pack<T>::lanes;
  const pack<T> lo = set1(static_cast<T>(low)), hi = set1(static_cast<T>(high));
  const char* from = static_cast<const char*>(x);
  pack<T> bad = set1<T>(0);
  for (index i = 0; i < n; i += lanes) {
    const pack<T> v = n - i >= lanes ? load<T>(from + i * size_of<T>) : load_partial<T>(from + i * size_of<T>, n - i, lo.r[0][0]);
    bad = if_equal(at_most(at_least(v, lo), hi), v, bad, set1<T>(1));
  }
  return !any_equal(bad, set1<T>(1));
}

}  // namespace
}  // namespace crossent
