// Logits from the numbers that are given, z = (softcap tanh(x / softcap) + bias) / temperature, and the derivative of the softcap.
// In float64: of z, float32 does not have the digits that its exponential needs.
#pragma once

#include "core/row_batches.hpp"
#include "kernels/math/exp.hpp"
#include "kernels/simd/double_double.hpp"

namespace crossent {
namespace {

// x / c without its sign, with the rounding error; the error of an infinite one may be NaN.
CROSSENT_INLINE double_double<doubles> share_of_softcap(doubles x, doubles c) {
  const doubles size = absolute(x), u = size / c, product = u * c;
  return {u, ((size - product) - product_error(u, c, product)) / c};
}

// c tanh(x / c) = c (1 - e^(-2 |x| / c)) / (1 + e^(-2 |x| / c)) with the sign of x.
CROSSENT_ONCE doubles softcapped(doubles x, doubles c) {
  const doubles two = set1(2.0), e = expm1(absolute(x) / c * -two);
  const doubles z = c * (-e / (two + e));
  return select(x < set1(0.0), -z, select(x == set1(0.0), x, z));
}

// 1 - tanh^2(x / c) = 4 e / (1 + e)^2, e = exp(-2 |x| / c), which loses nothing where tanh is near 1.
CROSSENT_ONCE doubles derivative_of_softcap(doubles x, doubles c) {
  const double_double<doubles> u = share_of_softcap(x, c);
  const doubles minus_two = set1(-2.0), one = set1(1.0), e = exp(u.hi * minus_two, u.lo * minus_two);
  return (e / (one + e)) * (set1(4.0) / (one + e));
}

CROSSENT_INLINE doubles transformed(const transform_of_rows& t, doubles x, doubles bias, doubles temperature) {
  if (t.softcap > 0) x = softcapped(x, set1(t.softcap));
  if (t.bias != nullptr) x = x + bias;
  return t.temperature != nullptr ? x / temperature : x;
}

// Of n classes of a row, from `begin` on.
CROSSENT_ONCE void transform_classes(const transform_of_rows& t, index row, index begin, index n, double* x) {
  constexpr index lanes = pack<double>::lanes;
  const doubles temperature = set1(t.temperature != nullptr ? t.temperature[row] : 1.0), zero = set1(0.0);
  const double* const bias = t.bias + (t.bias != nullptr ? begin : 0);
  index c = 0;
  for (; c + lanes <= n; c += lanes)
    store(x + c, transformed(t, load<double>(x + c), t.bias != nullptr ? load<double>(bias + c) : zero, temperature));
  if (c == n) return;
  const doubles last = t.bias != nullptr ? load_partial<double>(bias + c, n - c, 0.0) : zero;
  store_partial(x + c, n - c, transformed(t, load_partial<double>(x + c, n - c, 0.0), last, temperature));
}
// Of the rows of a tile, from `row` on, a pack for each class.
CROSSENT_ONCE void transform_tile(const transform_of_rows& t, index row, index begin, index n, double* x) {
  constexpr index lanes = pack<double>::lanes;
  const doubles temperature = t.temperature != nullptr ? load<double>(t.temperature + row) : set1(1.0);
  for (index c = 0; c < n; ++c)
    store(x + c * lanes,
          transformed(t, load<double>(x + c * lanes), set1(t.bias != nullptr ? t.bias[begin + c] : 0.0), temperature));
}

}  // namespace
}  // namespace crossent
