// The numbers of the fast oracle, what it is asked, and the measure of errors.
//
// `real` has 64 bits of mantissa or more: exponentials, logarithms and what is made of them without cancellation are good to
// 2^-62, a five-hundredth of an ULP of float64. `wide` has 113: differences, products and sums that may cancel are taken in it.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <vector>

using real = long double;
#if LDBL_MANT_DIG >= 113
using wide = long double;
#elif LDBL_MANT_DIG == 64
using wide = __float128;
#else
#error "the fast oracle needs a long double that is wider than double"
#endif

// One batch, and the result of one function for it. tests/attack/fast_oracle.py has the same fields in the same order.
// What is not given is a null pointer: weights and upstream gradients of 1, no target of that kind.
struct call {
  std::int64_t rows, classes, listed;
  std::int64_t digits,
      least_exponent;  // of the dtype of the result: bits of the mantissa; 2^least_exponent is its least number
  double largest;  // and its largest
  const double *x, *t, *q;  // (rows, classes): logits; teacher's logits, or upstream gradients; probabilities
  const std::int64_t* y;  // (rows,) class indices
  const double *v, *g;  // (rows,) row weights, upstream gradients
  const double* w;  // (classes,) class weights
  const std::int64_t* listed_classes;  // (rows, listed), and the values of these
  const double* listed_values;
  double temperature, smoothing, z_loss, denominator, alpha, beta;
  double divergence, tail;  // which, as they are numbered in oracle_divergences.hpp and oracle_sparse.hpp
  const double* result;  // (rows,) or (rows, classes)
  double* error;  // (rows,) the largest error of each row, and the class that has it
  std::int64_t* where;
};

inline real row_weight(const call& a, std::int64_t i) { return a.v ? a.v[i] : 1; }
inline real class_weight(const call& a, std::int64_t c) { return a.w ? a.w[c] : 1; }
inline real upstream(const call& a, std::int64_t i) { return (a.g ? a.g[i] : 1) / static_cast<real>(a.denominator); }

// A compensated sum.
struct sum {
  real hi = 0, lo = 0;
  void add(real x) {
    const real s = hi + x, z = s - hi;
    lo += (hi - (s - z)) + (x - z);
    hi = s;
  }
  operator real() const { return std::isfinite(hi) ? hi + lo : hi; }
};

// The spacing of the result's dtype at z. A z that is a hair below a power of two may be one whose last bits were lost.
inline real spacing(const call& a, real z) {
  int exponent = 0;
  if (z != 0) std::frexp(std::fabs(z) * (1 + 0x1p-58L), &exponent);
  exponent = z == 0 ? static_cast<int>(a.least_exponent) : exponent - static_cast<int>(a.digits);
  return std::ldexp(real(1), std::max(exponent, static_cast<int>(a.least_exponent)));
}

// The largest error of one row.
class verdict {
 public:
  verdict(const call& a, std::int64_t row) : a_(a), row_(row) {}
  ~verdict() {
    a_.error[row_] = static_cast<double>(worst_);
    a_.where[row_] = where_;
  }
  // Of entry c, in units of `unit`; by default of the spacing at `scale`.
  void see(std::int64_t c, real actual, real wanted, real scale) { see_in_units(c, actual, wanted, spacing(a_, scale)); }
  void see_in_units(std::int64_t c, real actual, real wanted, real unit) {
    real error = std::fabs(actual - wanted) / unit;
    if (std::isnan(wanted)) error = std::isnan(actual) ? 0 : HUGE_VALL;
    else if (std::fabs(wanted) >= a_.largest + spacing(a_, a_.largest) / 2) {
      error = actual == std::copysign(HUGE_VALL, wanted) ? 0 : HUGE_VALL;
    } else if (!std::isfinite(actual)) error = HUGE_VALL;
    if (error > worst_) {
      worst_ = error;
      where_ = c;
    }
  }

 private:
  const call& a_;
  std::int64_t row_, where_ = 0;
  real worst_ = -1;
};
