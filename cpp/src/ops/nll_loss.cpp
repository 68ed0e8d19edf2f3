// Negative log-likelihood of given log-probabilities: one number is read per row, and the gradient is one number too.
#include <algorithm>
#include <cstring>
#include <memory>

#include "core/fp_environment.hpp"
#include "core/number.hpp"
#include "rows/reduction.hpp"
#include "rows/row_buffer.hpp"
#include "rows/row_chunks.hpp"
#include "rows/row_inputs.hpp"

namespace crossent {
namespace {

// Zeros, and one number in each row that counts.
void write_gradient(const row_array& out, index classes, const targets& y, const upstream& coefficients, const execution& e) {
  const index rows = y.rows(), size = item_size(out.type), chunks = (rows + batch_rows - 1) / batch_rows,
              blocks = block_count(classes);
  parallel_for_runs(chunks, blocks, work_of(batch_rows, classes), threads_for(rows * classes, e), e,
                    [&](index chunk, index begin_block, index end_block, index) {
                      const index first = chunk * batch_rows, count = std::min(batch_rows, rows - first);
                      const index begin = begin_block * block_classes, end = std::min(classes, end_block * block_classes);
                      index offset[batch_rows];
                      out.rows.offsets(first, count, offset);
                      if (out.class_stride == size) {
                        char* const from = out.data + begin * size;
                        const std::size_t bytes = static_cast<std::size_t>((end - begin) * size);
                        for (index i = 0; i < count; ++i) std::memset(from + offset[i], 0, bytes);
                      } else {   // class by class: neighbouring rows are often neighbours in memory
                        for (index c = begin; c < end; ++c)
                          for (index i = 0; i < count; ++i)
                            store_number(out.data + offset[i] + c * out.class_stride, out.type, 0);
                      }
                      if (end < classes) return;
                      index c[batch_rows];
                      double class_weight[batch_rows], row_weight[batch_rows], g[batch_rows];
                      y.load(first, count, c, class_weight, row_weight);
                      coefficients.load(first, count, row_weight, g);
                      for (index i = 0; i < count; ++i)
                        if (g[i] != 0)
                          store_number(out.data + offset[i] + c[i] * out.class_stride, out.type,
                                       -(g[i] * row_weight[i] * class_weight[i] / coefficients.divisor()));
                    });
}

}  // namespace

void nll_loss(const view& log_probs, const index_view& target, const row_loss_options& options, const mutable_view& loss,
              const mutable_view& grad, const execution& e) {
  const default_environment environment;
  const index classes = log_probs.shape[options.axis];
  const row_array x(log_probs, options.axis);
  const index rows = x.rows.rows();
  const row_buffer losses = new_row_buffer(rows);   // before anything that takes its time
  const targets y(target, rows, options, classes, arithmetic(log_probs.type), grad.data != nullptr, e);

  if (options.reduction == reduction_kind::block_weights)
    return y.sum_blocks_of_weights(true, static_cast<double_double<double>*>(loss.data), e);

  // All that is read is read first: the gradient may lie on the log-probabilities.
  for_each_row_chunk(rows, e, [&](index first, index count) {
    index c[batch_rows], offset[batch_rows];
    double class_weight[batch_rows], row_weight[batch_rows];
    y.load(first, count, c, class_weight, row_weight);
    x.rows.offsets(first, count, offset);
    for (index i = 0; i < count; ++i) {
      // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): offsets() writes all of them
      const auto log_p = [&] { return load_number(x.data + offset[i] + c[i] * x.class_stride, x.type); };
      losses[static_cast<std::size_t>(first + i)] = row_weight[i] == 0 ? 0 : row_weight[i] * class_weight[i] * (0 - log_p());
    }
  });
  y.throw_if_bad();
  const double denominator = y.denominator(e);
  reduce(losses.get(), rows, options.reduction, denominator, loss, e);
  if (grad.data != nullptr)
    write_gradient(row_array(grad, options.axis), classes, y,
                   upstream(options.grad_output, arithmetic(log_probs.type), denominator), e);
}

}  // namespace crossent
