/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gitrepo: a bare copy of one branch of one repository, read only.
 *
 * Fetches with libgit2. https and http go through our own smart transport over pkg/http (custom CA,
 * client certificate, bearer or basic credentials from a file, proxy); ssh and local paths through
 * libgit2's transports. Nothing is ever checked out: files are read from a commit's tree, and links,
 * submodules and filters are refused where they are met.
 *
 * A fetch first reads the ref advertisement; when the branch stands where it stood, that was all
 * (GITREPO_UNCHANGED), and nothing is written. Only the branch is fetched, with its whole history and
 * no tags (a local path brings the objects of other branches along, but no references to them). A copy
 * that cannot be read is cloned again. The copy on disk is held below `disk_max_bytes` by cloning again
 * when packs pile up, and a remote that sends more is cut off (ERR_LIMIT). Cloning again happens at
 * "<path>.new", which is then swapped in: for that moment the disk holds both.
 *
 * https: credentials are read from their file for each request; a redirect is followed only for the
 * advertisement, within the same origin. ssh: the host key must be in `known_hosts_file` (host written
 * out or hashed; markers and patterns match nothing); Ed25519 and ECDSA, no SHA-1; the private key has
 * no passphrase and is readable by its owner only.
 *
 * A handle belongs to one thread. Errors: ERR_SOURCE_UNREACHABLE (with the cause in the text),
 * ERR_UNAUTHORIZED, ERR_TLS (also for a host key that changed), ERR_LIMIT, ERR_SOURCE_INVALID,
 * ERR_NOT_FOUND (no such branch, commit or file), ERR_CONFIG_INVALID (options, credentials, a host
 * that is not known), ERR_IO (the copy is damaged: the next fetch clones again), ERR_DISK_FULL,
 * ERR_TIMEOUT, ERR_CANCELLED, ERR_USAGE (not an object name).
 *
 * LIMITS: GITREPO_FILE_MAX_BYTES per file read, GITREPO_TREE_MAX entries per directory, 64 directories
 * deep, 200000 files per commit, 50000 per export, GITREPO_DISK_MAX_BYTES by default.
 */
#ifndef PKG_GIT_GITREPO_H
#define PKG_GIT_GITREPO_H

#include "pkg/base/buf.h"
#include "pkg/base/op.h"

#define GITREPO_OID_SIZE 41
#define GITREPO_FILE_MAX_BYTES (1024 * 1024)
#define GITREPO_TREE_MAX 10000
#define GITREPO_DISK_MAX_BYTES (INT64_C(256) * 1024 * 1024)

struct gitrepo_options {
    const char *url; /* https://, http:// (only with allow_plain), ssh://, git@host:path, /path */
    const char *branch;    /* "main"; the ref is refs/heads/<branch>, pinned */
    const char *ca_file;   /* https: only these roots; NULL: the system's */
    const char *cert_file; /* https: client certificate and key */
    const char *key_file;
    const char *credentials_file; /* 0600: "user:password" for Basic, or "Bearer <token>" */
    const char *ssh_key_file;     /* ssh: private key; its .pub beside it is optional */
    const char *known_hosts_file; /* ssh: demanded; the host key must stand there */
    const char *proxy;
    const char *no_proxy;
    bool allow_plain;
    int64_t disk_max_bytes; /* 0: GITREPO_DISK_MAX_BYTES */
};

struct gitrepo;

/* Opens or makes the bare copy at `path`. No network. */
int gitrepo_open(const char *path, const struct gitrepo_options *options, struct gitrepo **out_repo,
                 struct err *err) NODISCARD;
void gitrepo_free(struct gitrepo *repo);
DEFINE_FREEP(struct gitrepo, gitrepo_free)

/* Installs a SIGBUS handler, once per process, that leaves a mark beside the copy at `path` before the
 * process ends: a mapped pack could not be read. gitrepo_open removes a marked copy. */
int gitrepo_guard(const char *path, struct err *err) NODISCARD;

#define GITREPO_UNCHANGED 1
/* Brings the branch here; `known` is the commit that the caller has already seen ("" for none). 0:
 * `out_oid` is the branch's commit and all its objects are present; GITREPO_UNCHANGED: it still is
 * `known`. */
int gitrepo_fetch(struct gitrepo *repo, const char *known, const struct op *op,
                  char out_oid[GITREPO_OID_SIZE], struct err *err) NODISCARD;

/* True (1) when `oid` is `ancestor` or descends from it, 0 when not, negative on failure. An ancestor
 * that the copy does not have (rewound history) is 0. */
int gitrepo_descends(struct gitrepo *repo, const char *oid, const char *ancestor,
                     struct err *err) NODISCARD;

/* The raw bytes of a commit object. */
int gitrepo_commit_raw(struct gitrepo *repo, const char *oid, struct buf *raw,
                       struct err *err) NODISCARD;

struct gitrepo_entry {
    const char *name; /* one path component */
    bool is_dir;
    bool is_executable;
    char oid[GITREPO_OID_SIZE]; /* of the blob or tree */
};
typedef int gitrepo_entry_fn(const struct gitrepo_entry *entry, void *user, struct err *err);
/* Calls `each` for the entries of directory `path` ("" is the root) in name order. ERR_NOT_FOUND when
 * there is no such directory; ERR_SOURCE_INVALID for links and submodules in it. */
int gitrepo_list(struct gitrepo *repo, const char *oid, const char *path, gitrepo_entry_fn *each,
                 void *user, struct err *err) NODISCARD;
/* Reads one file, at most `b->max` bytes. ERR_SOURCE_INVALID for links, submodules, and files that a
 * .gitattributes above them filters or re-encodes; ERR_NOT_FOUND also for a directory. */
int gitrepo_read(struct gitrepo *repo, const char *oid, const char *path, struct buf *b,
                 struct err *err) NODISCARD;
/* Oid of the tree or blob at `path`: changes exactly when the content does. */
int gitrepo_path_oid(struct gitrepo *repo, const char *oid, const char *path,
                     char out_oid[GITREPO_OID_SIZE], struct err *err) NODISCARD;
/* Writes directory `path` with everything beneath it into the existing empty directory `dest` (files
 * 0644, or 0755 when executable). `max_bytes` bounds the sum. Refuses what gitrepo_read and gitrepo_list
 * refuse; on failure `dest` holds a part. Not synced to disk. */
int gitrepo_export(struct gitrepo *repo, const char *oid, const char *path, const char *dest,
                   int64_t max_bytes, struct err *err) NODISCARD;

#endif
