# Builds against the C library 2.31 and the C++ library of Debian 11, so that the wheel runs on older systems than this one:
#
#   python tools/debian_11.py ROOT
#   nox -s release -- ROOT
#
# For x86-64, and for any Python but Debian's own, half of whose headers are in a folder that is then ROOT's. The compiler is
# this machine's. Nothing of ROOT, which the environment variable CROSSENT_ROOT names, is run.
set(CMAKE_SYSROOT $ENV{CROSSENT_ROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_CXX_COMPILER g++)

set(machine x86_64-linux-gnu)
set(cxx ${CMAKE_SYSROOT}/usr/include)
set(CMAKE_CXX_FLAGS_INIT "-nostdinc++ -isystem ${cxx}/c++/10 -isystem ${cxx}/${machine}/c++/10")
# Before the folders of the compiler, which are not in ROOT.
foreach(folder usr/lib/gcc/${machine}/10 usr/lib/${machine} lib/${machine})
  string(APPEND libraries " -B${CMAKE_SYSROOT}/${folder} -L${CMAKE_SYSROOT}/${folder}")
endforeach()
foreach(kind EXE SHARED MODULE)
  set(CMAKE_${kind}_LINKER_FLAGS_INIT "${libraries}")
endforeach()
