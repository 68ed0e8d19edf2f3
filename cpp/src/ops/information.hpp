#pragma once

#include "crossent/crossent.hpp"

namespace crossent {

// The losses of kl_div summed over an axis: out has the rows' shape.
void kl_div_rows(const view& log_probs, const view& target, bool log_target, int axis, const mutable_view& out,
                 const execution&);

}  // namespace crossent
