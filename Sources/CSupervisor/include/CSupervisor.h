#ifndef CSUPERVISOR_H
#define CSUPERVISOR_H

#include <signal.h>
#include <spawn.h>
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
    /// Variables of its environment that are to name its own process: each is `NAME=` in memory that
    /// can be written, with room for CSUPERVISOR_ID_DIGITS digits and a zero behind. NULL at the end,
    /// or NULL for none.
    char *const *own_id_variables;
} csupervisor_program;

/// As many as a process id can have.
#define CSUPERVISOR_ID_DIGITS 10

/// Starts a program as a child. Its descriptors, working directory, limits and so on are the
/// caller's.
///
/// Returns its process id, or -1 with errno set, also where the program could not be executed. `*tied`
/// becomes whether it gets its death signal, which a system may refuse.
///
/// In C because between vfork and exec no Swift code may run, and posix_spawn cannot ask for a
/// signal at the parent's death.
pid_t csupervisor_spawn(const csupervisor_program *program, bool *tied);

/// Goes on in two processes, as fork(2) does; the new one gets the signal when this one ends.
///
/// Only to be called as long as there is one thread: Swift keeps others from seeing fork, since in a
/// process with several the child could do nothing.
pid_t csupervisor_fork(int death_signal);

/// From here on orphans among our descendants become our children (PR_SET_CHILD_SUBREAPER(2const)).
/// Returns 0, or an error number.
int csupervisor_adopt_orphans(void);

/// Has a program that is started with `actions` inherit no descriptor from `first` on, where the system can do so.
///
/// In C because Swift does not see the function.
void csupervisor_close_from(posix_spawn_file_actions_t *actions, int first);

/// Whether so many more threads can be had at a time (at most CSUPERVISOR_MAX_TRIED): 0, or the error
/// number. What runs the tasks of a Swift program ends it where it gets none.
int csupervisor_try_threads(int count);

#define CSUPERVISOR_MAX_TRIED 16

/// How signals stood when this process began, before anything in it could change that.
csupervisor_signals csupervisor_inherited_signals(void);

/// A descriptor that becomes readable when the process ends, however its id is used later
/// (pidfd_open(2), Linux 5.3); -1 with errno set.
int csupervisor_process_descriptor(pid_t process);

/// A descriptor that is readable while one of the blocked signals waits (signalfd(2)); -1 with errno set.
///
/// In C because Swift does not see the function.
int csupervisor_signal_descriptor(const sigset_t *signals);

/// The arguments as the system handed them over, `*count` of them, in the memory that `ps` reads;
/// NULL where the C library does not tell.
///
/// In C because Swift's `CommandLine` looks for them below the environment, and finds none once a
/// preloaded library has moved that before `main`.
char **csupervisor_arguments(int *count);

#endif
