#include "ops/cross_entropy_term.hpp"

#include <algorithm>

#include "core/merge_tree.hpp"
#include "core/number.hpp"
#include "ops/merged_statistics.hpp"

namespace crossent {
namespace {

// f(block, first class, end of its classes)
template <class F> void for_each_class_block(index classes, const execution& e, F f) {
  parallel_for(block_count(classes), block_classes, threads_for(classes, e), e, [&](index begin, index end, int) {
    for (index b = begin; b < end; ++b) f(b, b * block_classes, std::min(classes, (b + 1) * block_classes));
  });
}

// The sums of the class weights of the blocks of classes first .. first + count - 1, counted from the first.
std::vector<double_double<double>> block_weights(const targets& y, bool weighted, index first, index count,
                                                 const execution& e) {
  std::vector<double_double<double>> sums(static_cast<std::size_t>(block_count(count)));
  for_each_class_block(count, e, [&](index b, index begin, index end) {
    double_double<double>& sum = sums[static_cast<std::size_t>(b)];
    if (!weighted) sum.hi = static_cast<double>(end - begin);
    else
      for (index c = begin; c < end; ++c) sum += y.weight(first + c);
  });
  return sums;
}

void put(double* hi, double* lo, index i, double_double<double> v) {
  hi[i] = v.hi;
  lo[i] = v.lo;
}

}  // namespace

cross_entropy_inputs cross_entropy_term::describe(row_description& d, int logits, const targets& y, const view& probabilities,
                                                  bool with_entropy) {
  const bool has_probabilities = probabilities.data != nullptr, is_of_target = !has_probabilities && !y.smoothed();
  if (!is_of_target || with_entropy) d.with_sums = true;
  d.entries = is_of_target ? single_entries::of_target : single_entries::any;
  return {logits, has_probabilities ? d.read(probabilities, 1.0, false) : -1, with_entropy};
}

cross_entropy_term::cross_entropy_term(const row_plan& plan, const cross_entropy_inputs& inputs, const targets& y,
                                       const upstream& u, const row_loss_options& options, double share, const execution& e)
    : plan_(plan),
      logits_(inputs.logits),
      probabilities_(inputs.probabilities),
      with_entropy_(inputs.with_entropy),
      y_(y),
      upstream_(u),
      options_(options),
      share_(share),
      smoothed_(y.smoothed()),
      first_class_(options.shard.first),
      whole_classes_(options.shard.classes > 0 ? options.shard.classes : plan.classes),
      inverse_(kernels(dtype::float64).inverse_temperature_of(options.temperature)) {
  if (!needs_argmax()) return;
  if (smoothed_) sum_class_weights(e);
  if (options.weight.data != nullptr) pack_class_weights(e);
}

void cross_entropy_term::sum_class_weights(const execution& e) {
  const bool weighted = options_.weight.data != nullptr;
  std::vector<double_double<double>> sums = block_weights(y_, weighted, first_class_, plan_.classes, e);
  for (const double_double<double>& sum : sums) {
    block_weights_.push_back(sum.hi);
    block_weights_lo_.push_back(sum.lo);
  }
  if (whole_classes_ != plan_.classes) sums = block_weights(y_, weighted, 0, whole_classes_, e);
  weight_sum_ = sum_levels(static_cast<index>(sums.size()), sums.data());
}

void cross_entropy_term::pack_class_weights(const execution& e) {
  const index size = item_size(plan_.type);
  if (options_.weight.type == plan_.type && (options_.weight.strides[0] == size || whole_classes_ == 1)) {
    weight_ = static_cast<const char*>(options_.weight.data) + first_class_ * size;
    return;
  }
  packed_weight_.reserve(plan_.classes * size);
  weight_ = packed_weight_.data();
  for_each_class_block(plan_.classes, e, [&](index, index begin, index end) {
    for (index c = begin; c < end; ++c) store_number(packed_weight_.data() + c * size, plan_.type, y_.weight(first_class_ + c));
  });
}

void cross_entropy_term::load(row_batch& batch, cross_entropy_state& state, bool all_rows) const {
  cross_entropy_rows& r = state.rows;
  y_.load(batch.first, batch.count, state.y(), r.class_weight, r.row_weight, all_rows);
  if (with_entropy_) load_entropy(batch, state);
  batch.skip_zero_weight_rows(r.row_weight);
  if (plan_.with_sums) {
    const index arrays = (probabilities_ >= 0 ? 5 : 0) + (smoothed_ ? 1 : 0);   // the one of smoothing first
    state.sums.assign(static_cast<std::size_t>(batch.count * batch.blocks * arrays), 0.0);
  }
  if (!plan_.writes()) return;
  upstream_.load(batch.first, batch.count, r.row_weight, r.upstream);
  if (share_ != 1)
    for (index i = 0; i < batch.count; ++i) r.upstream[i] *= share_;
  batch.divide_by_temperatures(logits_, r.upstream);
}

void row_statistics_upstream::load(index first, index count, cross_entropy_rows& r, entropy_rows& entropy) const {
  double* const to[] = {r.class_weight, entropy.weight, entropy.logsumexp_weight};
  for (int k = 0; k < 3; ++k) {
    if (values_[k].given()) values_[k].load(first, count, to[k]);
    else std::fill_n(to[k], count, 0.0);
    for (index i = 0; i < count && k < 2; ++i) to[k][i] = -to[k][i];
  }
  for (index i = 0; i < count; ++i)
    if (to[0][i] == 0 && to[1][i] == 0 && to[2][i] == 0) r.row_weight[i] = 0;
}

void cross_entropy_term::load_entropy(row_batch& batch, cross_entropy_state& state) const {
  if (state.entropy == nullptr) state.entropy = std::make_unique<entropy_state>();
  entropy_rows& entropy = state.entropy->rows;
  state.rows.entropy = &entropy;
  if (plan_.with_sums) state.entropy->reserve(batch);
  if (coefficients != nullptr) return coefficients->load(batch.first, batch.count, state.rows, entropy);
  std::fill_n(entropy.weight, batch.count, options_.entropy_weight);
}

probability_sums cross_entropy_term::sums_of_probabilities(row_batch& batch, cross_entropy_state& state) const {
  const index n = batch.count * batch.blocks;
  double* at = state.sums.data() + (smoothed_ ? n : 0);
  return {at, at + n, at + 2 * n, at + 3 * n, at + 4 * n};
}

void cross_entropy_term::sum(row_batch& batch, cross_entropy_state& state, index begin, index end) const {
  const source x = batch.input(logits_);
  const double* max = batch.in[logits_].statistics_of_blocks().max;
  if (probabilities_ >= 0)
    plan_.kernel().sum_probabilities(x, batch.input(probabilities_), weight_, begin, end, max,
                                     batch.in[logits_].statistics.max_block, sums_of_probabilities(batch, state));
  if (smoothed_) plan_.kernel().weighted_gap_to_max(x, weight_, begin, end, max, state.sums.data());
  if (state.entropy != nullptr) state.entropy->sum(batch, logits_, begin, end);
}

gap_sums cross_entropy_term::merge_gaps(row_batch& batch, index row, index begin, index end, const double* gaps,
                                        const double* mass, const double* mass_lo) const {
  const double* max = batch.in[logits_].statistics_of_blocks().max + row * batch.blocks;
  return kernels().merge_gaps(end - begin, max + begin, gaps + begin, mass + begin, mass_lo + begin);
}

gap_sums cross_entropy_term::merge_smoothing_gaps(row_batch& batch, const cross_entropy_state& state, index row, index begin,
                                                  index end) const {
  return merge_gaps(batch, row, begin, end, state.sums.data() + row * batch.blocks, block_weights_.data(),
                    block_weights_lo_.data());
}

cross_entropy_term::target_sums cross_entropy_term::merge_probabilities(row_batch& batch, cross_entropy_state& state, index row,
                                                                        index begin, index end) const {
  using number = double_double<double>;
  const probability_sums sums = sums_of_probabilities(batch, state);
  const index at = row * batch.blocks, max_block = batch.in[logits_].statistics.max_block[row];
  target_sums s{merge_gaps(batch, row, begin, end, sums.weighted_gap_to_max + at, sums.mass + at, sums.mass_lo + at), {}};
  s.mass_without_max = merge_tree(
      end - begin,
      [&](index k) {
        const index b = at + begin + k;
        return begin + k == max_block ? number{sums.mass_without_max[b], sums.mass_without_max_lo[b]}
                                      : number{sums.mass[b], sums.mass_lo[b]};
      },
      [](number a, number b) { return a + b; });
  return s;
}

// Of class c, counted from the first one that is here.
double cross_entropy_term::probability_of(const row_batch& batch, index row, index c) const {
  const row_array& q = plan_.input(probabilities_).array;
  const char* x = batch.in[probabilities_].x[row];
  return x != nullptr ? load_rounded(x + c * q.class_stride, q.type, plan_.type) : 0;
}

void cross_entropy_term::load_targets(row_batch& batch, cross_entropy_state& state) const {
  cross_entropy_rows& r = state.rows;
  const row_array& logits = plan_.input(logits_).array;
  const char* const* rows = batch.in[logits_].x;
  if (plan_.input(logits_).is_transformed) {
    for (index i = 0; i < batch.count; ++i) {
      const index c = state.y()[i] - first_class_;
      r.target[i] = r.row_weight[i] != 0 && 0 <= c && c < plan_.classes ? batch.logit(logits_, i, c) : 0;
    }
    return;
  }
  with_loader(logits.type, [&](auto load) {
    for (index i = 0; i < batch.count; ++i) {
      const index c = state.y()[i] - first_class_;
      r.target[i] = r.row_weight[i] != 0 && 0 <= c && c < plan_.classes ? load(rows[i] + c * logits.class_stride) : 0;
    }
  });
}

void cross_entropy_term::target_gaps(row_batch& batch, cross_entropy_state& state) const {
  cross_entropy_rows& r = state.rows;
  if (probabilities_ >= 0) {
    for (index i = 0; i < batch.count; ++i) {
      const gap_sums sums = merge_probabilities(batch, state, i, 0, batch.blocks).all;
      r.target_gap_to_max[i] = rounded(sums.gap);
      put(r.mass, r.mass_lo, i, sums.mass);
    }
    return;
  }
  load_targets(batch, state);
  for (index i = 0; i < batch.count; ++i) {
    r.target_gap_to_max[i] = batch.in[logits_].statistics.max[i] - r.target[i];
    put(r.mass, r.mass_lo, i, {1, 0});
  }
}

void cross_entropy_term::find_classes(row_batch& batch, cross_entropy_state& state) const {
  if (needs_argmax()) plan_.kernel().argmax(batch.input(logits_), batch.in[logits_].statistics, state.rows.argmax);
  if (probabilities_ < 0) load_targets(batch, state);
}

void cross_entropy_term::put_partial_state(row_batch& batch, cross_entropy_state& state, index begin, index end,
                                           const partial_state& to) const {
  const auto put_gaps = [&](const gap_sums_of_rows& sums, index i, const gap_sums& v) {
    put(sums.gap, sums.gap_lo, i, v.gap);
    put(sums.mass, sums.mass_lo, i, v.mass);
  };
  for (index i = 0; i < batch.count; ++i) {
    if (state.entropy != nullptr) {
      double none;
      state.entropy->merged(batch, logits_, i, begin, end, to.gap + i, to.gap_lo != nullptr ? to.gap_lo + i : &none);
    }
    if (needs_argmax()) to.argmax[i] = static_cast<double>(first_class_ + state.rows.argmax[i]);
    if (smoothed_) put_gaps(to.smoothing, i, merge_smoothing_gaps(batch, state, i, begin, end));
    if (probabilities_ < 0) continue;
    const target_sums sums = merge_probabilities(batch, state, i, begin, end);
    put_gaps(to.target, i, sums.all);
    put(to.mass_without_max, to.mass_without_max_lo, i, sums.mass_without_max);
    to.argmax_probability[i] = probability_of(batch, i, state.rows.argmax[i]);
  }
  input_rows& x = batch.in[logits_];
  plan_.kernel().partial_state_of_blocks(batch.count, batch.blocks, begin, end, plan_.input(logits_).t,
                                         x.statistics_of_blocks(), x.statistics, to);
}

// Of the blocks that are here, which are all there are.
void cross_entropy_term::merge(row_batch& batch, cross_entropy_state& state) const {
  cross_entropy_rows& r = state.rows;
  find_classes(batch, state);
  if (state.entropy != nullptr) state.entropy->merge(batch, logits_);
  for (index i = 0; i < batch.count && smoothed_; ++i)
    r.weighted_gap_to_max[i] = rounded(merge_smoothing_gaps(batch, state, i, 0, batch.blocks).gap);
  for (index i = 0; i < batch.count && probabilities_ >= 0; ++i) {
    const target_sums sums = merge_probabilities(batch, state, i, 0, batch.blocks);
    r.target_gap_to_max[i] = rounded(sums.all.gap);
    put(r.mass, r.mass_lo, i, sums.all.mass);
    put(r.mass_without_max, r.mass_without_max_lo, i, sums.mass_without_max);
    r.argmax_probability[i] = probability_of(batch, i, r.argmax[i]);
  }
}

// The entries of single classes are written where those are.
void cross_entropy_term::leave_entries_of_others(cross_entropy_state& state) const {
  const auto local = [&](index c) { return first_class_ <= c && c < first_class_ + plan_.classes ? c - first_class_ : -1; };
  for (index i = 0; i < state.rows.count; ++i) {
    state.rows.argmax[i] = local(state.rows.argmax[i]);
    if (state.y()[i] >= 0) state.y()[i] = local(state.y()[i]);
  }
}

void cross_entropy_term::finish(row_batch& batch, cross_entropy_state& state) const {
  cross_entropy_rows& r = state.rows;
  input_rows& x = batch.in[logits_];
  r.count = batch.count;
  r.probabilities = merged != nullptr ? merged->of_probabilities() : probabilities_ >= 0;
  r.smoothed = smoothed_;
  r.with_gradient = plan_.writes();
  r.with_loss_lo = with_loss_lo;
  r.label_smoothing = options_.label_smoothing;
  r.z_loss = options_.z_loss;
  r.temperature = options_.temperature;
  r.inverse = inverse_;
  r.classes = static_cast<double>(whole_classes_);
  r.weight_sum = rounded(weight_sum_);
  r.weight_sum_lo = weight_sum_.lo - (r.weight_sum - weight_sum_.hi);
  r.divisor = upstream_.divisor();
  r.gradient_temperature = gradient_temperature(options_.temperature, plan_.out.type).divisor;
  if (merged != nullptr) merged->load(batch.first, batch.count, r);
  else merge(batch, state);
  for (index i = 0; i < batch.count && (smoothed_ || r.probabilities); ++i)
    r.argmax_weight[i] = y_.weight(std::max<index>(r.argmax[i], 0));
  // A target of weight 0 has no coefficient: its entry is as those of the other classes.
  for (index i = 0; i < batch.count && (r.z_loss > 0 || r.entropy != nullptr); ++i)
    if (r.class_weight[i] == 0) state.y()[i] = targets::ignored;
  kernels().cross_entropy(x.statistics, r);
  if (!plan_.writes()) return;
  if (merged != nullptr) leave_entries_of_others(state);
  r.gradient.weight = weight_;
  r.gradient.with_beta = smoothed_ || weight_ != nullptr;
  r.gradient.with_gamma = r.probabilities;
  r.gradient.with_target = plan_.writes_target;
  if (state.entropy != nullptr) state.entropy->scale(batch, x.statistics, r.gradient);
  else batch.scale_factors(x.statistics.exponent, r.gradient);
}

void cross_entropy_term::write(row_batch& batch, const cross_entropy_state& state, index begin, index end) const {
  source storage;
  const source* const q = probabilities(batch, storage);
  if (state.entropy != nullptr) state.entropy->write(batch, logits_, q, begin, end, state.rows.gradient);
  else batch.write_softmax_gradient(q, begin, end, state.rows.gradient);
}

void cross_entropy_term::multiply_by_softcap_derivative(row_batch& batch, cross_entropy_state& state) const {
  cross_entropy_rows& r = state.rows;
  if (!plan_.through_softcap) return;
  const auto multiply = [&](double& gradient, index row, index c) {
    if (c >= 0 && gradient != 0) gradient *= batch.softcap_derivative(logits_, row, c);
  };
  for (index i = 0; i < batch.count; ++i) {
    if (r.row_weight[i] == 0) continue;
    multiply(r.gradient.target_gradient[i], i, state.y()[i]);
    if (needs_argmax()) multiply(r.argmax_gradient[i], i, r.argmax[i]);
  }
}

const source* cross_entropy_term::probabilities(const row_batch& batch, source& storage) const {
  if (probabilities_ < 0) return nullptr;
  storage = batch.input(probabilities_);
  return &storage;
}

}  // namespace crossent
