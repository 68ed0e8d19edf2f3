#include "cross_entropy_part.hpp"

#include <algorithm>

namespace crossent {

cross_entropy_part::cross_entropy_part(row_operation& op, int logits, const targets& y, const upstream& u,
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
    std::vector<compensated> sums(static_cast<std::size_t>(blocks));
    over_blocks([&](index b, index begin, index end) {
      compensated& sum = sums[static_cast<std::size_t>(b)];
      if (options.weight.data == nullptr) sum.high = static_cast<double>(end - begin);
      else
        for (index c = begin; c < end; ++c) sum.add(y.weight(c));
    });
    for (const compensated& sum : sums) {
      block_weights_.push_back(sum.total());
      weight_sum_.add(sum.high);
      weight_sum_.add(sum.low);
    }
    smoothed_ = weight_sum_.high > 0;
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

void cross_entropy_part::prepare(row_group& g, bool all_rows) const {
  auto& h = *g.hard;
  y_.load(g.first, g.count, h.y, h.class_weight, h.row_weight, all_rows);
  op_.leave_out(g, h.row_weight);
  if (op_.out.data == nullptr) return;
  upstream_.load(g.first, g.count, h.row_weight, h.upstream);
  if (scale_ != 1)
    for (index i = 0; i < g.count; ++i) h.upstream[i] *= scale_;
}

double cross_entropy_part::fold_deviation(row_group& g, index row, const double* part, const double* mass) const {
  if (g.blocks == 1) return part[0];
  const double* max = g.in[logits_].block_stats().max + row * g.blocks;
  compensated sum;
  for (index b = 0; b < g.blocks; ++b) {
    const double block_max = max[b] == -__builtin_inf() ? 0 : max[b];
    sum.add(part[b]);
    sum.add(mass[b] == 0 ? 0 : mass[b] * (g.in[logits_].max[row] - block_max));
  }
  return sum.total();
}

void cross_entropy_part::settle(row_group& g) const {
  const index sums = (smoothed() ? 1 : 0) + (probabilities_ >= 0 ? 3 : 0);
  g.hard->sums.assign(static_cast<std::size_t>(g.count * g.blocks * sums), 0.0);
}

probability_statistics cross_entropy_part::probability_sums(row_group& g) const {
  const index n = g.count * g.blocks;
  double* at = g.hard->sums.data() + (smoothed() ? n : 0);
  return {at, at + n, at + 2 * n};
}

void cross_entropy_part::sum(row_group& g, index begin, index end) const {
  const double* max = g.in[logits_].block_stats().max;
  if (smoothed()) op_.kernel().deviation(op_.input(g, logits_), weight_, begin, end, max, smoothing_sums(g));
  if (probabilities_ >= 0)
    op_.kernel().probability_sums(op_.input(g, logits_), op_.input(g, probabilities_), weight_, begin, end, max,
                                  probability_sums(g));
}

void cross_entropy_part::fold_smoothing(row_group& g) const {
  for (index i = 0; i < g.count; ++i)
    g.hard->deviation[i] = fold_deviation(g, i, smoothing_sums(g) + i * g.blocks, block_weights_.data());
}

void cross_entropy_part::fold_probabilities(row_group& g) const {
  const probability_statistics sums = probability_sums(g);
  const double *mass = sums.mass, *others = sums.others;
  const row_array& q = op_.inputs[static_cast<std::size_t>(probabilities_)].array;
  for (index i = 0; i < g.count; ++i) {
    const index at = i * g.blocks, top = static_cast<index>(g.in[logits_].block[i]);
    g.hard->target_deviation[i] = fold_deviation(g, i, sums.deviation + at, mass + at);
    compensated all{mass[at]}, rest{top == 0 ? others[at] : mass[at]};
    for (index b = 1; b < g.blocks; ++b) {
      all.add(mass[at + b]);
      rest.add(b == top ? others[at + b] : mass[at + b]);
    }
    g.hard->mass[i] = all.total();
    g.hard->others[i] = rest.total();
    const char* row = g.in[probabilities_].x[i];
    g.hard->top_probability[i] =
        row ? load_rounded(row + static_cast<index>(g.hard->top_class[i]) * q.class_stride, q.type, op_.type) : 0;
  }
}

void cross_entropy_part::finish(row_group& g) const {
  auto& h = *g.hard;
  row_reading& x = g.in[logits_];
  if (smoothed() || probabilities_ >= 0) {
    op_.kernel().locate(op_.input(g, logits_), x.state(), h.top_class);
    for (index i = 0; i < g.count; ++i) h.top_weight[i] = y_.weight(static_cast<index>(h.top_class[i]));
  }
  if (smoothed()) fold_smoothing(g);
  if (probabilities_ >= 0) fold_probabilities(g);
  load_class(op_.inputs[static_cast<std::size_t>(logits_)].array, g.count, x.x, h.y, h.row_weight, h.target);
  cross_entropy_rows r{};
  r.count = g.count;
  r.precise = op_.type == dtype::float64;
  r.state = x.state();
  r.label_smoothing = options_.label_smoothing;
  r.classes = static_cast<double>(op_.classes);
  r.weight_sum = weight_sum_.total();
  r.weight_sum_low = weight_sum_.low - (r.weight_sum - weight_sum_.high);
  r.divisor = upstream_.divisor();
  r.row_weight = h.row_weight;
  r.upstream = h.upstream;
  r.deviation = smoothed() ? h.deviation : nullptr;
  r.top_weight = h.top_weight;
  r.target = h.target;
  r.class_weight = h.class_weight;
  if (probabilities_ >= 0) {
    r.target_deviation = h.target_deviation;
    r.mass = h.mass;
    r.others = h.others;
    r.top_probability = h.top_probability;
  }
  r.loss = h.loss;
  r.loss_low = keeps_low ? h.loss_low : nullptr;
  r.factor = op_.out.data == nullptr ? nullptr : h.factor;
  r.beta = h.beta;
  r.gamma = h.gamma;
  r.target_gradient = h.target_gradient;
  r.top_gradient = h.top_gradient;
  kernels().cross_entropy(r);
  if (op_.out.data == nullptr) return;
  op_.scale_factors(g, x.shift, h.factor, h.shift);
}

row_scale cross_entropy_part::scale_of(const row_group& g) const {
  row_scale s;
  s.offset = g.in[logits_].offset;
  s.shift = g.hard->shift;
  s.factor = g.hard->factor;
  if (smoothed() || probabilities_ >= 0) s.beta = g.hard->beta;
  if (probabilities_ >= 0) s.gamma = g.hard->gamma;
  s.weight = weight_;
  if (writes_target()) {
    s.target = g.hard->y;
    s.target_gradient = g.hard->target_gradient;
  }
  return s;
}

const source* cross_entropy_part::probabilities(const row_group& g, source& storage) const {
  if (probabilities_ < 0) return nullptr;
  storage = op_.input(g, probabilities_);
  return &storage;
}

}  // namespace crossent
