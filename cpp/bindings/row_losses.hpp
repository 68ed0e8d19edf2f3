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

  void read_temperature(PyObject* given) { options.temperature = row_temperature(given); }
  // Beside a divergence, which has it in its own options, unless each row has one.
  double row_temperature(PyObject* given) {
    array of_rows;
    const double t = temperature(given, rows, of_rows);
    options.transform.temperature = input(of_rows);
    return t;
  }
  void read_transform(PyObject* softcap, PyObject* logit_bias) {
    set_transform(options.transform, "softcap", softcap, "logit_bias", logit_bias);
  }
  void set_transform(logit_transform& to, const char* softcap_name, PyObject* cap, const char* bias_name, PyObject* bias) {
    to.softcap = softcap(softcap_name, cap);
    to.bias = input(class_bias(bias_name, bias, options.shard.classes > 0 ? options.shard.classes : x.size(options.axis)));
  }
  void read_weight(PyObject* weight) { options.weight = input(class_weights(weight, x, rows, options.axis)); }
  void read_sample_weight(PyObject* weight) { options.sample_weight = broadcast_0d(input(row_weights(weight, x, rows)), rows); }
  // None of them is negative.
  void read_positive_sample_weight(PyObject* weight) {
    if (const array v = row_weights(weight, x, rows))
      options.sample_weight = broadcast_0d(input(within("sample_weight", v, 0, largest(x))), rows);
  }
};

// Class indices, class probabilities or, where there is no array, neither.
struct row_target {
  array y;

  bool are_indices() const { return y && y.is_integer(); }
  index_view classes() const { return are_indices() ? indices(y) : index_view{}; }
  view probabilities() const { return are_indices() ? view{} : input(y); }
};

// The outputs of a loss of rows. The options of the call are complete with them.
struct row_outputs : loss_outputs {
  // logits: whose dtype, shape and memory order the gradient has.
  row_outputs(row_call& c, const gradient_request& request, array logits)
      : loss_outputs(c, request, logits, c.rows, c.options, c.terms) {
    c.options.grad_output = broadcast_0d(upstream, c.rows);
    c.options.writes_to_caller = request.out != Py_None;
  }
};

struct cross_entropy_function {
  CROSSENT_ARGUMENTS(logits, target, axis, temperature, softcap, logit_bias, weight, ignore_index, label_smoothing, z_loss,
                     entropy_weight, sample_weight, reduction, denominator)

  // All but ignore_index, which a target is read by.
  static void read_options(row_call& c, const arguments& given);
  static py::object run(const arguments& given, const gradient_request& request);
};

struct distillation_loss_function {
  CROSSENT_ARGUMENTS(logits, teacher_logits, target, axis, temperature, softcap, logit_bias, teacher_softcap,
                     teacher_logit_bias, alpha, scale_by_temperature, divergence, beta, weight, ignore_index, label_smoothing,
                     z_loss, sample_weight, reduction, denominator)

  struct options {
    distillation_options terms;
    divergence_options divergence;
  };
  // All but ignore_index; those of the rows go to the call.
  static options read_options(row_call& c, const arguments& given, reductions_known reductions);
  static py::object run(const arguments& given, const gradient_request& request);
};

}  // namespace crossent::python
