// The memory ceilings of this machine: what a pass over memory costs when nothing is computed. ceilings.py compiles it.
//
// Each exported function runs one pass over contiguous memory with one kernel and returns its seconds, the start of the
// threads included, as it is included in a call of the library. Which kernel is the fastest depends on the machine, so
// the callers run them all and take the best: a slow ceiling would flatter the library.
#include <omp.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace {

using word = std::uint64_t;
using size = std::ptrdiff_t;
// One cache line as a vector: native width comes from the target of the function that uses it.
using vec = word __attribute__((vector_size(64), may_alias));

constexpr size line = 64 / sizeof(word);  // words in a cache line
constexpr size page = 4096 / sizeof(word);
constexpr size ahead = page / 2;          // how far the prefetching kernels look
constexpr size streams = 4;
constexpr size group = streams * page;    // the threads' shares are multiples of this

// ---- The passes, over a multiple of `group` words ------------------------------------------------------------------
// Each handles `streams` lines at a time: neighbours, or, in the kernel of that name, one from each quarter of the
// share. `zero` is 0, but the compiler does not know: every word is written back, and the data stay as they are.
// A macro, because a template cannot take its target from a parameter, and GCC splits vectors before it inlines.
#define CEILINGS_WIDTH(name, target)                                                                                     \
  template <bool prefetch>                                                                                               \
  target word read_##name(const word* p, size n, size distance, size step) {                                             \
    vec sums[streams] = {};                                                                                              \
    for (size i = 0; i < n / streams * step / line; i += step)                                                           \
      for (size s = 0; s < streams; ++s) {                                                                               \
        const word* q = p + s * distance + i;                                                                            \
        if (prefetch) __builtin_prefetch(q + ahead);                                                                     \
        sums[s] ^= *reinterpret_cast<const vec*>(q);                                                                     \
      }                                                                                                                  \
    const vec sum = (sums[0] ^ sums[1]) ^ (sums[2] ^ sums[3]);                                                           \
    word total = 0;                                                                                                      \
    for (size j = 0; j < line; ++j) total ^= sum[j];                                                                     \
    return total;                                                                                                        \
  }                                                                                                                      \
  template <bool prefetch>                                                                                               \
  target void update_##name(word* p, size n, size distance, size step, word zero) {                                      \
    for (size i = 0; i < n / streams * step / line; i += step)                                                           \
      for (size s = 0; s < streams; ++s) {                                                                               \
        word* q = p + s * distance + i;                                                                                  \
        if (prefetch) __builtin_prefetch(q + ahead, 1);                                                                  \
        *reinterpret_cast<vec*>(q) ^= zero;                                                                              \
      }                                                                                                                  \
  }                                                                                                                      \
  target void copy_##name(const word* from, word* to, size n, word zero) {                                               \
    for (size i = 0; i < n; i += line) *reinterpret_cast<vec*>(to + i) = *reinterpret_cast<const vec*>(from + i) ^ zero; \
  }                                                                                                                      \
  target void combine_##name(const word* a, const word* b, word* to, size n) {                                           \
    for (size i = 0; i < n; i += line)                                                                                   \
      *reinterpret_cast<vec*>(to + i) = *reinterpret_cast<const vec*>(a + i) ^ *reinterpret_cast<const vec*>(b + i);     \
  }                                                                                                                      \
  constexpr passes name = {                                                                                              \
      {read_##name<false>, read_##name<true>}, {update_##name<false>, update_##name<true>}, copy_##name, combine_##name};

struct passes {
  word (*read[2])(const word*, size n, size distance, size step);  // without and with prefetch
  void (*update[2])(word*, size n, size distance, size step, word zero);
  void (*copy)(const word*, word*, size n, word zero);
  void (*combine)(const word*, const word*, word*, size n);
};

CEILINGS_WIDTH(baseline, )
#ifdef __x86_64__
CEILINGS_WIDTH(avx2, __attribute__((target("avx2"))))
CEILINGS_WIDTH(avx512, __attribute__((target("avx512f"))))
#endif

const passes& widest() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f")) return avx512;
  if (__builtin_cpu_supports("avx2")) return avx2;
#endif
  return baseline;
}

#ifdef __SSE2__
__m128i load(const word* p) { return _mm_load_si128(reinterpret_cast<const __m128i*>(p)); }

// Stores that go past the caches, to `lanes` pages at a time; four are what glibc does in a large memcpy.
// With `two`, what is stored is the combination of two inputs.
template <size lanes, bool two>
void store_nontemporal(const word* a, const word* b, word* to, size n) {
  for (size base = 0; base < n; base += lanes * page)
    for (size i = 0; i < page; i += line)
      for (size s = 0; s < lanes; ++s)
        for (size j = 0; j < line; j += 2) {
          const size at = base + s * page + i + j;
          const __m128i value = two ? _mm_xor_si128(load(a + at), load(b + at)) : load(a + at);
          _mm_stream_si128(reinterpret_cast<__m128i*>(to + at), value);
        }
  _mm_sfence();
}
#else
template <size, bool two>
void store_nontemporal(const word* a, const word* b, word* to, size n) {
  if (two) widest().combine(a, b, to, n);
  else std::memcpy(to, a, static_cast<std::size_t>(n) * sizeof(word));
}
#endif

// ---- Threads and time ----------------------------------------------------------------------------------------------

volatile word zero_source = 0;
std::atomic<word> sink;  // keeps the reads from being optimised away

// Seconds of run(first, count) over contiguous shares of the words, in whole groups: the last bytes, under 16 KiB, are
// left out.
template <class Run>
double timed(size bytes, int threads, const Run& run) {
  const size n = bytes / static_cast<size>(sizeof(word)) / group * group;
  const auto start = std::chrono::steady_clock::now();
  const size share = (n / threads + group - 1) / group * group;
#pragma omp parallel num_threads(threads)
  for (size i = omp_get_thread_num(); i < threads; i += omp_get_num_threads()) {
    const size first = i * share < n ? i * share : n;
    const size last = first + share < n ? first + share : n;
    if (first < last) run(first, last - first);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Where the `streams` lines are that a read or an update handles at a time.
enum class order { neighbours, quarters };
size distance(order lines, size n) { return lines == order::quarters ? n / streams : line; }
size step(order lines) { return lines == order::quarters ? line : streams * line; }

double read(const word* p, size bytes, int threads, bool prefetch, order lines) {
  return timed(bytes, threads, [&](size first, size n) {
    sink.store(widest().read[prefetch](p + first, n, distance(lines, n), step(lines)), std::memory_order_relaxed);
  });
}

double update(word* p, size bytes, int threads, bool prefetch, order lines) {
  const word zero = zero_source;
  return timed(bytes, threads,
               [&](size first, size n) { widest().update[prefetch](p + first, n, distance(lines, n), step(lines), zero); });
}

}  // namespace

// ---- What ceilings.py calls: inputs a and b, an output, their bytes, threads ------------------------------------------

#define CEILING(name)                                                                                               \
  extern "C" double name([[maybe_unused]] const word* a, [[maybe_unused]] const word* b, [[maybe_unused]] word* to, \
                         size bytes, int threads)

CEILING(read_plain) { return read(a, bytes, threads, false, order::neighbours); }
CEILING(read_prefetch) { return read(a, bytes, threads, true, order::neighbours); }
CEILING(read_streams) { return read(a, bytes, threads, true, order::quarters); }

CEILING(update_plain) { return update(to, bytes, threads, false, order::neighbours); }
CEILING(update_prefetch) { return update(to, bytes, threads, true, order::neighbours); }
CEILING(update_streams) { return update(to, bytes, threads, true, order::quarters); }

CEILING(copy_plain) {
  const word zero = zero_source;
  return timed(bytes, threads, [&](size first, size n) { widest().copy(a + first, to + first, n, zero); });
}
CEILING(copy_memcpy) {
  return timed(bytes, threads,
               [&](size first, size n) { std::memcpy(to + first, a + first, static_cast<std::size_t>(n) * sizeof(word)); });
}
CEILING(copy_nontemporal) {
  return timed(bytes, threads, [&](size first, size n) { store_nontemporal<1, false>(a + first, a, to + first, n); });
}
CEILING(copy_streams) {
  return timed(bytes, threads, [&](size first, size n) { store_nontemporal<streams, false>(a + first, a, to + first, n); });
}

CEILING(combine_plain) {
  return timed(bytes, threads, [&](size first, size n) { widest().combine(a + first, b + first, to + first, n); });
}
CEILING(combine_nontemporal) {
  return timed(bytes, threads, [&](size first, size n) { store_nontemporal<1, true>(a + first, b + first, to + first, n); });
}
CEILING(combine_streams) {
  return timed(bytes, threads,
               [&](size first, size n) { store_nontemporal<streams, true>(a + first, b + first, to + first, n); });
}
