// Three divergences of each pair of rows: of float32 rows in one pass after that of the statistics.
#include "core/fp_environment.hpp"
#include "core/merge_tree.hpp"
#include "ops/divergence_term.hpp"
#include "rows/row_chunks.hpp"

namespace crossent {
namespace {

struct joint_state : divergence_state {
  // Of each (row, block), beside those of both KL divergences in `value` and `inner`.
  std::vector<double> js, difference;
};

class joint_divergences : public divergence_term {
 public:
  using divergence_term::divergence_term;

  void prepare(row_batch& batch, divergence_state& s) const override {
    divergence_term::prepare(batch, s);
    set_distributions(batch, s, {});
    joint_state& j = joint(s);
    for (std::vector<double>* sums : {&j.value, &j.inner, &j.js, &j.difference})
      sums->assign(static_cast<std::size_t>(batch.count * batch.blocks), 0.0);
  }
  void sum(row_batch& batch, divergence_state& s, index begin, index end) const override {
    plan_.kernel().joint_divergence_sums(batch.input(student_), batch.input(teacher_), begin, end, s.rows, s.value.data(),
                                         s.inner.data(), joint(s).js.data(), joint(s).difference.data());
  }
  void write(row_batch&, divergence_state&, const source*, index, index, const row_statistics&,
             const gradient_rows*) const override {}
  void complete(row_batch&, divergence_state&) const override {}

  static joint_state& joint(divergence_state& s) { return static_cast<joint_state&>(s); }
};

struct joint_batch : batch_state {
  joint_state divergences;
};

class joint_operation : public row_operation<joint_batch> {
 public:
  joint_operation(const joint_divergences& term, const divergences_of_rows& out)
      : term_(term), forward_kl_(out.forward_kl, -1), reverse_kl_(out.reverse_kl, -1), js_(out.js, -1) {}

  void prepare(row_batch& batch) override { term_.prepare(batch, state(batch).divergences); }
  void reduce(row_batch& batch, index begin, index end) override { term_.sum(batch, state(batch).divergences, begin, end); }
  void finish(row_batch& batch) override {
    const joint_state& s = state(batch).divergences;
    put(batch, s, s.value, 1, forward_kl_);
    put(batch, s, s.inner, 1, reverse_kl_);
    put(batch, s, s.js, 0.25, js_);
  }

 private:
  // curvature: of the divergence in the log-ratio that all classes have in common.
  static void put(const row_batch& batch, const joint_state& s, const std::vector<double>& sums, double curvature,
                  const row_array& out) {
    double values[batch_rows];
    for (index i = 0; i < batch.count; ++i) {
      const auto of_row = [&](const std::vector<double>& x) {
        return rounded(sum_tree(batch.blocks, x.data() + i * batch.blocks));
      };
      values[i] = without_common_error(of_row(sums), curvature, [&] { return of_row(s.difference); });
    }
    store_rows(out, batch.first, batch.count, values);
  }

  const joint_divergences& term_;
  row_array forward_kl_, reverse_kl_, js_;
};

}  // namespace

void row_divergences(const view& logits, const view& teacher_logits, const divergence_options& options,
                     const row_loss_options& of_rows, const divergences_of_rows& out, const execution& e) {
  const default_environment environment;
  row_description d(logits, of_rows.axis, 1.0, {}, of_rows.transform);
  const int teacher = d.read(teacher_logits, 1.0, true, options.teacher);
  if (kernels(d.type).joint_divergence_sums == nullptr) {   // float64
    row_loss_options each = of_rows, each_swapped = of_rows;
    each.reduction = each_swapped.reduction = reduction_kind::none;
    each_swapped.transform = options.teacher;
    divergence_options swapped, js = options;
    swapped.teacher = of_rows.transform;
    js.kind = divergence_kind::js;
    kl_div_with_logits(logits, teacher_logits, options, each, out.forward_kl, {}, e);
    kl_div_with_logits(teacher_logits, logits, swapped, each_swapped, out.reverse_kl, {}, e);
    return kl_div_with_logits(logits, teacher_logits, js, each, out.js, {}, e);
  }
  d.with_sums = true;
  d.cost = heavy;
  const row_plan plan = make_plan(d, e);
  const joint_divergences term(plan, 0, teacher, options, 1, 1);
  joint_operation operation(term, out);
  run_rows(plan, operation, e);
}

}  // namespace crossent
