#include "core/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <exception>
#include <vector>
#if defined(_OPENMP)
#include <omp.h>
#else
#include <cstdlib>
#include <limits>
#include <thread>
#endif

#include "core/fp_environment.hpp"
#include "core/kernels.hpp"
#include "core/merge_tree.hpp"
#include "core/thread_pool.hpp"

namespace crossent {
namespace {

using clock = std::chrono::steady_clock;

// To wake a thread takes the one that calls 5 us, and until it begins 30 to 90 us pass. In between, in elements, the first
// chunks are timed.
constexpr std::chrono::microseconds waking_time(50), polling_start(5);
constexpr index serial_work = 1 << 15, parallel_work = 1 << 19;

std::atomic<int> process_threads{0};   // 0: not set

// The CPU time that the control group grants, in whole processors; 0 where it is not limited.
int cpu_quota() {
  static const int quota = [] {
    long long limit = 0, period = 0;
    const auto read = [&](const char* path, const char* format, auto... to) {
      std::FILE* f = std::fopen(path, "r");
      if (f == nullptr) return 0;
      const int n = std::fscanf(f, format, to...);
      static_cast<void>(std::fclose(f));   // of a file that was read
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

// Chunks of [begin, end), which the threads take in turn until none is left or the time is over.
struct wave {
  index begin, end, chunk;
  chunk_work f;
  std::atomic<index> next{begin};
  index rest = end;   // where the next wave begins
  std::atomic<bool> failed{false};
  std::exception_ptr error = nullptr;

  // On this thread and `others` at most. Where it is not known that the work is `long`, its first chunks tell whether to wake
  // them. Without `interrupts` there is time for all of it.
  void run(int others, bool is_long, const interrupt_poller* interrupts) {
    if (others == 0 && interrupts == nullptr) return work(0, [] {});
    helpers called([](void* w, int worker) { static_cast<wave*>(w)->work(worker, [] {}); }, this);
    index look = end;   // when that many units are done
    clock::time_point start;
    if (others > 0 && is_long) called.call(others);
    if (others > 0 && !is_long) {
      look = chunk;
      start = clock::now();
    }
    work(0, [&] {
      if (interrupts != nullptr && interrupts->is_due()) rest = std::min(end, take_all());
      const index done = next.load(std::memory_order_relaxed) - begin;
      if (done < look) return;
      look = 2 * done;
      const std::chrono::duration<double> time = clock::now() - start;
      const auto worthwhile = helpers::are_awake() ? polling_start : waking_time;
      if (time * static_cast<double>(end - begin - done) <= worthwhile * static_cast<double>(done)) return;
      called.call(others);
      look = end;
    });
  }

  // An exception that left a helper would end the process.
  template <class F> void work(int worker, F after_chunk) noexcept {
    const default_environment environment;
    try {
      for (;;) {
        const index first = next.fetch_add(chunk, std::memory_order_relaxed);
        if (first >= end) return;
        f.f(f.object, first, std::min(first + chunk, end), worker);
        after_chunk();
      }
    } catch (...) {
      take_all();
      if (!failed.exchange(true)) error = std::current_exception();
    }
  }
  // Nobody begins another chunk.
  index take_all() { return next.exchange(end, std::memory_order_relaxed); }
};

#if defined(_OPENMP)
// The processors that this process may use. OMP_NUM_THREADS may say more, by mistake or for another library.
int processors() {
  static const int count = omp_get_num_procs();
  return count;
}

// Read on each call, since threadpoolctl sets it. Within another library's parallel region all processors are busy.
int openmp_threads() { return omp_in_parallel() ? 1 : omp_get_max_threads(); }
#else
int processors() {
  static const int count = static_cast<int>(std::thread::hardware_concurrency());
  return count;
}

int openmp_threads() {
  static const int count = [] {
    const char* const set = std::getenv("OMP_NUM_THREADS");
    const long n = set == nullptr ? 0 : std::strtol(set, nullptr, 10);
    return n > 0 ? static_cast<int>(std::min<long>(n, std::numeric_limits<int>::max())) : processors();
  }();
  return count;
}
#endif

}  // namespace

void set_num_threads(int n) { process_threads = n; }

int num_threads(int limit) {
  const int asked_for = process_threads.load(std::memory_order_relaxed);
  int n = openmp_threads();
  for (const int bound : {asked_for > 0 ? asked_for : processors(), limit, cpu_quota()})
    if (bound > 0) n = std::min(n, bound);
  return std::max(n, 1);
}

int threads_for(index work, const execution& e) { return work < serial_work ? 1 : num_threads(e.threads); }

void parallel_for(index units, index unit_work, int threads, const execution& e, chunk_work work) {
  threads = static_cast<int>(std::min<index>(threads, units));
  const index size = work_of(units, unit_work);
  const bool is_asked = e.interrupted != nullptr && size >= serial_work;
  if (threads <= 1 && !is_asked) {
    if (units <= 0) return;
    const default_environment environment;
    return work.f(work.object, 0, units, 0);
  }
  const index longest = std::max<index>(longest_unit / 4 / std::max<index>(unit_work, 1), 1);
  const index chunk = std::clamp<index>(units / (32 * threads), 1, longest);
  const auto run = [&](index begin, const interrupt_poller* interrupts) {
    wave w{begin, units, chunk, work};
    w.run(threads - 1, size >= parallel_work, interrupts);
    if (w.failed) std::rethrow_exception(w.error);
    return w.rest;
  };
  if (!is_asked) {
    run(0, nullptr);
    return;
  }
  interrupt_poller interrupts(e);
  for (index begin = 0; begin < units; interrupts.poll()) begin = run(begin, &interrupts);
}

void sum_blocks(const double* x, index n, double_double<double>* sums, const execution& e) {
  const auto& k = kernels();
  parallel_for(block_count(n), summed_rows, threads_for(n, e), e, [&](index begin, index end, int) {
    for (index b = begin; b < end; ++b)
      k.sum(std::min(summed_rows, n - b * summed_rows), x + b * summed_rows, &sums[b].hi, &sums[b].lo);
  });
}

double_double<double> ordered_sum(const double* x, index n, const execution& e) {
  const index blocks = block_count(n);
  std::vector<double_double<double>> sums(static_cast<std::size_t>(blocks));
  sum_blocks(x, n, sums.data(), e);
  return sum_levels(blocks, sums.data());
}

}  // namespace crossent
