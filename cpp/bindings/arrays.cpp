#include "arrays.hpp"

#include "interpreter.hpp"

namespace crossent::python {
namespace {

// NumPy has '=' for the machine's own byte order, but its name where that was asked for, as ctypes does.
constexpr char own_order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? '<' : '>';

py::object checked(PyObject* made) {
  if (made == nullptr) throw python_error();
  return py::reinterpret_steal<py::object>(made);
}

// Takes the reference to `dtype`.
py::object allocate(PyObject* dtype, const shape& as, int flags) {
  const numpy& api = numpy::get();
  PyObject* made = api.PyArray_NewFromDescr_(api.PyArray_Type_, dtype, as.ndim, as.size, nullptr, nullptr, flags, nullptr);
  return checked(made);
}

py::object empty_like(PyObject* x, PyObject* dtype) {
  const py::object function = py::module_::import("numpy").attr("empty_like");
  return checked(or_sleep([&] { return PyObject_CallFunctionObjArgs(function.ptr(), x, dtype, nullptr); }));
}

}  // namespace

void array_fields::read(PyObject* x) {
  const auto& now = *py::detail::array_proxy(x);
  const auto& described = *py::detail::array_descriptor_proxy(now.descr);
  object = x;
  data = now.data;
  dtype = now.descr;
  type_number = described.type_num;
  byte_order = described.byteorder == own_order ? '=' : described.byteorder;
  flags = now.flags;
  ndim = now.nd;
  for (int d = 0; d < ndim; ++d) {   // few: a call of memcpy takes longer
    size[d] = now.dimensions[d];
    strides[d] = now.strides[d];
  }
}

bool array_fields::is_unchanged() const {
  const auto& now = *py::detail::array_proxy(object);
  bool same =
      now.data == data && now.descr == dtype && now.nd == ndim && ((now.flags ^ flags) & numpy::NPY_ARRAY_WRITEABLE_) == 0;
  for (int d = 0; d < ndim && same; ++d) same = now.dimensions[d] == size[d] && now.strides[d] == strides[d];
  return same;
}

py::object numpy_dtype(dtype type) {
  const int number = type == dtype::float64 ? numpy::NPY_DOUBLE_ : numpy::NPY_FLOAT_;
  return py::reinterpret_steal<py::object>(numpy::get().PyArray_DescrFromType_(number));
}

int type_number(PyObject* dtype) { return py::detail::array_descriptor_proxy(dtype)->type_num; }

py::object new_array(dtype type, const shape& as) { return allocate(numpy_dtype(type).release().ptr(), as, 0); }

py::object new_like(array x, PyObject* dtype) {
  const bool c_order = x.has(numpy::NPY_ARRAY_C_CONTIGUOUS_);
  if (!c_order && !x.has(numpy::NPY_ARRAY_F_CONTIGUOUS_)) return empty_like(x.object(), dtype);
  return allocate(Py_NewRef(dtype), x.shape(), c_order ? 0 : numpy::NPY_ARRAY_F_CONTIGUOUS_);
}

py::object scalar(const void* data, dtype type) {
  const py::object descr = numpy_dtype(type);
  return checked(numpy::get().PyArray_Scalar_(const_cast<void*>(data), descr.ptr(), nullptr));
}

py::object scalar_if_0d(py::object x) {
  const auto& a = *py::detail::array_proxy(x.ptr());
  return a.nd > 0 ? x : checked(numpy::get().PyArray_Scalar_(a.data, a.descr, x.ptr()));
}

}  // namespace crossent::python
