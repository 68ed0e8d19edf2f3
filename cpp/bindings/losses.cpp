#include <string>
#include <string_view>

#include "arrays.hpp"
#include "call.hpp"
#include "module.hpp"

namespace crossent::python {
namespace {

using index_loss = void (*)(const view&, const index_view&, const index_loss_options&, const mutable_view&,
                            const mutable_view&, const execution&);

enum reduction reduction_named(std::string_view name) {
  if (name == "none") return reduction::none;
  return name == "mean" ? reduction::mean : reduction::sum;
}

// "target[3, 5]" for a row in C order; "target" where there is only one.
std::string position(const index_view& target, index row) {
  std::string text;
  for (int d = target.ndim - 1; d >= 0; --d) {
    text = std::to_string(row % target.shape[d]) + (text.empty() ? "" : ", ") + text;
    row /= target.shape[d];
  }
  return text.empty() ? "target" : "target[" + text + "]";
}

std::string out_of_range(const target_error& error, const index_view& target, index classes,
                         const std::optional<std::int64_t>& ignore_index) {
  std::string text = position(target, error.row) + " is " + error.value + ", outside [0, " +
                     std::to_string(classes) + ")";
  if (ignore_index) text += " and not ignore_index (" + std::to_string(*ignore_index) + ")";
  return text;
}

template <index_loss f>
py::object evaluate(const py::array& x, const py::array& target, int axis, const optional_array& weight,
                    std::optional<std::int64_t> ignore_index, double label_smoothing,
                    const optional_array& sample_weight, std::string_view reduction, double denominator,
                    const optional_array& grad_output, optional_array losses, optional_array grad, int threads) {
  const view in = input(x);
  const index_view to = indices(target);
  index_loss_options options;
  options.axis = axis;
  options.weight = input(weight);
  options.has_ignore_index = ignore_index.has_value();
  options.ignore_index = ignore_index.value_or(0);
  options.label_smoothing = label_smoothing;
  options.sample_weight = per_row(sample_weight, to);
  options.reduction = reduction_named(reduction);
  options.denominator = denominator;
  options.grad_output = per_row(grad_output, to);
  // The core writes scalars to memory: converted here, they would depend on the caller's floating-point environment.
  float single = 0;
  double twice = 0;
  mutable_view loss = output(losses);
  if (options.reduction != reduction::none) {
    loss.data = in.type == dtype::float64 ? static_cast<void*>(&twice) : &single;
    loss.type = in.type;
  }
  const mutable_view grad_to = output(grad);
  try {
    call(threads, [&](const execution& how) { f(in, to, options, loss, grad_to, how); });
    if (in.type == dtype::float64) return py::cast(py::make_scalar(twice));
    return py::cast(py::make_scalar(single));
  } catch (const target_error& error) {
    throw py::index_error(out_of_range(error, to, in.shape[axis], ignore_index));
  }
}

}  // namespace

void register_losses(py::module_& m) {
  m.def("cross_entropy", &evaluate<&cross_entropy>);
  m.def("nll_loss", &evaluate<&nll_loss>);
}

}  // namespace crossent::python
