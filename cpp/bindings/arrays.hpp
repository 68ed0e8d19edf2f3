// NumPy arrays as the views of crossent.hpp: pointers, shapes and byte strides, never a copy.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <crossent/crossent.hpp>
#include <functional>
#include <limits>
#include <numeric>
#include <type_traits>

namespace crossent::python {

namespace py = pybind11;

static_assert(std::is_same_v<py::ssize_t, index>, "NumPy's shapes and strides are passed on as they are");

// NumPy's type numbers of the core's dtypes. pybind11 has no constant for float16; bfloat16 gets its number when ml_dtypes is
// imported.
using numpy = py::detail::npy_api;
constexpr int numpy_half = 23, numpy_first_of_others = 256;
constexpr int max_axes = 64;   // NumPy's limit

struct shape {
  int ndim;
  const index* size;

  index count() const { return std::accumulate(size, size + ndim, index{1}, std::multiplies<>()); }
  bool operator==(const shape& other) const { return ndim == other.ndim && std::equal(size, size + ndim, other.size); }
};

// A copy of the fields of an ndarray. Python code may change the ndarray itself whenever it runs, other threads at any time
// while this one is without the GIL.
struct array_fields {
  PyObject* object;
  char* data;
  PyObject* dtype;
  int type_number, flags, ndim;
  char byte_order;
  index size[max_axes], strides[max_axes];

  void read(PyObject* ndarray);
  bool is_unchanged() const;   // whether the ndarray still has these fields
};

// An ndarray by the copy of its fields, or none. The copy belongs to the call.
class array {
 public:
  array() = default;
  explicit array(const array_fields* fields) : fields_(fields) {}
  explicit operator bool() const { return fields_ != nullptr; }

  PyObject* object() const { return fields_->object; }
  char* data() const { return fields_->data; }
  int ndim() const { return fields_->ndim; }
  python::shape shape() const { return {ndim(), fields_->size}; }
  index size(int axis) const { return fields_->size[axis]; }
  const index* strides() const { return fields_->strides; }
  PyObject* dtype() const { return fields_->dtype; }
  bool has(int flag) const { return (fields_->flags & flag) != 0; }
  int type_number() const { return fields_->type_number; }
  bool is_native() const { return fields_->byte_order == '=' || fields_->byte_order == '|'; }
  bool is_integer() const { return type_number() >= numpy::NPY_BYTE_ && type_number() <= numpy::NPY_ULONGLONG_; }

 private:
  const array_fields* fields_ = nullptr;
};

// Whether x is an ndarray and not an instance of a derived class.
inline bool is_plain(PyObject* x) { return Py_TYPE(x) == numpy::get().PyArray_Type_; }

inline dtype float_type(array a) {
  switch (a.type_number()) {
    case numpy::NPY_FLOAT_: return dtype::float32;
    case numpy::NPY_DOUBLE_: return dtype::float64;
    case numpy_half: return dtype::float16;
    default: return dtype::bfloat16;
  }
}

inline int_dtype int_type(array a) {
  constexpr bool wide = sizeof(long) == 8;
  constexpr int_dtype of_long = wide ? int_dtype::int64 : int_dtype::int32;
  constexpr int_dtype of_unsigned_long = wide ? int_dtype::uint64 : int_dtype::uint32;
  static constexpr int_dtype types[] = {int_dtype::int8,  int_dtype::uint8,  int_dtype::int16, int_dtype::uint16,
                                        int_dtype::int32, int_dtype::uint32, of_long,          of_unsigned_long,
                                        int_dtype::int64, int_dtype::uint64};
  return types[a.type_number() - numpy::NPY_BYTE_];
}

// The dtype that a call on `a` computes in, its least positive number, and its largest finite one.
inline dtype arithmetic(array a) { return float_type(a) == dtype::float64 ? dtype::float64 : dtype::float32; }
inline double least_positive(array a) {
  return float_type(a) == dtype::float64 ? std::numeric_limits<double>::denorm_min() : std::numeric_limits<float>::denorm_min();
}
inline double largest(array a) {
  if (arithmetic(a) == dtype::float64) return std::numeric_limits<double>::max();
  return std::numeric_limits<float>::max();
}

inline view input(array a) { return a ? view{a.data(), float_type(a), a.ndim(), a.shape().size, a.strides()} : view{}; }
inline index_view indices(array a) { return {a.data(), int_type(a), a.ndim(), a.shape().size, a.strides()}; }
inline mutable_view output(array a) {
  return a ? mutable_view{a.data(), float_type(a), a.ndim(), a.shape().size, a.strides()} : mutable_view{};
}

// The axes of an array without the class axis. If that is -1, all axes.
struct rows_of {
  int ndim = 0;
  index size[max_axes], strides[max_axes];

  explicit rows_of(array a, int without = -1) {
    for (int d = 0; d < a.ndim(); ++d) {
      if (d == without) continue;
      size[ndim] = a.size(d);
      strides[ndim++] = a.strides()[d];
    }
  }
  operator shape() const { return {ndim, size}; }

  // A view of an array with these axes, if the axis left out has length 1.
  view input(array a) const { return {a.data(), float_type(a), ndim, size, strides}; }
  mutable_view output(array a) const { return {a.data(), float_type(a), ndim, size, strides}; }
};

// `a` in the shape of `positions`, to which a 0-d array is broadcast by strides of 0.
inline view broadcast_0d(const view& a, const shape& positions) {
  static constexpr index no_strides[max_axes] = {};
  if (a.data != nullptr && a.ndim == 0) return {a.data, a.type, positions.ndim, positions.size, no_strides};
  return a;
}

py::object new_array(dtype type, const shape& as);   // of float32 or float64, in C order
py::object numpy_dtype(dtype type);                  // of float32 or float64
int type_number(PyObject* dtype);
py::object new_like(array x, PyObject* dtype);       // of this dtype, in the shape and memory order of x
py::object scalar(const void* data, dtype type);     // of a float32 or float64
py::object scalar_if_0d(py::object x);               // x, or the NumPy scalar if x is 0-d

}  // namespace crossent::python
