#include "ops/few_classes.hpp"

#include <algorithm>

namespace crossent {
namespace {

constexpr index step_rows = 256;   // of one call of the kernel

}  // namespace

few_class_cross_entropy::few_class_cross_entropy(const row_plan& plan, const targets& y, const upstream& u,
                                                 const row_losses& losses)
    : plan_(plan), y_(y), upstream_(u), losses_(losses) {}

bool few_class_cross_entropy::applies(const row_loss_options& options) {
  return options.weight.data == nullptr && options.sample_weight.data == nullptr && !(options.label_smoothing > 0) &&
         !(options.z_loss > 0) && options.entropy_weight == 0 && options.temperature == 1 && !options.transform.is_given() &&
         options.reduction != reduction_kind::exp_mean;
}

index few_class_cross_entropy::run(index first, index count, int worker) const {
  const row_array& x = plan_.input(0).array;
  index classes[step_rows];
  double g[step_rows];
  for (index done = 0; done < count;) {
    const index row = first + done;
    const strided_run logits = x.rows.run_at(row, std::min(count - done, step_rows));
    const strided_run grad = plan_.out.rows.run_at(row, logits.count);
    const targets::class_run y = y_.classes(row, plan_.writes() ? grad.count : logits.count, classes);
    few_class_rows r{};
    r.count = y.count;
    r.classes = plan_.classes;
    r.type = x.type;
    r.x = x.data + logits.offset;
    r.row_stride = logits.stride;
    r.class_stride = x.class_stride;
    r.y = y.y;
    r.ignored = y.ignored;
    r.loss = losses_.of(row, worker);
    if (plan_.writes()) {
      r.grad = plan_.out.data + grad.offset;
      r.grad_type = plan_.out.type;
      r.grad_row_stride = grad.stride;
      r.grad_class_stride = plan_.out.class_stride;
      r.stream = plan_.stream;
      r.upstream = upstream_.load(row, y.count, g);
      r.divisor = upstream_.divisor();
    }
    const index taken = plan_.kernel().few_class_cross_entropy(r);
    y_.add_ignored(r.absent);
    done += taken;
    if (taken < y.count) return done;
  }
  return count;
}

}  // namespace crossent
