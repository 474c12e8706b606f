/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The closed lists of names that Linux gives to signals and capabilities. A name that is not in the
 * list is refused when the document is read, not when the container starts.
 */
#include "deploy/compose_reader.h"

#include <signal.h>
#include <strings.h>

#define SIGNAL_MAX 64
#define SIGNAL_RTMIN 34 /* as glibc and musl programs see it; 32 and 33 are the libraries' own */

struct signal_row {
    const char *name;
    int number;
};

static const struct signal_row signals[] = {
    {"ABRT", SIGABRT},   {"ALRM", SIGALRM},     {"BUS", SIGBUS},   {"CHLD", SIGCHLD},
    {"CONT", SIGCONT},   {"FPE", SIGFPE},       {"HUP", SIGHUP},   {"ILL", SIGILL},
    {"INT", SIGINT},     {"IO", SIGIO},         {"IOT", SIGIOT},   {"KILL", SIGKILL},
    {"PIPE", SIGPIPE},   {"POLL", SIGPOLL},     {"PROF", SIGPROF}, {"PWR", SIGPWR},
    {"QUIT", SIGQUIT},   {"RTMIN", 34},         {"RTMAX", 64},     {"SEGV", SIGSEGV},
    {"STOP", SIGSTOP},   {"STKFLT", SIGSTKFLT}, {"SYS", SIGSYS},   {"TERM", SIGTERM},
    {"TRAP", SIGTRAP},   {"TSTP", SIGTSTP},     {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU},
    {"URG", SIGURG},     {"USR1", SIGUSR1},     {"USR2", SIGUSR2}, {"VTALRM", SIGVTALRM},
    {"WINCH", SIGWINCH}, {"XCPU", SIGXCPU},     {"XFSZ", SIGXFSZ},
};

/* "RTMIN+3" or "RTMAX-2". */
static bool realtime(const char *name, int *out_signal)
{
    bool up = strncasecmp(name, "RTMIN+", 6) == 0;
    uint64_t offset = 0;
    if ((!up && strncasecmp(name, "RTMAX-", 6) != 0) ||
        !str_to_u64(str_of(name + 6), SIGNAL_MAX - SIGNAL_RTMIN, &offset)) {
        return false;
    }
    *out_signal = up ? SIGNAL_RTMIN + (int)offset : SIGNAL_MAX - (int)offset;
    return true;
}

bool compose_signal_parse(const char *text, int *out_signal)
{
    uint64_t number = 0;
    if (str_to_u64(str_of(text), SIGNAL_MAX, &number) && number > 0) {
        *out_signal = (int)number;
        return true;
    }
    const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        if (strcasecmp(signals[i].name, name) == 0) {
            *out_signal = signals[i].number;
            return true;
        }
    }
    return realtime(name, out_signal);
}

static const char *const capabilities[] = {
    "ALL",
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_AUDIT_WRITE",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_PERFMON",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
};

bool compose_capability_parse(const char *text, char out[COMPOSE_CAPABILITY_SIZE])
{
    for (size_t i = 0; i < ARRAY_LEN(capabilities); i++) {
        const char *full = capabilities[i];
        bool is_all = i == 0;
        if (strcasecmp(full, text) == 0 ||
            (!is_all && strcasecmp(full + strlen("CAP_"), text) == 0)) {
            return str_copy(out, COMPOSE_CAPABILITY_SIZE, str_of(full));
        }
    }
    return false;
}
