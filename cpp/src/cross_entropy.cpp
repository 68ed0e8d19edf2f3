// Cross-entropy over class indices: value and gradient in one pass. The formulas are in docs/design.md.
#include <algorithm>
#include <memory>
#include <vector>

#include "environment.hpp"
#include "row_pass.hpp"
#include "targets.hpp"

namespace crossent {
namespace {

class cross_entropy_operation : public row_operation {
 public:
  cross_entropy_operation(const targets& y, const upstream& u, const index_loss_options& o) : y_(y), upstream_(u), options_(o) {}

  double* losses = nullptr;      // of every row, in C order
  const void* weight = nullptr;  // contiguous, in the dtype of the logits; nullptr: ones
  double weight_sum = 0;
  std::vector<double> block_weights;   // sum of the weights of each block of classes

  bool smoothed() const { return options_.label_smoothing > 0; }

  void prepare(row_group& g) override {
    y_.load(g.first, g.count, g.y, g.class_weight, g.row_weight);
    upstream_.load(g.first, g.count, g.row_weight, g.upstream);
    for (index i = 0; i < g.count; ++i) {
      const bool there = g.row_weight[i] != 0;
      g.target[i] = there ? load_number(g.x[i] + g.y[i] * x.class_stride, type) : 0;
      if (!there && !across) g.x[i] = nullptr;
    }
  }

  void finish(row_group& g) override {
    if (smoothed()) smooth(g);
    kernels().index_loss({g.count, type == dtype::float64, g.state(), options_.label_smoothing, static_cast<double>(classes),
                          weight_sum, upstream_.divisor(), g.target, g.row_weight, g.class_weight, g.upstream,
                          smoothed() ? g.deviation : nullptr, g.top_weight, g.top_gradient, g.loss, g.factor, g.beta,
                          g.target_gradient});
    if (losses != nullptr) std::copy_n(g.loss, g.count, losses + g.first);
    kernel().spread(g.count, g.factor, g.shift);
  }

  void write(row_group& g, index begin, index end) override {
    kernel().write_exp(input(g), output(g), begin, end, t,
                       {g.offset, g.shift, g.factor, smoothed() ? g.beta : nullptr, weight});
  }

  // The entries that the difference of two rounded numbers would lose: the true class, and with smoothing the largest.
  void complete(row_group& g) override {
    for (index i = 0; i < g.count; ++i) {
      if (g.row_weight[i] == 0) continue;
      if (smoothed()) put(g, i, static_cast<index>(g.top_class[i]), g.top_gradient[i]);
      put(g, i, g.y[i], g.target_gradient[i]);
    }
  }

 private:
  void put(row_group& g, index row, index c, double v) { store_number(g.out[row] + c * out.class_stride, type, v); }

  // sum w (max - x) of each row from those of its blocks, and the class of the maximum.
  void smooth(row_group& g) {
    const double* max = g.block_stats().max;
    std::vector<double> part(static_cast<std::size_t>(g.count * g.blocks));
    kernel().deviation(input(g), weight, 0, g.blocks, max, part.data());
    kernel().locate(input(g), g.state(), g.top_class);
    for (index i = 0; i < g.count; ++i) {
      double sum = 0;
      for (index b = 0; b < g.blocks; ++b) {
        const index at = i * g.blocks + b;
        const double block_max = max[at] == -__builtin_inf() ? 0 : max[at], w = block_weights[static_cast<std::size_t>(b)];
        sum += part[static_cast<std::size_t>(at)] + (w == 0 ? 0 : w * (g.max[i] - block_max));
      }
      g.deviation[i] = sum;
      g.top_weight[i] = y_.weight(static_cast<index>(g.top_class[i]));
    }
  }

  const targets& y_;
  const upstream& upstream_;
  const index_loss_options& options_;
};

}  // namespace

void cross_entropy(const view& logits, const index_view& target, const index_loss_options& options, const mutable_view& loss,
                   const mutable_view& grad, const execution& e) {
  const default_environment environment;
  const index classes = logits.shape[options.axis];
  const targets y(target, options, classes, e);
  const double denominator = y.denominator(options, e);
  const upstream coefficients(options.grad_output, denominator);

  cross_entropy_operation op(y, coefficients, options);
  describe(op, logits, options.axis, 1.0, grad);
  std::vector<char> packed_weight;
  if (options.label_smoothing > 0) {
    op.block_weights.assign(static_cast<std::size_t>((classes + block_classes - 1) / block_classes), 0.0);
    for (index c = 0; c < classes; ++c) op.block_weights[static_cast<std::size_t>(c / block_classes)] += y.weight(c);
    for (const double w : op.block_weights) op.weight_sum += w;
    if (options.weight.data != nullptr) {
      const std::size_t size = static_cast<std::size_t>(item_size(logits.type));
      packed_weight.resize(static_cast<std::size_t>(classes) * size);
      for (index c = 0; c < classes; ++c)
        store_number(packed_weight.data() + static_cast<std::size_t>(c) * size, logits.type, y.weight(c));
      op.weight = packed_weight.data();
    }
  }

  const index rows = y.rows();
  const std::unique_ptr<double[]> losses(loss.data ? new double[static_cast<std::size_t>(rows)] : nullptr);
  op.losses = losses.get();
  run_rows(op, e);
  store_loss(losses.get(), rows, options.reduction, denominator, loss, e);
}

}  // namespace crossent
