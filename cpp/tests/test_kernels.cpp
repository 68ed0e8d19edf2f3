// The C++ API end to end: the same bits in every layout and orientation, and the golden hash of a small corpus.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "corpus.hpp"

namespace crossent {

namespace {

template <class T> struct result {
  T value;
  std::vector<T> losses, grad, softmax, log_softmax;
  bool operator==(const result& o) const {
    const auto same = [](const std::vector<T>& a, const std::vector<T>& b) {
      return std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
    };
    return same(losses, o.losses) && same(grad, o.grad) && same(softmax, o.softmax) && same(log_softmax, o.log_softmax);
  }
};

// All operations on (rows, classes) logits, read and written with the given strides in elements.
template <class T>
result<T> compute(const std::vector<T>& x, index rows, index classes, index row_stride, index class_stride, double smoothing,
                  double temperature, int threads) {
  const index item = static_cast<index>(sizeof(T));
  const std::size_t span = static_cast<std::size_t>((rows - 1) * row_stride + (classes - 1) * class_stride + 1);
  const auto at = [&](index r, index c) { return static_cast<std::size_t>(r * row_stride + c * class_stride); };
  std::vector<T> in(span), out(span);
  for (index r = 0; r < rows; ++r)
    for (index c = 0; c < classes; ++c) in[at(r, c)] = x[static_cast<std::size_t>(r * classes + c)];
  const index shape[] = {rows, classes}, strides[] = {row_stride * item, class_stride * item};
  const dtype type = sizeof(T) == 4 ? dtype::float32 : dtype::float64;
  const view v{in.data(), type, 2, shape, strides};
  const mutable_view to{out.data(), type, 2, shape, strides};
  const auto gather = [&] {
    std::vector<T> g(static_cast<std::size_t>(rows * classes));
    for (index r = 0; r < rows; ++r)
      for (index c = 0; c < classes; ++c) g[static_cast<std::size_t>(r * classes + c)] = out[at(r, c)];
    return g;
  };

  std::vector<char> memory(static_cast<std::size_t>(8 * rows + 1));
  char* const y = memory.data() + (row_stride == classes + 1);  // unaligned where the rows are
  for (index r = 0; r < rows; ++r) {
    const std::int64_t target = r % 7 == 3 ? -100 : (r * 31) % classes;
    std::memcpy(y + 8 * r, &target, 8);
  }
  const index y_stride[] = {8}, item_stride[] = {item};
  const index_view targets{y, int_dtype::int64, 1, shape, y_stride};
  const execution e{threads, nullptr, nullptr};
  result<T> res;
  row_loss_options options;
  options.axis = 1;
  options.label_smoothing = smoothing;
  cross_entropy(v, targets, {}, options, {&res.value, type, 0, nullptr, nullptr}, to, e);
  res.grad = gather();
  options.reduction = reduction_kind::none;
  res.losses.resize(static_cast<std::size_t>(rows));
  cross_entropy(v, targets, {}, options, {res.losses.data(), type, 1, shape, item_stride}, {}, e);
  const normaliser_options with_temperature{1, temperature, {}};
  softmax(v, with_temperature, to, e);
  res.softmax = gather();
  log_softmax(v, with_temperature, to, e);
  res.log_softmax = gather();
  return res;
}

}  // namespace

TEST_CASE_TEMPLATE("the same bits in every layout, orientation and thread count", T, float, double) {
  for (const index classes : class_counts) {
    const index rows = 37;
    for (const int spread : {4, 100, 3000}) {
      const std::vector<T> x = logits<T>(rows * classes, static_cast<std::uint64_t>(classes), spread);
      for (const double option : {0.0, 0.25}) {
        const double temperature = option == 0 ? 1 : 0.7;
        const result<T> c_order = compute(x, rows, classes, classes, 1, option, temperature, 1);
        INFO("classes " << classes << " spread " << spread << " smoothing " << option);
        CHECK(c_order == compute(x, rows, classes, 1, rows, option, temperature, 1));             // one row per lane
        CHECK(c_order == compute(x, rows, classes, 2 * classes, 2, option, temperature, 2));      // packed
        CHECK(c_order == compute(x, rows, classes, 3, 3 * rows, option, temperature, 3));
        CHECK(c_order == compute(x, rows, classes, classes + 1, 1, option, temperature, 2));      // unaligned rows
      }
    }
  }
}

#if defined(__x86_64__)
TEST_CASE_TEMPLATE("the caller's floating-point environment does not reach a reduced loss", T, float, double) {
  const bool single = sizeof(T) == 4;
  const dtype type = single ? dtype::float32 : dtype::float64;
  const index item = static_cast<index>(sizeof(T)), shape[] = {3, 10}, strides[] = {10 * item, item}, y_strides[] = {8};
  const std::vector<std::int64_t> y = {0, 1, 2};
  for (const T gap : {T(0), single ? T(95) : T(740)}) {   // the second: subnormal losses
    std::vector<T> x(30);
    for (index i = 0; i < 30; ++i) x[static_cast<std::size_t>(i)] = static_cast<T>(i % 7) / 8;
    for (index i = 0; i < 3; ++i) x[static_cast<std::size_t>(11 * i)] += gap;
    for (const double smoothing : {0.0, 0.1}) {
      for (const auto how : {reduction_kind::sum, reduction_kind::mean}) {
        row_loss_options options;
        options.axis = 1;
        options.label_smoothing = smoothing;
        options.reduction = how;
        const auto loss = [&](unsigned environment) {
          T v[2] = {};
          const unsigned before = _mm_getcsr();
          _mm_setcsr(environment);
          cross_entropy({x.data(), type, 2, shape, strides}, {y.data(), int_dtype::int64, 1, shape, y_strides}, {}, options,
                        {v, type, 0, nullptr, nullptr}, {});
          _mm_setcsr(before);
          return std::vector<T>(v, v + 1);
        };
        const auto wanted = loss(0x1f80);
        for (const unsigned odd : {0x8040u, 0x2000u, 0x4000u, 0x6000u}) {   // FTZ and DAZ; down, up, to zero
          const auto got = loss(0x1f80 | odd);
          CHECK(std::memcmp(got.data(), wanted.data(), sizeof(T)) == 0);
        }
      }
    }
  }
}
#endif

TEST_CASE("the golden hash: the same at every level with FMA and from every compiler") {
  std::uint64_t h = 14695981039346656037u;
  const auto add = [&](auto zero) {
    using T = decltype(zero);
    for (const index classes : class_counts)
      for (const int spread : {4, 100, 3000})
        for (const double option : {0.0, 0.25}) {
          const auto r = compute(logits<T>(5 * classes, 99, spread), 5, classes, classes, 1, option, option == 0 ? 1 : 3, 2);
          h = fnv(fnv(fnv(fnv(fnv(h, &r.value, sizeof r.value), r.losses), r.grad), r.softmax), r.log_softmax);
        }
  };
  add(float{});
  add(double{});
  std::printf("  %-8s golden hash %016llx\n", kernels().name, static_cast<unsigned long long>(h));
  const std::uint64_t with_fma = 0xe0f8a3722908da51, baseline = 0x6d49a9a65cb7e7e0;
  CHECK(h == (std::strcmp(kernels().name, "baseline") == 0 ? baseline : with_fma));
}

TEST_CASE("a target out of range is reported with its row and value, before anything is written") {
  const float x[] = {1, 2, 3, 4, 5, 6};
  float grad[6] = {9, 9, 9, 9, 9, 9};
  const std::uint64_t y[] = {0, std::numeric_limits<std::uint64_t>::max()};
  const index shape[] = {2, 3}, strides[] = {12, 4}, y_strides[] = {8};
  row_loss_options options;
  options.axis = 1;
  try {
    cross_entropy({x, dtype::float32, 2, shape, strides}, {y, int_dtype::uint64, 1, shape, y_strides}, {}, options, {},
                  {grad, dtype::float32, 2, shape, strides});
    CHECK(false);
  } catch (const target_error& error) {
    CHECK(error.row == 1);
    CHECK(error.value == "18446744073709551615");
  }
  for (const float g : grad) CHECK(g == 9);
}

}  // namespace crossent
