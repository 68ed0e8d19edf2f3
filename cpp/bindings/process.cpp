#include "arrays.hpp"
#include "module.hpp"

namespace crossent::python {
namespace {

py::dict build() {
  const build_info built = info();
  py::list levels;
  for (const char* const* level = isa_levels(); *level != nullptr; ++level) levels.append(*level);
  py::dict result;
  result["version"] = built.version;
  result["isa"] = built.isa;
  result["isa_levels"] = levels;
  result["compiler"] = built.compiler;
  result["openmp"] = built.openmp;
  return result;
}

bool sweep(const char* function, const py::array& x, py::array out) {
  return vmath(function, float_type(x), x.data(), out.mutable_data(), x.size());
}

}  // namespace

void register_process(py::module_& m) {
  m.def("set_num_threads", &set_num_threads);
  m.def("num_threads", &num_threads);
  m.def("info", &build);
  m.def("vmath", &sweep);
}

}  // namespace crossent::python
