// Work on several threads. OpenMP, of which this has all that there is in the library, only says how many.
//
// Work is cut into chunks that the threads take in turn, for about 20 ms; then the calling thread asks whether to go on. Every
// chunk runs in the default floating-point environment. How work is cut never shows in a result. What a chunk throws is thrown
// on the calling thread when the others have ended theirs.
#pragma once

#include <algorithm>
#include <chrono>
#include <type_traits>

#include "core/double_double.hpp"
#include "crossent/crossent.hpp"

namespace crossent {

// Work is counted in elements that cost as much as one of softmax, 1 to 20 ns. Elements of divergences and of measures of
// information cost this many times as much.
constexpr index heavy = 8;
// More of it is never one unit: 40 ms of the slowest level.
constexpr index longest_unit = index{1} << 21;

// The work of so many rows. Classes that all lie at one place may be more than their product with it can say.
constexpr index work_of(index rows, index classes, index cost = 1) {
  constexpr index most = index{1} << 60;
  const index row = classes > most / cost ? most : classes * cost;
  return rows > most / std::max<index>(row, 1) ? most : rows * row;
}

// Asks the caller of a long call every 20 ms whether to go on, and throws interrupted_error if not.
class interrupt_poller {
 public:
  explicit interrupt_poller(const execution& e) : e_(e) {
    if (e.interrupted != nullptr) polled_ = clock::now();
  }
  bool is_due() const { return e_.interrupted != nullptr && clock::now() - polled_ >= std::chrono::milliseconds(20); }
  void poll() {
    if (!is_due()) return;
    if (e_.interrupted(e_.context)) throw interrupted_error{};
    polled_ = clock::now();
  }

 private:
  using clock = std::chrono::steady_clock;
  const execution& e_;
  clock::time_point polled_;
};

// A reference to a function object f(begin, end, worker), which lives as long as the call that takes it.
struct chunk_work {
  const void* object;
  void (*f)(const void* object, index begin, index end, int worker);

  template <class F>
  chunk_work(const F& work)   // implicit
      : object(&work),
        f([](const void* o, index begin, index end, int worker) { (*static_cast<const F*>(o))(begin, end, worker); }) {}
};

// work(begin, end, worker) for chunks of [0, units), by at most `threads` workers (see threads_for). `unit_work`: the work of
// a unit, to judge by. Throws interrupted_error.
void parallel_for(index units, index unit_work, int threads, const execution&, chunk_work work);

// Where the k-th of `parts` equal parts of n begins; n * parts may be more than an index holds.
constexpr index share_of(index n, index k, index parts) { return n / parts * k + n % parts * k / parts; }

// f(unit, begin, end, slot) for all units in parallel, and in each for all of its blocks in order: as one run of blocks, or,
// where a unit is longer than one may be, as several. A slot, one of at most `threads`, has one unit until it is done.
template <class F>
void parallel_for_runs(index units, index blocks, index unit_work, int threads, const execution& e, F&& f) {
  const index runs = std::min(blocks, (unit_work - 1) / longest_unit + 1);
  if (runs <= 1)
    return parallel_for(units, unit_work, threads, e, [&](index begin, index end, int worker) {
      for (index u = begin; u < end; ++u) f(u, index{0}, blocks, index{worker});
    });
  interrupt_poller interrupts(e);
  for (index first = 0; first < units; first += threads) {
    const index slots = std::min<index>(threads, units - first);
    for (index run = 0; run < runs; ++run) {
      parallel_for(slots, longest_unit, threads, e, [&](index begin, index end, int) {
        for (index slot = begin; slot < end; ++slot)
          f(first + slot, share_of(blocks, run, runs), share_of(blocks, run + 1, runs), slot);
      });
      interrupts.poll();
    }
  }
}

// How many threads a call should use for this many elements in total: 1 below the size that pays for waking others.
int threads_for(index work, const execution&);

// The sum of n doubles, exact to a relative 2^-100 for terms of one sign, in an order that depends on n alone: what
// reductions are made of. Blocks of 1024 numbers are summed by the kernels, and these sums by the tree of core/merge_tree.hpp.
constexpr index summed_rows = block_size;
double_double<double> ordered_sum(const double* x, index n, const execution&);
// The sums of all `block_count(n)` blocks.
void sum_blocks(const double* x, index n, double_double<double>* sums, const execution&);

}  // namespace crossent
