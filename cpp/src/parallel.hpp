// Threads: the only OpenMP of the library.
//
// Work is cut into waves of about 50 ms, between which the calling thread asks whether to go on; a wave is cut into
// chunks that the threads take in turn. Every chunk runs in the default floating-point environment. How work is cut
// never shows in a result.
#pragma once

#include <type_traits>

#include "crossent/crossent.hpp"

namespace crossent {

// f(begin, end, worker) for chunks of [0, units), by at most `threads` workers (see threads_for). `unit_work`: elements
// of a unit, to judge by. Throws interrupted_error.
void run_parallel(index units, index unit_work, int threads, const execution&, void (*f)(void*, index, index, int), void* context);

template <class F> void parallel_for(index units, index unit_work, int threads, const execution& e, F&& f) {
  run_parallel(
      units, unit_work, threads, e,
      [](void* context, index begin, index end, int worker) {
        (*static_cast<std::remove_reference_t<F>*>(context))(begin, end, worker);
      },
      &f);
}

// How many threads a call should use for this many elements in total: 1 below the size that pays for waking others.
int threads_for(index work, const execution&);

// The sum of n doubles, exact to a relative 2^-100 for terms of one sign, in an order that depends on n alone: what
// reductions are made of.
double ordered_sum(const double* x, index n, const execution&);

}  // namespace crossent
