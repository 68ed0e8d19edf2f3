// Losses of single elements: binary cross-entropy and kl_div. One pass gives the value, its sum and the gradient.
#pragma once

#include "kernels/math/softplus.hpp"
#include "kernels/walk/write.hpp"

namespace crossent {
namespace {

// coefficient * value, 0 where the coefficient is.
template <class T> CROSSENT_INLINE pack<T> weighted(pack<T> coefficient, pack<T> value) {
  const pack<T> zero = set1<T>(0);
  return select(coefficient != zero, coefficient * value, zero);
}
template <class T> CROSSENT_INLINE scaled<T> weighted(pack<T> coefficient, scaled<T> value) {
  return {weighted(coefficient, value.value)};
}
// a / b, 0 where a is.
template <class T> CROSSENT_INLINE pack<T> quotient(pack<T> a, pack<T> b) {
  const pack<T> zero = set1<T>(0);
  return select(a != zero, a / b, zero);
}

// value weight upstream, rounded once; 0 where weight or upstream is. upstream: with its rounding error.
template <class T> CROSSENT_INLINE pack<T> times_weights(pack<T> value, pack<T> weight,
                                                         const double_double<pack<T>>& upstream) {
  const pack<T> zero = set1<T>(0), v = value * weight, v_lo = product_error(value, weight, v);
  const pack<T> fine = fma(v, upstream.hi, fma(v, upstream.lo, v_lo * upstream.hi)), rough = v * upstream.hi;
  const pack<T> product = select(absolute(rough) < set1(constants<T>::infinity), fine, rough);
  return select((weight == zero) | (upstream.hi == zero), zero, product);
}

// An element: `read` makes the terms that its loss and its gradient share from a pack of each array, and from `first` of them. A
// chain of operations that is longer than a processor looks ahead begins in `first`, which is taken for a group of packs before.
struct no_step {};

// x: probability, target, weight, -, upstream gradient
template <class T> struct binary_cross_entropy_element {
  static constexpr bool checks_target = false;
  struct terms {
    pack<T> p, y, one_minus_y, weight;
    double_double<pack<T>> upstream;
  };
  pack<T> floor;
  double_double<pack<T>> scale;
  explicit binary_cross_entropy_element(const element_block& b)
      : floor(set1(static_cast<T>(b.log_floor))), scale(pair_of<T>(b.scale)) {}

  CROSSENT_INLINE_MEMBER no_step first(const pack<T>*) const { return {}; }
  CROSSENT_INLINE_MEMBER terms read(const pack<T>* x, no_step) const {
    return {x[0], x[1], set1<T>(1) - x[1], x[2], exact(x[4]) * scale};
  }
  CROSSENT_INLINE_MEMBER pack<T> loss(const terms& t) const {
    const pack<T> log_p = at_least(log(t.p), floor), log_1_p = at_least(log1p(-t.p), floor);
    return weighted(t.weight, weighted(t.y, -log_p) + weighted(t.one_minus_y, -log_1_p));
  }
  CROSSENT_INLINE_MEMBER pack<T> gradient(const terms& t) const {
    using k = subnormal<T>;
    const pack<T> zero = set1<T>(0), one = set1<T>(1);
    // y / p of a tiny p may be beyond the range while its product with the coefficients is not.
    const pack<T> rescale = select(t.p < set1(k::tiny), set1(power_of_two<T>(k::reciprocal_exponent)), one);
    const pack<T> of_one_minus_p = times_weights(quotient(t.one_minus_y, one - t.p), t.weight, t.upstream);
    const pack<T> of_p =
        times_weights<T>(quotient(t.y, t.p * rescale), t.weight, {t.upstream.hi * rescale, t.upstream.lo * rescale});
    return select(t.weight != zero, of_one_minus_p - of_p, zero);   // whatever the upstream gradient is
  }
};

// x: logit, target, weight, weight of the positive class, upstream gradient; `unweighted`: the last three are ones and nothing
// is smoothed, which gives the same bits.
//
// With e = e^-|x|, a the coefficient of the softplus that grows with |x| and b that of the one that vanishes, the loss is a |x|
// + (a + b) log1p(e) and the gradient (a - b e) / (1 + e). For negative x both coefficients carry its sign instead of |x|.
// Every step gives the same for (-x, 1 - y), or the opposite.
template <class T, bool unweighted> struct logistic_element {
  static constexpr bool checks_target = true;
  struct terms {
    pack<T> x, a, minus_b, e;
    scaled<T> scaled_e;
    pack<T> sum, sum_lo, weight, upstream;   // sum: |a + b|
  };
  pack<T> smoothing;
  double_double<pack<T>> scale;
  explicit logistic_element(const element_block& b)
      : smoothing(set1(static_cast<T>(b.label_smoothing))), scale(pair_of<T>(b.scale)) {}

  CROSSENT_INLINE_MEMBER scaled<T> first(const pack<T>* x) const { return exp_minus_absolute(x[0]); }
  CROSSENT_INLINE_MEMBER terms read(const pack<T>* x, scaled<T> e) const {
    const pack<T> zero = set1<T>(0), one = set1<T>(1);
    pack<T> y = x[1], one_minus_y = one - x[1], y_lo = zero;
    if constexpr (!unweighted) {
      const pack<T> step = set1<T>(T(0.5)) - x[1];   // y (1 - s) + s / 2 = y + s (1/2 - y)
      const pack<T> smoothed = fma(smoothing, step, y), lost = (one - one_minus_y) - x[1];
      y = x[3] * smoothed;
      one_minus_y = fma(smoothing, -step, one_minus_y);
      y_lo = product_error(x[3], smoothed, y) + lost;
    }
    const auto sum = two_sum(y, one_minus_y);
    const mask<T> is_positive = zero < x[0];
    return {
        x[0],
        select(is_positive, one_minus_y, -y),
        select(is_positive, -y, one_minus_y),
        unscale(e),
        e,
        sum.hi,
        y_lo + sum.lo,
        select(sum.hi != zero, x[2], zero),
        x[4]};   // of weight 0 where the element does not count
  }
  CROSSENT_INLINE_MEMBER pack<T> loss(const terms& t) const {
    const pack<T> zero = set1<T>(0), x = select(t.a != zero, t.x, zero), l = log1p_of(t.e);   // 0 inf = 0
    if constexpr (unweighted) return fma(t.a, x, l);
    const pack<T> tail = t.sum * l, tail_lo = fma(t.sum_lo, l, product_error(t.sum, l, tail));
    const pack<T> rough = fma(t.a, x, tail), fine = fma(t.weight, rough, t.weight * tail_lo);
    const pack<T> loss = select(fine == fine, fine, t.weight * rough);   // the errors of infinite numbers are NaN
    return select(t.weight != zero, unless_tiny(t, loss, t.weight * (t.sum * t.scaled_e)), zero);
  }
  CROSSENT_INLINE_MEMBER pack<T> gradient(const terms& t) const {
    const pack<T> zero = set1<T>(0), g = rounded_once(t.minus_b, t.e, t.a) / (set1<T>(1) + t.e);
    const scaled<T> of_e = t.minus_b * t.scaled_e;
    const auto times = [&](pack<T> v) CROSSENT_INLINE_LAMBDA {
      if constexpr (unweighted) return select(scale.hi != zero, fma(v, scale.hi, v * scale.lo), zero);
      else return times_weights(v, t.weight, exact(t.upstream) * scale);
    };
    return unless_tiny(t, times(g), scaled<T>{times(of_e.value)});
  }

 private:
  // v, but the scaled one where e alone is left and may be subnormal: its product with coefficients is rounded once.
  CROSSENT_INLINE_MEMBER pack<T> unless_tiny(const terms& t, pack<T> v, scaled<T> of_e) const {
    return select((t.a == set1<T>(0)) & (t.e < set1(subnormal<T>::tiny)), unscale(of_e), v);
  }
};

// The same with the second derivative, scale w (a + b) e / (1 + e)^2, or |gradient|, and at least the floor.
template <class T> struct logistic_hessian_element : logistic_element<T, false> {
  using base = logistic_element<T, false>;
  pack<T> scale_hi, scale_lo, floor;
  bool absolute_gradient;
  explicit logistic_hessian_element(const element_block& b)
      : base(b),
        scale_hi(set1(static_cast<T>(b.hessian_scale))),
        scale_lo(set1(static_cast<T>(b.hessian_scale - static_cast<double>(static_cast<T>(b.hessian_scale))))),
        floor(set1(static_cast<T>(b.hessian_floor))),
        absolute_gradient(b.absolute_gradient) {}

  CROSSENT_INLINE_MEMBER pack<T> hessian(const typename base::terms& t) const {
    const pack<T> zero = set1<T>(0);
    const pack<T> entry = absolute_gradient ? absolute(this->gradient(t)) * scale_hi : second_derivative(t);
    return select(t.weight != zero, select(entry < floor, floor, entry), zero);
  }

 private:
  // Rounded once.
  CROSSENT_INLINE_MEMBER pack<T> second_derivative(const typename base::terms& t) const {
    const double_double<pack<T>> sum{t.sum, t.sum_lo}, scale{scale_hi, scale_lo};
    const auto coefficient = exact(t.weight) * sum * scale, one_and_e = exact(set1<T>(1)) + t.e;
    const auto fine = exact(t.e) * coefficient / (one_and_e * one_and_e);
    const pack<T> whole = fine.hi + fine.lo, h = select(whole == whole, whole, fine.hi);
    return select(t.e < set1(subnormal<T>::tiny), unscale(coefficient.hi * t.scaled_e), h);
  }
};

// x: log-probability, target probability, -, -, upstream gradient
template <class T> struct kl_div_element {
  static constexpr bool checks_target = false;
  struct terms {
    pack<T> x, t, upstream;
  };
  pack<T> scale;
  explicit kl_div_element(const element_block& b) : scale(set1(static_cast<T>(b.scale))) {}
  CROSSENT_INLINE_MEMBER no_step first(const pack<T>*) const { return {}; }
  CROSSENT_INLINE_MEMBER terms read(const pack<T>* x, no_step) const { return {x[0], x[1], x[4] * scale}; }
  CROSSENT_INLINE_MEMBER pack<T> loss(const terms& t) const { return weighted(t.t, log_in_line(t.t) - t.x); }
  CROSSENT_INLINE_MEMBER pack<T> gradient(const terms& t) const { return weighted(t.upstream, -t.t); }
};

// x: log-probability, logarithm of the target probability, -, -, upstream gradient
template <class T> struct kl_div_log_element {
  static constexpr bool checks_target = false;
  struct terms {
    pack<T> x, y, upstream;
  };
  pack<T> scale;
  explicit kl_div_log_element(const element_block& b) : scale(set1(static_cast<T>(b.scale))) {}
  CROSSENT_INLINE_MEMBER no_step first(const pack<T>*) const { return {}; }
  CROSSENT_INLINE_MEMBER terms read(const pack<T>* x, no_step) const { return {x[0], x[1], x[4] * scale}; }
  CROSSENT_INLINE_MEMBER pack<T> loss(const terms& t) const { return exp_times(t.y, t.y - t.x); }
  CROSSENT_INLINE_MEMBER pack<T> gradient(const terms& t) const {
    const pack<T> zero = set1<T>(0);
    return select(t.upstream != zero, -exp_times(t.y, t.upstream), zero);
  }
};

// The sum of whole packs, in the order of the classes of a block; the packs that the last group lacks are 0.
template <class T> CROSSENT_ONCE double sum_of_packs(T* v, index packs) {
  for (; packs % group_packs != 0; ++packs) store(v + packs * pack<T>::lanes, set1<T>(0));
  accumulator<T> total{};
  for (index g = 0; g < packs; g += group_packs)
    total = total + sum_of_group<T, group_packs>([&](index j) { return load<T>(v + (g + j) * pack<T>::lanes); });
  return sum_lanes(total);
}

// The arrays of a block; absent ones are read as ones, with a step of 0.
struct element_arrays {
  const char* in[element_block::arrays];
  index step[element_block::arrays];   // all bits set, or none
};

// Whole packs of elements: their losses, their gradient, or both. Returns the largest bits of a target.
template <class Element, class = void> constexpr bool has_hessian = false;
template <class Element> constexpr bool has_hessian<Element, std::void_t<decltype(&Element::hessian)>> = true;
template <bool with_loss, bool with_gradient, class T, class Element>
CROSSENT_ONCE bits<T> run_packs(const Element& of_block, const element_arrays& a, index packs, char* loss, char* grad,
                                char* hess, bool streams) {
  const Element element = of_block;
  const element_arrays arrays = a;
  bits<T> top = to_bits<T>(set1<T>(0));
  pack<T> x[element_block::arrays];
  const auto load_packs = [&](index at) CROSSENT_INLINE_LAMBDA {
    each<element_block::arrays>(
        [&](int k) CROSSENT_INLINE_LAMBDA { x[k] = load<T>(arrays.in[k] + (k < 2 ? at : at & arrays.step[k])); });
  };
  decltype(element.first(x)) ahead[group_packs];
  for (index g = 0; g < packs; g += group_packs) {
    const index n = packs - g < group_packs ? packs - g : group_packs;
    for (index j = 0; j < n; ++j) {
      load_packs((g + j) * pack_bytes);
      ahead[j] = element.first(x);
    }
    for (index j = 0; j < n; ++j) {
      const index at = (g + j) * pack_bytes;
      load_packs(at);
      for (int k = 0; k < 2; ++k) prefetch_ahead(arrays.in[k] + at);
      const typename Element::terms t = element.read(x, ahead[j]);
      if constexpr (Element::checks_target) top = larger(top, to_bits<T>(x[1]));
      if constexpr (with_loss) store(loss + at, element.loss(t));
      if constexpr (has_hessian<Element>) store(hess + at, element.hessian(t));
      if constexpr (with_gradient) {
        if (streams) stream(grad + at, element.gradient(t));
        else store(grad + at, element.gradient(t));
      }
    }
  }
  return bits<T>(top);   // a copy: the object that is returned would be in memory in the loop
}

// Up to 1024 elements in contiguous memory: whole packs where they lie, the last elements beside zeros.
template <class T, class Element> void elementwise_loop(const element_block& b) {
  constexpr index lanes = pack<T>::lanes;
  const Element element(b);
  const pack<T> one = set1<T>(1);
  alignas(pack_bytes) T losses[block_classes];
  element_arrays a;
  for (int k = 0; k < element_block::arrays; ++k) {
    a.in[k] = b.input[k] ? static_cast<const char*>(b.input[k]) : reinterpret_cast<const char*>(&one);
    a.step[k] = b.input[k] ? -1 : 0;
  }
  const bool want_loss = b.loss != nullptr || b.sum != nullptr;
  const auto run = b.grad == nullptr ? run_packs<true, false, T, Element>
                   : want_loss       ? run_packs<true, true, T, Element>
                                     : run_packs<false, true, T, Element>;
  const index packs = (b.n + lanes - 1) / lanes, whole = b.n / lanes, rest = b.n - whole * lanes, end = whole * pack_bytes;
  char* const loss = b.loss ? static_cast<char*>(b.loss) : reinterpret_cast<char*>(losses);
  char *const grad = static_cast<char*>(b.grad), *const hess = static_cast<char*>(b.hessian);
  bits<T> top = run(element, a, whole, loss, grad, hess, b.stream && reinterpret_cast<std::uintptr_t>(grad) % pack_bytes == 0);
  if (rest > 0) {
    alignas(pack_bytes) char in[element_block::arrays][pack_bytes], last_loss[pack_bytes], last_grad[pack_bytes],
        last_hess[pack_bytes];
    for (int k = 0; k < element_block::arrays; ++k) {
      if (b.input[k] == nullptr) continue;
      store(in[k], load_partial<T>(a.in[k] + end, rest, T(0)));
      a.in[k] = in[k];
    }
    top = larger(top, run(element, a, 1, last_loss, last_grad, last_hess, false));
    if (b.loss) store_partial(loss + end, rest, load<T>(last_loss));
    else if (want_loss) store(loss + end, select(first_lanes<T>(rest) != set1<T>(0), load<T>(last_loss), set1<T>(0)));
    if (grad) store_partial(grad + end, rest, load<T>(last_grad));
    if (hess) store_partial(hess + end, rest, load<T>(last_hess));
  }
  if (b.sum) *b.sum = sum_of_packs(losses, packs);
  // The bits of numbers in [0, 1] are at most those of 1; those of -0 are not, which is for the caller to see.
  if constexpr (Element::checks_target)
    if (b.outside && any(from_bits<T>(larger(top, to_bits<T>(one))) != one)) *b.outside = true;
}

template <class T> void binary_cross_entropy_with_logits(const element_block& b) {
  if (b.input[2] || b.input[3] || b.input[4] || b.label_smoothing != 0) elementwise_loop<T, logistic_element<T, false>>(b);
  else elementwise_loop<T, logistic_element<T, true>>(b);
}

// Whether all of n numbers are in [low, high]; NaN is not.
template <class T> bool in_range(const void* x, index n, double low, double high) {
  constexpr index lanes = pack<T>::lanes;
  const pack<T> lo = set1(static_cast<T>(low)), hi = set1(static_cast<T>(high));
  const char* from = static_cast<const char*>(x);
  pack<T> bad = set1<T>(0);
  for (index i = 0; i < n; i += lanes) {
    const pack<T> v =
        n - i >= lanes ? load<T>(from + i * size_of<T>) : load_partial<T>(from + i * size_of<T>, n - i, lo.r[0][0]);
    prefetch_ahead(from + i * size_of<T>);
    bad = select(at_most(at_least(v, lo), hi) == v, bad, set1<T>(1));
  }
  return !any(bad == set1<T>(1));
}

}  // namespace
}  // namespace crossent
