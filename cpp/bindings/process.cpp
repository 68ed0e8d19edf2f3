#include "module.hpp"

namespace crossent::python {
namespace {

struct set_num_threads_function {
  CROSSENT_ARGUMENTS(n)

  static py::object run(const arguments& given) {
    set_num_threads(as_int(given[arg::n]));
    return py::none();
  }
};

struct num_threads_function {
  CROSSENT_NO_ARGUMENTS

  static py::object run(const arguments&) { return py::int_(num_threads(current_execution().threads)); }
};

struct info_function {
  CROSSENT_NO_ARGUMENTS

  static py::object run(const arguments&) {
    const build_info build = info();
    py::list levels;
    for (const char* const* level = isa_levels(); *level != nullptr; ++level) levels.append(*level);
    py::dict result;
    result["version"] = build.version;
    result["isa"] = build.isa;
    result["isa_levels"] = levels;
    result["compiler"] = build.compiler;
    result["openmp"] = build.openmp;
    return result;
  }
};

// Calls a function of vmath over contiguous arrays of float32 or float64. Returns whether there is such a function.
struct vmath_function {
  CROSSENT_ARGUMENTS(function, x, out)

  static py::object run(const arguments& given) {
    const char* function = PyUnicode_AsUTF8(given[arg::function]);
    if (function == nullptr) throw python_error();
    call c;
    const array x = c.floating("x", given[arg::x]), out = c.output("out", given[arg::out], x.dtype(), x.shape());
    if (float_type(x) != arithmetic(x) || !x.has(numpy::NPY_ARRAY_C_CONTIGUOUS_) || !out.has(numpy::NPY_ARRAY_C_CONTIGUOUS_))
      throw py::type_error("vmath: expected C-contiguous arrays of float32 or float64");
    index n = 1;
    for (int d = 0; d < x.ndim(); ++d) n *= x.size(d);
    bool known = false;
    c.run([&](const execution&) { known = vmath(function, float_type(x), x.data(), out.data(), n); });
    return py::bool_(known);
  }
};

}  // namespace

PyMethodDef process[] = {
    method<set_num_threads_function>("set_num_threads"),
    method<num_threads_function>("num_threads"),
    method<info_function>("info"),
    method<vmath_function>("vmath"),
    {}};

}  // namespace crossent::python
