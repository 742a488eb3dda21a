#define _GNU_SOURCE
#include "CSupervisor.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#endif

#ifndef __linux__
extern char **environ;
#endif

#ifdef __GLIBC__
#include <sys/random.h>

// Swift's runtime asks for random numbers by this function, which glibc has only since 2.36. With one of
// our own the program also starts where glibc is older (Ubuntu 22.04).
uint32_t arc4random(void) {
    uint32_t number = 0;
    size_t count = 0;
    while (count < sizeof number) {
        ssize_t more = getrandom((char *)&number + count, sizeof number - count, 0);
        if (more > 0) count += (size_t)more;
        else if (errno != EINTR) abort();
    }
    return number;
}
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

// The digits are written into the parent's memory, where nobody else looks at them.
static void name_own_id(char *const *variables) {
    if (variables == NULL) return;
    for (; *variables != NULL; variables++) {
        char digits[CSUPERVISOR_ID_DIGITS];
        int count = 0;
        for (pid_t rest = getpid(); rest > 0 && count < CSUPERVISOR_ID_DIGITS; rest /= 10)
            digits[count++] = (char)('0' + rest % 10);
        char *place = strchr(*variables, '=');
        if (place == NULL) continue;
        while (count > 0) *++place = digits[--count];
        *++place = 0;
    }
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

pid_t csupervisor_spawn(const csupervisor_program *program, bool *tied) {
    const pid_t parent = getpid();
    // Shared with the child.
    volatile int failure = 0;
    volatile bool is_tied = false;

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
        // Where that is refused, the program runs all the same.
        is_tied = prctl(PR_SET_PDEATHSIG, program->death_signal) == 0;
        // The parent may have died before we asked to be told: then nobody will tell us.
        if (getppid() != parent) _exit(127);
#endif
        name_own_id(program->own_id_variables);
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
    *tied = is_tied;
    return child;
}

pid_t csupervisor_fork(int death_signal) {
    const pid_t parent = getpid();
    const pid_t child = fork();
#ifdef __linux__
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, death_signal);
        if (getppid() != parent) _exit(0);
    }
#else
    (void)death_signal;
    (void)parent;
#endif
    return child;
}

int csupervisor_adopt_orphans(void) {
#ifdef __linux__
    return prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 ? 0 : errno;
#else
    return ENOSYS;
#endif
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *wait_at_gate(void *nothing) {
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return nothing;
}

void csupervisor_close_from(posix_spawn_file_actions_t *actions, int first) {
#ifdef __GLIBC__
#if __GLIBC_PREREQ(2, 34)
    posix_spawn_file_actions_addclosefrom_np(actions, first);
#endif
#endif
}

int csupervisor_try_threads(int count) {
    pthread_t threads[CSUPERVISOR_MAX_TRIED];
    int begun = 0, failure = 0;
    if (count > CSUPERVISOR_MAX_TRIED) count = CSUPERVISOR_MAX_TRIED;
    // All of them at a time.
    pthread_mutex_lock(&gate);
    while (begun < count && failure == 0) {
        failure = pthread_create(&threads[begun], NULL, wait_at_gate, NULL);
        if (failure == 0) begun++;
    }
    pthread_mutex_unlock(&gate);
    while (begun > 0) pthread_join(threads[--begun], NULL);
    return failure;
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

int csupervisor_signal_descriptor(const sigset_t *signals) {
#ifdef __linux__
    return signalfd(-1, signals, SFD_CLOEXEC);
#else
    (void)signals;
    errno = ENOSYS;
    return -1;
#endif
}

char **csupervisor_arguments(int *count) {
    *count = argument_count;
    return arguments;
}
