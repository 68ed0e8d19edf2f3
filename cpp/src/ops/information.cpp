// Measures of information: of given probabilities, and the entropy of softmax rows.
#include "ops/information.hpp"

#include <algorithm>

#include "core/fp_environment.hpp"
#include "rows/row_chunks.hpp"
#include "rows/row_driver.hpp"
#include "rows/summed_blocks.hpp"

namespace crossent {
namespace {

constexpr index cached_classes = 1 << 14;   // of the rows of a batch

double unit_of(double base) {
  if (!(base > 0)) return 1;
  double log_base;
  kernels(dtype::float64).log(&base, &log_base, 1);
  return log_base;
}

// out = the measure of each row, in float64, divided by log(base) where base > 0.
void measure_rows(information kind, const view& p, const view& q, int axis, double base, const mutable_view& out,
                  const execution& e) {
  const default_environment environment;
  const double unit_of_logarithm = unit_of(base);
  const bool round_to_float = arithmetic(p.type) == dtype::float32;   // q is then what it is in float32
  const index classes = p.shape[axis];
  const row_array a(p, axis), b(q, axis), to(out, -1);
  const index rows = a.rows.rows(), lanes = kernels().f64.lanes;
  const bool lanes_over_rows = choose_lanes_over_rows(a, classes, max_row_lane_classes_sum);
  index count = std::clamp<index>(cached_classes / std::max<index>(classes, 1), 1, batch_rows);
  if (lanes_over_rows) count = (count + lanes - 1) / lanes * lanes;
  const int threads = threads_for(rows * classes, e);
  const index blocks = block_count(classes), work = work_of(count, classes, heavy);
  struct alignas(64) slot_sums : summed_blocks {};
  std::vector<slot_sums> sums(static_cast<std::size_t>(threads));
  for (slot_sums& of_slot : sums) of_slot.reserve(count, blocks, 2);
  parallel_for_runs((rows + count - 1) / count, blocks, work, threads, e, [&](index unit, index begin, index end, index slot) {
    const char *rows_a[batch_rows], *rows_b[batch_rows];
    index strides_a[batch_tiles], strides_b[batch_tiles];
    double row_sums[batch_rows];
    summed_blocks& of_slot = sums[static_cast<std::size_t>(slot)];
    const index first = unit * count, n = std::min(count, rows - first);
    point_at_rows(a, first, n, lanes, rows_a, strides_a, count);
    point_at_rows(b, first, n, lanes, rows_b, strides_b, count);
    kernels().information_sums(kind, {rows_a, n, classes, a.class_stride, a.type, lanes_over_rows, round_to_float, strides_a},
                               {rows_b, n, classes, b.class_stride, b.type, lanes_over_rows, round_to_float, strides_b}, begin,
                               end, of_slot.out());
    if (end < blocks) return;
    for (index i = 0; i < n; ++i) row_sums[i] = of_slot.row_with_tiny(i) / unit_of_logarithm;
    store_rows(to, first, n, row_sums);
  });
}

struct entropy_batch : batch_state {
  summed_blocks gap_sums;
  double value[batch_rows] = {};
};

class entropy_operation : public row_operation<entropy_batch> {
 public:
  explicit entropy_operation(const row_array& result) : result_(result) {}

  void load(row_batch& batch) override { state(batch).gap_sums.reserve(batch_rows, batch.blocks); }
  void reduce(row_batch& batch, index begin, index end) override {
    batch.plan->kernel().gap_sums_of_logits(batch.input(0), batch.in[0].statistics, begin, end, state(batch).gap_sums.out());
  }
  void finish(row_batch& batch) override {
    entropy_batch& s = state(batch);
    for (index i = 0; i < batch.count; ++i) s.value[i] = s.gap_sums.row(i);
    batch.plan->kernel().entropy_of_logits(batch.count, batch.in[0].statistics, s.value, s.value);
    store_rows(result_, batch.first, batch.count, s.value);
  }

 private:
  row_array result_;
};

}  // namespace

void entropy(const view& p, int axis, double base, const mutable_view& out, const execution& e) {
  measure_rows(information::entropy, p, p, axis, base, out, e);
}
void information_cross_entropy(const view& p, const view& q, int axis, double base, const mutable_view& out,
                               const execution& e) {
  measure_rows(information::cross_entropy, p, q, axis, base, out, e);
}
void kl_divergence(const view& p, const view& q, int axis, double base, const mutable_view& out, const execution& e) {
  measure_rows(information::kl_divergence, p, q, axis, base, out, e);
}
void js_divergence(const view& p, const view& q, int axis, double base, const mutable_view& out, const execution& e) {
  measure_rows(information::js_divergence, p, q, axis, base, out, e);
}

void kl_div_rows(const view& log_probs, const view& target, bool log_target, int axis, const mutable_view& out,
                 const execution& e) {
  measure_rows(log_target ? information::kl_div_log : information::kl_div, log_probs, target, axis, 0, out, e);
}

void entropy_with_logits(const view& logits, int axis, const mutable_view& out, const execution& e) {
  const default_environment environment;
  row_description d(logits, axis, 1.0);
  d.with_sums = true;
  entropy_operation operation(row_array(out, -1));
  run_rows(make_plan(d, e), operation, e);
}

}  // namespace crossent
