/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's numbering is the index of the table, so a set is a word and the JSON comes out in one
 * fixed order (two equal services give two equal specifications). A kernel that lacks the newest
 * capabilities is no concern here: runc leaves out what the kernel does not have.
 */
#include "deploy/runtime_containerd/capset.h"

#define BIT(n) (UINT64_C(1) << (n))

static const char *const names[] = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
};

#define EVERY (BIT(ARRAY_LEN(names)) - 1)

/* What a container may do without being asked: own and change its files, drop to other users, bind low
 * ports, use raw sockets, make device nodes that the device cgroup then guards. */
static const char *const defaults[] = {
    "CAP_AUDIT_WRITE", "CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",     "CAP_FSETID",
    "CAP_KILL",        "CAP_MKNOD",   "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",    "CAP_SETFCAP",
    "CAP_SETGID",      "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT",
};

int capset_bit(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(names[i], name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

bool capset_has(uint64_t set, const char *name)
{
    int bit = capset_bit(name);
    return bit >= 0 && (set & BIT(bit)) != 0;
}

/* The names of one list as a set; "ALL" is every bit. */
static int read_list(char *const *list, uint64_t *out_set, bool *out_all, struct err *err)
{
    uint64_t set = 0;
    bool all = false;
    for (; list != NULL && *list != NULL; list++) {
        if (strcmp(*list, "ALL") == 0) {
            all = true;
            continue;
        }
        int bit = capset_bit(*list);
        if (bit < 0) {
            return err_set(err, ERR_DOCUMENT_INVALID, "%s is no capability", *list);
        }
        set |= BIT(bit);
    }
    *out_set = set;
    *out_all = all;
    return 0;
}

int capset_of(char *const *add, char *const *drop, uint64_t *out_set, struct err *err)
{
    uint64_t added = 0;
    uint64_t dropped = 0;
    bool add_all = false;
    bool drop_all = false;
    if (read_list(add, &added, &add_all, err) != 0 ||
        read_list(drop, &dropped, &drop_all, err) != 0) {
        return -1;
    }
    uint64_t set = 0;
    if (add_all) {
        set = EVERY & ~dropped;
    } else if (!drop_all) {
        for (size_t i = 0; i < ARRAY_LEN(defaults); i++) {
            set |= BIT(capset_bit(defaults[i]));
        }
        set &= ~dropped;
    }
    *out_set = set | added;
    return 0;
}

json_t *capset_json(uint64_t set)
{
    CLEANUP(js_freep) json_t *array = json_array();
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if ((set & BIT(i)) != 0 && json_array_append_new(array, json_string(names[i])) != 0) {
            return NULL;
        }
    }
    return TAKE(array);
}
