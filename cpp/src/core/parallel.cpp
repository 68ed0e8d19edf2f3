#include "core/parallel.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <exception>
#include <vector>
#if defined(_OPENMP)
#include <omp.h>
extern "C" int omp_pause_resource_all(omp_pause_resource_t) __attribute__((weak));
#endif

#include "core/double_double.hpp"
#include "core/fp_environment.hpp"
#include "core/kernels.hpp"

namespace crossent {
namespace {

constexpr index serial_work = 1 << 15;         // elements; waking a thread costs some microseconds
constexpr index sum_block = 1024;

std::atomic<int> process_threads{0};   // 0: not set
#if defined(_OPENMP)
std::atomic<bool> serial_after_fork{false};
#endif

// The CPU time that the control group grants, in whole processors; 0 where it is not limited.
int cpu_quota() {
  static const int quota = [] {
    long long limit = 0, period = 0;
    const auto read = [&](const char* path, const char* format, auto... to) {
      std::FILE* f = std::fopen(path, "r");
      if (f == nullptr) return 0;
      const int n = std::fscanf(f, format, to...);
      std::fclose(f);
      return n;
    };
    if (read("/sys/fs/cgroup/cpu.max", "%lld %lld", &limit, &period) != 2 &&
        (read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "%lld", &limit) != 1 ||
         read("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "%lld", &period) != 1))
      return 0;
    return limit > 0 && period > 0 ? static_cast<int>(std::max(1LL, (limit + period - 1) / period)) : 0;
  }();
  return quota;
}

// libgomp's threads do not survive a fork, and its child waits for them for ever: they are released before. Where the
// runtime cannot do that, the child stays on one thread.
void install_fork_handlers() {
#if defined(_OPENMP)
  static const int installed = pthread_atfork(
      [] {
        if (omp_pause_resource_all != nullptr && !omp_in_parallel()) omp_pause_resource_all(omp_pause_soft);
      },
      nullptr,
      [] {
        if (omp_pause_resource_all == nullptr) serial_after_fork = true;
      });
  static_cast<void>(installed);
#endif
}

// Chunks of [next, end), which the threads take in turn until none is left or the time is over.
struct wave {
  index end, chunk;
  std::atomic<index> next;
  void (*f)(void*, index, index, int);
  void* context;
  const patience* caller;          // nullptr: there is time for all of it
  index rest;                      // where the next wave begins
  std::atomic<bool> failed{false};
  std::exception_ptr error;

  // An exception that left a parallel region would end the process.
  void work(int worker) noexcept {
    const default_environment environment;
    try {
      for (;;) {
        const index begin = next.fetch_add(chunk, std::memory_order_relaxed);
        if (begin >= end) return;
        f(context, begin, std::min(begin + chunk, end), worker);
        if (worker == 0 && caller != nullptr && caller->is_over()) rest = std::min(end, take_all());
      }
    } catch (...) {
      take_all();
      if (!failed.exchange(true)) error = std::current_exception();
    }
  }
  // Nobody begins another chunk.
  index take_all() { return next.exchange(end, std::memory_order_relaxed); }
};

void run_wave(wave& w, int threads) {
#if defined(_OPENMP)
  if (threads > 1) {
#pragma omp parallel num_threads(threads)
    w.work(omp_get_thread_num());
  } else {
    w.work(0);
  }
#else
  static_cast<void>(threads);  // one thread takes every chunk
  w.work(0);
#endif
  if (w.failed) std::rethrow_exception(w.error);
}

// The processors that this process may use. OMP_NUM_THREADS may say more, by mistake or for another library.
int processors() {
#if defined(_OPENMP)
  static const int count = omp_get_num_procs();
  return count;
#else
  return 1;
#endif
}

}  // namespace

void set_num_threads(int n) { process_threads = n; }

int num_threads(int limit) {
#if defined(_OPENMP)
  if (serial_after_fork.load(std::memory_order_relaxed)) return 1;
  const int asked_for = process_threads.load(std::memory_order_relaxed);
  int n = omp_get_max_threads();
  for (const int bound : {asked_for > 0 ? asked_for : processors(), limit, cpu_quota()})
    if (bound > 0) n = std::min(n, bound);
  return std::max(n, 1);
#else
  static_cast<void>(limit);
  static_cast<void>(&cpu_quota);
  static_cast<void>(&processors);
  return 1;
#endif
}

int threads_for(index work, const execution& e) { return work < serial_work ? 1 : num_threads(e.threads); }

void run_parallel(index units, index unit_work, int threads, const execution& e, void (*f)(void*, index, index, int),
                  void* context) {
  threads = static_cast<int>(std::min<index>(threads, units));
  if (threads > 1) install_fork_handlers();
  const bool is_short = e.interrupted == nullptr || work_of(units, unit_work) < serial_work;
  const index longest = std::max<index>(longest_unit / 4 / std::max<index>(unit_work, 1), 1);
  const index chunk = std::clamp<index>(units / (32 * std::max(threads, 1)), 1, longest);
  if (is_short) {
    wave w{units, chunk, {0}, f, context, nullptr, units, {false}, nullptr};
    return run_wave(w, threads);
  }
  patience caller(e);
  for (index begin = 0; begin < units; caller.ask()) {
    wave w{units, chunk, {begin}, f, context, &caller, units, {false}, nullptr};
    run_wave(w, threads);
    begin = w.rest;
  }
}

double ordered_sum(const double* x, index n, const execution& e) {
  const index blocks = (n + sum_block - 1) / sum_block;
  std::vector<double> hi(static_cast<std::size_t>(blocks)), lo(static_cast<std::size_t>(blocks));
  const auto& k = kernels();
  parallel_for(blocks, sum_block, threads_for(n, e), e, [&](index begin, index end, int) {
    for (index b = begin; b < end; ++b)
      k.sum(std::min(sum_block, n - b * sum_block), x + b * sum_block, &hi[static_cast<std::size_t>(b)],
            &lo[static_cast<std::size_t>(b)]);
  });
  double_double<double> total{};
  for (std::size_t b = 0; b < hi.size(); ++b) total += double_double{hi[b], lo[b]};
  return rounded(total);
}

}  // namespace crossent
