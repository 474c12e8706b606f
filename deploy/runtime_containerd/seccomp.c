/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table of rows: a list of call names, and under which circumstances the row counts. The rows of
 * calls that everybody may make are ordered by what the calls are about, because that is how somebody
 * asks ("may a container use System V messages?"). Names that libseccomp does not know on an
 * architecture or in an old version are left out by runc, so that new calls can stand here before every
 * card knows them, and 32-bit variants stand beside their 64-bit ones.
 *
 * Rejected: reading the profile from a file (one more thing that may be missing or changed), and
 * linking libseccomp (runc compiles the filter anyway).
 */
#include "deploy/runtime_containerd/seccomp.h"

#include <sys/socket.h>

#include "deploy/runtime_containerd/capset.h"

#define AMD64 1u
#define ARM64 2u
#define ARM 4u
#define RISCV64 8u
#define ANY (AMD64 | ARM64 | ARM | RISCV64)

/* CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET */
#define CLONE_NAMESPACES INT64_C(0x7e020000)
#define ERRNO_ENOSYS 38

enum condition {
    WHEN_ALWAYS,
    WHEN_HELD,   /* only with `capability` */
    WHEN_LACKED, /* only without it */
};

/* A comparison with one argument of the call; op NULL: none. */
struct comparison {
    const char *op;
    int index;
    int64_t value;
    int64_t value_two;
};

struct row {
    const char *calls; /* names, separated by single spaces */
    enum condition condition;
    const char *capability;
    unsigned architectures; /* 0: ANY */
    struct comparison comparison;
    int answer_errno; /* 0: allow; else refuse with it */
};

static const struct row rows[] = {
    /* files: open, read, write, map */
    {.calls = "close close_range creat dup dup2 dup3 open openat openat2 read readv pread64 "
              "preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek _llseek readahead "
              "fadvise64 fadvise64_64 fallocate truncate truncate64 ftruncate ftruncate64 "
              "sendfile sendfile64 copy_file_range splice tee vmsplice sync syncfs fsync "
              "fdatasync sync_file_range flock fcntl fcntl64 ioctl cachestat"},
    {.calls = "mmap mmap2 mprotect mremap msync munmap remap_file_pages madvise mincore mlock "
              "mlock2 mlockall munlock munlockall brk memfd_create memfd_secret membarrier "
              "pkey_alloc pkey_free pkey_mprotect map_shadow_stack mseal process_mrelease"},
    /* files: names, attributes, directories */
    {.calls = "access faccessat faccessat2 chdir fchdir getcwd chmod fchmod fchmodat fchmodat2 "
              "chown chown32 fchown fchown32 fchownat lchown lchown32 link linkat symlink "
              "symlinkat readlink readlinkat unlink unlinkat rename renameat renameat2 mkdir "
              "mkdirat rmdir mknod mknodat umask"},
    {.calls = "stat stat64 fstat fstat64 lstat lstat64 newfstatat fstatat64 statx statfs "
              "statfs64 fstatfs fstatfs64 statmount listmount getdents getdents64 utime utimes "
              "futimesat utimensat utimensat_time64"},
    {.calls = "getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat "
              "listxattr llistxattr flistxattr listxattrat removexattr lremovexattr "
              "fremovexattr removexattrat"},
    {.calls = "inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark"},
    /* waiting for descriptors, asynchronous reading */
    {.calls = "poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 epoll_create "
              "epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait "
              "epoll_pwait2 eventfd eventfd2 signalfd signalfd4 pipe pipe2 io_setup io_submit "
              "io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64"},
    /* sockets */
    {.calls = "socketcall socketpair bind listen accept accept4 connect shutdown getsockname "
              "getpeername getsockopt setsockopt send sendto sendmsg sendmmsg recv recvfrom "
              "recvmsg recvmmsg recvmmsg_time64"},
    {.calls = "socket", .comparison = {"SCMP_CMP_NE", 0, AF_VSOCK, 0}},
    /* processes and threads */
    {.calls = "execve execveat exit exit_group fork vfork wait4 waitid waitpid kill tkill "
              "tgkill pause getpid getppid gettid getpgid getpgrp setpgid getsid setsid "
              "pidfd_open pidfd_send_signal set_tid_address get_robust_list set_robust_list "
              "rseq restart_syscall get_thread_area set_thread_area prctl ptrace uretprobe"},
    {.calls = "futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue"},
    {.calls = "rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn "
              "rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo "
              "sigaltstack sigprocmask sigreturn"},
    {.calls = "sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam "
              "sched_setparam sched_getscheduler sched_setscheduler sched_get_priority_max "
              "sched_get_priority_min sched_rr_get_interval sched_rr_get_interval_time64 "
              "sched_yield getpriority setpriority ioprio_get ioprio_set getcpu"},
    /* who a process is; what it may use */
    {.calls = "getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid "
              "getresuid32 getresgid getresgid32 getgroups getgroups32 setuid setuid32 setgid "
              "setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32 setresgid "
              "setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32"},
    {.calls = "capget capset seccomp landlock_create_ruleset landlock_add_rule "
              "landlock_restrict_self getrlimit ugetrlimit setrlimit prlimit64 getrusage"},
    /* time */
    {.calls = "time times gettimeofday clock_getres clock_getres_time64 clock_gettime "
              "clock_gettime64 clock_nanosleep clock_nanosleep_time64 nanosleep alarm getitimer "
              "setitimer adjtimex clock_adjtime clock_adjtime64"},
    {.calls = "timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 "
              "timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 "
              "timerfd_settime timerfd_settime64"},
    /* talking to other processes: System V and POSIX */
    {.calls = "ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 "
              "shmat shmctl shmdt shmget"},
    {.calls = "mq_open mq_unlink mq_notify mq_getsetattr mq_timedreceive mq_timedreceive_time64 "
              "mq_timedsend mq_timedsend_time64"},
    /* the system */
    {.calls = "uname sysinfo getrandom"},
    {.calls = "personality", .comparison = {"SCMP_CMP_EQ", 0, 0x0, 0}},
    {.calls = "personality", .comparison = {"SCMP_CMP_EQ", 0, 0x8, 0}},     /* PER_LINUX32 */
    {.calls = "personality", .comparison = {"SCMP_CMP_EQ", 0, 0x20000, 0}}, /* UNAME26 */
    {.calls = "personality", .comparison = {"SCMP_CMP_EQ", 0, 0x20008, 0}},
    {.calls = "personality", .comparison = {"SCMP_CMP_EQ", 0, 0xffffffff, 0}}, /* ask only */
    /* of one processor */
    {.calls = "arch_prctl modify_ldt", .architectures = AMD64},
    {.calls = "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush "
              "set_tls",
     .architectures = ARM64 | ARM},
    {.calls = "riscv_flush_icache riscv_hwprobe", .architectures = RISCV64},
    /* new processes, in no new namespaces */
    {.calls = "clone",
     .condition = WHEN_LACKED,
     .capability = "CAP_SYS_ADMIN",
     .comparison = {"SCMP_CMP_MASKED_EQ", 0, CLONE_NAMESPACES, 0}},
    {.calls = "clone3",
     .condition = WHEN_LACKED,
     .capability = "CAP_SYS_ADMIN",
     .answer_errno = ERRNO_ENOSYS},
    /* by capability */
    {.calls = "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie "
              "mount mount_setattr move_mount name_to_handle_at open_tree perf_event_open "
              "quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 "
              "unshare",
     .condition = WHEN_HELD,
     .capability = "CAP_SYS_ADMIN"},
    {.calls = "open_by_handle_at", .condition = WHEN_HELD, .capability = "CAP_DAC_READ_SEARCH"},
    {.calls = "reboot", .condition = WHEN_HELD, .capability = "CAP_SYS_BOOT"},
    {.calls = "chroot", .condition = WHEN_HELD, .capability = "CAP_SYS_CHROOT"},
    {.calls = "init_module finit_module delete_module",
     .condition = WHEN_HELD,
     .capability = "CAP_SYS_MODULE"},
    {.calls = "acct", .condition = WHEN_HELD, .capability = "CAP_SYS_PACCT"},
    {.calls = "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev",
     .condition = WHEN_HELD,
     .capability = "CAP_SYS_PTRACE"},
    {.calls = "iopl ioperm", .condition = WHEN_HELD, .capability = "CAP_SYS_RAWIO"},
    {.calls = "settimeofday stime clock_settime clock_settime64",
     .condition = WHEN_HELD,
     .capability = "CAP_SYS_TIME"},
    {.calls = "vhangup", .condition = WHEN_HELD, .capability = "CAP_SYS_TTY_CONFIG"},
    {.calls = "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
     .condition = WHEN_HELD,
     .capability = "CAP_SYS_NICE"},
    {.calls = "syslog", .condition = WHEN_HELD, .capability = "CAP_SYSLOG"},
    {.calls = "bpf", .condition = WHEN_HELD, .capability = "CAP_BPF"},
    {.calls = "perf_event_open", .condition = WHEN_HELD, .capability = "CAP_PERFMON"},
};

/* Filters carry one program per calling convention that the processor has. */
struct architecture {
    const char *name; /* Go's */
    unsigned mask;
    const char *conventions;
};

static const struct architecture architectures[] = {
    {"amd64", AMD64, "SCMP_ARCH_X86_64 SCMP_ARCH_X86 SCMP_ARCH_X32"},
    {"arm64", ARM64, "SCMP_ARCH_AARCH64 SCMP_ARCH_ARM"},
    {"arm", ARM, "SCMP_ARCH_ARM"},
    {"riscv64", RISCV64, "SCMP_ARCH_RISCV64"},
};

static const struct architecture *find_architecture(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(architectures); i++) {
        if (strcmp(architectures[i].name, name) == 0) {
            return &architectures[i];
        }
    }
    return NULL;
}

/* "a b c" -> ["a","b","c"]; NULL when out of memory. */
static json_t *words(const char *text)
{
    CLEANUP(js_freep) json_t *array = json_array();
    struct str rest = str_of(text);
    while (rest.ptr != NULL) {
        struct str word = str_cut(&rest, ' ');
        if (json_array_append_new(array, json_stringn(word.ptr, word.len)) != 0) {
            return NULL;
        }
    }
    return TAKE(array);
}

static bool counts(const struct row *row, uint64_t capabilities, unsigned architecture)
{
    unsigned on = row->architectures != 0 ? row->architectures : ANY;
    if ((on & architecture) == 0) {
        return false;
    }
    switch (row->condition) {
    case WHEN_HELD:
        return capset_has(capabilities, row->capability);
    case WHEN_LACKED:
        return !capset_has(capabilities, row->capability);
    case WHEN_ALWAYS:
        break;
    }
    return true;
}

static json_t *row_json(const struct row *row)
{
    const struct comparison *compare = &row->comparison;
    const char *action = row->answer_errno == 0 ? "SCMP_ACT_ALLOW" : "SCMP_ACT_ERRNO";
    CLEANUP(js_freep)
    json_t *rule = json_pack("{s:o,s:s}", "names", words(row->calls), "action", action);
    if (rule == NULL) {
        return NULL;
    }
    if (row->answer_errno != 0 &&
        json_object_set_new(rule, "errnoRet", json_integer(row->answer_errno)) != 0) {
        return NULL;
    }
    if (compare->op != NULL &&
        json_object_set_new(rule, "args",
                            json_pack("[{s:i,s:I,s:I,s:s}]", "index", compare->index, "value",
                                      (json_int_t)compare->value, "valueTwo",
                                      (json_int_t)compare->value_two, "op", compare->op)) != 0) {
        return NULL;
    }
    return TAKE(rule);
}

int seccomp_profile(uint64_t capabilities, const char *architecture, json_t **out_profile,
                    struct err *err)
{
    const struct architecture *here = find_architecture(architecture);
    if (here == NULL) {
        return err_set(err, ERR_UNSUPPORTED, "no seccomp profile for architecture %s",
                       architecture);
    }
    CLEANUP(js_freep) json_t *rules = json_array();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (counts(&rows[i], capabilities, here->mask) &&
            json_array_append_new(rules, row_json(&rows[i])) != 0) {
            return err_no_memory(err);
        }
    }
    json_t *profile = json_pack("{s:s,s:o,s:O}", "defaultAction", "SCMP_ACT_ERRNO", "architectures",
                                words(here->conventions), "syscalls", rules);
    if (profile == NULL) {
        return err_no_memory(err);
    }
    *out_profile = profile;
    return 0;
}
