// The two lane orientations, kernel by kernel: lanes over the classes of a row and lanes over rows give the same bits.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "corpus.hpp"

namespace crossent {

namespace {

constexpr index rows = 13, padded = pack_rows;   // the last tile is not full

// Rows in both orders of memory.
template <class T> struct both {
  std::vector<T> x, transposed;
  const char *class_lanes_rows[padded], *row_lanes_rows[padded];
  index row_lanes_strides[2];
  source over_classes, over_rows;

  both(const both&) = delete;
  explicit both(std::vector<T> values) : x(std::move(values)), transposed(x.size()) {
    const index classes = static_cast<index>(x.size()) / rows, item = static_cast<index>(sizeof(T));
    transposed.resize(static_cast<std::size_t>(padded * classes));
    for (index r = 0; r < padded; ++r) {
      class_lanes_rows[r] = reinterpret_cast<const char*>(&x[static_cast<std::size_t>(std::min(r, rows - 1) * classes)]);
      row_lanes_rows[r] = reinterpret_cast<const char*>(transposed.data() + r);
      for (index c = 0; c < classes; ++c)
        transposed[static_cast<std::size_t>(c * padded + r)] = x[static_cast<std::size_t>(std::min(r, rows - 1) * classes + c)];
    }
    row_lanes_strides[0] = item;
    row_lanes_strides[1] = 0;
    over_classes = {class_lanes_rows, rows, classes, item, type_of<T>, false};
    over_rows = {row_lanes_rows, rows, classes, padded * item, type_of<T>, true, false, row_lanes_strides};
  }
};

// What is known of rows, from their statistics with lanes over classes.
struct known {
  std::vector<double> block;
  row_statistics statistics{};
  double log_sum[padded] = {};
  gradient_rows gradient{};   // with factors of softmax

  known(const dtype_kernels& k, const source& x, const inverse_temperature& t) {
    const index blocks = block_count(x.classes), n = padded * blocks + padded;
    block.resize(static_cast<std::size_t>(8 * n));
    double* s = block.data();
    alignas(64) static char tile[tile_bytes];
    const block_statistics in{s, s + n, s + 2 * n, s + 3 * n, s + 4 * n, s + 5 * n, s + 6 * n, s + 7 * n, nullptr, tile};
    k.statistics(x, 0, blocks, t, in);
    k.merge_blocks(rows, blocks, t, in, statistics);
    kernels().log_sum(rows, statistics, log_sum);
    kernels().softmax_factor(rows, statistics, {}, gradient.factor, gradient.factor_lo);
    std::copy_n(statistics.exponent, padded, gradient.exponent);
    k.split_exponents(rows, gradient.factor, gradient.factor_lo, gradient.exponent);
    for (std::size_t i = 0; i < rows; ++i) {
      gradient.beta[i] = 0.01 * static_cast<double>(i);
      gradient.gamma[i] = 0.3 + gradient.beta[i];
    }
    gradient.with_beta = true;
  }
  gradient_rows with(const void* weight, bool probabilities) const {
    gradient_rows g = gradient;
    g.weight = weight;
    g.with_gamma = probabilities;
    return g;
  }
  void set_distribution(distribution_rows& p) const {
    p.reference = statistics.reference;
    std::copy_n(gradient.exponent, padded, p.exponent);
    std::copy_n(gradient.factor, padded, p.factor);
    for (std::size_t i = 0; i < rows; ++i) p.factor_lo[i] = 1e-8 * static_cast<double>(i);
  }
};

// What sum(source.., out) puts into `sums` arrays of an entry per (row, block).
template <class F> std::vector<double> sums_of(index classes, int sums, F sum) {
  const std::size_t n = static_cast<std::size_t>(rows * block_count(classes));
  std::vector<double> v(static_cast<std::size_t>(sums) * n + 1, 7.0);   // 7: nothing is written past the end
  double* at[8] = {};
  for (int i = 0; i < sums; ++i) at[i] = v.data() + static_cast<std::size_t>(i) * n;
  sum(at);
  return v;
}
bool same(const std::vector<double>& a, const std::vector<double>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

// Whether write(sink, over_rows) writes the same in both orders.
template <class T, class F> bool same_written(index classes, F write) {
  const index item = static_cast<index>(sizeof(T));
  std::vector<T> c_order(static_cast<std::size_t>(rows * classes), T(7)), transposed(c_order);
  char *to[padded], *to_transposed[padded];
  for (index r = 0; r < rows; ++r) {
    to[r] = reinterpret_cast<char*>(c_order.data() + r * classes);
    to_transposed[r] = reinterpret_cast<char*>(transposed.data() + r);
  }
  const index strides[] = {sizeof(T) == 8 ? item : 0, 0};
  write(sink{to, item, type_of<T>, false}, false);
  write(sink{to_transposed, rows * item, type_of<T>, false, strides}, true);
  for (index r = 0; r < rows; ++r)
    for (index c = 0; c < classes; ++c)
      if (std::memcmp(&c_order[static_cast<std::size_t>(r * classes + c)], &transposed[static_cast<std::size_t>(c * rows + r)],
                      sizeof(T)) != 0)
        return false;
  return true;
}

template <class T> const dtype_kernels& table() { return sizeof(T) == 4 ? kernels().f32 : kernels().f64; }

// A corpus for two rows of logits, probabilities and weights.
template <class F> void for_each_case(F f) {
  for (const int spread : {4, 30, 100, 3000})
    for (const index classes : class_counts) {
      INFO("classes " << classes << " spread " << spread);
      f(spread, classes, static_cast<std::uint64_t>(classes));
    }
}

}  // namespace

// Float32 results hide nearly all of what an order of addition does, so the sums are compared before rounding.
TEST_CASE_TEMPLATE("the float64 sums of a block or a row have the same bits over classes and over rows", T, float, double) {
  const dtype_kernels& k = table<T>();
  for_each_case([&](int spread, index classes, std::uint64_t seed) {
    const both<T> x(logits<T>(rows * classes, seed, spread)), q(probabilities<T>(rows * classes, seed + 1));
    const std::vector<T> weight = probabilities<T>(classes, seed + 2);
    const index blocks = block_count(classes);
    const auto statistics = [&](const source& s, double** at) {
      alignas(64) static char tile[tile_bytes];
      k.statistics(s, 0, blocks, {}, {at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7], nullptr, tile});
      for (index r = 0; r < rows; ++r) {   // what is not needed need not be there
        double max = 0;
        for (index b = r * blocks; b < (r + 1) * blocks; ++b) {
          if (blocks == 1) at[3][b] = at[5][b] = 0;
          if (b > r * blocks && !(at[0][b] > max)) at[4][b] = at[6][b] = at[7][b] = 0;
          else max = at[0][b];
        }
      }
    };
    CHECK(same(sums_of(classes, 8, [&](double** at) { statistics(x.over_classes, at); }),
               sums_of(classes, 8, [&](double** at) { statistics(x.over_rows, at); })));

    const known row(k, x.over_classes, {});
    for (const void* w : {static_cast<const void*>(nullptr), static_cast<const void*>(weight.data())}) {
      CHECK(same(sums_of(classes, 1,
                         [&](double** at) { k.weighted_gap_to_max(x.over_classes, w, 0, blocks, row.block.data(), at[0]); }),
                 sums_of(classes, 1,
                         [&](double** at) { k.weighted_gap_to_max(x.over_rows, w, 0, blocks, row.block.data(), at[0]); })));
      const auto weighed = [&](const source& a, const source& b, double** at) {
        k.sum_probabilities(a, b, w, 0, blocks, row.block.data(), row.statistics.max_block,
                            {at[0], at[1], at[2], at[3], at[4]});
        for (index r = 0; r < rows; ++r)   // what is not needed need not be there
          for (index b = 0; b < blocks; ++b)
            if (b != row.statistics.max_block[r]) at[3][r * blocks + b] = at[4][r * blocks + b] = 0;
      };
      CHECK(same(sums_of(classes, 5, [&](double** at) { weighed(x.over_classes, q.over_classes, at); }),
                 sums_of(classes, 5, [&](double** at) { weighed(x.over_rows, q.over_rows, at); })));
    }
    const auto gaps = [&](const source& s, double** at) {
      k.gap_sums_of_logits(s, row.statistics, 0, blocks, {{at[0], nullptr}, {at[1], nullptr}});
    };
    CHECK(same(sums_of(classes, 2, [&](double** at) { gaps(x.over_classes, at); }),
               sums_of(classes, 2, [&](double** at) { gaps(x.over_rows, at); })));
    const auto products = [&](const source& a, const source& b, double** at) {
      k.sum_products(a, &b, 0, blocks, {{at[0], nullptr}, {at[1], nullptr}});
    };
    CHECK(same(sums_of(classes, 2, [&](double** at) { products(x.over_classes, q.over_classes, at); }),
               sums_of(classes, 2, [&](double** at) { products(x.over_rows, q.over_rows, at); })));
    for (const auto kind :
         {information::entropy, information::cross_entropy, information::kl_divergence, information::js_divergence,
          information::kl_div, information::kl_div_log}) {
      const both<T>& first = kind < information::kl_div ? q : x;
      const auto measure = [&](const source& a, const source& b, double** at) {
        kernels().information_sums(kind, a, b, 0, blocks, {{at[0], at[2]}, {at[1], at[3]}});
      };
      CHECK(same(sums_of(classes, 4, [&](double** at) { measure(first.over_classes, q.over_classes, at); }),
                 sums_of(classes, 4, [&](double** at) { measure(first.over_rows, q.over_rows, at); })));
    }
  });
}

TEST_CASE_TEMPLATE("divergences have the same bits over classes and over rows, sums and gradients", T, float, double) {
  const dtype_kernels& k = table<T>();
  for_each_case([&](int spread, index classes, std::uint64_t seed) {
    const both<T> x(logits<T>(rows * classes, seed, spread)), y(logits<T>(rows * classes, seed + 1, spread));
    const both<T> q(probabilities<T>(rows * classes, seed + 2));
    const std::vector<T> weight = probabilities<T>(classes, seed + 3);
    const index blocks = block_count(classes);
    for (const double temperature : {1.0, 0.7, 4.0}) {
      const inverse_temperature t = k.inverse_temperature_of(temperature);
      const known student(k, x.over_classes, t), teacher(k, y.over_classes, t), unscaled(k, x.over_classes, {});
      const gradient_rows plain = unscaled.with(nullptr, false), weighted = unscaled.with(weight.data(), false);
      const gradient_rows of_probabilities = unscaled.with(weight.data(), true);
      divergence_rows d{};
      d.beta = 0.3;
      d.t = t;
      d.student_statistics = &student.statistics;
      d.teacher_statistics = &teacher.statistics;
      student.set_distribution(d.student);
      teacher.set_distribution(d.teacher);
      for (std::size_t i = 0; i < rows; ++i) {
        d.log_sum_difference[i] = teacher.log_sum[i] - student.log_sum[i];
        d.log_sum_difference_lo[i] = d.log_sum_difference_scaled[i] = d.inner_lo[i] = 1e-9 * static_cast<double>(i);
        d.inner[i] = 0.1 * static_cast<double>(i);
        d.teacher_scale[i] = 1e-20 * (1 + static_cast<double>(i));
        d.small_difference_gradient[i] = 0.01 * static_cast<double>(i);
      }
      for (const auto kind : {divergence_kind::forward, divergence_kind::reverse, divergence_kind::js}) {
        INFO("temperature " << temperature << " kind " << static_cast<int>(kind));
        if (kind == divergence_kind::forward && k.forward_kl != nullptr) {
          const auto same_forward = [&](const gradient_rows* gradient, bool with_q) {
            std::vector<double> sums[2];
            const bool written = same_written<T>(classes, [&](const sink& to, bool over_rows) {
              const source& p = over_rows ? q.over_rows : q.over_classes;
              sums[over_rows] = sums_of(classes, 2, [&](double** at) {
                k.forward_kl(over_rows ? x.over_rows : x.over_classes, over_rows ? y.over_rows : y.over_classes,
                             with_q ? &p : nullptr, to, 0, blocks, d, unscaled.statistics, gradient, at[0], at[1]);
              });
            });
            const auto alone = sums_of(classes, 2, [&](double** at) {
              k.forward_kl(x.over_classes, y.over_classes, nullptr, {}, 0, blocks, d, unscaled.statistics, nullptr, at[0],
                           at[1]);
            });
            return written && same(sums[0], sums[1]) && same(sums[0], alone);
          };
          CHECK(same_forward(nullptr, false));
          CHECK(same_forward(&plain, false));
          CHECK(same_forward(&weighted, false));
          CHECK(same_forward(&of_probabilities, true));
          continue;
        }
        const auto sums = k.divergence_sums[static_cast<int>(kind)];
        CHECK(same(sums_of(classes, 2, [&](double** at) { sums(x.over_classes, y.over_classes, 0, blocks, d, at[0], at[1]); }),
                   sums_of(classes, 2, [&](double** at) { sums(x.over_rows, y.over_rows, 0, blocks, d, at[0], at[1]); })));
        const auto same_gradient = [&](const gradient_rows* gradient, bool with_q) {
          return same_written<T>(classes, [&](const sink& to, bool over_rows) {
            const source& p = over_rows ? q.over_rows : q.over_classes;
            k.write_divergence[static_cast<int>(kind)](over_rows ? x.over_rows : x.over_classes,
                                                       over_rows ? y.over_rows : y.over_classes, with_q ? &p : nullptr, to, 0,
                                                       blocks, d, unscaled.statistics, gradient);
          });
        };
        CHECK(same_gradient(nullptr, false));
        CHECK(same_gradient(&plain, false));
        CHECK(same_gradient(&weighted, false));
        CHECK(same_gradient(&of_probabilities, true));
      }
    }
  });
}

TEST_CASE_TEMPLATE("gradients of losses of class probabilities have the same bits over classes and over rows", T, float,
                   double) {
  const dtype_kernels& k = table<T>();
  for_each_case([&](int spread, index classes, std::uint64_t seed) {
    const both<T> x(logits<T>(rows * classes, seed, spread)), q(probabilities<T>(rows * classes, seed + 1));
    const std::vector<T> weight = probabilities<T>(classes, seed + 2);
    known row(k, x.over_classes, {});
    row.gradient.factor[4] = 0;   // a row that is not there
    for (const void* w : {static_cast<const void*>(nullptr), static_cast<const void*>(weight.data())}) {
      const gradient_rows gradient = row.with(w, true);
      CHECK(same_written<T>(classes, [&](const sink& to, bool over_rows) {
        const source& p = over_rows ? q.over_rows : q.over_classes;
        k.write_softmax_gradient(over_rows ? x.over_rows : x.over_classes, row.statistics, &p, to, 0, block_count(classes), {},
                                 gradient);
      }));
    }
  });
}

}  // namespace crossent
