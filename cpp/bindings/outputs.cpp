// The arrays that a call writes. One given by the caller must be writable while the inputs are read.
#include "call.hpp"

namespace crossent::python {
namespace {

bool is_empty(array x) {
  const shape s = x.shape();
  return std::find(s.size, s.size + s.ndim, 0) != s.size + s.ndim;
}

// The bytes from the first to the last of an array that is not empty.
struct extent {
  const char *begin, *end;

  explicit extent(array x) : begin(x.data()), end(x.data() + py::reinterpret_borrow<py::dtype>(x.dtype()).itemsize()) {
    for (int d = 0; d < x.ndim(); ++d) (x.strides()[d] < 0 ? begin : end) += x.strides()[d] * (x.size(d) - 1);
  }
};

bool are_apart(array a, array b) {
  if (is_empty(a) || is_empty(b)) return true;
  const extent of_a(a), of_b(b);
  return of_a.end <= of_b.begin || of_b.end <= of_a.begin;
}

// In place: the core reads an element before it writes there.
bool are_same(array a, array b) {
  if (a.data() != b.data() || a.dtype() != b.dtype() || !(a.shape() == b.shape())) return false;
  for (int d = 0; d < a.ndim(); ++d)
    if (a.size(d) > 1 && a.strides()[d] != b.strides()[d]) return false;
  return true;
}

}  // namespace

// Whether `to` is an ordinary output. Python decides about partial overlaps.
bool call::can_write(array to, int type_number, const shape& as) const {
  if (!to || to.type_number() != type_number || !to.is_native() || !(to.shape() == as)) return false;
  if (!to.has(numpy::NPY_ARRAY_WRITEABLE_)) return false;
  if (!to.has(numpy::NPY_ARRAY_C_CONTIGUOUS_) && !to.has(numpy::NPY_ARRAY_F_CONTIGUOUS_)) return false;
  return std::all_of(inputs_, inputs_ + inputs_count_, [&](const named_input& in) {
    if (in.given == to.object() || PyFloat_CheckExact(in.given)) return true;
    if (!is_plain(in.given)) return false;
    array_fields fields;
    fields.read(in.given);
    return are_apart(to, array(&fields)) || are_same(to, array(&fields));
  });
}

array call::output(const char* name, PyObject* out, PyObject* dtype, const shape& as) {
  if (const array to = inspect(out); can_write(to, type_number(dtype), as)) return keep(name, to);
  return output_by("output", name, out, dtype, as);
}

array call::output_by(const char* check, const char* name, PyObject* out, PyObject* dtype, const shape& as) {
  py::dict inputs;
  for (int i = 0; i < inputs_count_; ++i) inputs[inputs_[i].name] = py::handle(inputs_[i].given);
  const auto is_writeable = [](array to) { return to.is_native() && to.has(numpy::NPY_ARRAY_WRITEABLE_); };
  const array to = converted(name, check_in_python(check, name, out, as, dtype, inputs.ptr()), is_writeable, as);
  if (to.type_number() != type_number(dtype)) raise_changed(name);
  return to;
}

result call::result_apart(const char* name, PyObject* out, array x) {
  if (out == Py_None) return result_like(name, out, x);
  return {py::reinterpret_borrow<py::object>(out), output_by("output_apart", name, out, x.dtype(), x.shape())};
}

result call::result_like(const char* name, PyObject* out, array x, PyObject* dtype) {
  if (out != Py_None) return {py::reinterpret_borrow<py::object>(out), output(name, out, dtype, x.shape())};
  const py::object fresh = new_like(x, dtype);
  const array to = created(fresh);
  if (!(to.shape() == x.shape())) raise_changed("an argument");
  return {fresh, to};
}

}  // namespace crossent::python
