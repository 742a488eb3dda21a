#define _GNU_SOURCE
#include "CSupervisor.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#ifndef __linux__
extern char **environ;
#endif

static csupervisor_signals inherited;
static int argument_count = 0;
static char **arguments = NULL;

// glibc hands the arguments to every initialiser; other C libraries pass nothing.
__attribute__((constructor)) static void keep_what_we_began_with(int count, char **vector) {
    struct sigaction action;
    sigemptyset(&inherited.ignored);
    for (int number = 1; number < NSIG; number++) {
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            sigaddset(&inherited.ignored, number);
    }
    pthread_sigmask(SIG_SETMASK, NULL, &inherited.blocked);
#ifdef __GLIBC__
    argument_count = count;
    arguments = vector;
#else
    (void)count;
    (void)vector;
#endif
}

// In the child, which runs in the parent's memory until it executes the program.
static void set_signals(const csupervisor_signals *signals) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    for (int number = 1; number < NSIG; number++) {
        action.sa_handler = sigismember(&signals->ignored, number) == 1 ? SIG_IGN : SIG_DFL;
        sigaction(number, &action, NULL);
    }
}

static void lead_group(void) {
    const pid_t parents = getpgrp();
    setpgid(0, 0);
    // All signals are blocked here, so that this cannot stop us as one in the background.
    if (tcgetpgrp(STDIN_FILENO) == parents) tcsetpgrp(STDIN_FILENO, getpgrp());
}

static void execute(const csupervisor_program *program) {
    char *const *words = (char *const *)program->arguments;
    char *const *environment = (char *const *)program->environment;
#ifdef __linux__
    execvpe(words[0], words, environment);
#else
    // The parent, whose memory this is, puts its environment back.
    environ = (char **)environment;
    execvp(words[0], words);
#endif
}

pid_t csupervisor_spawn(const csupervisor_program *program) {
    const pid_t parent = getpid();
    // Shared with the child.
    volatile int failure = 0;

    // No handler of ours may run in the child, where it would work on our memory.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);

#ifndef __linux__
    char **const own_environment = environ;
#endif
    const pid_t child = vfork();
    if (child == 0) {
        if (program->leads_group) lead_group();
        set_signals(&program->signals);
#ifdef __linux__
        // The parent may have died before we asked to be told: then nobody will tell us.
        if (prctl(PR_SET_PDEATHSIG, program->death_signal) != 0 || getppid() != parent) _exit(127);
#endif
        sigprocmask(SIG_SETMASK, &program->signals.blocked, NULL);
        execute(program);
        failure = errno;
        _exit(127);
    }
    const int vfork_error = errno;
#ifndef __linux__
    environ = own_environment;
#endif
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (child < 0) {
        errno = vfork_error;
        return -1;
    }
    if (failure != 0) {
        // It ended before it became the program; nobody else is to find it.
        while (waitpid(child, NULL, 0) == -1 && errno == EINTR) continue;
        errno = failure;
        return -1;
    }
    return child;
}

csupervisor_signals csupervisor_inherited_signals(void) { return inherited; }

int csupervisor_process_descriptor(pid_t process) {
#if defined(__linux__) && defined(SYS_pidfd_open)
    return (int)syscall(SYS_pidfd_open, process, 0);
#else
    (void)process;
    errno = ENOSYS;
    return -1;
#endif
}

char **csupervisor_arguments(int *count) {
    *count = argument_count;
    return arguments;
}
