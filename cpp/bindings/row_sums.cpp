// Sums of rows of a larger batch, put together: arrays of float64 that Python code of this package has made.
#include <utility>

#include "module.hpp"

namespace crossent::python {
namespace {

array numbers_in(call& c, const char* name, PyObject* given, int ndim) {
  const array x = c.floating(name, given);
  if (x.ndim() != ndim || float_type(x) != dtype::float64 || !x.has(numpy::NPY_ARRAY_C_CONTIGUOUS_) ||
      !x.has(numpy::NPY_ARRAY_ALIGNED_) || (ndim > 1 && x.size(ndim - 1) != 2))
    throw py::type_error(std::string(name) + ": expected an aligned, C-contiguous array of float64");
  return x;
}

const double* data(array x) { return reinterpret_cast<const double*>(x.data()); }
double* new_data(call& c, const py::object& x) { return reinterpret_cast<double*>(c.created(x).data()); }

struct sum_blocks_function {
  CROSSENT_ARGUMENTS(x)

  static py::object run(const arguments& given) {
    call c;
    const array x = numbers_in(c, "x", given[arg::x], 1);
    const index n = x.size(0), size[] = {block_count(n), 2};
    const py::object sums = new_array(dtype::float64, {2, size});
    double* const to = new_data(c, sums);
    c.run([&](const execution& e) { sum_blocks(data(x), n, to, e); });
    return sums;
  }
};

struct merge_sums_function {
  CROSSENT_ARGUMENTS(sums)

  static py::object run(const arguments& given) {
    call c;
    const array sums = numbers_in(c, "sums", given[arg::sums], 3);
    if (sums.size(0) == 0) throw py::value_error("sums: expected some");
    const index size[] = {sums.size(1), 2};
    const py::object merged = new_array(dtype::float64, {2, size});
    double* const to = new_data(c, merged);
    c.run([&](const execution&) { merge_sums(data(sums), sums.size(0), sums.size(1), to); });
    return merged;
  }
};

struct loss_of_sums_function {
  CROSSENT_ARGUMENTS(sums, denominators, shares, is_float64)

  static py::object run(const arguments& given) {
    call c;
    const array sums = numbers_in(c, "sums", given[arg::sums], 2),
                denominators = numbers_in(c, "denominators", given[arg::denominators], 1),
                shares = numbers_in(c, "shares", given[arg::shares], 1);
    loss_terms terms;
    terms.count = static_cast<int>(sums.size(0));
    if (terms.count < 1 || terms.count > 2 || denominators.size(0) != terms.count || shares.size(0) != terms.count)
      throw py::value_error("sums: expected one or two, and as many denominators and shares");
    const dtype type = as_bool(given[arg::is_float64]) ? dtype::float64 : dtype::float32;
    double loss = 0;   // or a float
    c.run([&](const execution&) {
      for (int k = 0; k < terms.count; ++k) terms.share[k] = data(shares)[k];
      loss_of_sums(terms, data(sums), data(denominators), type, &loss);
    });
    return scalar(&loss, type);
  }
};

}  // namespace

PyMethodDef row_sums[] = {
    method<sum_blocks_function>("sum_blocks"),
    method<merge_sums_function>("merge_sums"),
    method<loss_of_sums_function>("loss_of_sums"),
    {}};

}  // namespace crossent::python
