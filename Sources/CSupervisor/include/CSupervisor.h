#ifndef CSUPERVISOR_H
#define CSUPERVISOR_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/// How signals stand in a process.
typedef struct {
    sigset_t ignored;
    sigset_t blocked;
} csupervisor_signals;

/// How to start a program.
typedef struct {
    /// Its arguments, NULL at the end. The first is searched for on the PATH.
    const char *const *arguments;
    /// Its environment, NULL at the end.
    const char *const *environment;
    /// What it gets when the thread that started it ends, however it ends.
    int death_signal;
    /// How its signals stand.
    csupervisor_signals signals;
    /// Whether it leads a process group of its own, which gets the terminal where ours has it.
    bool leads_group;
} csupervisor_program;

/// Starts a program as a child. Its descriptors, working directory, limits and so on are the
/// caller's.
///
/// Returns its process id, or -1 with errno set, also where the program could not be executed.
///
/// In C because between vfork and exec no Swift code may run, and posix_spawn cannot ask for a
/// signal at the parent's death.
pid_t csupervisor_spawn(const csupervisor_program *program);

/// How signals stood when this process began, before anything in it could change that.
csupervisor_signals csupervisor_inherited_signals(void);

/// A descriptor that becomes readable when the process ends, however its id is used later
/// (pidfd_open(2), Linux 5.3); -1 with errno set.
int csupervisor_process_descriptor(pid_t process);

/// The arguments as the system handed them over, `*count` of them, in the memory that `ps` reads;
/// NULL where the C library does not tell.
///
/// In C because Swift's `CommandLine` looks for them below the environment, and finds none once a
/// preloaded library has moved that before `main`.
char **csupervisor_arguments(int *count);

#endif
