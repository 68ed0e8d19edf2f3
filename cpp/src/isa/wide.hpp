// Sums of two doubles (high + low) for the coefficients of float64 rows, whose roundings would add up otherwise.
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

}  // namespace
}  // namespace crossent
