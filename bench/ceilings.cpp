// The memory ceilings of this machine: what a pass over memory costs when nothing is computed.
//
// Each function runs one pass over contiguous memory with one named kernel and returns its seconds, the start of the
// threads included, as it is included in a call of the library. Which kernel is the fastest depends on the machine, so
// the callers run them all and take the best: a slow ceiling would flatter the library.
#include <pybind11/pybind11.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>

#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace py = pybind11;

namespace {

using word = std::uint64_t;
using size = std::ptrdiff_t;
// One cache line as a vector: native width comes from the target of the function that uses it.
using vec = word __attribute__((vector_size(64), aligned(16), may_alias));

constexpr size line = 64 / sizeof(word);  // words in a cache line
constexpr size page = 4096 / sizeof(word);
constexpr size ahead = page / 2;          // how far the prefetching kernels look
constexpr size streams = 4;
constexpr size group = streams * page;    // the threads' shares are multiples of this

enum class kernel { plain, prefetch, streams, memcpy, nontemporal };

// ---- The passes, over a multiple of `group` words ------------------------------------------------------------------
// Each handles `streams` lines at a time: neighbours, or, in the kernel of that name, one from each quarter of the
// share. `zero` is 0, but the compiler does not know: every word is written back, and the data stay as they are.
// A macro, because a template cannot take its target from a parameter, and GCC splits vectors before it inlines.
#define CEILINGS_WIDTH(name, target)                                                    \
  template <bool prefetch>                                                              \
  target word read_##name(const word* p, size n, size distance, size step) {            \
    vec sums[streams] = {};                                                             \
    for (size i = 0; i < n / streams * step / line; i += step)                          \
      for (size s = 0; s < streams; ++s) {                                              \
        const word* q = p + s * distance + i;                                           \
        if (prefetch) __builtin_prefetch(q + ahead);                                    \
        sums[s] ^= *reinterpret_cast<const vec*>(q);                                    \
      }                                                                                 \
    const vec sum = (sums[0] ^ sums[1]) ^ (sums[2] ^ sums[3]);                          \
    word total = 0;                                                                     \
    for (size j = 0; j < line; ++j) total ^= sum[j];                                    \
    return total;                                                                       \
  }                                                                                     \
  template <bool prefetch>                                                              \
  target void update_##name(word* p, size n, size distance, size step, word zero) {     \
    for (size i = 0; i < n / streams * step / line; i += step)                          \
      for (size s = 0; s < streams; ++s) {                                              \
        word* q = p + s * distance + i;                                                 \
        if (prefetch) __builtin_prefetch(q + ahead, 1);                                 \
        *reinterpret_cast<vec*>(q) ^= zero;                                             \
      }                                                                                 \
  }                                                                                     \
  target void copy_##name(const word* from, word* to, size n, word zero) {              \
    for (size i = 0; i < n; i += line)                                                  \
      *reinterpret_cast<vec*>(to + i) = *reinterpret_cast<const vec*>(from + i) ^ zero; \
  }                                                                                     \
  target void combine_##name(const word* a, const word* b, word* to, size n) {          \
    for (size i = 0; i < n; i += line)                                                  \
      *reinterpret_cast<vec*>(to + i) =                                                 \
          *reinterpret_cast<const vec*>(a + i) ^ *reinterpret_cast<const vec*>(b + i);  \
  }                                                                                     \
  constexpr passes name = {{read_##name<false>, read_##name<true>},                     \
                           {update_##name<false>, update_##name<true>}, copy_##name, combine_##name};

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

// The kernels of a read and of an update differ in where the next lines are and in whether they are prefetched.
word read_share(kernel k, const word* p, size n) {
  const bool far = k == kernel::streams;
  return widest().read[k != kernel::plain](p, n, far ? n / streams : line, far ? line : streams * line);
}

void update_share(kernel k, word* p, size n, word zero) {
  const bool far = k == kernel::streams;
  widest().update[k != kernel::plain](p, n, far ? n / streams : line, far ? line : streams * line, zero);
}

void copy_share(kernel k, const word* from, word* to, size n, word zero) {
  if (k == kernel::memcpy) std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(word));
  else if (k == kernel::plain) widest().copy(from, to, n, zero);
  else if (k == kernel::streams) store_nontemporal<streams, false>(from, from, to, n);
  else store_nontemporal<1, false>(from, from, to, n);
}

void combine_share(kernel k, const word* a, const word* b, word* to, size n) {
  if (k == kernel::plain) widest().combine(a, b, to, n);
  else if (k == kernel::streams) store_nontemporal<streams, true>(a, b, to, n);
  else store_nontemporal<1, true>(a, b, to, n);
}

// ---- Threads, time and buffers -------------------------------------------------------------------------------------

volatile word zero_source = 0;
std::atomic<word> sink;  // keeps the reads from being optimised away

// Seconds of run(first, count) over contiguous shares of n words.
template <class Run>
double timed(size n, int threads, const Run& run) {
  const auto start = std::chrono::steady_clock::now();
#ifdef _OPENMP
  const size share = (n / threads + group - 1) / group * group;
#pragma omp parallel num_threads(threads)
  for (size i = omp_get_thread_num(); i < threads; i += omp_get_num_threads()) {
    const size first = i * share < n ? i * share : n;
    const size last = first + share < n ? first + share : n;
    if (first < last) run(first, last - first);
  }
#else
  (void)threads;
  run(0, n);
#endif
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct span {
  const std::byte* data;
  size bytes;
};

span contiguous(const py::buffer& buffer, bool writable) {
  const py::buffer_info info = buffer.request(writable);
  py::ssize_t bytes = info.itemsize;
  for (auto i = info.ndim; i-- > 0; bytes *= info.shape[i])
    if (info.shape[i] > 1 && info.strides[i] != bytes) throw py::value_error("the buffer must be C-contiguous");
  if (reinterpret_cast<std::uintptr_t>(info.ptr) % 16 != 0) throw py::value_error("the buffer must be aligned to 16");
  return {static_cast<const std::byte*>(info.ptr), bytes};
}

// NumPy aligns to 16 bytes: a pass starts at the first whole line.
size to_line(span s) { return (64 - reinterpret_cast<std::uintptr_t>(s.data) % 64) % 64; }

// The words after the first `skip` bytes, in whole groups: the rest, under 17 KiB, is left out.
size whole_words(span s, size skip) {
  const size n = (s.bytes - skip) / static_cast<size>(sizeof(word)) / group * group;
  if (n <= 0) throw py::value_error("the buffer must have at least 17 KiB");
  return n;
}

word* words(span s, size skip) { return reinterpret_cast<word*>(const_cast<std::byte*>(s.data + skip)); }

using names = std::map<std::string, kernel>;
const names read_kernels = {{"plain", kernel::plain}, {"prefetch", kernel::prefetch}, {"streams", kernel::streams}};
const names copy_kernels = {{"plain", kernel::plain}, {"memcpy", kernel::memcpy},
                            {"nontemporal", kernel::nontemporal}, {"streams", kernel::streams}};
const names combine_kernels = {{"plain", kernel::plain}, {"nontemporal", kernel::nontemporal},
                               {"streams", kernel::streams}};

kernel parse(const names& known, const std::string& name, int threads) {
  if (threads < 1) throw py::value_error("threads must be at least 1");
  const auto found = known.find(name);
  if (found == known.end()) throw py::value_error("unknown kernel '" + name + "'");
  return found->second;
}

double read_buffer(const py::buffer& buffer, int threads, const std::string& name) {
  const kernel k = parse(read_kernels, name, threads);
  const span s = contiguous(buffer, false);
  const size skip = to_line(s), n = whole_words(s, skip);
  const word* p = words(s, skip);
  const py::gil_scoped_release release;
  return timed(n, threads, [&](size first, size count) {
    sink.store(read_share(k, p + first, count), std::memory_order_relaxed);
  });
}

double update_buffer(const py::buffer& buffer, int threads, const std::string& name) {
  const kernel k = parse(read_kernels, name, threads);
  const span s = contiguous(buffer, true);
  const size skip = to_line(s), n = whole_words(s, skip);
  word* p = words(s, skip);
  const word zero = zero_source;
  const py::gil_scoped_release release;
  return timed(n, threads, [&](size first, size count) { update_share(k, p + first, count, zero); });
}

double copy_buffer(const py::buffer& src, const py::buffer& dst, int threads, const std::string& name) {
  const kernel k = parse(copy_kernels, name, threads);
  const span from = contiguous(src, false), to = contiguous(dst, true);
  if (from.bytes != to.bytes) throw py::value_error("the buffers must have the same size");
  const size skip = to_line(to), n = whole_words(to, skip);
  const word* p = words(from, skip);
  word* q = words(to, skip);
  const word zero = zero_source;
  const py::gil_scoped_release release;
  return timed(n, threads, [&](size first, size count) { copy_share(k, p + first, q + first, count, zero); });
}

double combine_buffers(const py::buffer& a, const py::buffer& b, const py::buffer& dst, int threads,
                       const std::string& name) {
  const kernel k = parse(combine_kernels, name, threads);
  const span first_input = contiguous(a, false), second_input = contiguous(b, false), to = contiguous(dst, true);
  if (first_input.bytes != to.bytes || second_input.bytes != to.bytes)
    throw py::value_error("the buffers must have the same size");
  const size skip = to_line(to), n = whole_words(to, skip);
  const word *p = words(first_input, skip), *q = words(second_input, skip);
  word* r = words(to, skip);
  const py::gil_scoped_release release;
  return timed(n, threads, [&](size first, size count) { combine_share(k, p + first, q + first, r + first, count); });
}

py::tuple keys(const names& known) {
  py::list list;
  for (const auto& entry : known) list.append(entry.first);
  return py::tuple(list);
}

}  // namespace

// A module of its own would bring all of pybind11 again.
void define_ceilings(py::module_& parent) {
  py::module_ module =
      parent.def_submodule("ceilings", "One pass over memory with a named kernel, in seconds; see bench/ceilings.cpp.");
  module.attr("kernels") = py::dict(py::arg("read") = keys(read_kernels), py::arg("copy") = keys(copy_kernels),
                                    py::arg("update") = keys(read_kernels),
                                    py::arg("combine") = keys(combine_kernels));
  module.def("read", &read_buffer, py::arg("buffer"), py::arg("threads"), py::arg("kernel"));
  module.def("copy", &copy_buffer, py::arg("src"), py::arg("dst"), py::arg("threads"), py::arg("kernel"));
  module.def("update", &update_buffer, py::arg("buffer"), py::arg("threads"), py::arg("kernel"));
  module.def("combine", &combine_buffers, py::arg("a"), py::arg("b"), py::arg("dst"), py::arg("threads"),
             py::arg("kernel"));
}
