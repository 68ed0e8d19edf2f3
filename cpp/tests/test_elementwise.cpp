// Losses of single elements, and the search for a number out of range: whatever the layout, the bits are the same.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "corpus.hpp"

namespace crossent {

namespace {

using loss_function = void (*)(const view&, const view&, const element_loss_options&, const mutable_view&, const mutable_view&,
                               const execution&);
struct operation {
  const char* name;
  loss_function run;
  bool logits, log_target, pos_weight;
  double label_smoothing;
};
const operation operations[] = {
    {"binary_cross_entropy", binary_cross_entropy, false, false, false, 0},
    {"binary_cross_entropy_with_logits", binary_cross_entropy_with_logits, true, false, false, 0},
    {"binary_cross_entropy_with_logits, weighted, smoothed", binary_cross_entropy_with_logits, true, false, true, 0.2},
    {"kl_div", kl_div, true, false, false, 0},
    {"kl_div, log_target", kl_div, true, true, false, 0},
};
const dtype dtypes[] = {dtype::float32, dtype::float64, dtype::float16, dtype::bfloat16};

struct problem {
  matrix x, target, weight, pos_weight, upstream;
  bool widened;

  problem(const operation& f, index rows, index columns, dtype type, std::size_t layout, bool widen = false)
      : x(made(f.logits ? logits<float>(rows * columns, 1, 30) : probabilities<float>(rows * columns, 1), rows, type, layout,
               widen)),
        target(made(f.log_target ? logits<float>(rows * columns, 2, 30) : probabilities<float>(rows * columns, 2), rows, type,
                    layout * 5, widen)),
        weight(made(probabilities<float>(rows * columns, 3), rows, type, layout * 2, widen)),
        pos_weight(made(probabilities<float>(rows * columns, 4), rows, type, layout, widen)),
        upstream(made(probabilities<float>(rows * columns, 5), rows, type, layout * 3, widen)),
        widened(widen) {}

  element_loss_options options(const operation& f, reduction_kind how) const {
    element_loss_options o;
    const bool divergence = f.run == kl_div;
    if (!divergence) o.weight = weight.in();
    if (f.pos_weight) o.pos_weight = pos_weight.in();
    if (how == reduction_kind::none) o.grad_output = upstream.in();
    o.label_smoothing = f.label_smoothing;
    o.log_target = f.log_target;
    o.reduction = how;
    return o;
  }

 private:
  static matrix made(const std::vector<float>& values, index rows, dtype type, std::size_t layout, bool widen) {
    const order o = orders[layout % std::size(orders)];
    matrix m(values, rows, type, o);
    return widen ? matrix(m.numbers(), rows, arithmetic(type), o) : m;
  }
};

// The sum, the mean with its gradient, then single losses with theirs.
std::vector<char> compute(const operation& f, const problem& s, index rows, index columns, dtype grad_type, order to,
                          int threads) {
  const dtype type = arithmetic(s.x.type());
  const execution e{threads, nullptr, nullptr};
  matrix value(2, 1, type, order::c), losses(rows, columns, type, to), grad(rows, columns, grad_type, to);
  char* const values = static_cast<char*>(value.to().data);
  std::vector<char> all;
  const auto add = [&](matrix& m) {
    const std::vector<char> bytes = m.entries();
    all.insert(all.end(), bytes.begin(), bytes.end());
  };
  f.run(s.x.in(), s.target.in(), s.options(f, reduction_kind::sum), {values, type, 0, nullptr, nullptr}, {}, e);
  const mutable_view mean{values + item_size(type), type, 0, nullptr, nullptr};
  f.run(s.x.in(), s.target.in(), s.options(f, reduction_kind::mean), mean, grad.to(), e);
  add(value);
  add(grad);
  f.run(s.x.in(), s.target.in(), s.options(f, reduction_kind::none), losses.to(), grad.to(), e);
  add(losses);
  add(grad);
  if (f.run == kl_div) {
    element_loss_options o = s.options(f, reduction_kind::none);
    o.axis = 1;
    matrix sums(rows, 1, type, order::c);
    const mutable_view v = sums.to();
    kl_div(s.x.in(), s.target.in(), o, {v.data, type, 1, v.shape, v.strides}, {}, e);
    add(sums);
  }
  return all;
}

}  // namespace

TEST_CASE("losses of elements have the same bits in every layout and on any number of threads") {
  for (const dtype type : dtypes)
    for (const index columns : {1, 7, 1000})
      for (const operation& f : operations) {
        INFO(std::string(f.name) << " dtype " << static_cast<int>(type) << " columns " << columns);
        const auto wanted = compute(f, problem(f, 37, columns, type, 0), 37, columns, type, order::c, 1);
        for (std::size_t i = 1; i < std::size(orders); ++i) {
          const problem s(f, 37, columns, type, i);
          const order to = orders[(2 * i + 1) % std::size(orders)];
          CHECK(compute(f, s, 37, columns, type, to, 1 + static_cast<int>(i) % 3) == wanted);
        }
        if (item_size(type) > 2) continue;
        const problem wide(f, 37, columns, type, 0, true), half(f, 37, columns, type, 0);
        CHECK(compute(f, half, 37, columns, dtype::float32, order::c, 1) ==
              compute(f, wide, 37, columns, dtype::float32, order::c, 1));
      }
}

TEST_CASE("the sum of elements does not depend on the shape they come in") {
  for (const operation& f : operations) {
    const auto sum = [&](index rows, index columns, std::size_t layout) {
      const problem s(f, rows, columns, dtype::float32, layout);
      float v = 0;
      f.run(s.x.in(), s.target.in(), s.options(f, reduction_kind::sum), {&v, dtype::float32, 0, nullptr, nullptr}, {}, {});
      return v;
    };
    const float wanted = sum(1, 2048 * 9, 0);
    for (const index rows : {2, 9, 1024, 2048 * 9})
      for (std::size_t i = 0; i < std::size(orders); ++i) CHECK(sum(rows, 2048 * 9 / rows, i) == wanted);
  }
}

TEST_CASE_TEMPLATE("what is not there adds nothing to a sum", T, float, double) {
  const std::vector<T> zeros(2000, T(0));   // of which each adds log 2
  for (index n = 1; n < 2000; n = n * 3 / 2 + 1) {
    const index stride = static_cast<index>(sizeof(T));
    const view x{zeros.data(), type_of<T>, 1, &n, &stride};
    element_loss_options o;
    o.reduction = reduction_kind::sum;
    T sum = 0;
    binary_cross_entropy_with_logits(x, x, o, {&sum, type_of<T>, 0, nullptr, nullptr}, {});
    CHECK(static_cast<double>(sum) == doctest::Approx(static_cast<double>(n) * 0.6931471805599453).epsilon(1e-6));
  }
}

TEST_CASE("a gradient may be written over any input") {
  for (const dtype type : dtypes)
    for (const std::size_t layout : {0, 1})
      for (const operation& f : operations) {
        INFO(std::string(f.name) << " dtype " << static_cast<int>(type) << " layout " << layout);
        matrix wanted(37, 1000, type, order::c);
        const problem first(f, 37, 1000, type, layout);
        f.run(first.x.in(), first.target.in(), first.options(f, reduction_kind::none), {}, wanted.to(), {});
        for (matrix problem::* over :
             {&problem::x, &problem::target, &problem::weight, &problem::pos_weight, &problem::upstream}) {
          problem s(f, 37, 1000, type, layout);
          f.run(s.x.in(), s.target.in(), s.options(f, reduction_kind::none), {}, (s.*over).to(), {2, nullptr, nullptr});
          CHECK((s.*over).entries() == wanted.entries());
        }
      }
}

TEST_CASE_TEMPLATE("binary cross-entropy is the same for (x, y) and (-x, 1 - y), its gradient the opposite", T, float, double) {
  const index n = 50000, shape[] = {n}, strides[] = {static_cast<index>(sizeof(T))};
  for (const int spread : {4, 30, 3000}) {
    std::vector<T> x = logits<T>(n, 1, spread), y = probabilities<T>(n, 2), w = probabilities<T>(n, 3);
    for (const double smoothing : {0.0, 0.2}) {
      const auto evaluate = [&] {
        std::vector<T> v(static_cast<std::size_t>(2 * n));
        element_loss_options o;
        o.weight = {w.data(), type_of<T>, 1, shape, strides};
        o.reduction = reduction_kind::none;
        o.label_smoothing = smoothing;
        binary_cross_entropy_with_logits({x.data(), type_of<T>, 1, shape, strides}, {y.data(), type_of<T>, 1, shape, strides},
                                         o, {v.data(), type_of<T>, 1, shape, strides},
                                         {v.data() + n, type_of<T>, 1, shape, strides});
        return v;
      };
      const std::vector<T> one = evaluate();
      for (T& v : x) v = -v;
      for (T& v : y) v = 1 - v;
      const std::vector<T> other = evaluate();
      CHECK(std::memcmp(one.data(), other.data(), static_cast<std::size_t>(n) * sizeof(T)) == 0);
      index wrong = 0;
      for (std::size_t i = static_cast<std::size_t>(n); i < one.size(); ++i) wrong += one[i] != -other[i];
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("the first number out of range is found in any place") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  for (const dtype type : dtypes)
    for (const index n : {1, 15, 17, 1023, 1025, 34007})
      for (const order o : orders)
        for (const double bad : {nan, inf, -inf, -0.25, 1.0625}) {
          std::vector<double> x(static_cast<std::size_t>(n), 0.5);
          x.front() = 0;
          x.back() = 1;
          const auto found = [&](int threads) {
            return first_outside(matrix(x, 1, type, o).in(), 0, 1, {threads, nullptr, nullptr}).element;
          };
          INFO("dtype " << static_cast<int>(type) << " n " << n << " order " << static_cast<int>(o) << " bad " << bad);
          CHECK(found(1) == -1);
          x.back() = bad;
          CHECK(found(1) == n - 1);
          CHECK(found(3) == n - 1);
          for (const index at : {n * 2 / 3, n / 2, index{0}}) {   // each before the last: several are out of range
            x[static_cast<std::size_t>(at)] = bad;
            CHECK(found(1) == at);
            CHECK(found(3) == at);
          }
        }
}

TEST_CASE("a target out of range is found while it is read") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const dtype type : dtypes)
    for (const dtype target_type : dtypes)
      for (const index n : {1, 17, 1025, 34007})
        for (const order o : {orders[0], orders[1]})
          for (const double bad : {nan, -0.25, 1.0625, -0.0}) {
            std::vector<double> x(static_cast<std::size_t>(n), 0.5), y = x;
            y.front() = 0;
            y.back() = 1;
            const auto found = [&] {
              matrix loss(1, 1, arithmetic(type), order::c), grad(n, 1, type, order::c);
              element_loss_options options;
              options.reduction = reduction_kind::sum;
              options.check_target = true;
              try {
                binary_cross_entropy_with_logits(matrix(x, n, type, o).in(), matrix(y, n, target_type, o).in(), options,
                                                 {loss.to().data, arithmetic(type), 0, nullptr, nullptr}, grad.to(),
                                                 {3, nullptr, nullptr});
              } catch (const target_range_error& error) {
                return error.element;
              }
              return index{-1};
            };
            INFO("dtypes " << static_cast<int>(type) << ", " << static_cast<int>(target_type) << " n " << n << " bad " << bad);
            CHECK(found() == -1);
            for (const index at : {n - 1, n / 2, index{0}}) {
              y[static_cast<std::size_t>(at)] = bad;
              CHECK(found() == (bad == 0 ? -1 : at));
            }
          }
  const double just_above = std::nextafter(1.0, 2.0);   // 1 as a float
  const float x = 0;
  float loss;
  element_loss_options options;
  options.check_target = true;
  CHECK_THROWS_AS(binary_cross_entropy_with_logits({&x, dtype::float32, 0, nullptr, nullptr},
                                                   {&just_above, dtype::float64, 0, nullptr, nullptr}, options,
                                                   {&loss, dtype::float32, 0, nullptr, nullptr}, {}),
                  target_range_error);
}

TEST_CASE("numbers out of range in odd shapes") {
  const float x[] = {0.5f, 2, 0.5f};
  const index none[] = {0, 5}, any[] = {20, 4}, many[] = {70, 1000}, zero[] = {0, 0}, three[] = {2, 3, 5}, back[] = {0, -4, 0};
  CHECK(first_outside({x, dtype::float32, 2, none, any}, 0, 1).element == -1);
  CHECK(first_outside({x, dtype::float32, 2, many, zero}, 0, 1).element == -1);
  CHECK(first_outside({x + 1, dtype::float32, 2, many, zero}, 0, 1).element == 0);
  CHECK(first_outside({x, dtype::float32, 0, nullptr, nullptr}, 0, 1).element == -1);
  CHECK(first_outside({x + 1, dtype::float32, 0, nullptr, nullptr}, 0, 1).element == 0);
  CHECK(first_outside({x + 2, dtype::float32, 3, three, back}, 0, 1).element == 5);
}

TEST_CASE("the golden hash of losses of elements: the same at every level with FMA and from every compiler") {
  std::uint64_t h = 14695981039346656037u;
  for (const dtype type : dtypes)
    for (const index columns : {1, 7, 16, 1000, 2100})
      for (const operation& f : operations)
        h = fnv(h, compute(f, problem(f, 5, columns, type, 0), 5, columns, type, order::c, 2));
  std::printf("  %-8s golden hash of losses of elements %016llx\n", kernels().name, static_cast<unsigned long long>(h));
  const std::uint64_t with_fma = 0x8a316394e497efe0, baseline = 0xb50a8d1fe9416bee;
  CHECK(h == (std::strcmp(kernels().name, "baseline") == 0 ? baseline : with_fma));
}

}  // namespace crossent
