/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts from the outside in: the digest behind '@', the host before the first '/', the tag behind the
 * last ':' of what remains. Each piece is then checked by its own grammar, so that nothing odd can
 * reach an URL, a file name or a policy comparison.
 *
 * What counts as a host follows the convention of the tools that people copy references from: it has
 * a dot or a port, or is "localhost". "apps/web" is therefore refused instead of being looked for on
 * a machine called "apps", and never silently becomes a name of docker.io.
 */
#include "pkg/oci/reference.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>

#define REPOSITORY_MAX 255
#define SHOWN_MAX 100

static int refuse(struct str text, const char *why, struct err *err)
{
    struct str shown = {text.ptr, text.len < SHOWN_MAX ? text.len : SHOWN_MAX};
    return err_set(err, ERR_REFERENCE_INVALID, "reference \"%.*s\": %s", STR_ARG(shown), why);
}

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* --- host --------------------------------------------------------------------------------------- */

static bool is_port(struct str port)
{
    uint64_t number = 0;
    return port.len <= 5 && str_to_u64(port, UINT16_MAX, &number) && number > 0;
}

static bool is_host_name(struct str host)
{
    while (host.ptr != NULL) {
        struct str label = str_cut(&host, '.');
        if (!str_is_label(label)) {
            return false;
        }
    }
    return true;
}

static bool is_ipv6(struct str inner)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    return str_copy(text, sizeof text, inner) && inet_pton(AF_INET6, text, &address) == 1;
}

/* Checks an already lower-cased host with an optional port. */
static bool is_host(struct str host)
{
    struct str port = {0};
    struct str name = host;
    if (host.len > 0 && host.ptr[0] == '[') {
        struct str rest = {host.ptr + 1, host.len - 1};
        struct str inner = str_cut(&rest, ']');
        if (rest.ptr == NULL || !is_ipv6(inner)) {
            return false;
        }
        return rest.len == 0 ||
               (rest.ptr[0] == ':' && is_port((struct str){rest.ptr + 1, rest.len - 1}));
    }
    port = host;
    name = str_cut(&port, ':');
    return is_host_name(name) && (port.ptr == NULL || is_port(port));
}

static bool looks_like_host(struct str first)
{
    return memchr(first.ptr, '.', first.len) != NULL || memchr(first.ptr, ':', first.len) != NULL ||
           str_is(first, "localhost");
}

static int parse_host(struct str text, struct str host, struct imageref *ref, struct err *err)
{
    if (host.len == 0 || !looks_like_host(host)) {
        return refuse(text, "the registry must be written, as in registry.example/apps/web", err);
    }
    if (!str_copy(ref->host, sizeof ref->host, host)) {
        return refuse(text, "host too long", err);
    }
    for (char *c = ref->host; *c != '\0'; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
    if (!is_host(str_of(ref->host))) {
        return refuse(text, "the registry's host is not well-formed", err);
    }
    if (strcmp(ref->host, "index.docker.io") == 0) {
        memset(ref->host, 0, sizeof ref->host); /* references may be compared as bytes */
        str_copy(ref->host, sizeof ref->host, STR("docker.io"));
    }
    return 0;
}

/* --- name and tag ------------------------------------------------------------------------------- */

/* Length of the separator at the start of `s`: '.', '_', "__" or dashes; 0 when there is none. */
static size_t separator_len(struct str s)
{
    if (s.ptr[0] == '.') {
        return 1;
    }
    if (s.ptr[0] == '_') {
        return s.len > 1 && s.ptr[1] == '_' ? 2 : 1;
    }
    size_t dashes = 0;
    while (dashes < s.len && s.ptr[dashes] == '-') {
        dashes++;
    }
    return dashes;
}

static bool is_component(struct str s)
{
    while (s.len > 0) {
        size_t letters = 0;
        while (letters < s.len && is_lower_alnum(s.ptr[letters])) {
            letters++;
        }
        if (letters == 0) {
            return false;
        }
        s = (struct str){s.ptr + letters, s.len - letters};
        if (s.len == 0) {
            return true;
        }
        size_t gap = separator_len(s);
        if (gap == 0) {
            return false;
        }
        s = (struct str){s.ptr + gap, s.len - gap};
    }
    return false;
}

static bool is_name(struct str name)
{
    while (name.ptr != NULL) {
        struct str component = str_cut(&name, '/');
        if (!is_component(component)) {
            return false;
        }
    }
    return true;
}

static bool is_tag(struct str tag)
{
    for (size_t i = 0; i < tag.len; i++) {
        char c = tag.ptr[i];
        bool word = isalnum((unsigned char)c) || c == '_';
        if (!word && (i == 0 || (c != '.' && c != '-'))) {
            return false;
        }
    }
    return tag.len > 0 && tag.len <= 128;
}

static int parse_name(struct str text, struct str name, struct imageref *ref, struct err *err)
{
    if (!is_name(name)) {
        return refuse(text, "the name is not well-formed (lower case, digits, . _ - and /)", err);
    }
    bool short_name =
        strcmp(ref->host, "docker.io") == 0 && memchr(name.ptr, '/', name.len) == NULL;
    const char *prefix = short_name ? "library/" : "";
    if (strlen(ref->host) + 1 + strlen(prefix) + name.len > REPOSITORY_MAX) {
        return refuse(text, "host and name are longer than 255 bytes", err);
    }
    snprintf(ref->name, sizeof ref->name, "%s%.*s", prefix, STR_ARG(name));
    return 0;
}

int imageref_parse(struct str text, struct imageref *out_ref, struct err *err)
{
    struct imageref ref = {0};
    struct str digest = text;
    struct str named = str_cut(&digest, '@');
    if (digest.ptr != NULL && digest_parse(digest, &ref.digest, NULL) != 0) {
        return refuse(
            text, "after @ stands no digest of the form sha256:<64 lower-case hex digits>", err);
    }
    struct str rest = named;
    struct str host = str_cut(&rest, '/');
    if (rest.ptr == NULL) {
        return refuse(text, "the registry must be written, as in registry.example/apps/web", err);
    }
    if (parse_host(text, host, &ref, err) != 0) {
        return -1;
    }
    struct str tag = rest;
    struct str name = str_cut(&tag, ':');
    if (parse_name(text, name, &ref, err) != 0) {
        return -1;
    }
    if (tag.ptr != NULL && (!is_tag(tag) || !str_copy(ref.tag, sizeof ref.tag, tag))) {
        return refuse(text, "the tag is not well-formed", err);
    }
    if (tag.ptr == NULL && !digest_is_set(&ref.digest)) {
        str_copy(ref.tag, sizeof ref.tag, STR("latest"));
    }
    *out_ref = ref;
    return 0;
}

const char *imageref_repository(const struct imageref *ref, char *out)
{
    snprintf(out, IMAGEREF_TEXT_SIZE, "%s/%s", ref->host, ref->name);
    return out;
}

const char *imageref_format(const struct imageref *ref, char *out)
{
    snprintf(out, IMAGEREF_TEXT_SIZE, "%.255s/%.255s%s%s%s%s", ref->host, ref->name,
             ref->tag[0] != '\0' ? ":" : "", ref->tag, digest_is_set(&ref->digest) ? "@" : "",
             ref->digest.text);
    return out;
}
