// Negative log-likelihood of given log-probabilities: one number is read per row, and the gradient is one number too.
#include <algorithm>
#include <cstring>
#include <memory>

#include "environment.hpp"
#include "row_numbers.hpp"
#include "row_pass.hpp"
#include "targets.hpp"

namespace crossent {
namespace {

constexpr index chunk = group_rows;

// f(first row, rows) for groups of rows on all threads.
template <class F> void for_each_group(index rows, index row_work, const execution& e, F f) {
  parallel_for((rows + chunk - 1) / chunk, chunk * row_work, threads_for(rows * row_work, e), e, [&](index begin, index end, int) {
    for (index k = begin; k < end; ++k) f(k * chunk, std::min(chunk, rows - k * chunk));
  });
}

}  // namespace

void nll_loss(const view& log_probs, const index_view& target, const row_loss_options& options, const mutable_view& loss,
              const mutable_view& grad, const execution& e) {
  const default_environment environment;
  const index classes = log_probs.shape[options.axis];
  const row_array x(log_probs, options.axis);
  const index rows = x.rows.rows();
  const targets y(target, rows, options, classes, arithmetic(log_probs.type), true, e);
  const double denominator = y.denominator(options, e);
  const upstream coefficients(options.grad_output, arithmetic(log_probs.type), denominator);

  // All that is read is read first: the gradient may lie on the log-probabilities.
  const row_numbers losses = new_row_numbers(static_cast<std::size_t>(rows));
  for_each_group(rows, 1, e, [&](index first, index n) {
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
  for_each_group(rows, classes, e, [&](index first, index n) {
    index c[chunk], offset[chunk];
    double class_weight[chunk], row_weight[chunk], g[chunk];
    y.load(first, n, c, class_weight, row_weight);
    coefficients.load(first, n, row_weight, g);
    out.rows.offsets(first, n, offset);
    if (out.class_stride == size) {
      for (index i = 0; i < n; ++i) std::memset(out.data + offset[i], 0, static_cast<std::size_t>(classes * size));
    } else {   // class by class: neighbouring rows are often neighbours in memory
      for (index k = 0; k < classes; ++k)
        for (index i = 0; i < n; ++i) store_number(out.data + offset[i] + k * out.class_stride, grad.type, 0);
    }
    for (index i = 0; i < n; ++i)
      if (g[i] != 0)
        store_number(out.data + offset[i] + c[i] * out.class_stride, grad.type,
                     -(g[i] * row_weight[i] * class_weight[i] / coefficients.divisor()));
  });
}

}  // namespace crossent
