// Classes in shards: the bits of rows in one place, and states that are any numbers, which come from other processes.
#include "crossent/shards.hpp"
#include "row_options.hpp"

namespace crossent::fuzz {

namespace {

constexpr index block = block_size;

struct batch {
  index rows, classes, axes[2] = {0, 0}, strides[2] = {0, 0};
  dtype type;
  floats logits;
  integers target;
  row_loss_options options;

  explicit batch(bytes& data)
      : rows(data.ConsumeIntegralInRange<index>(1, 20)),
        classes(data.ConsumeIntegralInRange<index>(1, 4 * block)),
        type(data.PickValueInArray(dtypes)),
        logits(floats::input(data, {rows, classes}, type, kind::logits)),
        target(integers::input(data, {rows}, classes, -100)) {
    options.axis = 1;
    options.temperature = some_temperature(data);
    options.label_smoothing = some_fraction(data);
    options.reduction = reduction_kind::none;
  }
  // Classes begin .. end - 1.
  view part(index begin, index end) {
    axes[0] = rows, axes[1] = end - begin;
    const view all = logits.in();
    return {static_cast<const char*>(all.data) + begin * all.strides[1], type, 2, axes, all.strides};
  }
};

std::vector<double> states(const partial_state_format& format, index rows) {
  return std::vector<double>(static_cast<std::size_t>(format.numbers() * rows));
}

// Merges shards of whole blocks, then finishes them: the losses of rows in one place.
void check_shards(bytes& data) {
  batch b(data);
  const index split = data.ConsumeIntegralInRange<index>(0, (b.classes - 1) / block) * block;
  const execution threads{data.ConsumeIntegralInRange<int>(1, 4)};
  const dtype type = arithmetic(b.type);
  floats wanted(strided({b.rows}, item_size(type)), type), found = wanted.contiguous();
  const std::string ended =
      outcome([&] { cross_entropy(b.logits.in(), b.target.in(), {}, b.options, wanted.to(), {}, execution{1}); });
  b.options.shard.classes = b.classes;
  const partial_state_format format = format_of(b.type, false, b.options);
  std::vector<double> merged = states(format, b.rows), second = merged;
  std::vector<double> of_target(static_cast<std::size_t>(b.rows)), of_second = of_target;
  const auto read = [&](index begin, index end, std::vector<double>& to, std::vector<double>& of_targets) {
    std::vector<index> counts{(end - begin + block - 1) / block};
    b.options.shard.first = begin;
    partial_states_of_shard(b.part(begin, end), b.target.in(), {}, b.options, counts.data(), 1, to.data(), of_targets.data(),
                            threads);
  };
  const std::string of_shards = outcome([&] {
    if (split == 0 || (split & (split - 1)) != 0) return read(0, b.classes, merged, of_target);  // a subtree is a power of two
    read(0, split, merged, of_target);
    read(split, b.classes, second, of_second);
    merge_partial_states(format, b.rows, merged.data(), second.data(), merged.data(), threads);
    for (std::size_t i = 0; i < of_target.size(); ++i) of_target[i] += of_second[i];
  });
  require(of_shards == ended, "another outcome of shards");
  if (!ended.empty()) return;
  const merged_state whole{format, b.rows, merged.data(), of_target.data()};
  b.options.shard.first = 0;
  cross_entropy_of_shards(whole, b.logits.in(), b.target.in(), {}, b.options, found.to(), {}, threads);
  require(found.entries() == wanted.entries(), "other bits of shards than of rows in one place");
}

// No numbers of a state crash what reads them.
void check_any_state(bytes& data) {
  batch b(data);
  b.options.shard.classes = b.classes;
  const partial_state_format format = format_of(b.type, false, b.options);
  numbers any(data, kind::any);
  const auto drawn = [&](std::vector<double> v) {
    for (double& x : v) x = any.next();
    return v;
  };
  const std::vector<double> first = drawn(states(format, b.rows)), second = drawn(states(format, b.rows));
  const std::vector<double> of_target = drawn(std::vector<double>(static_cast<std::size_t>(b.rows)));
  std::vector<double> merged = states(format, b.rows);
  merge_partial_states(format, b.rows, first.data(), second.data(), merged.data());
  const merged_state whole{format, b.rows, merged.data(), of_target.data()};
  const dtype type = arithmetic(b.type);
  floats loss(strided({b.rows}, item_size(type)), type), grad(strided({b.rows, b.classes}, item_size(b.type)), b.type);
  outcome([&] { cross_entropy_of_shards(whole, b.logits.in(), b.target.in(), {}, b.options, loss.to(), grad.to()); });
  softmax_of_shard(whole, b.logits.in(), b.options, grad.to());
  log_softmax_of_shard(whole, b.logits.in(), b.options, grad.to());
  logsumexp_of_shards(whole, loss.to());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* first, std::size_t size) {
  bytes data(first, size);
  if (data.ConsumeBool()) check_shards(data);
  else check_any_state(data);
  return 0;
}

}  // namespace crossent::fuzz
