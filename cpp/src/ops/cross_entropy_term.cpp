#include "ops/cross_entropy_term.hpp"

#include <algorithm>
#include <utility>

#include "core/merge_tree.hpp"
#include "core/number.hpp"

namespace crossent {
namespace {

// f(block, first class, end of its classes)
template <class F> void for_each_class_block(const row_plan& plan, const execution& e, F f) {
  parallel_for(plan.blocks(), block_classes, threads_for(plan.classes, e), e, [&](index begin, index end, int) {
    for (index b = begin; b < end; ++b) f(b, b * block_classes, std::min(plan.classes, (b + 1) * block_classes));
  });
}

}  // namespace

cross_entropy_term::cross_entropy_term(row_plan& plan, int logits, const targets& y, const upstream& u,
                                       const row_loss_options& options, const view& probabilities, double share,
                                       const execution& e)
    : plan_(plan),
      logits_(logits),
      y_(y),
      upstream_(u),
      options_(options),
      share_(share),
      smoothed_(y.smoothed()),
      inverse_(kernels(dtype::float64).inverse_temperature_of(options.temperature)) {
  if (probabilities.data != nullptr) probabilities_ = plan.read(probabilities, options.axis, 1.0, false);
  if (!needs_argmax()) return;
  plan.with_sums = true;
  if (smoothed_) sum_class_weights(e);
  if (options.weight.data != nullptr) pack_class_weights(e);
}

void cross_entropy_term::sum_class_weights(const execution& e) {
  std::vector<double_double<double>> sums(static_cast<std::size_t>(plan_.blocks()));
  for_each_class_block(plan_, e, [&](index b, index begin, index end) {
    double_double<double>& sum = sums[static_cast<std::size_t>(b)];
    if (options_.weight.data == nullptr) sum.hi = static_cast<double>(end - begin);
    else
      for (index c = begin; c < end; ++c) sum += y_.weight(c);
  });
  for (const double_double<double>& sum : sums) block_weights_.push_back(rounded(sum));
  weight_sum_ = sum_levels(plan_.blocks(), sums.data());
}

void cross_entropy_term::pack_class_weights(const execution& e) {
  const index size = item_size(plan_.type);
  if (options_.weight.type == plan_.type && (options_.weight.strides[0] == size || plan_.classes == 1)) {
    weight_ = options_.weight.data;
    return;
  }
  packed_weight_.reserve(plan_.classes * size);
  weight_ = packed_weight_.data();
  for_each_class_block(plan_, e, [&](index, index begin, index end) {
    for (index c = begin; c < end; ++c) store_number(packed_weight_.data() + c * size, plan_.type, y_.weight(c));
  });
}

void cross_entropy_term::load(row_batch& batch, cross_entropy_state& state, bool all_rows) const {
  cross_entropy_rows& r = state.rows;
  y_.load(batch.first, batch.count, state.y(), r.class_weight, r.row_weight, all_rows);
  batch.skip_zero_weight_rows(r.row_weight);
  if (!plan_.writes()) return;
  upstream_.load(batch.first, batch.count, r.row_weight, r.upstream);
  if (share_ != 1)
    for (index i = 0; i < batch.count; ++i) r.upstream[i] *= share_;
}

void cross_entropy_term::prepare_sums(row_batch& batch, cross_entropy_state& state) const {
  const index arrays = probabilities_ >= 0 ? 4 : smoothed_ ? 1 : 0;
  state.sums.assign(static_cast<std::size_t>(batch.count * batch.blocks * arrays), 0.0);
}

probability_sums cross_entropy_term::sums_of_probabilities(row_batch& batch, cross_entropy_state& state) const {
  const index n = batch.count * batch.blocks;
  double* at = state.sums.data();
  return {at + n, at + 2 * n, at + 3 * n, at};
}

void cross_entropy_term::sum(row_batch& batch, cross_entropy_state& state, index begin, index end) const {
  const source x = batch.input(logits_);
  const double* max = batch.in[logits_].statistics_of_blocks().max;
  if (probabilities_ >= 0)
    plan_.kernel().sum_probabilities(x, batch.input(probabilities_), weight_, begin, end, max,
                                     sums_of_probabilities(batch, state));
  else if (smoothed_) plan_.kernel().weighted_gap_to_max(x, weight_, begin, end, max, state.sums.data());
}

double cross_entropy_term::merge_gaps(row_batch& batch, index row, const double* gaps, const double* mass,
                                      double* total_mass) const {
  const double* max = batch.in[logits_].statistics_of_blocks().max + row * batch.blocks;
  return kernels().merge_gaps(batch.blocks, max, gaps, mass, total_mass);
}

void cross_entropy_term::merge_probabilities(row_batch& batch, cross_entropy_state& state) const {
  cross_entropy_rows& r = state.rows;
  const probability_sums sums = sums_of_probabilities(batch, state);
  const row_array& q = plan_.input(probabilities_).array;
  for (index i = 0; i < batch.count; ++i) {
    const index at = i * batch.blocks, max_block = batch.in[logits_].statistics.max_block[i];
    r.target_gap_to_max[i] = merge_gaps(batch, i, sums.weighted_gap_to_max + at, sums.mass + at, &r.mass[i]);
    const double whole_max_block = std::exchange(sums.mass[at + max_block], sums.mass_without_max[at + max_block]);
    r.mass_without_max[i] = rounded(sum_tree(batch.blocks, sums.mass + at));
    sums.mass[at + max_block] = whole_max_block;
    const char* row = batch.in[probabilities_].x[i];
    r.argmax_probability[i] = row ? load_rounded(row + r.argmax[i] * q.class_stride, q.type, plan_.type) : 0;
  }
}

void cross_entropy_term::load_targets(row_batch& batch, cross_entropy_state& state) const {
  cross_entropy_rows& r = state.rows;
  const row_array& logits = plan_.input(logits_).array;
  const char* const* rows = batch.in[logits_].x;
  with_loader(logits.type, [&](auto load) {
    for (index i = 0; i < batch.count; ++i)
      r.target[i] = r.row_weight[i] != 0 ? load(rows[i] + state.y()[i] * logits.class_stride) : 0;
  });
}

void cross_entropy_term::target_gaps(row_batch& batch, cross_entropy_state& state) const {
  cross_entropy_rows& r = state.rows;
  if (probabilities_ >= 0) {
    const probability_sums sums = sums_of_probabilities(batch, state);
    for (index i = 0; i < batch.count; ++i) {
      const index at = i * batch.blocks;
      r.target_gap_to_max[i] = merge_gaps(batch, i, sums.weighted_gap_to_max + at, sums.mass + at, &r.mass[i]);
    }
    return;
  }
  load_targets(batch, state);
  for (index i = 0; i < batch.count; ++i) {
    r.target_gap_to_max[i] = batch.in[logits_].statistics.max[i] - r.target[i];
    r.mass[i] = 1;
  }
}

void cross_entropy_term::finish(row_batch& batch, cross_entropy_state& state) const {
  cross_entropy_rows& r = state.rows;
  input_rows& x = batch.in[logits_];
  r.count = batch.count;
  r.probabilities = probabilities_ >= 0;
  r.smoothed = smoothed_;
  r.with_gradient = plan_.writes();
  r.with_loss_lo = with_loss_lo;
  r.label_smoothing = options_.label_smoothing;
  r.z_loss = options_.z_loss;
  r.temperature = options_.temperature;
  r.inverse = inverse_;
  r.classes = static_cast<double>(plan_.classes);
  r.weight_sum = rounded(weight_sum_);
  r.weight_sum_lo = weight_sum_.lo - (r.weight_sum - weight_sum_.hi);
  r.divisor = upstream_.divisor();
  if (needs_argmax()) {
    plan_.kernel().argmax(batch.input(logits_), x.statistics, r.argmax);
    for (index i = 0; i < batch.count; ++i) r.argmax_weight[i] = y_.weight(r.argmax[i]);
  }
  for (index i = 0; i < batch.count && smoothed_; ++i)
    r.weighted_gap_to_max[i] = merge_gaps(batch, i, state.sums.data() + i * batch.blocks, block_weights_.data(), nullptr);
  if (r.probabilities) merge_probabilities(batch, state);
  if (!r.probabilities) load_targets(batch, state);
  // A target of weight 0 has no coefficient: its entry is as those of the other classes.
  for (index i = 0; i < batch.count && r.z_loss > 0; ++i)
    if (r.class_weight[i] == 0) state.y()[i] = targets::ignored;
  kernels().cross_entropy(x.statistics, r);
  if (!plan_.writes()) return;
  r.gradient.weight = weight_;
  r.gradient.with_beta = needs_argmax();
  r.gradient.with_gamma = r.probabilities;
  r.gradient.with_target = writes_target();
  batch.scale_factors(x.statistics.exponent, r.gradient);
}

const source* cross_entropy_term::probabilities(const row_batch& batch, source& storage) const {
  if (probabilities_ < 0) return nullptr;
  storage = batch.input(probabilities_);
  return &storage;
}

}  // namespace crossent
