// Negative log-likelihood of given log-probabilities: one number is read per row, and the gradient is one number too.
#include <algorithm>
#include <cstring>
#include <memory>

#include "environment.hpp"
#include "row_buffer.hpp"
#include "row_driver.hpp"
#include "targets.hpp"

namespace crossent {
namespace {

constexpr index chunk = batch_rows;

}  // namespace

void nll_loss(const view& log_probs, const index_view& target, const row_loss_options& options, const mutable_view& loss,
              const mutable_view& grad, const execution& e) {
  const default_environment environment;
  const index classes = log_probs.shape[options.axis];
  const row_array x(log_probs, options.axis);
  const index rows = x.rows.rows();
  const row_buffer losses = new_row_buffer(rows);   // before anything that takes its time
  const targets y(target, rows, options, classes, arithmetic(log_probs.type), true, e);
  const double denominator = y.denominator(options, e);
  const upstream coefficients(options.grad_output, arithmetic(log_probs.type), denominator);

  // All that is read is read first: the gradient may lie on the log-probabilities.
  const index groups = (rows + chunk - 1) / chunk;
  parallel_for_runs(groups, 1, chunk, threads_for(rows, e), e, [&](index group, index, index, index) {
    const index first = group * chunk, n = std::min(chunk, rows - first);
    index c[chunk], offset[chunk];
    double class_weight[chunk], row_weight[chunk];
    y.load(first, n, c, class_weight, row_weight);
    x.rows.offsets(first, n, offset);
    for (index i = 0; i < n; ++i) {
      double& value = losses[static_cast<std::size_t>(first + i)];
      value = row_weight[i] == 0 ? 0
                                 : row_weight[i] * class_weight[i] *
                                       (0 - load_number(x.data + offset[i] + c[i] * x.class_stride, log_probs.type));
    }
  });
  y.throw_if_bad();
  store_loss(losses.get(), rows, options.reduction, denominator, loss, e);
  if (grad.data == nullptr) return;

  const row_array out(grad, options.axis);
  const index size = item_size(grad.type);
  const index blocks = block_count(classes);
  parallel_for_runs(groups, blocks, work_of(chunk, classes), threads_for(rows * classes, e), e,
                    [&](index group, index begin_block, index end_block, index) {
    const index first = group * chunk, n = std::min(chunk, rows - first);
    const index begin = begin_block * block_classes, end = std::min(classes, end_block * block_classes);
    index c[chunk], offset[chunk];
    double class_weight[chunk], row_weight[chunk], g[chunk];
    if (end == classes) {
      y.load(first, n, c, class_weight, row_weight);
      coefficients.load(first, n, row_weight, g);
    }
    out.rows.offsets(first, n, offset);
    if (out.class_stride == size) {
      char* const from = out.data + begin * size;
      const std::size_t bytes = static_cast<std::size_t>((end - begin) * size);
      for (index i = 0; i < n; ++i) std::memset(from + offset[i], 0, bytes);
    } else {   // class by class: neighbouring rows are often neighbours in memory
      for (index k = begin; k < end; ++k)
        for (index i = 0; i < n; ++i) store_number(out.data + offset[i] + k * out.class_stride, grad.type, 0);
    }
    if (end < classes) return;
    for (index i = 0; i < n; ++i)
      if (g[i] != 0)
        store_number(out.data + offset[i] + c[i] * out.class_stride, grad.type,
                     -(g[i] * row_weight[i] * class_weight[i] / coefficients.divisor()));
  });
}

}  // namespace crossent
