#include "call.hpp"
#include "module.hpp"

namespace crossent::python {
namespace {

using normaliser = void (*)(const view&, int, double, const mutable_view&, const execution&);
using normaliser_backward = void (*)(const view&, const view&, int, double, const mutable_view&, const execution&);

py::object normalise(normaliser f, const arguments& given) {
  enum { logits, axis, temperature, out };
  call c;
  const array x = c.floating("x", given[logits]);
  const int along = class_axis("x", x, given[axis]);
  const double t = number(positive, "temperature", given[temperature]);
  const result to = c.result_like("out", given[out], x);
  c.run([&](const execution& how) { f(input(x), along, t, output(to.written), how); });
  return to.returned;
}

py::object normalise_backward(normaliser_backward f, const char* name, const arguments& given) {
  enum { grad_output, probs, axis, temperature, out };
  call c;
  const array y = c.floating(name, given[probs]);
  const int along = class_axis(name, y, given[axis]);
  const double t = number(positive, "temperature", given[temperature]);
  const array g = c.floating("grad_output", given[grad_output], y.shape());
  const result to = c.result_like("out", given[out], y);
  c.run([&](const execution& how) { f(input(g), input(y), along, t, output(to.written), how); });
  return to.returned;
}

py::object softmax_of(const arguments& given) { return normalise(&softmax, given); }
py::object log_softmax_of(const arguments& given) { return normalise(&log_softmax, given); }
py::object softmax_backward_of(const arguments& given) { return normalise_backward(&softmax_backward, "probs", given); }
py::object log_softmax_backward_of(const arguments& given) {
  return normalise_backward(&log_softmax_backward, "log_probs", given);
}

// The rows of x, with the class axis in length 1 or without it.
struct kept_axis {
  int ndim;
  index size[64];

  kept_axis(array x, int axis, bool keepdims) : ndim(0) {
    for (int d = 0; d < x.ndim(); ++d)
      if (d != axis) size[ndim++] = x.size(d);
      else if (keepdims) size[ndim++] = 1;
  }
  operator shape() const { return {ndim, size}; }
};

py::object logsumexp_of(const arguments& given) {
  enum { logits, axis, keepdims, out };
  call c;
  const array x = c.floating("x", given[logits]);
  const int along = class_axis("x", x, given[axis]);
  const bool keep = truth(given[keepdims]);
  const kept_axis as(x, along, keep);
  const py::object created = given[out] == Py_None ? new_array(x, as) : py::object();
  const array to = created ? c.created(created) : c.output("out", given[out], x, as);
  const rows_of rows(to, keep ? along : -1);
  c.run([&](const execution& how) { logsumexp(input(x), along, rows.output(to), how); });
  return created ? scalar_if_0d(created) : py::reinterpret_borrow<py::object>(given[out]);
}

py::object logsumexp_backward_of(const arguments& given) {
  enum { grad_output, logits, axis, keepdims, out };
  call c;
  const array x = c.floating("x", given[logits]);
  const int along = class_axis("x", x, given[axis]);
  const bool keep = truth(given[keepdims]);
  const array g = c.floating("grad_output", given[grad_output], kept_axis(x, along, keep));
  const rows_of rows(g, keep ? along : -1);
  const result to = c.result_like("out", given[out], x);
  c.run([&](const execution& how) { logsumexp_backward(rows.input(g), input(x), along, output(to.written), how); });
  return to.returned;
}

}  // namespace

PyMethodDef normalisers[] = {
    method<&softmax_of>("softmax"),
    method<&log_softmax_of>("log_softmax"),
    method<&logsumexp_of>("logsumexp"),
    method<&softmax_backward_of>("softmax_backward"),
    method<&log_softmax_backward_of>("log_softmax_backward"),
    method<&logsumexp_backward_of>("logsumexp_backward"),
    {}};

}  // namespace crossent::python
