#include <string>
#include <string_view>

#include "arrays.hpp"
#include "call.hpp"
#include "module.hpp"

namespace crossent::python {
namespace {

enum reduction reduction_named(std::string_view name) {
  if (name == "none") return reduction::none;
  if (name == "exp_mean") return reduction::exp_mean;
  return name == "mean" ? reduction::mean : reduction::sum;
}

enum divergence divergence_named(std::string_view name) {
  if (name == "forward") return divergence::forward;
  return name == "reverse" ? divergence::reverse : divergence::js;
}

bool holds_indices(const py::array& a) { return a.dtype().kind() == 'i' || a.dtype().kind() == 'u'; }

// "target[3, 5]" for a row in C order; "target" where there is only one.
std::string position(const py::array& target, index row) {
  std::string text;
  for (int d = static_cast<int>(target.ndim()) - 1; d >= 0; --d) {
    text = std::to_string(row % target.shape(d)) + (text.empty() ? "" : ", ") + text;
    row /= target.shape(d);
  }
  return text.empty() ? "target" : "target[" + text + "]";
}

std::string out_of_range(const target_error& error, const py::array& target, index classes, const row_loss_options& options) {
  std::string text = position(target, error.row) + " is " + error.value + ", outside [0, " + std::to_string(classes) + ")";
  if (options.has_ignore_index) text += " and not ignore_index (" + std::to_string(options.ignore_index) + ")";
  return text;
}

// The reduced loss. The core writes scalars to memory: converted here, they would depend on the caller's floating-point
// environment.
struct scalar {
  float single = 0;
  double twice = 0;
  bool is_double;

  explicit scalar(const py::array& x) : is_double(x.itemsize() == sizeof(double)) {}
  mutable_view view() {
    if (is_double) return {&twice, dtype::float64, 0, nullptr, nullptr};
    return {&single, dtype::float32, 0, nullptr, nullptr};
  }
  py::object value() const { return is_double ? py::cast(py::make_scalar(twice)) : py::cast(py::make_scalar(single)); }
};

// f(options, loss, gradient, execution) for the options that the losses of rows share.
template <class F>
py::object evaluate_rows(const py::array& x, const optional_array& target, int axis, const optional_array& weight,
                         std::optional<std::int64_t> ignore_index, double label_smoothing, const optional_array& sample_weight,
                         std::string_view reduction, double denominator, const optional_array& grad_output,
                         optional_array& losses, optional_array& grad, int threads, F f) {
  const shape_of rows(x, axis);
  row_loss_options options;
  options.axis = axis;
  options.weight = input(weight);
  options.has_ignore_index = ignore_index.has_value();
  options.ignore_index = ignore_index.value_or(0);
  options.label_smoothing = label_smoothing;
  options.sample_weight = for_each(sample_weight, rows);
  options.reduction = reduction_named(reduction);
  options.denominator = denominator;
  options.grad_output = for_each(grad_output, rows);
  scalar total(x);
  const mutable_view loss_to = options.reduction == reduction::none ? output(losses) : total.view();
  const mutable_view grad_to = output(grad);
  try {
    call(threads, [&](const execution& how) { f(options, loss_to, grad_to, how); });
    return total.value();
  } catch (const target_error& error) {
    throw py::index_error(out_of_range(error, *target, x.shape(axis), options));
  }
}

py::object cross_entropy_of(const py::array& logits, const py::array& target, int axis, const optional_array& weight,
                            std::optional<std::int64_t> ignore_index, double label_smoothing,
                            const optional_array& sample_weight, std::string_view reduction, double denominator,
                            const optional_array& grad_output, optional_array losses, optional_array grad, int threads) {
  const view x = input(logits);
  const bool by_index = holds_indices(target);
  const index_view y = by_index ? indices(target) : index_view{};
  const view q = by_index ? view{} : input(target);
  return evaluate_rows(logits, target, axis, weight, ignore_index, label_smoothing, sample_weight, reduction, denominator,
                       grad_output, losses, grad, threads, [&](const auto& options, const auto& loss, const auto& to, const auto& how) {
                         if (by_index) cross_entropy(x, y, options, loss, to, how);
                         else cross_entropy(x, q, options, loss, to, how);
                       });
}

py::object nll_loss_of(const py::array& log_probs, const py::array& target, int axis, const optional_array& weight,
                       std::optional<std::int64_t> ignore_index, double label_smoothing, const optional_array& sample_weight,
                       std::string_view reduction, double denominator, const optional_array& grad_output,
                       optional_array losses, optional_array grad, int threads) {
  const view x = input(log_probs);
  const index_view y = indices(target);
  return evaluate_rows(log_probs, target, axis, weight, ignore_index, label_smoothing, sample_weight, reduction, denominator,
                       grad_output, losses, grad, threads, [&](const auto& options, const auto& loss, const auto& to, const auto& how) {
                         nll_loss(x, y, options, loss, to, how);
                       });
}

py::object kl_div_with_logits_of(const py::array& logits, const py::array& teacher_logits, int axis, double temperature,
                                 std::string_view divergence, double beta, const optional_array& sample_weight,
                                 std::string_view reduction, double denominator, const optional_array& grad_output,
                                 optional_array losses, optional_array grad, int threads) {
  const view x = input(logits), teacher = input(teacher_logits);
  const divergence_options divergence_of{temperature, divergence_named(divergence), beta};
  return evaluate_rows(logits, std::nullopt, axis, std::nullopt, std::nullopt, 0, sample_weight, reduction, denominator,
                       grad_output, losses, grad, threads, [&](const auto& options, const auto& loss, const auto& to, const auto& how) {
                         kl_div_with_logits(x, teacher, divergence_of, options, loss, to, how);
                       });
}

py::object distillation_loss_of(const py::array& logits, const py::array& teacher_logits, const optional_array& target, int axis,
                                double temperature, double alpha, bool scale_by_temperature, std::string_view divergence,
                                double beta, const optional_array& weight, std::optional<std::int64_t> ignore_index,
                                double label_smoothing, const optional_array& sample_weight, std::string_view reduction,
                                double denominator, const optional_array& grad_output, optional_array losses,
                                optional_array grad, int threads) {
  const view x = input(logits), teacher = input(teacher_logits);
  const bool by_index = target && holds_indices(*target);
  const index_view y = by_index ? indices(*target) : index_view{};
  const view q = target && !by_index ? input(*target) : view{};
  const divergence_options divergence_of{temperature, divergence_named(divergence), beta};
  const distillation_options how_much{alpha, scale_by_temperature};
  return evaluate_rows(logits, target, axis, weight, ignore_index, label_smoothing, sample_weight, reduction, denominator,
                       grad_output, losses, grad, threads, [&](const auto& options, const auto& loss, const auto& to, const auto& how) {
                         distillation_loss(x, teacher, y, q, how_much, divergence_of, options, loss, to, how);
                       });
}

using element_loss = void (*)(const view&, const view&, const element_loss_options&, const mutable_view&, const mutable_view&,
                              const execution&);

template <element_loss f>
py::object evaluate_elements(const py::array& x, const py::array& target, element_loss_options options,
                             std::string_view reduction, double denominator, const optional_array& grad_output,
                             optional_array& losses, optional_array& grad, int threads) {
  const shape_of elements(x), rows(x, options.axis);
  options.reduction = reduction_named(reduction);
  options.denominator = denominator;
  view upstream = for_each(grad_output, elements);
  index strides[64] = {};
  if (grad_output && options.axis >= 0 && grad_output->ndim() == rows.ndim && grad_output->ndim() > 0) {
    for (int d = 0, r = 0; d < elements.ndim; ++d)   // of the rows: the same for all that was summed
      if (d != options.axis) strides[d] = grad_output->strides(r++);
    upstream = {grad_output->data(), float_type(*grad_output), elements.ndim, elements.size, strides};
  }
  options.grad_output = upstream;
  const view in = input(x), to = input(target);
  scalar total(x);
  const mutable_view loss_to = options.reduction == reduction::none ? output(losses) : total.view();
  const mutable_view grad_to = output(grad);
  call(threads, [&](const execution& how) { f(in, to, options, loss_to, grad_to, how); });
  return total.value();
}

py::object binary_cross_entropy_of(const py::array& probs, const py::array& target, const optional_array& weight,
                                   double log_floor, std::string_view reduction, double denominator,
                                   const optional_array& grad_output, optional_array losses, optional_array grad, int threads) {
  element_loss_options options;
  options.weight = input(weight);
  options.log_floor = log_floor;
  return evaluate_elements<&binary_cross_entropy>(probs, target, options, reduction, denominator, grad_output, losses, grad, threads);
}

py::object binary_cross_entropy_with_logits_of(const py::array& logits, const py::array& target, const optional_array& weight,
                                               const optional_array& pos_weight, double label_smoothing,
                                               std::string_view reduction, double denominator, const optional_array& grad_output,
                                               optional_array losses, optional_array grad, int threads) {
  element_loss_options options;
  options.weight = input(weight);
  options.pos_weight = input(pos_weight);
  options.label_smoothing = label_smoothing;
  return evaluate_elements<&binary_cross_entropy_with_logits>(logits, target, options, reduction, denominator, grad_output, losses,
                                                              grad, threads);
}

py::object kl_div_of(const py::array& log_probs, const py::array& target, bool log_target, std::optional<int> axis,
                     std::string_view reduction, double denominator, const optional_array& grad_output, optional_array losses,
                     optional_array grad, int threads) {
  element_loss_options options;
  options.log_target = log_target;
  options.axis = axis.value_or(-1);
  return evaluate_elements<&kl_div>(log_probs, target, options, reduction, denominator, grad_output, losses, grad, threads);
}

}  // namespace

void register_losses(py::module_& m) {
  m.def("cross_entropy", &cross_entropy_of);
  m.def("nll_loss", &nll_loss_of);
  m.def("kl_div_with_logits", &kl_div_with_logits_of);
  m.def("distillation_loss", &distillation_loss_of);
  m.def("binary_cross_entropy", &binary_cross_entropy_of);
  m.def("binary_cross_entropy_with_logits", &binary_cross_entropy_with_logits_of);
  m.def("kl_div", &kl_div_of);
}

}  // namespace crossent::python
