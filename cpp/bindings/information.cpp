#include "call.hpp"
#include "module.hpp"

namespace crossent::python {
namespace {

using measure = void (*)(const view&, const view&, int, double, const mutable_view&, const execution&);

double base_of(PyObject* base) { return base == Py_None ? 0 : ask("logarithm_base", base).cast<double>(); }

// f(out, execution) and what it wrote: a number for each row of x.
template <class F> py::object for_rows(call& c, array x, int axis, F f) {
  const py::object out = new_array(arithmetic(x), rows_of(x, axis));
  const array to = c.created(out);
  c.run([&](const execution& how) { f(output(to), how); });
  return scalar_if_0d(out);
}

py::object compare(measure f, const arguments& given) {
  enum { first, second, axis, base };
  call c;
  const array p = c.floating("p", given[first]);
  const array q = c.floating("q", given[second], p.shape());
  c.within("p", p, 0, largest(p));
  c.within("q", q, 0, largest(p));
  const int along = class_axis("p", p, given[axis]);
  const double b = base_of(given[base]);
  return for_rows(c, p, along, [&](const mutable_view& out, const execution& how) {
    f(input(p), input(q), along, b, out, how);
  });
}

py::object entropy_of(const arguments& given) {
  enum { probs, axis, base };
  call c;
  const array p = c.floating("p", given[probs]);
  c.within("p", p, 0, largest(p));
  const int along = class_axis("p", p, given[axis]);
  const double b = base_of(given[base]);
  return for_rows(c, p, along, [&](const mutable_view& out, const execution& how) {
    entropy(input(p), along, b, out, how);
  });
}

py::object entropy_with_logits_of(const arguments& given) {
  enum { logits, axis };
  call c;
  const array x = c.floating("logits", given[logits]);
  const int along = class_axis("logits", x, given[axis]);
  return for_rows(c, x, along, [&](const mutable_view& out, const execution& how) {
    entropy_with_logits(input(x), along, out, how);
  });
}

py::object cross_entropy_of(const arguments& given) { return compare(&information_cross_entropy, given); }
py::object kl_divergence_of(const arguments& given) { return compare(&kl_divergence, given); }
py::object js_divergence_of(const arguments& given) { return compare(&js_divergence, given); }

// Raises ValueError unless all numbers of a floating array are in [low, high].
py::object within_of(const arguments& given) {
  enum { name, array_, low, high };
  const char* called = PyUnicode_AsUTF8(given[name]);
  const double least = PyFloat_AsDouble(given[low]), most = PyFloat_AsDouble(given[high]);
  if (PyErr_Occurred() != nullptr) throw python_error();
  call c;
  c.within(called, c.floating(called, given[array_]), least, most);
  c.run([](const execution&) {});
  return py::none();
}

}  // namespace

PyMethodDef information[] = {
    method<&entropy_of>("entropy"),
    method<&cross_entropy_of>("information_cross_entropy"),
    method<&kl_divergence_of>("kl_divergence"),
    method<&js_divergence_of>("js_divergence"),
    method<&entropy_with_logits_of>("entropy_with_logits"),
    method<&within_of>("within"),
    {}};

}  // namespace crossent::python
