// What a shard of the classes leaves: that of cross-entropy up to the sums of blocks. cross_entropy.cpp goes on from what all
// shards have come to.
#include <algorithm>

#include "core/fp_environment.hpp"
#include "crossent/shards.hpp"
#include "ops/cross_entropy_term.hpp"
#include "ops/merged_statistics.hpp"
#include "rows/row_chunks.hpp"

namespace crossent {
namespace {

struct shard_batch : batch_state, cross_entropy_state {};

// The states of the subtrees that are here.
class partial_state_operation : public row_operation<shard_batch> {
 public:
  partial_state_operation(const cross_entropy_term& term, const partial_state_format& format, index rows,
                          const index* block_counts, index subtrees, double* out, double* target_logits)
      : term_(term),
        format_(format),
        rows_(rows),
        block_counts_(block_counts),
        subtrees_(subtrees),
        out_(out),
        target_logits_(target_logits) {}

  // Also rows whose class has weight 0: a z-loss may be added to them.
  void load(row_batch& batch) override { term_.load(batch, state(batch), true); }
  void reduce(row_batch& batch, index begin, index end) override { term_.sum(batch, state(batch), begin, end); }
  void finish(row_batch& batch) override {
    cross_entropy_state& s = state(batch);
    term_.find_classes(batch, s);
    for (index k = 0, begin = 0; k < subtrees_; begin += block_counts_[k++]) {
      double* const at = out_ + k * format_.numbers() * rows_;
      term_.put_partial_state(batch, s, begin, begin + block_counts_[k],
                              from_row(partial_state_at(at, rows_, format_), batch.first));
      for (index i = 0; i < batch.count; ++i)  // of a row that is not read, what was there before
        for (index f = 0; s.rows.row_weight[i] == 0 && f < format_.numbers(); ++f) at[f * rows_ + batch.first + i] = 0;
    }
    if (target_logits_ != nullptr) std::copy_n(s.rows.target, batch.count, target_logits_ + batch.first);
  }

 private:
  const cross_entropy_term& term_;
  partial_state_format format_;
  index rows_;
  const index* block_counts_;
  index subtrees_;
  double *out_, *target_logits_;
};

}  // namespace

partial_state_format format_of(dtype logits, bool probabilities, const row_loss_options& options, const execution& e) {
  return {
      arithmetic(logits, options.temperature, options.transform) == dtype::float64, smooths(options, options.shard.classes, e),
      probabilities, options.entropy_weight != 0, options.temperature};
}

void partial_states_of_shard(const view& logits, const index_view& indices, const view& probabilities,
                             const row_loss_options& options, const index* block_counts, index subtrees, double* out,
                             double* target_logits, const execution& e) {
  const default_environment environment;
  row_description d(logits, options.axis, options.temperature, {}, options.transform);
  d.first_class = options.shard.first;
  d.is_part = true;
  const targets y(indices, d.rows, options, options.shard.classes, d.type, false, e);
  const cross_entropy_inputs inputs = cross_entropy_term::describe(d, 0, y, probabilities, options.entropy_weight != 0);
  const row_plan plan = make_plan(d, e);
  const upstream none({}, plan.type, 1);
  const cross_entropy_term term(plan, inputs, y, none, options, 1.0, e);
  const partial_state_format format = format_of(logits.type, probabilities.data != nullptr, options, e);
  partial_state_operation operation(term, format, plan.rows, block_counts, subtrees, out, target_logits);
  run_rows(plan, operation, e);
  y.throw_if_bad();
}

void merge_partial_states(const partial_state_format& format, index rows, const double* a, const double* b, double* out,
                          const execution& e) {
  const default_environment environment;
  const dtype_kernels& kernel = kernels(format.extended ? dtype::float64 : dtype::float32);
  const inverse_temperature t = kernel.inverse_temperature_of(format.temperature);
  const auto at = [&](const double* p) { return partial_state_at(const_cast<double*>(p), rows, format); };
  const partial_state from[] = {at(a), at(b)}, to = at(out);
  for_each_row_chunk(rows, e, [&](index first, index count) {
    kernel.merge_partial_states(count, t, from_row(from[0], first), from_row(from[1], first), from_row(to, first));
  });
}

}  // namespace crossent
