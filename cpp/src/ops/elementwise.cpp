// Losses of single elements: binary cross-entropy and kl_div. Arrays are taken in blocks of 1024 elements in C order,
// whatever their layout, so that the sum depends on the elements alone.
#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <vector>

#include "core/fp_environment.hpp"
#include "core/merge_tree.hpp"
#include "core/number.hpp"
#include "core/parallel.hpp"
#include "core/streaming.hpp"
#include "ops/information.hpp"
#include "rows/element_array.hpp"
#include "rows/reduction.hpp"
#include "rows/row_plan.hpp"

namespace crossent {
namespace {

struct alignas(64) element_buffers {
  char input[element_block::arrays][block_elements * 8];
  char loss[block_elements * 8], grad[block_elements * 8], hess[block_elements * 8];
};

// Throws target_range_error where a target is outside [0, 1].
void check_target(const view& target, const execution& e) {
  if (const range_violation found = first_outside(target, 0, 1, e); found.element >= 0) throw target_range_error{found};
}

// A second derivative beside the gradient.
struct hessian_output {
  hessian_options options;
  mutable_view to;
};

void evaluate(element_kernel kernel, const view& x, const view& target, const element_loss_options& options,
              const mutable_view& loss, const mutable_view& grad, const execution& e, const hessian_output& hessian = {}) {
  const default_environment environment;
  const dtype type = arithmetic(x.type);
  // The kernel sees the targets as it reads them: rounded, where they are wider.
  const bool check_first = options.check_target && arithmetic(target.type) == dtype::float64 && type == dtype::float32;
  if (check_first) check_target(target, e);
  std::atomic<bool> outside{false};
  const bool each = loss.data != nullptr && options.reduction == reduction_kind::none;
  // A scalar upstream gradient goes into the scale: one rounding less per element.
  const bool one_upstream = options.grad_output.data != nullptr && options.reduction != reduction_kind::none;
  const element_array inputs[element_block::arrays] = {
      element_array(x), element_array(target), element_array(options.weight), element_array(options.pos_weight),
      one_upstream ? element_array() : element_array(options.grad_output)};
  const element_array grad_to(grad);
  const element_array hess_to = hessian.to.data ? element_array(hessian.to) : element_array();
  const element_array loss_to = each ? element_array(loss) : element_array();
  const index count = inputs[0].positions.rows(), blocks = (count + block_elements - 1) / block_elements;
  double_double<double>* const block_sums = static_cast<double_double<double>*>(loss.data);   // where they are wanted
  if (options.reduction == reduction_kind::block_weights) {
    if (options.check_target) check_target(target, e);
    for (index k = 0; k < blocks; ++k)
      block_sums[k] = {static_cast<double>(std::min(block_elements, count - k * block_elements)), 0};
    return;
  }
  const bool sums_blocks = options.reduction == reduction_kind::block_sums;
  const double denominator = sums_blocks               ? options.denominators[0]
                             : options.denominator > 0 ? options.denominator
                                                       : static_cast<double>(count);
  const double upstream = one_upstream ? load_rounded(options.grad_output.data, options.grad_output.type, type) : 1;
  const double scale = options.reduction == reduction_kind::mean || sums_blocks ? upstream / denominator : upstream;
  const bool summed = loss.data != nullptr && !each;
  const bool stream =
      grad.data != nullptr && grad.data != x.data && grad.data != target.data && count * item_size(type) > streamed_bytes;
  std::vector<double_double<double>> sums(static_cast<std::size_t>(summed ? blocks : 0));

  const int threads = threads_for(count, e);
  const std::unique_ptr<element_buffers[]> buffers(new element_buffers[static_cast<std::size_t>(threads)]);
  parallel_for(blocks, block_elements, threads, e, [&](index begin, index end, int worker) {
    element_buffers& buffer = buffers[static_cast<std::size_t>(worker)];
    bool unsure = false;
    element_block b;
    if (options.check_target && !check_first) b.outside = &unsure;
    b.hessian_scale = hessian.options.scale;
    b.hessian_floor = hessian.options.floor;
    b.absolute_gradient = hessian.options.absolute;
    b.scale = scale;
    b.log_floor = options.log_floor;
    b.label_smoothing = options.label_smoothing;
    for (index k = begin; k < end; ++k) {
      const index first = k * block_elements;
      b.n = std::min(block_elements, count - first);
      for (int i = 0; i < element_block::arrays; ++i) b.input[i] = inputs[i].read(first, b.n, type, buffer.input[i]);
      char* loss_at = loss_to.data ? loss_to.direct(first, b.n, type) : nullptr;
      char* grad_at = grad_to.data ? grad_to.direct(first, b.n, type) : nullptr;
      char* hess_at = hess_to.data ? hess_to.direct(first, b.n, type) : nullptr;
      if (loss_to.data) b.loss = loss_at ? loss_at : buffer.loss;
      if (grad_to.data) b.grad = grad_at ? grad_at : buffer.grad;
      if (hess_to.data) b.hessian = hess_at ? hess_at : buffer.hess;
      if (summed) b.sum = &sums[static_cast<std::size_t>(k)].hi;
      b.stream = stream && grad_at;
      kernel(b);
      if (loss_to.data && !loss_at) loss_to.write(first, b.n, type, buffer.loss);
      if (grad_to.data && !grad_at) grad_to.write(first, b.n, type, buffer.grad);
      if (hess_to.data && !hess_at) hess_to.write(first, b.n, type, buffer.hess);
    }
    if (unsure) outside = true;
    if (stream) stream_fence();
  });
  if (outside) check_target(target, e);
  if (!summed) return;
  if (sums_blocks) std::copy(sums.begin(), sums.end(), block_sums);
  else store_number(loss.data, loss.type, reduced(sum_levels(blocks, sums.data()), options.reduction, denominator));
}

}  // namespace

void binary_cross_entropy(const view& probs, const view& target, const element_loss_options& options, const mutable_view& loss,
                          const mutable_view& grad, const execution& e) {
  evaluate(kernels(probs.type).binary_cross_entropy, probs, target, options, loss, grad, e);
}

void binary_cross_entropy_with_logits(const view& logits, const view& target, const element_loss_options& options,
                                      const mutable_view& loss, const mutable_view& grad, const execution& e) {
  evaluate(kernels(logits.type).binary_cross_entropy_with_logits, logits, target, options, loss, grad, e);
}

void binary_cross_entropy_with_logits_gradient_hessian(const view& logits, const view& target, const hessian_options& hessian,
                                                       const element_loss_options& options, const mutable_view& grad,
                                                       const mutable_view& hess, const execution& e) {
  evaluate(kernels(logits.type).logistic_hessian, logits, target, options, {}, grad, e, {hessian, hess});
}

void kl_div(const view& log_probs, const view& target, const element_loss_options& options, const mutable_view& loss,
            const mutable_view& grad, const execution& e) {
  const dtype_kernels& k = kernels(log_probs.type);
  const element_kernel kernel = options.log_target ? k.kl_div_log : k.kl_div;
  if (options.axis < 0) return evaluate(kernel, log_probs, target, options, loss, grad, e);
  // The losses of rows, which are reduced as such; the gradient is still one of elements.
  if (loss.data != nullptr && options.reduction == reduction_kind::none) {
    kl_div_rows(log_probs, target, options.log_target, options.axis, loss, e);
  } else if (loss.data != nullptr) {
    const default_environment environment;
    const row_array x(log_probs, options.axis);
    index shape = x.rows.rows(), stride = 8;
    std::vector<double> losses(static_cast<std::size_t>(shape));
    kl_div_rows(log_probs, target, options.log_target, options.axis, {losses.data(), dtype::float64, 1, &shape, &stride}, e);
    const double count = static_cast<double>(shape) * static_cast<double>(log_probs.shape[options.axis]);
    reduce(losses.data(), shape, options.reduction, options.denominator > 0 ? options.denominator : count, loss, e);
  }
  if (grad.data != nullptr) evaluate(kernel, log_probs, target, options, {}, grad, e);
}

range_violation first_outside(const view& x, double low, double high, const execution& e) {
  const default_environment environment;
  const dtype type = arithmetic(x.type);
  if (type == dtype::float32) {   // or they would be infinite there
    constexpr double most = std::numeric_limits<float>::max();
    if (low != -std::numeric_limits<double>::infinity()) low = std::max(low, -most);
    high = std::min(high, most);
  }
  const element_array array(x);
  const index count = array.positions.rows(), blocks = (count + block_elements - 1) / block_elements;
  constexpr index none = std::numeric_limits<index>::max();
  std::atomic<index> first{none};
  const int threads = threads_for(count, e);
  const std::unique_ptr<element_buffers[]> buffers(new element_buffers[static_cast<std::size_t>(threads)]);
  parallel_for(blocks, block_elements, threads, e, [&](index begin, index end, int worker) {
    char* buffer = buffers[static_cast<std::size_t>(worker)].loss;
    for (index k = begin; k < end; ++k) {
      const index n = std::min(block_elements, count - k * block_elements);
      if (k > first.load()) return;
      if (kernels(type).in_range(array.read(k * block_elements, n, type, buffer), n, low, high)) continue;
      index seen = first.load();
      while (k < seen && !first.compare_exchange_weak(seen, k)) {
      }
      return;
    }
  });
  const index block = first.load();
  if (block == none) return {};
  const index begin = block * block_elements, end = std::min(begin + block_elements, count);
  for (index i = begin; i < end; ++i) {
    index offset;
    array.positions.offsets(i, 1, &offset);
    const double v = load_number(array.data + offset, x.type);
    if (!(v >= low && v <= high)) return {i, v};
  }
  return {begin, 0, end - begin};
}

}  // namespace crossent
