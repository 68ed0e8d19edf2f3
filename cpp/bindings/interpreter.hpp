// The interpreter from threads that may outlive it.
//
// Before Python 3.14 a thread that asks for the GIL when the interpreter has ended is taken down by pthread_exit, which
// unwinds its stack: through functions that may not throw, which ends the process, and through destructors that give back
// references without the GIL. From 3.14 on Python lets it sleep. So do we.
#pragma once

#include <Python.h>
#include <cxxabi.h>
#include <unistd.h>

namespace crossent::python {

// Thrown where a Python exception is set, and left as it is until the call returns. (py::error_already_set completes it at
// once, which may run Python code and with it the handlers of signals.)
struct python_error {};

[[noreturn]] inline void sleep_until_the_process_ends() {
  for (;;) pause();
}

// Calls f(), which waits for the GIL or runs Python code, from C++.
template <class F> auto or_sleep(F&& f) -> decltype(f()) {
#if defined(__GLIBCXX__)
  try {
    return f();
  } catch (abi::__forced_unwind&) {
    sleep_until_the_process_ends();
  }
#else
  return f();
#endif
}

// Releases the GIL for its lifetime.
class without_gil {
 public:
  without_gil() : thread_(PyEval_SaveThread()) {}
  ~without_gil() { restore(); }

  // Calls f() with the GIL. (PyGILState_Ensure would look up state that the end of the interpreter has already removed.)
  template <class F> auto with_gil(F f) {
    restore();
    const auto result = or_sleep(f);
    thread_ = PyEval_SaveThread();
    return result;
  }
  without_gil(const without_gil&) = delete;
  without_gil& operator=(const without_gil&) = delete;

 private:
  void restore() {
    or_sleep([&] { PyEval_RestoreThread(thread_); });
  }

  PyThreadState* thread_;
};

}  // namespace crossent::python
