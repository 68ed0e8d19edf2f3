// softmax, log_softmax, logsumexp, and their backward passes.
#include <algorithm>
#include <vector>

#include "environment.hpp"
#include "row_driver.hpp"
#include "targets.hpp"

namespace crossent {
namespace {

// Writes scale * softmax: scale is 1, or the upstream gradient of logsumexp.
class softmax_operation : public row_operation {
 public:
  row_values upstream;

  void finish(row_batch& batch) override {
    row_statistics& x = batch.in[0];
    if (upstream.given()) upstream.load(batch.first, batch.count, batch.upstream);
    row_coefficient coefficient;
    if (upstream.given()) coefficient.upstream = batch.upstream;
    kernels().softmax_factor(batch.count, x.state(), coefficient, batch.factor, nullptr);
    if (upstream.given()) {
      // A row of -inf stays at -inf however its logits move a little: its gradient is 0, unless a NaN is in it.
      for (index i = 0; i < batch.count; ++i)
        if (x.max[i] == -__builtin_inf() && x.tail[i] == x.tail[i]) batch.factor[i] = 0;
    }
    scale_factors(batch, x.exponent, batch.factor, batch.exponent);
  }
  void write(row_batch& batch, index begin, index end) override {
    row_scale s;
    s.reference = batch.in[0].reference;
    s.exponent = batch.exponent;
    s.factor = batch.factor;
    write_softmax_gradient(batch, nullptr, begin, end, s);
  }
};

class log_softmax_operation : public row_operation {
 public:
  void finish(row_batch& batch) override { kernels().log_sum(batch.count, batch.in[0].state(), batch.value); }
  void write(row_batch& batch, index begin, index end) override {
    kernel().write_log(input(batch, 0), output(batch), begin, end, scale(0), batch.in[0].max, batch.value);
  }
};

class logsumexp_operation : public row_operation {
 public:
  row_array result;

  void finish(row_batch& batch) override {
    kernels().logsumexp(batch.count, batch.in[0].state(), batch.value);
    index offset[batch_rows];
    result.rows.offsets(batch.first, batch.count, offset);
    for (index i = 0; i < batch.count; ++i) store_number(result.data + offset[i], result.type, batch.value[i]);
  }
};

// out = f(grad, other, a sum over the row), which needs no statistics.
template <class Sum, class Write>
void run_pairs(const view& grad, const view& other, int axis, const mutable_view& out, const execution& e, Sum sum, Write write) {
  const index classes = grad.shape[axis];
  const row_array a(grad, axis), b(other, axis), to(out, axis);
  const dtype_kernels& k = kernels(other.type);
  const index rows = a.rows.rows(), lanes = k.lanes;
  const bool lanes_over_rows = a.class_stride == item_size(grad.type) ? classes <= lanes : a.rows.inner_stride() == item_size(grad.type);
  const index group = lanes_over_rows ? lanes : 8;
  const int threads = threads_for(rows * classes, e);
  const index blocks = block_count(classes), work = work_of(group, classes);
  struct alignas(64) row_totals {
    double of[pack_rows];
  };
  std::vector<row_totals> totals(static_cast<std::size_t>(threads));
  line_memory kept;   // the sums of rows that take several calls
  if (work > longest_unit) kept.reserve(threads * pack_rows * row_sums_bytes);
  // All blocks are summed, then all are written: twice as many.
  parallel_for_runs((rows + group - 1) / group, 2 * blocks, work, threads, e, [&](index unit, index begin, index end, index slot) {
    const char* pa[pack_rows];
    const char* pb[pack_rows];
    char* po[pack_rows];
    index offset[pack_rows];
    const index first = unit * group, n = std::min(group, rows - first);
    point_at_rows(a, first, n, group, pa);
    point_at_rows(b, first, n, group, pb);
    to.rows.offsets(first, n, offset);
    for (index i = 0; i < n; ++i) po[i] = to.data + offset[i];
    const source sa{pa, n, classes, a.class_stride, a.type, lanes_over_rows}, sb{pb, n, classes, b.class_stride, b.type, lanes_over_rows};
    double* const total = totals[static_cast<std::size_t>(slot)].of;
    char* const kept_here = kept.data() == nullptr ? nullptr : kept.data() + slot * pack_rows * row_sums_bytes;
    if (begin < blocks) sum(k, sa, sb, begin, std::min(end, blocks), kept_here, total);
    if (end > blocks)
      write(k, sa, sb, sink{po, to.class_stride, to.type, false}, std::max(begin, blocks) - blocks, end - blocks, total);
  });
}

}  // namespace

void softmax(const view& x, int axis, double temperature, const mutable_view& out, const execution& e) {
  const default_environment environment;
  softmax_operation op;
  describe(op, x, axis, temperature, out);
  op.cache_exponentials = may_cache_exponentials(op);
  run_rows(op, e);
}

void log_softmax(const view& x, int axis, double temperature, const mutable_view& out, const execution& e) {
  const default_environment environment;
  log_softmax_operation op;
  describe(op, x, axis, temperature, out);
  run_rows(op, e);
}

void logsumexp(const view& x, int axis, const mutable_view& out, const execution& e) {
  const default_environment environment;
  logsumexp_operation op;
  describe(op, x, axis, 1.0, {});
  op.result = row_array(out, -1);
  run_rows(op, e);
}

void logsumexp_backward(const view& grad_output, const view& x, int axis, const mutable_view& out, const execution& e) {
  const default_environment environment;
  softmax_operation op;
  describe(op, x, axis, 1.0, out);
  op.upstream = row_values(grad_output, op.type);
  op.cache_exponentials = may_cache_exponentials(op);
  run_rows(op, e);
}

void softmax_backward(const view& grad_output, const view& probs, int axis, double temperature, const mutable_view& out,
                      const execution& e) {
  const default_environment environment;
  run_pairs(
      grad_output, probs, axis, out, e,
      [](const dtype_kernels& k, const source& g, const source& p, index begin, index end, void* kept, double* sums) {
        k.sum_products(g, &p, begin, end, kept, sums);
      },
      [&](const dtype_kernels& k, const source& g, const source& p, const sink& to, index begin, index end, const double* sums) {
        k.write_softmax_backward(g, p, to, begin, end, sums, 1 / temperature);
      });
}

void log_softmax_backward(const view& grad_output, const view& log_probs, int axis, double temperature,
                          const mutable_view& out, const execution& e) {
  const default_environment environment;
  run_pairs(
      grad_output, log_probs, axis, out, e,
      [](const dtype_kernels& k, const source& g, const source&, index begin, index end, void* kept, double* sums) {
        k.sum_products(g, nullptr, begin, end, kept, sums);
      },
      [&](const dtype_kernels& k, const source& g, const source& l, const sink& to, index begin, index end, const double* sums) {
        k.write_log_softmax_backward(g, l, to, begin, end, sums, 1 / temperature);
      });
}

}  // namespace crossent
