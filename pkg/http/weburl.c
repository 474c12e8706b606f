/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A skin over curl_url: two parsers of one address are an attack, so the parser that will fetch is
 * the one that checks. libcurl turns odd spellings of IPv4 addresses (0x7f.1, 2130706433) into four
 * decimals while parsing, which is why weburl_is_local may look at the text.
 *
 * Names that resolve to a local address are not looked for: with a proxy the agent does not resolve,
 * and over https the peer must prove the name anyway.
 */
#include "pkg/http/weburl.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>

#include "pkg/base/buf.h"

static void url_freep(CURLU **url)
{
    curl_url_cleanup(*url);
    *url = NULL;
}

static void curl_charp(char **text)
{
    curl_free(*text);
    *text = NULL;
}

void weburl_done(struct weburl *url)
{
    free(url->text);
    *url = (struct weburl){0};
}

static int refuse(enum err_code code, const char *why, struct err *err)
{
    return err_set(err, code, "address refused: %s", why);
}

static int weburl_read_port(CURLU *url, struct weburl *out, enum err_code code, struct err *err)
{
    CLEANUP(curl_charp) char *port = NULL;
    uint64_t number = 0;
    if (curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
        !str_to_u64(str_of(port), UINT16_MAX, &number) || number == 0) {
        return refuse(code, "port out of range", err);
    }
    out->port = (uint16_t)number;
    return 0;
}

static int weburl_read_host(CURLU *url, struct weburl *out, enum err_code code, struct err *err)
{
    CLEANUP(curl_charp) char *scheme = NULL;
    CLEANUP(curl_charp) char *host = NULL;
    if (curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK) {
        return refuse(code, "no scheme or host", err);
    }
    out->https = strcmp(scheme, "https") == 0;
    if (!out->https && strcmp(scheme, "http") != 0) {
        return refuse(code, "neither https nor http", err);
    }
    if (host[0] == '\0' || !str_copy(out->host, sizeof out->host, str_of(host))) {
        return refuse(code, "host is empty or too long", err);
    }
    for (char *c = out->host; *c != '\0'; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
    return weburl_read_port(url, out, code, err);
}

static void weburl_show(CURLU *url, struct weburl *out)
{
    CLEANUP(curl_charp) char *path = NULL;
    const char *shown = "";
    if (curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK) {
        shown = path;
    }
    snprintf(out->shown, sizeof out->shown, "%s://%.120s:%u%.110s", out->https ? "https" : "http",
             out->host, (unsigned)out->port, shown);
}

static int weburl_take(CURLU *url, enum err_code code, struct weburl *out_url, struct err *err)
{
    CLEANUP(weburl_done) struct weburl made = {0};
    CLEANUP(curl_charp) char *full = NULL;
    if (weburl_read_host(url, &made, code, err) != 0) {
        return -1;
    }
    curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
    if (curl_url_get(url, CURLUPART_URL, &full, 0) != CURLUE_OK) {
        return err_no_memory(err);
    }
    if (strlen(full) > WEBURL_MAX_BYTES) {
        return refuse(code, "too long", err);
    }
    made.text = str_dup(str_of(full));
    if (made.text == NULL) {
        return err_no_memory(err);
    }
    weburl_show(url, &made);
    *out_url = made;
    made = (struct weburl){0};
    return 0;
}

static int weburl_set(CURLU *url, const char *text, unsigned flags, enum err_code code,
                      struct err *err)
{
    if (strlen(text) > WEBURL_MAX_BYTES) {
        return refuse(code, "too long", err);
    }
    CURLUcode outcome = curl_url_set(url, CURLUPART_URL, text, flags | CURLU_DISALLOW_USER);
    if (outcome == CURLUE_OUT_OF_MEMORY) {
        return err_no_memory(err);
    }
    return outcome == CURLUE_OK ? 0 : refuse(code, curl_url_strerror(outcome), err);
}

int weburl_parse(const char *text, enum err_code code, struct weburl *out_url, struct err *err)
{
    CLEANUP(url_freep) CURLU *url = curl_url();
    if (url == NULL) {
        return err_no_memory(err);
    }
    if (weburl_set(url, text, 0, code, err) != 0) {
        return -1;
    }
    return weburl_take(url, code, out_url, err);
}

int weburl_resolve(const struct weburl *base, const char *location, enum err_code code,
                   struct weburl *out_url, struct err *err)
{
    CLEANUP(url_freep) CURLU *url = curl_url();
    if (url == NULL) {
        return err_no_memory(err);
    }
    /* Servers write blanks into Location; everything else that is odd is refused. */
    if (weburl_set(url, base->text, 0, code, err) != 0 ||
        weburl_set(url, location, CURLU_URLENCODE, code, err) != 0) {
        return -1;
    }
    return weburl_take(url, code, out_url, err);
}

int weburl_add_query(struct weburl *url, const char *name, const char *value, struct err *err)
{
    CLEANUP(buf_done) struct buf pair = BUF_INIT(WEBURL_MAX_BYTES);
    CLEANUP(url_freep) CURLU *parsed = curl_url();
    if (parsed == NULL) {
        return err_no_memory(err);
    }
    if (buf_printf(&pair, err, "%s=%s", name, value) != 0 ||
        weburl_set(parsed, url->text, 0, ERR_USAGE, err) != 0) {
        return -1;
    }
    if (curl_url_set(parsed, CURLUPART_QUERY, pair.ptr, CURLU_APPENDQUERY | CURLU_URLENCODE) !=
        CURLUE_OK) {
        return err_no_memory(err);
    }
    struct weburl longer = {0};
    if (weburl_take(parsed, ERR_USAGE, &longer, err) != 0) {
        return -1;
    }
    weburl_done(url);
    *url = longer;
    return 0;
}

bool weburl_same_origin(const struct weburl *a, const struct weburl *b)
{
    return a->https == b->https && a->port == b->port && strcmp(a->host, b->host) == 0;
}

static bool ipv4_is_local(uint32_t address)
{
    return address >> 24 == 127 || address >> 24 == 0 || address >> 16 == 0xa9fe;
}

static bool ipv6_is_local(const struct in6_addr *address)
{
    if (IN6_IS_ADDR_V4MAPPED(address) || IN6_IS_ADDR_V4COMPAT(address)) {
        const uint8_t *b = address->s6_addr + 12;
        uint32_t v4 = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
        return IN6_IS_ADDR_LOOPBACK(address) || IN6_IS_ADDR_UNSPECIFIED(address) ||
               ipv4_is_local(v4);
    }
    return IN6_IS_ADDR_LOOPBACK(address) || IN6_IS_ADDR_UNSPECIFIED(address) ||
           IN6_IS_ADDR_LINKLOCAL(address);
}

bool weburl_is_local(const struct weburl *url)
{
    struct str host = str_of(url->host);
    if (host.len > 0 && host.ptr[host.len - 1] == '.') {
        host.len--;
    }
    if (str_is(host, "localhost") || str_ends_with(host, ".localhost")) {
        return true;
    }
    char text[64];
    struct in_addr v4;
    if (str_copy(text, sizeof text, host) && inet_pton(AF_INET, text, &v4) == 1) {
        return ipv4_is_local(ntohl(v4.s_addr));
    }
    if (host.len > 2 && host.ptr[0] == '[') {
        struct str inner = {host.ptr + 1, host.len - 2};
        inner = str_cut(&inner, '%');
        struct in6_addr v6;
        return str_copy(text, sizeof text, inner) && inet_pton(AF_INET6, text, &v6) == 1 &&
               ipv6_is_local(&v6);
    }
    return false;
}
