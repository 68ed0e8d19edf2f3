// The two lane orientations, kernel by kernel: along the classes of a row, and across rows, the bits are the same.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "corpus.hpp"

namespace crossent {

namespace {

constexpr index rows = 13, padded = pack_rows;   // the last tile is not full

index blocks_of(index classes) { return (classes + block_classes - 1) / block_classes; }

// Rows in both orders of memory.
template <class T> struct both {
  std::vector<T> x, turned;
  const char *along_rows[padded], *across_rows[padded];
  source along, across;

  both(const both&) = delete;
  explicit both(std::vector<T> values) : x(std::move(values)), turned(x.size()) {
    const index classes = static_cast<index>(x.size()) / rows, item = static_cast<index>(sizeof(T));
    turned.resize(static_cast<std::size_t>(padded * classes));
    for (index r = 0; r < padded; ++r) {
      along_rows[r] = reinterpret_cast<const char*>(&x[static_cast<std::size_t>(std::min(r, rows - 1) * classes)]);
      across_rows[r] = reinterpret_cast<const char*>(turned.data() + r);
      for (index c = 0; c < classes; ++c)
        turned[static_cast<std::size_t>(c * padded + r)] = x[static_cast<std::size_t>(std::min(r, rows - 1) * classes + c)];
    }
    along = {along_rows, rows, classes, item, type_of<T>, false};
    across = {across_rows, rows, classes, padded * item, type_of<T>, true};
  }
};

// What is known of rows, from their statistics along the classes.
struct known {
  std::vector<double> block, row;
  double *max, *tail, *offset, *shift, *unit, *top, *log_sum, *factor, *spread_shift, *tail_low, *unit_low;
  double *scaled_tail, *rest;
  bool precise;

  known(const dtype_kernels& k, const source& x, const scaling& t) : precise(arithmetic(x.type) == dtype::float64) {
    const index blocks = blocks_of(x.classes), n = padded * blocks + padded;
    block.resize(static_cast<std::size_t>(6 * n));
    row.resize(13 * padded);
    double* s = block.data();
    alignas(64) static char tile[tile_bytes];
    const block_statistics in{s, s + n, s + 2 * n, s + 3 * n, s + 4 * n, s + 5 * n, nullptr, tile};
    double** const arrays[] = {&max,    &tail,         &offset,   &shift,    &unit,        &top, &log_sum,
                               &factor, &spread_shift, &tail_low, &unit_low, &scaled_tail, &rest};
    for (int i = 0; i < 13; ++i) *arrays[i] = row.data() + i * padded;
    k.statistics(x, 0, blocks, t, in);
    k.fold(rows, blocks, t, in, state());
    kernels().log_sum(rows, state(), log_sum);
    kernels().softmax_factor(rows, state(), {}, factor, rest);
    for (std::size_t i = 0; i < rows; ++i) rest[i] = 1e-8 * static_cast<double>(i);
    std::copy_n(shift, padded, spread_shift);
    k.spread(rows, factor, spread_shift);
  }
  row_state state() const {
    const auto if_precise = [&](double* v) { return precise ? v : nullptr; };
    return {max, tail, offset, shift, unit, top, if_precise(tail_low), if_precise(unit_low), if_precise(scaled_tail)};
  }
  distribution_rows distribution() const { return {max, offset, spread_shift, factor, rest}; }
};

// What sum(source.., out) puts into `sums` arrays of an entry per (row, block).
template <class F> std::vector<double> sums_of(index classes, int sums, F sum) {
  const std::size_t n = static_cast<std::size_t>(rows * blocks_of(classes));
  std::vector<double> v(static_cast<std::size_t>(sums) * n + 1, 7.0);   // 7: nothing is written past the end
  double* at[6] = {};
  for (int i = 0; i < sums; ++i) at[i] = v.data() + static_cast<std::size_t>(i) * n;
  sum(at);
  return v;
}
bool same(const std::vector<double>& a, const std::vector<double>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

// Whether write(sink, along) writes the same in both orders.
template <class T, class F> bool same_written(index classes, F write) {
  const index item = static_cast<index>(sizeof(T));
  std::vector<T> c_order(static_cast<std::size_t>(rows * classes), T(7)), turned(c_order);
  char *to[padded], *to_turned[padded];
  for (index r = 0; r < rows; ++r) {
    to[r] = reinterpret_cast<char*>(c_order.data() + r * classes);
    to_turned[r] = reinterpret_cast<char*>(turned.data() + r);
  }
  write(sink{to, item, type_of<T>, false}, false);
  write(sink{to_turned, rows * item, type_of<T>, false}, true);
  for (index r = 0; r < rows; ++r)
    for (index c = 0; c < classes; ++c)
      if (std::memcmp(&c_order[static_cast<std::size_t>(r * classes + c)], &turned[static_cast<std::size_t>(c * rows + r)],
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
TEST_CASE_TEMPLATE("the float64 sums of a block or a row have the same bits along and across", T, float, double) {
  const dtype_kernels& k = table<T>();
  for_each_case([&](int spread, index classes, std::uint64_t seed) {
    const both<T> x(logits<T>(rows * classes, seed, spread)), q(probabilities<T>(rows * classes, seed + 1));
    const std::vector<T> weight = probabilities<T>(classes, seed + 2);
    const index blocks = blocks_of(classes);
    const auto statistics = [&](const source& s, double** at) {
      alignas(64) static char tile[tile_bytes];
      k.statistics(s, 0, blocks, {}, {at[0], at[1], at[2], at[3], at[4], at[5], nullptr, tile});
      for (index r = 0; r < rows; ++r) {   // what is not needed need not be there
        double max = 0;
        for (index b = r * blocks; b < (r + 1) * blocks; ++b) {
          if (blocks == 1) at[3][b] = 0;
          if (b > r * blocks && !(at[0][b] > max)) at[4][b] = at[5][b] = 0;
          else max = at[0][b];
        }
      }
    };
    CHECK(same(sums_of(classes, 6, [&](double** at) { statistics(x.along, at); }),
               sums_of(classes, 6, [&](double** at) { statistics(x.across, at); })));

    const known row(k, x.along, {});
    for (const void* w : {static_cast<const void*>(nullptr), static_cast<const void*>(weight.data())}) {
      CHECK(same(sums_of(classes, 1, [&](double** at) { k.deviation(x.along, w, 0, blocks, row.block.data(), at[0]); }),
                 sums_of(classes, 1, [&](double** at) { k.deviation(x.across, w, 0, blocks, row.block.data(), at[0]); })));
      const auto weighed = [&](const source& a, const source& b, double** at) {
        k.probability_sums(a, b, w, 0, blocks, row.block.data(), {at[0], at[1], at[2]});
      };
      CHECK(same(sums_of(classes, 3, [&](double** at) { weighed(x.along, q.along, at); }),
                 sums_of(classes, 3, [&](double** at) { weighed(x.across, q.across, at); })));
    }
    const auto entropy = [&](const source& s) {
      std::vector<double> v(padded);
      k.entropy(s, row.state(), 0, blocks_of(s.classes), nullptr, v.data());
      v.resize(rows);
      return v;
    };
    CHECK(same(entropy(x.along), entropy(x.across)));
    for (const auto kind : {information::entropy, information::cross_entropy, information::kl_divergence,
                            information::js_divergence, information::kl_div, information::kl_div_log}) {
      const both<T>& first = kind < information::kl_div ? q : x;
      CHECK(same(sums_of(1, 1, [&](double** at) { kernels().information_sums(kind, first.along, q.along, 0, blocks_of(first.along.classes), nullptr, at[0]); }),
                 sums_of(1, 1, [&](double** at) { kernels().information_sums(kind, first.across, q.across, 0, blocks_of(first.across.classes), nullptr, at[0]); })));
    }
  });
}

TEST_CASE_TEMPLATE("divergences have the same bits along and across, sums and gradients", T, float, double) {
  const dtype_kernels& k = table<T>();
  for_each_case([&](int spread, index classes, std::uint64_t seed) {
    const both<T> x(logits<T>(rows * classes, seed, spread)), y(logits<T>(rows * classes, seed + 1, spread));
    const both<T> q(probabilities<T>(rows * classes, seed + 2));
    const std::vector<T> weight = probabilities<T>(classes, seed + 3);
    const index blocks = blocks_of(classes);
    std::vector<double> gap(padded), inner(padded), beta(padded), gamma(padded), low(padded), unit(padded);
    for (const double temperature : {1.0, 0.7, 4.0}) {
      const scaling t = k.inverse_of(temperature);
      const known student(k, x.along, t), teacher(k, y.along, t), unscaled(k, x.along, {});
      for (std::size_t i = 0; i < rows; ++i) {
        gap[i] = teacher.log_sum[i] - student.log_sum[i];
        inner[i] = 0.1 * static_cast<double>(i);
        low[i] = 1e-9 * static_cast<double>(i);
        unit[i] = 1e-20 * (1 + static_cast<double>(i));
        beta[i] = 0.01 * static_cast<double>(i);
        gamma[i] = 0.3 + beta[i];
      }
      const row_scale hard{unscaled.offset, unscaled.spread_shift, unscaled.factor, beta.data(), nullptr, nullptr};
      row_scale hard_q = hard, hard_w = hard;
      hard_q.gamma = gamma.data();
      hard_w.weight = hard_q.weight = weight.data();
      for (const auto kind : {divergence_kind::forward, divergence_kind::reverse, divergence_kind::js}) {
        INFO("temperature " << temperature << " kind " << static_cast<int>(kind));
        const divergence_rows d{kind, 0.3, t, student.distribution(), teacher.distribution(), gap.data(), low.data(), low.data(),
                                inner.data(), low.data(), unit.data(), beta.data()};
        if (kind == divergence_kind::forward && k.forward_divergence != nullptr) {
          const auto same_forward = [&](const row_scale* scale, bool with_q) {
            std::vector<double> sums[2];
            const bool written = same_written<T>(classes, [&](const sink& to, bool across) {
              const source& p = across ? q.across : q.along;
              sums[across] = sums_of(classes, 1, [&](double** at) {
                k.forward_divergence(across ? x.across : x.along, across ? y.across : y.along, with_q ? &p : nullptr, to, 0,
                                     blocks, d, scale, at[0]);
              });
            });
            const auto alone = sums_of(classes, 1, [&](double** at) {
              k.forward_divergence(x.along, y.along, nullptr, {}, 0, blocks, d, nullptr, at[0]);
            });
            return written && same(sums[0], sums[1]) && same(sums[0], alone);
          };
          CHECK(same_forward(nullptr, false));
          CHECK(same_forward(&hard, false));
          CHECK(same_forward(&hard_w, false));
          CHECK(same_forward(&hard_q, true));
          continue;
        }
        CHECK(same(
            sums_of(classes, 2, [&](double** at) { k.divergence_sums(x.along, y.along, 0, blocks, d, at[0], at[1]); }),
            sums_of(classes, 2, [&](double** at) { k.divergence_sums(x.across, y.across, 0, blocks, d, at[0], at[1]); })));
        const auto same_gradient = [&](const row_scale* scale, bool with_q) {
          return same_written<T>(classes, [&](const sink& to, bool across) {
            const source& p = across ? q.across : q.along;
            k.write_divergence(across ? x.across : x.along, across ? y.across : y.along, with_q ? &p : nullptr, to, 0, blocks, d,
                               scale);
          });
        };
        CHECK(same_gradient(nullptr, false));
        CHECK(same_gradient(&hard, false));
        CHECK(same_gradient(&hard_w, false));
        CHECK(same_gradient(&hard_q, true));
      }
    }
  });
}

TEST_CASE_TEMPLATE("gradients of losses of class probabilities have the same bits along and across", T, float, double) {
  const dtype_kernels& k = table<T>();
  for_each_case([&](int spread, index classes, std::uint64_t seed) {
    const both<T> x(logits<T>(rows * classes, seed, spread)), q(probabilities<T>(rows * classes, seed + 1));
    const std::vector<T> weight = probabilities<T>(classes, seed + 2);
    const known row(k, x.along, {});
    std::vector<double> beta(padded), gamma(padded);
    for (std::size_t i = 0; i < rows; ++i) {
      beta[i] = 0.01 * static_cast<double>(i);
      gamma[i] = 0.3 + beta[i];
    }
    row.factor[4] = 0;   // a row that is not there
    for (const void* w : {static_cast<const void*>(nullptr), static_cast<const void*>(weight.data())}) {
      const row_scale scale{row.offset, row.spread_shift, row.factor, beta.data(), gamma.data(), w};
      CHECK(same_written<T>(classes, [&](const sink& to, bool across) {
        const source& p = across ? q.across : q.along;
        k.write_exp(across ? x.across : x.along, &p, to, 0, blocks_of(classes), {}, scale);
      }));
    }
  });
}

}  // namespace crossent
