// The losses of rows beyond class indices, and the measures of information, through the C++ API: the same bits in every
// layout, on any number of threads, in place and from half types, and the golden hash of a small corpus.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "corpus.hpp"

namespace crossent {

namespace {

// The inputs of an operation, each in a layout of its own.
struct problem {
  index rows, classes;
  matrix x, other, q, p;             // logits, those of a teacher, two arrays of probabilities
  std::vector<std::int64_t> target;
  matrix weight, sample_weight;      // in the arithmetic dtype
  index_view indices() const { return {target.data(), int_dtype::int64, 1, &rows, &item}; }
  static constexpr index item = 8;

  problem(index n, index c, dtype type, int spread, std::size_t layout, bool widened = false)
      : rows(n),
        classes(c),
        x(made(logits<float>(n * c, static_cast<std::uint64_t>(c), spread), layout, type, widened)),
        other(made(logits<float>(n * c, static_cast<std::uint64_t>(c + 1), spread), layout * 5, type, widened)),
        q(made(probabilities<float>(n * c, static_cast<std::uint64_t>(c + 2)), layout * 2, type, widened)),
        p(made(probabilities<float>(n * c, static_cast<std::uint64_t>(c + 3)), layout, type, widened)),
        target(static_cast<std::size_t>(n)),
        weight(probabilities<float>(c, 5), 1, arithmetic(type), order::c),
        sample_weight(probabilities<float>(n, 6), 1, arithmetic(type), order::c) {
    for (index r = 0; r < n; ++r) target[static_cast<std::size_t>(r)] = r % 7 == 3 ? -100 : (r * 31) % c;
  }

  // The first axis of length 1 is left out of a vector's view.
  static view vector(const matrix& m) {
    const view v = m.in();
    return {v.data, v.type, 1, v.shape + 1, v.strides + 1};
  }

 private:
  matrix made(const std::vector<float>& values, std::size_t layout, dtype type, bool widened) const {
    matrix m(values, rows, type, orders[layout % std::size(orders)]);
    return widened ? matrix(m.numbers(), rows, arithmetic(type), orders[layout % std::size(orders)]) : m;
  }
};

row_loss_options options_of(const problem& s, reduction_kind how, bool all) {
  row_loss_options o;
  o.axis = 1;
  o.reduction = how;
  if (!all) return o;
  o.weight = problem::vector(s.weight);
  o.sample_weight = problem::vector(s.sample_weight);
  o.label_smoothing = 0.2;
  return o;
}

struct operation {
  const char* name;
  void (*run)(const problem&, reduction_kind, const mutable_view& loss, const mutable_view& grad, const execution&);
};

template <divergence_kind kind, int tenths>
void kl(const problem& s, reduction_kind how, const mutable_view& loss, const mutable_view& grad, const execution& e) {
  row_loss_options o = options_of(s, how, false);
  if (tenths == 7) o.sample_weight = problem::vector(s.sample_weight);
  kl_div_with_logits(s.x.in(), s.other.in(), {tenths / 10.0, kind, 0.3}, o, loss, grad, e);
}

// targets: 0: none, 1: indices, 2: probabilities
template <divergence_kind kind, int tenths, int targets, bool all>
void distil(const problem& s, reduction_kind how, const mutable_view& loss, const mutable_view& grad, const execution& e) {
  distillation_loss(s.x.in(), s.other.in(), targets == 1 ? s.indices() : index_view{}, targets == 2 ? s.q.in() : view{},
                    {targets == 0 ? 1.0 : 0.3, kind != divergence_kind::js}, {tenths / 10.0, kind, 0.3},
                    options_of(s, how, all), loss, grad, e);
}

template <bool all>
void soft_targets(const problem& s, reduction_kind how, const mutable_view& loss, const mutable_view& grad,
                  const execution& e) {
  cross_entropy(s.x.in(), {}, s.q.in(), options_of(s, how, all), loss, grad, e);
}

const operation operations[] = {
    {"kl, forward, T = 1", kl<divergence_kind::forward, 10>},
    {"kl, forward, T = 0.7", kl<divergence_kind::forward, 7>},
    {"kl, reverse, T = 3", kl<divergence_kind::reverse, 30>},
    {"kl, js, T = 1", kl<divergence_kind::js, 10>},
    {"kl, js, T = 0.7", kl<divergence_kind::js, 7>},
    {"distillation, forward, indices", distil<divergence_kind::forward, 20, 1, true>},
    {"distillation, reverse, indices, T = 1", distil<divergence_kind::reverse, 10, 1, false>},
    {"distillation, js, probabilities", distil<divergence_kind::js, 40, 2, true>},
    {"distillation, forward, probabilities", distil<divergence_kind::forward, 20, 2, false>},
    {"distillation, forward, no targets", distil<divergence_kind::forward, 20, 0, false>},
    {"cross_entropy, probabilities", soft_targets<false>},
    {"cross_entropy, probabilities, weighted, smoothed", soft_targets<true>},
};

// The mean with its gradient, then the losses of the rows.
struct outcome {
  std::vector<char> value, grad, losses;
  bool operator==(const outcome& o) const { return value == o.value && grad == o.grad && losses == o.losses; }
};
outcome compute(const operation& f, const problem& s, matrix& grad, int threads) {
  const dtype type = arithmetic(s.x.type());
  matrix value(1, 1, type, order::c), losses(s.rows, 1, type, order::c);
  const mutable_view to = losses.to();
  f.run(s, reduction_kind::mean, {value.to().data, type, 0, nullptr, nullptr}, grad.to(), {threads, nullptr, nullptr});
  outcome r{value.entries(), grad.entries(), {}};
  f.run(s, reduction_kind::none, {to.data, type, 1, to.shape, to.strides}, {}, {threads, nullptr, nullptr});
  r.losses = losses.entries();
  return r;
}
outcome compute(const operation& f, const problem& s, int threads, order to = order::c) {
  matrix grad(s.rows, s.classes, s.x.type(), to);
  return compute(f, s, grad, threads);
}

// All measures of information, of the rows of p (and q).
std::vector<char> information_of(const problem& s, int threads) {
  const dtype type = arithmetic(s.x.type());
  std::vector<char> all;
  const execution e{threads, nullptr, nullptr};
  const auto add = [&](auto measure) {
    matrix out(s.rows, 1, type, order::c);
    const mutable_view v = out.to();
    measure(mutable_view{v.data, type, 1, v.shape, v.strides});
    const std::vector<char> bytes = out.entries();
    all.insert(all.end(), bytes.begin(), bytes.end());
  };
  add([&](const mutable_view& to) { entropy(s.p.in(), 1, 0, to, e); });
  add([&](const mutable_view& to) { information_cross_entropy(s.p.in(), s.q.in(), 1, 2, to, e); });
  add([&](const mutable_view& to) { kl_divergence(s.p.in(), s.q.in(), 1, 0, to, e); });
  add([&](const mutable_view& to) { js_divergence(s.p.in(), s.q.in(), 1, 10, to, e); });
  add([&](const mutable_view& to) { entropy_with_logits(s.x.in(), 1, to, e); });
  return all;
}

const dtype dtypes[] = {dtype::float32, dtype::float64, dtype::float16, dtype::bfloat16};

}  // namespace

// To every second number of an array, and to arrays in C order.
TEST_CASE("the divergences of rows are written to any layout") {
  for (const dtype type : {dtype::float32, dtype::float64}) {
    const problem s(7, 33, type, 4, 0);
    std::vector<matrix> apart, dense;
    for (int k = 0; k < 3; ++k) {
      apart.emplace_back(s.rows, 1, type, order::every_second);
      dense.emplace_back(s.rows, 1, type, order::c);
    }
    const auto first = [](matrix& m) {
      const mutable_view v = m.to();
      return mutable_view{v.data, v.type, 1, v.shape, v.strides};
    };
    row_loss_options options;
    options.axis = 1;
    row_divergences(s.x.in(), s.other.in(), {}, options, {first(apart[0]), first(apart[1]), first(apart[2])});
    row_divergences(s.x.in(), s.other.in(), {}, options, {first(dense[0]), first(dense[1]), first(dense[2])});
    for (std::size_t k = 0; k < 3; ++k) CHECK(apart[k].entries() == dense[k].entries());
  }
}

TEST_CASE("losses of rows have the same bits in every layout and on any number of threads") {
  for (const dtype type : dtypes) {
    for (const index classes : {1, 3, 17, 129, 1025}) {
      for (const int spread : {4, 100, 3000}) {
        if (classes > 1000 && spread != 100) continue;
        std::vector<outcome> wanted;
        for (std::size_t i = 0; i < std::size(orders); ++i) {
          const problem s(37, classes, type, spread, i);
          for (std::size_t k = 0; k < std::size(operations); ++k) {
            INFO(std::string(operations[k].name)
                 << " dtype " << static_cast<int>(type) << " classes " << classes << " spread " << spread << " layout " << i);
            const outcome r = compute(operations[k], s, 1 + static_cast<int>(i) % 3, orders[7 * i % std::size(orders)]);
            if (i == 0) wanted.push_back(r);
            else CHECK(r == wanted[k]);
          }
        }
      }
    }
  }
}

TEST_CASE("measures of information have the same bits in every layout and on any number of threads") {
  for (const dtype type : dtypes)
    for (const index classes : {1, 3, 17, 129, 1025}) {
      INFO("dtype " << static_cast<int>(type) << " classes " << classes);
      const std::vector<char> wanted = information_of(problem(37, classes, type, 100, 0), 1);
      for (std::size_t i = 1; i < std::size(orders); ++i)
        CHECK(information_of(problem(37, classes, type, 100, i), 1 + static_cast<int>(i) % 3) == wanted);
    }
}

TEST_CASE("few long rows, whose blocks the threads share, have the same bits as on one thread") {
  for (const dtype type : {dtype::float32, dtype::float64}) {
    const problem s(3, 12000, type, 30, 0), strided(3, 12000, type, 30, 1);
    for (const operation& f : operations) {
      INFO(std::string(f.name) << " dtype " << static_cast<int>(type));
      const outcome wanted = compute(f, s, 1);
      CHECK(compute(f, s, 2) == wanted);
      CHECK(compute(f, strided, 3) == wanted);
    }
  }
}

TEST_CASE("a gradient may be written over any input of its shape") {
  for (const dtype type : dtypes)
    for (const index classes : {3, 130, 1025})
      for (const int threads : {1, 3})
        for (const operation& f : operations) {
          INFO(std::string(f.name) << " dtype " << static_cast<int>(type) << " classes " << classes);
          const std::vector<char> wanted = compute(f, problem(37, classes, type, 30, 0), 1).grad;
          for (matrix problem::* over : {&problem::x, &problem::other, &problem::q}) {
            problem s(37, classes, type, 30, 0);
            f.run(s, reduction_kind::mean, {}, (s.*over).to(), {threads, nullptr, nullptr});
            CHECK((s.*over).entries() == wanted);
          }
        }
}

TEST_CASE("half inputs give what the same numbers in float32 give; half gradients are those, rounded") {
  for (const dtype type : {dtype::float16, dtype::bfloat16})
    for (const index classes : {3, 16, 129, 1025})
      for (const std::size_t layout : {0, 1, 2})
        for (const int spread : {4, 100}) {
          const problem half(37, classes, type, spread, layout), wide(37, classes, type, spread, layout, true);
          CHECK(information_of(half, 2) == information_of(wide, 2));
          for (const operation& f : operations) {
            INFO(std::string(f.name) << " dtype " << static_cast<int>(type) << " classes " << classes << " layout " << layout);
            matrix exact(37, classes, dtype::float32, order::c), rounded(37, classes, type, order::c);
            const outcome wanted = compute(f, wide, exact, 1);
            CHECK(compute(f, half, exact, 1) == wanted);
            compute(f, half, rounded, 1);
            CHECK(rounded.entries() == matrix(exact.numbers(), 37, type, order::c).entries());
          }
        }
}

TEST_CASE("the golden hash of these losses: the same at every level with FMA and from every compiler") {
  std::uint64_t h = 14695981039346656037u;
  index nans = 0;   // a NaN has no bits of its own
  for (const dtype type : dtypes)
    for (const index classes : class_counts)
      for (const int spread : {4, 30, 3000}) {
        const problem s(5, classes, type, spread, 0);
        for (const operation& f : operations) {
          matrix grad(5, classes, type, order::c);
          const outcome r = compute(f, s, grad, 2);
          h = fnv(fnv(fnv(h, r.value), r.losses), r.grad);
          for (const double v : grad.numbers()) nans += std::isnan(v);
        }
        h = fnv(h, information_of(s, 2));
      }
  std::printf("  %-8s golden hash of the losses %016llx\n", kernels().name, static_cast<unsigned long long>(h));
  CHECK(nans == 0);
  const std::uint64_t with_fma = 0x6008310b82c1d503, baseline = 0xae51fcf273bb4e36;
  CHECK(h == (std::strcmp(kernels().name, "baseline") == 0 ? baseline : with_fma));
}

TEST_CASE("the sums of blocks of rows make the mean") {
  constexpr index rows = 2500, blocks = 3;
  const problem s(rows, 3, dtype::float32, 4, 0);
  for (const operation& f : operations) {
    if (std::strncmp(f.name, "distillation", 12) == 0) continue;   // has two terms
    double losses[2 * blocks], weights[2 * blocks], sum[2], weight[2];
    f.run(s, reduction_kind::block_sums, {losses, dtype::float64, 0, nullptr, nullptr}, {}, {});
    f.run(s, reduction_kind::block_weights, {weights, dtype::float64, 0, nullptr, nullptr}, {}, {});
    merge_sums(losses, blocks, 1, sum);
    merge_sums(weights, blocks, 1, weight);
    const double denominator = weight[0] + weight[1];
    float mean, wanted;
    loss_of_sums({}, sum, &denominator, dtype::float32, &mean);
    f.run(s, reduction_kind::mean, {&wanted, dtype::float32, 0, nullptr, nullptr}, {}, {});
    CHECK_MESSAGE(mean == wanted, f.name);
  }
}

}  // namespace crossent
