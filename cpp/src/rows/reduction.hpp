// From the losses of rows to what the caller gets.
#pragma once

#include "crossent/crossent.hpp"

namespace crossent {

// What a reduction makes of the sum of the losses. denominator: of a mean.
double reduced(double sum, reduction_kind, double denominator);
// The losses of rows, in C order, as they are or reduced, into what the caller gave (out.data == nullptr: nothing).
void reduce(const double* losses, index rows, reduction_kind, double denominator, const mutable_view& out, const execution&);

}  // namespace crossent
