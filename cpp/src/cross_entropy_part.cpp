#include "cross_entropy_part.hpp"

#include <algorithm>

namespace crossent {

cross_entropy_part::cross_entropy_part(row_operation& op, int logits, const targets& y, const upstream& u,
                                       const row_loss_options& options, const view& probabilities, double scale)
    : op_(op), logits_(logits), y_(y), upstream_(u), options_(options), scale_(scale) {
  const index classes = op.classes;
  if (probabilities.data != nullptr) probabilities_ = op.read(probabilities, options.axis, 1.0, false);
  if (smoothed()) {
    for (index begin = 0; begin < classes; begin += block_classes) {
      compensated block;
      for (index c = begin; c < std::min(classes, begin + block_classes); ++c) block.add(y.weight(c));
      block_weights_.push_back(block.total());
      weight_sum_.add(block.high);
      weight_sum_.add(block.low);
    }
  }
  if (options.weight.data != nullptr && (smoothed() || probabilities_ >= 0)) {
    const std::size_t size = static_cast<std::size_t>(item_size(op.type));
    packed_weight_.resize(static_cast<std::size_t>(classes) * size);
    for (index c = 0; c < classes; ++c)
      store_number(packed_weight_.data() + static_cast<std::size_t>(c) * size, op.type, y.weight(c));
  }
}

void cross_entropy_part::prepare(row_group& g, bool all_rows) const {
  auto& h = g.hard;
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

void cross_entropy_part::smooth(row_group& g) const {
  std::vector<double> part(static_cast<std::size_t>(g.count * g.blocks));
  op_.kernel().deviation(op_.input(g, logits_), packed_weight_.empty() ? nullptr : packed_weight_.data(), 0, g.blocks,
                         g.in[logits_].block_stats().max, part.data());
  for (index i = 0; i < g.count; ++i)
    g.hard.deviation[i] = fold_deviation(g, i, part.data() + i * g.blocks, block_weights_.data());
}

void cross_entropy_part::weigh_probabilities(row_group& g) const {
  const std::size_t n = static_cast<std::size_t>(g.count * g.blocks);
  std::vector<double> sums(3 * n);
  double *part = sums.data(), *mass = part + n, *others = mass + n;
  op_.kernel().probability_sums(op_.input(g, logits_), op_.input(g, probabilities_),
                                packed_weight_.empty() ? nullptr : packed_weight_.data(), 0, g.blocks,
                                g.in[logits_].block_stats().max, {part, mass, others});
  const row_array& q = op_.inputs[static_cast<std::size_t>(probabilities_)].array;
  for (index i = 0; i < g.count; ++i) {
    const index at = i * g.blocks, top = static_cast<index>(g.in[logits_].block[i]);
    g.hard.target_deviation[i] = fold_deviation(g, i, part + at, mass + at);
    compensated all{mass[at]}, rest{top == 0 ? others[at] : mass[at]};
    for (index b = 1; b < g.blocks; ++b) {
      all.add(mass[at + b]);
      rest.add(b == top ? others[at + b] : mass[at + b]);
    }
    g.hard.mass[i] = all.total();
    g.hard.others[i] = rest.total();
    const char* row = g.in[probabilities_].x[i];
    g.hard.top_probability[i] =
        row ? load_rounded(row + static_cast<index>(g.hard.top_class[i]) * q.class_stride, q.type, op_.type) : 0;
  }
}

void cross_entropy_part::finish(row_group& g) const {
  auto& h = g.hard;
  row_reading& x = g.in[logits_];
  if (smoothed() || probabilities_ >= 0) {
    op_.kernel().locate(op_.input(g, logits_), x.state(), h.top_class);
    for (index i = 0; i < g.count; ++i) h.top_weight[i] = y_.weight(static_cast<index>(h.top_class[i]));
  }
  if (smoothed()) smooth(g);
  if (probabilities_ >= 0) weigh_probabilities(g);
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
  s.shift = g.hard.shift;
  s.factor = g.hard.factor;
  if (smoothed() || probabilities_ >= 0) s.beta = g.hard.beta;
  if (probabilities_ >= 0) s.gamma = g.hard.gamma;
  if (!packed_weight_.empty()) s.weight = packed_weight_.data();
  if (writes_target()) {
    s.target = g.hard.y;
    s.target_gradient = g.hard.target_gradient;
  }
  return s;
}

const source* cross_entropy_part::probabilities(const row_group& g, source& storage) const {
  if (probabilities_ < 0) return nullptr;
  storage = op_.input(g, probabilities_);
  return &storage;
}

}  // namespace crossent
