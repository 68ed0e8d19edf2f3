// NumPy arrays to the views of crossent.hpp: pointers, shapes and byte strides, never a copy.
//
// The Python layer has checked dtypes, byte orders and shapes; nothing is checked twice here.
#pragma once

#include <crossent/crossent.hpp>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <type_traits>

namespace crossent::python {

namespace py = pybind11;

static_assert(std::is_same_v<py::ssize_t, index>, "NumPy's shapes and strides are passed on as they are");

using optional_array = std::optional<py::array>;

inline dtype float_type(const py::array& a) {
  switch (a.itemsize()) {
    case 2: return a.dtype().kind() == 'f' ? dtype::float16 : dtype::bfloat16;
    case 4: return dtype::float32;
    default: return dtype::float64;
  }
}

inline int_dtype int_type(const py::array& a) {
  const bool is_signed = a.dtype().kind() == 'i';
  switch (a.itemsize()) {
    case 1: return is_signed ? int_dtype::int8 : int_dtype::uint8;
    case 2: return is_signed ? int_dtype::int16 : int_dtype::uint16;
    case 4: return is_signed ? int_dtype::int32 : int_dtype::uint32;
    default: return is_signed ? int_dtype::int64 : int_dtype::uint64;
  }
}

inline view input(const py::array& a) {
  return {a.data(), float_type(a), static_cast<int>(a.ndim()), a.shape(), a.strides()};
}

inline view input(const optional_array& a) { return a ? input(*a) : view{}; }

inline index_view indices(const py::array& a) {
  return {a.data(), int_type(a), static_cast<int>(a.ndim()), a.shape(), a.strides()};
}

inline mutable_view output(py::array& a) {
  return {a.mutable_data(), float_type(a), static_cast<int>(a.ndim()), a.shape(), a.strides()};
}

inline mutable_view output(optional_array& a) { return a ? output(*a) : mutable_view{}; }

// A shape, with or without one of its axes.
struct shape_of {
  int ndim = 0;
  index size[64] = {};  // NumPy has at most 64 dimensions

  explicit shape_of(const py::array& a, int without = -1) {
    for (int d = 0; d < static_cast<int>(a.ndim()); ++d)
      if (d != without) size[ndim++] = a.shape(d);
  }
};

// A number for each position; a 0-d array stands for the same number in every one, at stride 0.
inline view for_each(const optional_array& a, const shape_of& shape) {
  static constexpr index no_strides[64] = {};
  if (a && a->ndim() == 0) return {a->data(), float_type(*a), shape.ndim, shape.size, no_strides};
  return input(a);
}

}  // namespace crossent::python
