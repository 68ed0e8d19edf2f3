// What a gradient is divided by for its temperature T, where 1/T may be out of range.
#pragma once

#include <limits>

#include "core/parallel.hpp"

namespace crossent {

// A gradient is computed at `divisor` and multiplied by `scale`, a power of two, in the end: rows have numbers over T that are out
// of range although no entry is, and of which entries are products with 0 or differences. An entry that is not 0 at such a T is
// at least an upstream gradient times 2^800: of numbers of float32, beyond the range of float32 at the least divisor too.
struct gradient_temperature {
  double divisor, scale = 1;

  // is_alone: no term at another temperature is in the gradient, which would lose what it has below 2^-512.
  gradient_temperature(double temperature, dtype of_gradient, bool is_alone = true) : divisor(temperature) {
    constexpr double least = 0x1p-830, power = 0x1p512, tiny = 0x1p-900, subnormal = std::numeric_limits<double>::min();
    if (of_gradient != dtype::float64) {
      divisor = std::max(temperature, least);
    } else if (temperature < (is_alone ? tiny : subnormal)) {
      divisor = temperature * power;
      scale = power;
    }
  }
};

// The gradient of all rows, float64 where scale is not 1.
void multiply(const mutable_view& gradient, double scale, const execution&);

}  // namespace crossent
