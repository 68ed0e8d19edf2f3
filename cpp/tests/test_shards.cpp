// Rows whose classes are in shards: the bits of rows in one place.
#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "corpus.hpp"
#include "crossent/shards.hpp"

namespace crossent {
namespace {

constexpr index rows = 20, classes = 5000, item = 8;

template <class T> constexpr dtype type_of = sizeof(T) == 4 ? dtype::float32 : dtype::float64;

template <class T> struct problem {
  std::vector<T> x, weight, loss = std::vector<T>(rows), grad = std::vector<T>(rows * classes);
  std::vector<std::int64_t> target;
  row_loss_options options;
  static constexpr index size = classes, weight_stride = sizeof(T), row_stride = sizeof(T);

  explicit problem(bool smoothed) {
    for (float v : logits<float>(rows * classes, 3, 40)) x.push_back(static_cast<T>(v));
    for (float v : probabilities<float>(classes, 5)) weight.push_back(static_cast<T>(v));
    for (index i = 0; i < rows; ++i) target.push_back(i % 7 == 3 ? -100 : (i * 811) % classes);
    options.axis = 1;
    options.reduction = reduction_kind::none;
    options.weight = {weight.data(), type_of<T>, 1, &size, &weight_stride};
    options.label_smoothing = smoothed ? 0.2 : 0;
  }
  index_view indices() const { return {target.data(), int_dtype::int64, 1, &rows, &item}; }
  mutable_view losses(std::vector<T>& to) const { return {to.data(), type_of<T>, 1, &rows, &row_stride}; }
};

// Classes begin .. begin + shape[1] - 1 of a matrix.
template <class T> struct columns {
  index shape[2], strides[2];
  columns(index count) : shape{rows, count}, strides{classes * index{sizeof(T)}, sizeof(T)} {}
  view in(const std::vector<T>& x, index begin) const { return {x.data() + begin, type_of<T>, 2, shape, strides}; }
  mutable_view out(std::vector<T>& x, index begin) const { return {x.data() + begin, type_of<T>, 2, shape, strides}; }
};

template <class T> void check_shards(bool smoothed) {
  problem<T> p(smoothed);
  const columns<T> all(classes);
  cross_entropy(all.in(p.x, 0), p.indices(), {}, p.options, p.losses(p.loss), all.out(p.grad, 0));

  constexpr index begin[] = {0, 2048, 4096, classes}, blocks[] = {2, 2, 1};
  p.options.shard.classes = classes;
  const partial_state_format format = format_of(type_of<T>, false, p.options);
  std::vector<double> state[3], target_logits(rows), of_shard(rows);
  for (int k = 0; k < 3; ++k) {
    state[k].resize(static_cast<std::size_t>(format.numbers() * rows));
    p.options.shard.first = begin[k];
    partial_states_of_shard(columns<T>(begin[k + 1] - begin[k]).in(p.x, begin[k]), p.indices(), {}, p.options, blocks + k, 1,
                            state[k].data(), of_shard.data());
    for (std::size_t i = 0; i < rows; ++i) target_logits[i] += of_shard[i];
  }
  for (int k = 1; k < 3; ++k) merge_partial_states(format, rows, state[0].data(), state[k].data(), state[0].data());
  const merged_state whole{format, rows, state[0].data(), target_logits.data()};
  std::vector<T> loss(rows), grad(rows * classes);
  for (int k = 0; k < 3; ++k) {
    const columns<T> shard(begin[k + 1] - begin[k]);
    p.options.shard.first = begin[k];
    cross_entropy_of_shards(whole, shard.in(p.x, begin[k]), p.indices(), {}, p.options, p.losses(loss),
                            shard.out(grad, begin[k]));
    CHECK(std::memcmp(loss.data(), p.loss.data(), rows * sizeof(T)) == 0);
  }
  CHECK(std::memcmp(grad.data(), p.grad.data(), grad.size() * sizeof(T)) == 0);
}

}  // namespace

TEST_CASE("shards of the classes have the bits of rows in one place") {
  for (const bool smoothed : {false, true}) {
    CAPTURE(smoothed);
    check_shards<float>(smoothed);
    check_shards<double>(smoothed);
  }
}

}  // namespace crossent
