#include "losses.hpp"
#include "module.hpp"

namespace crossent::python {
namespace {

using element_loss = void (*)(const view&, const view&, const element_loss_options&, const mutable_view&, const mutable_view&,
                              const execution&);

py::object compute(call& c, element_loss f, array x, array target, element_loss_options& options,
                   const gradient_request& request) {
  const rows_of elements(x), rows(x, options.axis);
  const loss_outputs out(c, request, x, rows, options, {});
  options.grad_output = broadcast_0d(out.upstream, elements);
  index strides[max_axes] = {};
  if (options.axis >= 0 && out.upstream.ndim > 0) {  // of the rows: the same for every class
    for (int e = 0, r = 0; e < elements.ndim; ++e)
      if (e != options.axis) strides[e] = out.upstream.strides[r++];
    options.grad_output = {out.upstream.data, out.upstream.type, elements.ndim, elements.size, strides};
  }
  c.run([&](const execution& e) { f(input(x), input(target), options, out.loss, out.grad, e); });
  return out.returned();
}

struct binary_cross_entropy_function {
  CROSSENT_ARGUMENTS(probs, target, weight, log_floor, reduction, denominator)

  static py::object run(const arguments& given, const gradient_request& request) {
    call c;
    element_loss_options options;
    const array x = c.floating("probs", given[arg::probs]);
    c.within("probs", x, 0, 1);
    const array target = c.binary_target(given[arg::target], x);
    options.weight = input(c.element_weights("weight", given[arg::weight], x, -largest(x)));
    options.log_floor = given[arg::log_floor] == Py_None ? -std::numeric_limits<double>::infinity()
                                                         : number(at_most_zero, "log_floor", given[arg::log_floor]);
    read_reduction(given[arg::reduction], given[arg::denominator], common, options);
    return compute(c, &binary_cross_entropy, x, target, options, request);
  }
};

struct binary_cross_entropy_with_logits_function {
  CROSSENT_ARGUMENTS(logits, target, weight, pos_weight, label_smoothing, reduction, denominator)

  static py::object run(const arguments& given, const gradient_request& request) {
    call c;
    element_loss_options options;
    const array x = c.floating("logits", given[arg::logits]);
    const array target = c.binary_target(given[arg::target], x);
    options.weight = input(c.element_weights("weight", given[arg::weight], x, -largest(x)));
    options.pos_weight = input(c.element_weights("pos_weight", given[arg::pos_weight], x, 0));
    options.label_smoothing = number(fraction, "label_smoothing", given[arg::label_smoothing]);
    read_reduction(given[arg::reduction], given[arg::denominator], common, options);
    // An output of the caller's must not be written before the check; a new array may.
    if (request.out == Py_None) options.check_target = c.leave_check_to_core(target);
    return compute(c, &binary_cross_entropy_with_logits, x, target, options, request);
  }
};

struct binary_cross_entropy_with_logits_gradient_hessian_function {
  CROSSENT_ARGUMENTS(logits, target, weight, pos_weight, label_smoothing, hessian, hessian_scale, hessian_floor, grad_out,
                     hess_out)

  static py::object run(const arguments& given) {
    call c;
    element_loss_options options;
    const array x = c.floating("logits", given[arg::logits]);
    const array target = c.binary_target(given[arg::target], x);
    options.weight = input(c.element_weights("weight", given[arg::weight], x, 0));
    options.pos_weight = input(c.element_weights("pos_weight", given[arg::pos_weight], x, 0));
    options.label_smoothing = number(fraction, "label_smoothing", given[arg::label_smoothing]);
    options.reduction = reduction_kind::sum;
    const hessian_options hessian = read_hessian(given[arg::hessian], given[arg::hessian_scale], given[arg::hessian_floor]);
    const gradient_hessian_outputs out(c, given[arg::grad_out], given[arg::hess_out], x);
    c.run([&](const execution& e) {
      binary_cross_entropy_with_logits_gradient_hessian(input(x), input(target), hessian, options, out.grad, out.hess, e);
    });
    return out.returned();
  }
};

struct kl_div_function {
  CROSSENT_ARGUMENTS(log_probs, target, log_target, axis, reduction, denominator)

  static py::object run(const arguments& given, const gradient_request& request) {
    call c;
    element_loss_options options;
    const array x = c.floating("log_probs", given[arg::log_probs]);
    if (given[arg::axis] != Py_None) options.axis = class_axis("log_probs", x, given[arg::axis]);
    const array target = c.floating("target", given[arg::target], x.shape());
    options.log_target = as_bool(given[arg::log_target]);
    if (!options.log_target) c.within("target", target, 0, 1);
    if (read_reduction(given[arg::reduction], given[arg::denominator], with_batchmean, options)) {
      const rows_of rows(x, options.axis);
      const int counted = options.axis >= 0 ? rows.ndim : std::min(rows.ndim, 1);
      options.denominator = 1;
      for (int d = 0; d < counted; ++d) options.denominator *= static_cast<double>(rows.size[d]);
    }
    return compute(c, &kl_div, x, target, options, request);
  }
};

}  // namespace

PyMethodDef element_losses[] = {
    method<forward<binary_cross_entropy_function>>("binary_cross_entropy"),
    method<backward<binary_cross_entropy_function>>("binary_cross_entropy_backward"),
    method<sums<binary_cross_entropy_function>>("binary_cross_entropy_sums"),
    method<forward<binary_cross_entropy_with_logits_function>>("binary_cross_entropy_with_logits"),
    method<backward<binary_cross_entropy_with_logits_function>>("binary_cross_entropy_with_logits_backward"),
    method<sums<binary_cross_entropy_with_logits_function>>("binary_cross_entropy_with_logits_sums"),
    method<binary_cross_entropy_with_logits_gradient_hessian_function>("binary_cross_entropy_with_logits_gradient_hessian"),
    method<forward<kl_div_function>>("kl_div"),
    method<backward<kl_div_function>>("kl_div_backward"),
    {}};

}  // namespace crossent::python
