#ifndef CSUPERVISOR_H
#define CSUPERVISOR_H

#include <sys/types.h>

/// Starts `arguments[0]`, searched for on the PATH, as a child that gets SIGKILL when the calling
/// thread ends, however it ends. Its signals are at their defaults and none is blocked; its
/// environment and descriptors are the caller's.
///
/// Returns its process id, or -1 with errno set, also where the program could not be executed.
///
/// In C because between vfork and exec no Swift code may run, and posix_spawn cannot ask for a
/// signal at the parent's death.
pid_t csupervisor_spawn(const char *const arguments[]);

/// The arguments as the system handed them over, `*count` of them, in the memory that `ps` reads;
/// NULL where the C library does not tell.
///
/// In C because Swift's `CommandLine` looks for them below the environment, and finds none once a
/// preloaded library has moved that before `main`.
char **csupervisor_arguments(int *count);

#endif
