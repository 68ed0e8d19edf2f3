// The sums of a divergence over the classes of rows that are in shards, of those that are here.
#include "core/fp_environment.hpp"
#include "ops/divergence_term.hpp"
#include "ops/merged_statistics.hpp"

namespace crossent {
namespace {

struct divergence_batch : batch_state, divergence_state {};

class sums_of_shard : public row_operation<divergence_batch> {
 public:
  sums_of_shard(const divergence_term& term, const index* block_counts, index subtrees, double* sums)
      : term_(term), block_counts_(block_counts), subtrees_(subtrees), sums_(sums) {}

  void prepare(row_batch& batch) override { term_.prepare(batch, state(batch)); }
  void reduce(row_batch& batch, index begin, index end) override { term_.sum(batch, state(batch), begin, end); }
  void finish(row_batch& batch) override {
    const index rows = batch.plan->rows;
    for (index k = 0, begin = 0; k < subtrees_; begin += block_counts_[k++])
      term_.put_sums(batch, state(batch), begin, begin + block_counts_[k], rows, sums_ + k * 4 * rows);
  }

 private:
  const divergence_term& term_;
  const index* block_counts_;
  index subtrees_;
  double* sums_;
};

}  // namespace

void divergence_sums_of_shard(const merged_state& student, const merged_state& teacher, const view& logits,
                              const view& teacher_logits, const divergence_options& options, const row_loss_options& of_rows,
                              const index* block_counts, index subtrees, double* sums, const execution& e) {
  const default_environment environment;
  const merged_distillation merged({student, teacher, {}, nullptr});
  row_description d(logits, of_rows.axis, options.temperature, {}, of_rows.transform);
  logit_transform of_teacher = options.teacher;
  of_teacher.temperature = of_rows.transform.temperature;
  d.read(teacher_logits, options.temperature, true, of_teacher);
  d.first_class = of_rows.shard.first;
  d.known = &merged;
  d.with_sums = true;
  d.cost = heavy;
  const row_plan plan = make_plan(d, e);
  std::fill_n(sums, 4 * subtrees * plan.rows, 0.0);
  const std::unique_ptr<divergence_term> term = make_divergence_term(plan, 0, 1, options, 1, 1);
  sums_of_shard operation(*term, block_counts, subtrees, sums);
  run_rows(plan, operation, e);
}

}  // namespace crossent
