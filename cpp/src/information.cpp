// Measures of information: of given probabilities, and the entropy of softmax rows.
#include "information.hpp"

#include <algorithm>

#include "environment.hpp"
#include "row_driver.hpp"

namespace crossent {
namespace {

constexpr index cached_classes = 1 << 14;   // of the rows of a group

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
  const bool single = arithmetic(p.type) == dtype::float32;   // q is then what it is in float32
  const index classes = p.shape[axis];
  const row_array a(p, axis), b(q, axis), to(out, -1);
  const index rows = a.rows.rows(), lanes = kernels().f64.lanes;
  const bool lanes_over_rows = a.class_stride != item_size(p.type) || classes < lanes;
  index group = std::clamp<index>(cached_classes / std::max<index>(classes, 1), 1, batch_rows);
  if (lanes_over_rows) group = (group + lanes - 1) / lanes * lanes;
  const int threads = threads_for(rows * classes, e);
  const index blocks = block_count(classes), work = work_of(group, classes, heavy);
  line_memory kept;   // the sums of rows that take several calls
  if (work > longest_unit) kept.reserve(threads * group * row_sums_bytes);
  parallel_for_runs((rows + group - 1) / group, blocks, work, threads, e, [&](index unit, index begin, index end, index slot) {
    const char* pa[batch_rows];
    const char* pb[batch_rows];
    index offset[batch_rows];
    double sums[batch_rows];
    const index first = unit * group, n = std::min(group, rows - first);
    point_at_rows(a, first, n, group, pa);
    point_at_rows(b, first, n, group, pb);
    char* const kept_here = kept.data() == nullptr ? nullptr : kept.data() + slot * group * row_sums_bytes;
    kernels().information_sums(kind, {pa, n, classes, a.class_stride, a.type, lanes_over_rows, single},
                               {pb, n, classes, b.class_stride, b.type, lanes_over_rows, single}, begin, end, kept_here, sums);
    if (end < blocks) return;
    to.rows.offsets(first, n, offset);
    for (index i = 0; i < n; ++i) store_number(to.data + offset[i], to.type, sums[i] / unit_of_logarithm);
  });
}

class entropy_operation : public row_operation {
 public:
  row_array result;

  void sum(row_batch& batch, index begin, index end) override {
    if (end - begin < batch.blocks && batch.sums.data() == nullptr) batch.sums.reserve(batch_rows * row_sums_bytes);
    kernel().entropy(input(batch, 0), batch.in[0].state(), begin, end, batch.sums.data(), batch.value);
  }
  void finish(row_batch& batch) override {
    index offset[batch_rows];
    result.rows.offsets(batch.first, batch.count, offset);
    for (index i = 0; i < batch.count; ++i) store_number(result.data + offset[i], result.type, batch.value[i]);
  }
};

}  // namespace

void entropy(const view& p, int axis, double base, const mutable_view& out, const execution& e) {
  measure_rows(information::entropy, p, p, axis, base, out, e);
}
void information_cross_entropy(const view& p, const view& q, int axis, double base, const mutable_view& out, const execution& e) {
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
  entropy_operation op;
  describe(op, logits, axis, 1.0, {});
  op.result = row_array(out, -1);
  op.sums = op.sums_in_order = true;
  run_rows(op, e);
}

}  // namespace crossent
