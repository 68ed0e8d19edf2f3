// The reduction of the losses of rows.
#pragma once

#include "core/double_double.hpp"
#include "crossent/crossent.hpp"

namespace crossent {

// The reduced loss, from the sum of the losses. denominator: of a mean.
double reduced(double_double<double> sum, reduction_kind, double denominator);
// The losses of rows, in C order, as they are or reduced, into `out` (out.data == nullptr: nothing).
void reduce(const double* losses, index rows, reduction_kind, double denominator, const mutable_view& out, const execution&);

}  // namespace crossent
