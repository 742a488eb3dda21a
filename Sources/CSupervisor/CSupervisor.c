#define _GNU_SOURCE
#include "CSupervisor.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

static void restore_signals(void) {
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) sigaction(number, &standard, NULL);
}

pid_t csupervisor_spawn(const char *const arguments[]) {
    const pid_t parent = getpid();
    // Shared with the child, which runs in our memory until it executes the program.
    volatile int failure = 0;

    // No handler of ours may run in the child, where it would work on our memory.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);

    const pid_t child = vfork();
    if (child == 0) {
        restore_signals();
#ifdef __linux__
        // The parent may have died before we asked to be told: then nobody will tell us.
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(127);
#endif
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execvp(arguments[0], (char *const *)arguments);
        failure = errno;
        _exit(127);
    }
    const int vfork_error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (child < 0 || failure != 0) {
        errno = child < 0 ? vfork_error : failure;
        return -1;
    }
    return child;
}

static int argument_count = 0;
static char **arguments = NULL;

#ifdef __GLIBC__
// glibc hands the arguments to every initialiser; other C libraries pass nothing.
__attribute__((constructor)) static void keep_arguments(int count, char **vector) {
    argument_count = count;
    arguments = vector;
}
#endif

char **csupervisor_arguments(int *count) {
    *count = argument_count;
    return arguments;
}
