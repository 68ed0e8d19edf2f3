// The backward passes of softmax and log_softmax: a sum over each row, then one pass that writes.
#pragma once

#include "traverse.hpp"

namespace crossent {
namespace {

// f(class in the block, pack of a, pack of b) over a block of two sources, in the orientation of `a`; the classes that a
// block lacks to whole packs are 0.
template <class T, class F>
CROSSENT_INLINE void for_each_pair(const source& a, const source& b, index i, run r, F f) {
  constexpr index lanes = pack<T>::lanes;
  alignas(pack_bytes) T ua[block_classes * lanes];
  alignas(pack_bytes) T ub[block_classes * lanes];
  if (a.across) {
    const tile<T> x = load_across(a, i, r, ua), y = load_across(b, i, r, ub);
    for (index c = 0; c < r.n; ++c) f(c, load<T>(x.data + c * x.stride), load<T>(y.data + c * y.stride));
    return;
  }
  const char* x = load_along(a, i, r, ua);
  const char* y = load_along(b, i, r, ub);
  for (index c = 0; c < r.n; c += lanes) {
    if (r.n - c >= lanes) f(c, load<T>(x + c * size_of<T>), load<T>(y + c * size_of<T>));
    else
      f(c, load_partial<T>(x + c * size_of<T>, r.n - c, T(0)), load_partial<T>(y + c * size_of<T>, r.n - c, T(0)));
  }
}

// Products in float64: exact for float32, with their rounding errors for float64. Class c goes to lane c mod W.
template <class T> struct product_sums {
  static constexpr int halves = pack<T>::lanes / 8;
  accumulator<double> lane[halves];

  CROSSENT_INLINE void add(product_sums& s, pack<T> x, pack<T> y) {
    if constexpr (sizeof(T) == 4) {
      const two_packs a = widen(x), b = widen(y);
      s.lane[0] = s.lane[0].add(s.lane[0], a.low * b.low);
      s.lane[1] = s.lane[1].add(s.lane[1], a.high * b.high);
    } else {
      const pack<double> p = x * y;
      s.lane[0] = s.lane[0].add(s.lane[0], p);
      s.lane[0].low = s.lane[0].low + product_error(x, y, p);
    }
  }
};

template <class T> void sum_products(const source& grad, const source* probs, double* out) {
  constexpr index lanes = pack<T>::lanes;
  const index blocks = (grad.classes + block_classes - 1) / block_classes;
  const source& other = probs ? *probs : grad;
  const auto second = [&](pack<T> p) { return probs ? p : set1<T>(1); };
  if (grad.across) {
    for_each_tile<T>(grad, [&](index i, index count) {
      product_sums<T> sums[lanes] = {};
      for (index b = 0; b < blocks; ++b)
        for_each_pair<T>(grad, other, i, block_run(b, grad.classes),
                         [&](index c, pack<T> g, pack<T> p) { sums[c % lanes].add(sums[c % lanes], g, second(p)); });
      alignas(pack_bytes) double total[16];
      for (int k = 0; k < product_sums<T>::halves; ++k) {
        for (index half = lanes / 2; half > 0; half /= 2)
          for (index l = 0; l < half; ++l)
            sums[l].lane[k] = sums[l].lane[k].join(sums[l].lane[k], sums[l + half].lane[k]);
        store(total + 8 * k, sums[0].lane[k].total(sums[0].lane[k]));
      }
      for (index l = 0; l < count; ++l) out[i + l] = total[l];
    });
    return;
  }
  for (index i = 0; i < grad.count; ++i) {
    product_sums<T> s{};
    for (index b = 0; b < blocks; ++b)
      for_each_pair<T>(grad, other, i, block_run(b, grad.classes),
                       [&](index, pack<T> g, pack<T> p) { s.add(s, g, second(p)); });
    accumulator<double> all = s.lane[0];
    if constexpr (product_sums<T>::halves == 2) all = all.join(all, s.lane[1]);
    out[i] = all.sum_lanes_of(all);
  }
}

// out = f(g, y, sum) over a group of rows.
template <class T, class F>
CROSSENT_INLINE void write_pairs(const source& grad, const source& other, const sink& to, const double* sum, F f) {
  const index blocks = (grad.classes + block_classes - 1) / block_classes;
  write_blocks<T, 2>({grad, other}, to, 0, blocks, [&](index i, auto o) {
    const pack<T> s = per_row<T>(sum, i, o);
    return [=](const pack<T>* x, index, index) { return f(x[0], x[1], s); };
  });
}

template <class T>
void write_softmax_backward(const source& grad, const source& probs, const sink& to, const double* sum, double scale) {
  const pack<T> v = set1(static_cast<T>(scale));
  write_pairs<T>(grad, probs, to, sum, [=](pack<T> g, pack<T> p, pack<T> s) { return (p * (g - s)) * v; });
}

template <class T>
void write_log_softmax_backward(const source& grad, const source& log_probs, const sink& to, const double* sum, double scale) {
  const pack<T> v = set1(static_cast<T>(scale));
  write_pairs<T>(grad, log_probs, to, sum, [=](pack<T> g, pack<T> l, pack<T> s) { return fma(-exp(l), s, g) * v; });
}

}  // namespace
}  // namespace crossent
