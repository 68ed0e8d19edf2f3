// One call of a core function: its arguments, checked; what it reads and writes; without the GIL, and open to Ctrl-C.
//
// A check here lets the ordinary argument pass. Every other one goes to the function of the same name in
// python/crossent/_validate.py, which converts it or raises; what is wrong beyond doubt goes to a `refuse_` there. No
// message is made here.
//
// Such a check runs Python code, which may change arrays that were checked before. So an array is looked at once, what was
// seen is all that is used, and the call is given up where the array has become another one by the time that the last check
// is over. From then on no Python code runs until the core is done.
#pragma once

#include "arrays.hpp"
#include "interpreter.hpp"

namespace crossent::python {

// The positional arguments of a function of the module.
class arguments {
 public:
  arguments(PyObject* const* given, Py_ssize_t count) : given_(given), count_(count) {}
  PyObject* operator[](int i) const {
    if (i >= count_) throw py::type_error("an argument of a core function is missing");
    return given_[i];
  }

 private:
  PyObject* const* given_;
  Py_ssize_t count_;
};

inline py::object as_python(PyObject* x) { return py::reinterpret_borrow<py::object>(x); }
inline py::object as_python(const char* x) { return py::str(x); }
inline py::object as_python(double x) { return py::float_(x); }
inline py::object as_python(index x) { return py::int_(x); }
py::object as_python(const shape& x);

// The module of Python's checks, from import on.
extern PyObject* checks;

// What Python's `check` makes of these.
py::object ask_python(const char* check, const py::object* with, std::size_t count);
template <class... A> py::object ask(const char* check, const A&... a) {
  const py::object with[] = {as_python(a)...};
  return ask_python(check, with, sizeof...(a));
}
// An argument is not any more what it was when it was looked at.
[[noreturn]] void refuse_changed(const char* name);
template <class... A> [[noreturn]] void refuse(const char* check, const A&... a) {
  ask(check, a...);
  refuse_changed("an argument");  // what was to be refused would pass now
}

bool truth(PyObject* x);
int as_int(PyObject* x);   // an int, or what is nearest to it

// A check of numbers, and the bounds of those that are ordinary.
struct number_check {
  const char* name;
  double low, high;
};
extern const number_check fraction, positive, at_most_zero;
double number(const number_check& check, const char* name, PyObject* given);

// The position of `given` among the names that there are.
int one_of(const char* name, PyObject* given, const char* const* names, int count);

// The class axis, counted from 0; the losses have a default.
int class_axis(const char* name, array x, PyObject* axis);
int loss_axis(const char* name, array x, PyObject* axis);

void read_ignore_index(PyObject* given, row_loss_options& options);
py::object ignored_class(const row_loss_options& options);  // an int or None

// What the caller gets, and the same as the core writes it.
struct result {
  py::object returned;
  array written;
};

class call {
 public:
  call() = default;
  ~call();
  call(const call&) = delete;
  call& operator=(const call&) = delete;

  // Arrays that the core reads. Where only their values are left to check, run() does that.
  array floating(const char* name, PyObject* given);
  array floating(const char* name, PyObject* given, const shape& as);
  array within(const char* name, array x, double low, double high);
  // Whether x is the only array to check, which then is for the core to do while it reads it (outside_error).
  bool leave_check_to_core(array x);
  array class_indices(PyObject* target, array x, const rows_of& rows, const row_loss_options& options);
  array class_target(PyObject* target, array x, const rows_of& rows, const row_loss_options& options);
  array binary_target(PyObject* target, array x);
  array class_weights(PyObject* weight, array x, const rows_of& rows, int axis);
  array row_weights(PyObject* sample_weight, array x, const rows_of& rows);
  array element_weights(const char* name, PyObject* given, array x);
  view upstream(PyObject* grad_output, const shape& of_loss);

  // An array of the dtype of x that the core writes, while it reads all that was named before.
  array output(const char* name, PyObject* out, array x, const shape& as);
  // The same in the likeness of x; a new one where none was given.
  result result_like(const char* name, PyObject* out, array x);
  // A new array, which nobody else knows.
  array created(const py::object& x);

  // f(execution) without the GIL.
  template <class F> void run(F&& f) {
    run_any([](void* context, const execution& how) { (*static_cast<std::remove_reference_t<F>*>(context))(how); }, &f);
  }

 private:
  struct reading {
    const char* name;
    PyObject* given;
  };
  struct bounds {
    const char* name;
    array x;
    double low, high;
    bool by_core = false;
  };
  struct classes {
    array target;
    index count;
    const row_loss_options* options;
  };

  static constexpr int most_arrays = 12;   // of a call: what is read, converted or not, and what is written

  void note(const char* name, PyObject* given);
  // x as it is now, until the next look; none where it is not a plain ndarray.
  array look_at(PyObject* x);
  // What was looked at last belongs to the call from now on, and lives as long.
  array take(const char* name, array x);
  // What Python has made of an argument: taken, and of the dtypes and the shape that were asked for.
  array converted(const char* name, const py::object& x, bool (*is_wanted)(array));
  array converted(const char* name, const py::object& x, bool (*is_wanted)(array), const shape& as);
  bool can_write(array out, array x, const shape& as) const;
  void confirm_arrays() const;
  void run_any(void (*f)(void*, const execution&), void* context);

  array_fields arrays_[most_arrays];   // those taken, then the one looked at
  const char* names_[most_arrays];
  int arrays_count_ = 0;
  reading readings_[8];
  bounds bounds_[4];
  classes classes_{};
  double upstream_ = 0;
  int readings_count_ = 0, bounds_count_ = 0;
};

// The limit of this thread or context: the last of the tuple that this variable holds.
extern PyObject* thread_limits;
execution how_to_run();

}  // namespace crossent::python
