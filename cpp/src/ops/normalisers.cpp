// softmax, log_softmax, logsumexp, and their backward passes.
#include <algorithm>
#include <vector>

#include "core/fp_environment.hpp"
#include "ops/merged_statistics.hpp"
#include "rows/gradient_temperature.hpp"
#include "rows/row_chunks.hpp"
#include "rows/row_driver.hpp"
#include "rows/row_inputs.hpp"
#include "rows/summed_blocks.hpp"

namespace crossent {
namespace {

struct softmax_batch : batch_state {
  gradient_rows gradient{};
  double upstream[batch_rows];
};

// Writes scale * softmax: scale is 1, or the upstream gradient of logsumexp.
class softmax_operation : public row_operation<softmax_batch> {
 public:
  row_values upstream;
  double temperature = 1;   // that the upstream gradient is divided by

  void finish(row_batch& batch) override {
    softmax_batch& s = state(batch);
    const row_statistics& x = batch.in[0].statistics;
    row_coefficient coefficient;
    if (upstream.given()) {
      upstream.load(batch.first, batch.count, s.upstream);
      batch.divide_by_temperatures(0, s.upstream);
      coefficient.upstream = s.upstream;
      coefficient.divisor[0] = temperature;
    }
    kernels().softmax_factor(batch.count, x, coefficient, s.gradient.factor, s.gradient.factor_lo);
    // A row of -inf stays at -inf however its logits move a little: its gradient is 0, unless a NaN is in it.
    for (index i = 0; i < batch.count && upstream.given(); ++i)
      if (x.max[i] == -__builtin_inf() && x.tail[i] == x.tail[i]) s.gradient.factor[i] = s.gradient.factor_lo[i] = 0;
    batch.scale_factors(x.exponent, s.gradient);
  }
  void write(row_batch& batch, index begin, index end) override {
    batch.write_softmax_gradient(nullptr, begin, end, state(batch).gradient);
  }
};

struct value_batch : batch_state {
  double value[batch_rows] = {};
};

class log_softmax_operation : public row_operation<value_batch> {
 public:
  void finish(row_batch& batch) override { kernels().log_sum(batch.count, batch.in[0].statistics, state(batch).value); }
  void write(row_batch& batch, index begin, index end) override {
    batch.plan->kernel().write_log_softmax(batch.input(0), batch.output(), begin, end, batch.plan->input(0).t,
                                           batch.in[0].statistics.max, state(batch).value);
  }
};

class logsumexp_operation : public row_operation<value_batch> {
 public:
  logsumexp_operation(const row_array& result, double temperature) : result_(result), temperature_(temperature) {}

  void finish(row_batch& batch) override {
    double* value = state(batch).value;
    kernels().logsumexp(batch.count, batch.in[0].statistics, temperature_, value);
    store_rows(result_, batch.first, batch.count, value);
  }

 private:
  row_array result_;
  double temperature_;
};

void fill_rows(const row_array& to, double value, const execution& e) {
  double values[batch_rows];
  std::fill_n(values, batch_rows, value);
  for_each_row_chunk(to.rows.rows(), e, [&](index first, index count) { store_rows(to, first, count, values); });
}

void write_softmax(const row_values& upstream, const view& x, const normaliser_options& options, const mutable_view& out,
                   const execution& e) {
  const gradient_temperature at(options.temperature, out.type);
  row_description d(x, options.axis, options.temperature, out, options.transform);
  d.reuses_exponentials = true;
  d.writes_gradient = upstream.given();
  softmax_operation operation;
  operation.upstream = upstream;
  operation.temperature = at.divisor;
  run_rows(make_plan(d, e), operation, e);
  if (upstream.given()) multiply(out, at.scale, e);
}

// Of rows that are in shards.
template <class Operation>
void run_merged(Operation operation, const merged_state& whole, const view& x, const row_loss_options& options,
                const mutable_view& out, const execution& e) {
  const merged_statistics merged(whole);
  row_description d = describe_merged(merged, merged, x, options.axis, options.shard, out, options.transform);
  d.writes_gradient = false;
  run_rows(make_plan(d, e), operation, e);
}

// out = f(grad, other, a sum over the row) in arithmetic of `type`, which needs no statistics.
template <class Sum, class Write>
void run_pairs(const view& grad, const view& other, int axis, dtype type, const mutable_view& out, const execution& e, Sum sum,
               Write write) {
  const index classes = grad.shape[axis];
  const row_array a(grad, axis), b(other, axis), to(out, axis);
  const dtype_kernels& k = kernels(type);
  const index rows = a.rows.rows();
  const bool lanes_over_rows = choose_lanes_over_rows(a, classes, max_row_lane_classes_sum);
  const index count = lanes_over_rows ? k.lanes : 8, blocks = block_count(classes), work = work_of(count, classes);
  const int threads = threads_for(rows * classes, e);
  struct alignas(64) slot_sums : summed_blocks {
    alignas(64) double of_rows[pack_rows], of_rows_lo[pack_rows];
    void sum_row(index i) {
      const double_double<double> sum = whole_row(i);
      of_rows[i] = rounded(sum);
      of_rows_lo[i] = sum.lo - (of_rows[i] - sum.hi);
    }
  };
  std::vector<slot_sums> sums(static_cast<std::size_t>(threads));
  for (slot_sums& of_slot : sums) of_slot.reserve(count, blocks);
  // All blocks are summed, then all are written: twice as many.
  parallel_for_runs((rows + count - 1) / count, 2 * blocks, work, threads, e,
                    [&](index unit, index begin, index end, index slot) {
                      const char *rows_a[pack_rows], *rows_b[pack_rows];
                      char* rows_out[pack_rows];
                      index strides_a[2], strides_b[2], strides_out[2];
                      const index first = unit * count, n = std::min(count, rows - first);
                      point_at_rows(a, first, n, k.lanes, rows_a, strides_a, count);
                      point_at_rows(b, first, n, k.lanes, rows_b, strides_b, count);
                      point_at_rows(to, first, n, k.lanes, rows_out, strides_out);
                      const source from_a{rows_a, n, classes, a.class_stride, a.type, lanes_over_rows, false, strides_a};
                      const source from_b{rows_b, n, classes, b.class_stride, b.type, lanes_over_rows, false, strides_b};
                      slot_sums& s = sums[static_cast<std::size_t>(slot)];
                      if (begin < blocks) sum(k, from_a, from_b, begin, std::min(end, blocks), s.out());
                      if (end <= blocks) return;
                      for (index i = 0; i < n && begin <= blocks; ++i) s.sum_row(i);
                      write(k, from_a, from_b, sink{rows_out, to.class_stride, to.type, false, strides_out},
                            std::max(begin, blocks) - blocks, end - blocks, sums_of_rows{s.of_rows, s.of_rows_lo});
                    });
}

}  // namespace

void softmax(const view& x, const normaliser_options& options, const mutable_view& out, const execution& e) {
  const default_environment environment;
  write_softmax({}, x, options, out, e);
}

void log_softmax(const view& x, const normaliser_options& options, const mutable_view& out, const execution& e) {
  const default_environment environment;
  log_softmax_operation operation;
  row_description d(x, options.axis, options.temperature, out, options.transform);
  d.writes_gradient = false;
  run_rows(make_plan(d, e), operation, e);
}

void logsumexp(const view& x, const normaliser_options& options, const mutable_view& out, const execution& e) {
  const default_environment environment;
  if (x.shape[options.axis] == 0) return fill_rows(row_array(out, -1), -__builtin_inf(), e);
  logsumexp_operation operation(row_array(out, -1), options.temperature);
  run_rows(make_plan({x, options.axis, options.temperature, {}, options.transform}, e), operation, e);
}

void softmax_of_shard(const merged_state& whole, const view& x, const row_loss_options& options, const mutable_view& out,
                      const execution& e) {
  const default_environment environment;
  run_merged(softmax_operation(), whole, x, options, out, e);
}

void log_softmax_of_shard(const merged_state& whole, const view& x, const row_loss_options& options, const mutable_view& out,
                          const execution& e) {
  const default_environment environment;
  run_merged(log_softmax_operation(), whole, x, options, out, e);
}

void logsumexp_of_shards(const merged_state& whole, const mutable_view& out, const execution& e) {
  const default_environment environment;
  row_loss_options options;
  options.shard.classes = 1;
  run_merged(logsumexp_operation(row_array(out, -1), whole.format.temperature), whole, {}, options, {}, e);
}

void logsumexp_backward(const view& grad_output, const view& x, const normaliser_options& options, const mutable_view& out,
                        const execution& e) {
  const default_environment environment;
  if (x.shape[options.axis] == 0) return;
  write_softmax(row_values(grad_output, arithmetic(x.type)), x, options, out, e);
}

void softmax_backward(const view& grad_output, const view& probs, int axis, double temperature, const mutable_view& out,
                      const execution& e) {
  const default_environment environment;
  run_pairs(
      grad_output, probs, axis, arithmetic(probs.type, temperature), out, e,
      [](const dtype_kernels& k, const source& g, const source& p, index begin, index end, const block_sums& sums) {
        k.sum_products(g, &p, begin, end, sums);
      },
      [&](const dtype_kernels& k, const source& g, const source& p, const sink& to, index begin, index end,
          const sums_of_rows& sums) { k.write_softmax_backward(g, p, to, begin, end, sums, temperature); });
}

void log_softmax_backward(const view& grad_output, const view& log_probs, int axis, double temperature, const mutable_view& out,
                          const execution& e) {
  const default_environment environment;
  run_pairs(
      grad_output, log_probs, axis, arithmetic(log_probs.type, temperature), out, e,
      [](const dtype_kernels& k, const source& g, const source&, index begin, index end, const block_sums& sums) {
        k.sum_products(g, nullptr, begin, end, sums);
      },
      [&](const dtype_kernels& k, const source& g, const source& l, const sink& to, index begin, index end,
          const sums_of_rows& sums) { k.write_log_softmax_backward(g, l, to, begin, end, sums, temperature); });
}

}  // namespace crossent
