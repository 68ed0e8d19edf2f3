// Sums of two doubles (high + low) for what is known of a float64 row, whose roundings would add up otherwise.
#pragma once

#include "bits.hpp"

namespace crossent {
namespace {

struct wide {
  pack<double> high, low;
};

CROSSENT_HOT wide operator+(wide a, wide b) {
  pack<double> error;
  const pack<double> s = two_sum(a.high, b.high, error);
  return {s, error + (a.low + b.low)};
}
CROSSENT_HOT wide operator*(wide a, wide b) {
  const pack<double> p = a.high * b.high;
  return {p, product_error(a.high, b.high, p) + (a.high * b.low + a.low * b.high)};
}
CROSSENT_HOT wide operator/(wide a, wide b) {
  const pack<double> q = a.high / b.high, p = q * b.high;
  const pack<double> rest = ((a.high - p) - product_error(q, b.high, p)) + (a.low - q * b.low);
  return {q, rest / b.high};
}

// b, 0 where a is.
CROSSENT_INLINE wide where_not_zero(pack<double> a, wide b) {
  const pack<double> zero = set1(0.0);
  return {select(a == zero, zero, b.high), select(a == zero, zero, b.low)};
}
// As a number and what that leaves out; an infinite sum has NaN for its low part.
CROSSENT_INLINE wide normalised(wide a) {
  const pack<double> zero = set1(0.0), low = select(a.low == a.low, a.low, zero), sum = a.high + low, rest = low - (sum - a.high);
  return {sum, select(rest == rest, rest, zero)};
}

}  // namespace
}  // namespace crossent
