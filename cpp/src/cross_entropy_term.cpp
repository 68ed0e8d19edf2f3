#include "cross_entropy_term.hpp"

#include <algorithm>

namespace crossent {

cross_entropy_term::cross_entropy_term(row_operation& op, int logits, const targets& y, const upstream& u,
                                       const row_loss_options& options, const view& probabilities, double scale,
                                       const execution& e)
    : op_(op), logits_(logits), y_(y), upstream_(u), options_(options), scale_(scale), smoothed_(options.label_smoothing > 0) {
  if (probabilities.data != nullptr) probabilities_ = op.read(probabilities, options.axis, 1.0, false);
  if (!smoothed() && probabilities_ < 0) return;
  op.sums = true;
  const index classes = op.classes, blocks = op.blocks(), size = item_size(op.type);
  const int threads = threads_for(classes, e);
  const auto over_blocks = [&](auto f) {   // f(block, first class, last class)
    parallel_for(blocks, block_classes, threads, e, [&](index begin, index end, int) {
      for (index b = begin; b < end; ++b) f(b, b * block_classes, std::min(classes, (b + 1) * block_classes));
    });
  };
  if (smoothed()) {
    std::vector<double_double<double>> sums(static_cast<std::size_t>(blocks));
    over_blocks([&](index b, index begin, index end) {
      double_double<double>& sum = sums[static_cast<std::size_t>(b)];
      if (options.weight.data == nullptr) sum.hi = static_cast<double>(end - begin);
      else
        for (index c = begin; c < end; ++c) sum += y.weight(c);
    });
    for (const double_double<double>& sum : sums) {
      block_weights_.push_back(rounded(sum));
      weight_sum_ += sum.hi;
      weight_sum_ += sum.lo;
    }
    smoothed_ = weight_sum_.hi > 0;
  }
  if (options.weight.data == nullptr) return;
  if (options.weight.type == op.type && (options.weight.strides[0] == size || classes == 1)) {
    weight_ = options.weight.data;
    return;
  }
  packed_weight_.reserve(classes * size);
  weight_ = packed_weight_.data();
  over_blocks([&](index, index begin, index end) {
    for (index c = begin; c < end; ++c) store_number(packed_weight_.data() + c * size, op.type, y.weight(c));
  });
}

void cross_entropy_term::prepare(row_batch& batch, bool all_rows) const {
  auto& h = *batch.cross_entropy;
  y_.load(batch.first, batch.count, h.y, h.class_weight, h.row_weight, all_rows);
  op_.skip_zero_weight_rows(batch, h.row_weight);
  if (op_.out.data == nullptr) return;
  upstream_.load(batch.first, batch.count, h.row_weight, h.upstream);
  if (scale_ != 1)
    for (index i = 0; i < batch.count; ++i) h.upstream[i] *= scale_;
}

double cross_entropy_term::merge_gaps(row_batch& batch, index row, const double* part, const double* mass) const {
  if (batch.blocks == 1) return part[0];
  const double* max = batch.in[logits_].statistics_of_blocks().max + row * batch.blocks;
  double_double<double> sum{};
  for (index b = 0; b < batch.blocks; ++b) {
    const double block_max = max[b] == -__builtin_inf() ? 0 : max[b];
    sum += part[b];
    sum += (mass[b] == 0 ? 0 : mass[b] * (batch.in[logits_].max[row] - block_max));
  }
  return rounded(sum);
}

void cross_entropy_term::settle(row_batch& batch) const {
  const index sums = (smoothed() ? 1 : 0) + (probabilities_ >= 0 ? 3 : 0);
  batch.cross_entropy->sums.assign(static_cast<std::size_t>(batch.count * batch.blocks * sums), 0.0);
}

probability_statistics cross_entropy_term::probability_sums(row_batch& batch) const {
  const index n = batch.count * batch.blocks;
  double* at = batch.cross_entropy->sums.data() + (smoothed() ? n : 0);
  return {at, at + n, at + 2 * n};
}

void cross_entropy_term::sum(row_batch& batch, index begin, index end) const {
  const double* max = batch.in[logits_].statistics_of_blocks().max;
  if (smoothed()) op_.kernel().weighted_gap_to_max(op_.input(batch, logits_), weight_, begin, end, max, smoothing_sums(batch));
  if (probabilities_ >= 0)
    op_.kernel().probability_sums(op_.input(batch, logits_), op_.input(batch, probabilities_), weight_, begin, end, max,
                                  probability_sums(batch));
}

void cross_entropy_term::merge_smoothing(row_batch& batch) const {
  for (index i = 0; i < batch.count; ++i)
    batch.cross_entropy->weighted_gap_to_max[i] = merge_gaps(batch, i, smoothing_sums(batch) + i * batch.blocks, block_weights_.data());
}

void cross_entropy_term::merge_probabilities(row_batch& batch) const {
  const probability_statistics sums = probability_sums(batch);
  const double *mass = sums.mass, *mass_without_max = sums.mass_without_max;
  const row_array& q = op_.inputs[static_cast<std::size_t>(probabilities_)].array;
  for (index i = 0; i < batch.count; ++i) {
    const index at = i * batch.blocks, top = static_cast<index>(batch.in[logits_].block[i]);
    batch.cross_entropy->target_gap_to_max[i] = merge_gaps(batch, i, sums.weighted_gap_to_max + at, mass + at);
    double_double<double> all{mass[at], 0}, without_max{top == 0 ? mass_without_max[at] : mass[at], 0};
    for (index b = 1; b < batch.blocks; ++b) {
      all += mass[at + b];
      without_max += (b == top ? mass_without_max[at + b] : mass[at + b]);
    }
    batch.cross_entropy->mass[i] = rounded(all);
    batch.cross_entropy->mass_without_max[i] = rounded(without_max);
    const char* row = batch.in[probabilities_].x[i];
    batch.cross_entropy->argmax_probability[i] =
        row ? load_rounded(row + static_cast<index>(batch.cross_entropy->argmax[i]) * q.class_stride, q.type, op_.type) : 0;
  }
}

void cross_entropy_term::finish(row_batch& batch) const {
  auto& h = *batch.cross_entropy;
  row_statistics& x = batch.in[logits_];
  if (smoothed() || probabilities_ >= 0) {
    op_.kernel().argmax(op_.input(batch, logits_), x.state(), h.argmax);
    for (index i = 0; i < batch.count; ++i) h.argmax_weight[i] = y_.weight(static_cast<index>(h.argmax[i]));
  }
  if (smoothed()) merge_smoothing(batch);
  if (probabilities_ >= 0) merge_probabilities(batch);
  load_class(op_.inputs[static_cast<std::size_t>(logits_)].array, batch.count, x.x, h.y, h.row_weight, h.target);
  cross_entropy_rows r{};
  r.count = batch.count;
  r.extended = op_.type == dtype::float64;
  r.state = x.state();
  r.label_smoothing = options_.label_smoothing;
  r.classes = static_cast<double>(op_.classes);
  r.weight_sum = rounded(weight_sum_);
  r.weight_sum_lo = weight_sum_.lo - (r.weight_sum - weight_sum_.hi);
  r.divisor = upstream_.divisor();
  r.row_weight = h.row_weight;
  r.upstream = h.upstream;
  r.weighted_gap_to_max = smoothed() ? h.weighted_gap_to_max : nullptr;
  r.argmax_weight = h.argmax_weight;
  r.target = h.target;
  r.class_weight = h.class_weight;
  if (probabilities_ >= 0) {
    r.target_gap_to_max = h.target_gap_to_max;
    r.mass = h.mass;
    r.mass_without_max = h.mass_without_max;
    r.argmax_probability = h.argmax_probability;
  }
  r.loss = h.loss;
  r.loss_lo = keeps_lo ? h.loss_lo : nullptr;
  r.factor = op_.out.data == nullptr ? nullptr : h.factor;
  r.beta = h.beta;
  r.gamma = h.gamma;
  r.target_gradient = h.target_gradient;
  r.argmax_gradient = h.argmax_gradient;
  kernels().cross_entropy(r);
  if (op_.out.data == nullptr) return;
  op_.scale_factors(batch, x.exponent, h.factor, h.exponent);
}

row_scale cross_entropy_term::scale_of(const row_batch& batch) const {
  row_scale s;
  s.reference = batch.in[logits_].reference;
  s.exponent = batch.cross_entropy->exponent;
  s.factor = batch.cross_entropy->factor;
  if (smoothed() || probabilities_ >= 0) s.beta = batch.cross_entropy->beta;
  if (probabilities_ >= 0) s.gamma = batch.cross_entropy->gamma;
  s.weight = weight_;
  if (writes_target()) {
    s.target = batch.cross_entropy->y;
    s.target_gradient = batch.cross_entropy->target_gradient;
  }
  return s;
}

const source* cross_entropy_term::probabilities(const row_batch& batch, source& storage) const {
  if (probabilities_ < 0) return nullptr;
  storage = op_.input(batch, probabilities_);
  return &storage;
}

}  // namespace crossent
