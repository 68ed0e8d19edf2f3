// What the losses of rows take. Those of rows in shards (shards.cpp) have the options of the same loss on rows in one place.
#pragma once

#include "losses.hpp"

namespace crossent::python {

struct row_call : call {
  row_loss_options options;
  loss_terms terms;
  array x;
  rows_of rows;

  row_call(const char* name, PyObject* given, PyObject* axis)
      : x(floating(name, given)), rows(x, options.axis = loss_axis(name, x, axis)) {}

  void read_weight(PyObject* weight) { options.weight = input(class_weights(weight, x, rows, options.axis)); }
  void read_sample_weight(PyObject* weight) { options.sample_weight = broadcast_0d(input(row_weights(weight, x, rows)), rows); }
  // None of them is negative.
  void read_positive_sample_weight(PyObject* weight) {
    if (const array v = row_weights(weight, x, rows))
      options.sample_weight = broadcast_0d(input(within("sample_weight", v, 0, largest(x))), rows);
  }

  // Runs f(loss, grad, execution) and returns the result for Python.
  // logits: whose dtype and, where there is a gradient, shape and memory order the outputs have.
  template <class F> py::object compute(const gradient_request& request, array logits, F f) {
    if (request.denominators != nullptr) return compute_sums(*this, request, logits, rows, terms, options, f);
    const loss_outputs out(*this, request, logits, rows, options.reduction);
    options.grad_output = broadcast_0d(out.upstream, rows);
    options.writes_to_caller = request.out != Py_None;
    run([&](const execution& e) { f(out.loss, out.grad, e); });
    return out.returned();
  }
  // target: class indices or probabilities
  py::object compute_cross_entropy(array target, const gradient_request& request) {
    return compute(request, x, [&](const mutable_view& loss, const mutable_view& grad, const execution& e) {
      if (target.is_integer()) cross_entropy(input(x), indices(target), options, loss, grad, e);
      else cross_entropy(input(x), input(target), options, loss, grad, e);
    });
  }
};

struct cross_entropy_function {
  CROSSENT_ARGUMENTS(logits, target, axis, temperature, weight, ignore_index, label_smoothing, z_loss, sample_weight, reduction,
                     denominator)

  // All but ignore_index, which a target is read by.
  static void read_options(row_call& c, const arguments& given);
  static py::object run(const arguments& given, const gradient_request& request);
};

struct distillation_loss_function {
  CROSSENT_ARGUMENTS(logits, teacher_logits, target, axis, temperature, alpha, scale_by_temperature, divergence, beta, weight,
                     ignore_index, label_smoothing, z_loss, sample_weight, reduction, denominator)

  struct options {
    distillation_options terms;
    divergence_options divergence;
  };
  // All but ignore_index; those of the rows go to the call.
  static options read_options(row_call& c, const arguments& given, reductions_known reductions);
  static py::object run(const arguments& given, const gradient_request& request);
};

}  // namespace crossent::python
