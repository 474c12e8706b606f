/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_runtime.h"

#include <sys/mman.h>
#include <stdlib.h>
#include <unistd.h>

struct fake *fake;

#define EVENTS_MAX 64
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t news = PTHREAD_COND_INITIALIZER;
static struct runtime_event events[EVENTS_MAX];
static size_t event_count;

void fake_reset(void)
{
    if (fake == NULL) {
        fake = mmap(NULL, sizeof *fake, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    }
    memset(fake, 0, sizeof *fake);
    fake_reopen();
}

void fake_reopen(void)
{
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&news, NULL);
    event_count = 0;
    fake->kill_at = 0;
    atomic_store(&fake->calls, 0);
}

static void trace(const char *what, const char *object)
{
    size_t len = strlen(fake->trace);
    snprintf(fake->trace + len, sizeof fake->trace - len, "%s %s\n", what, object);
}

void fake_trace_clear(void)
{
    pthread_mutex_lock(&lock);
    fake->trace[0] = '\0';
    pthread_mutex_unlock(&lock);
}

bool fake_traced(const char *text)
{
    pthread_mutex_lock(&lock);
    bool found = strstr(fake->trace, text) != NULL;
    pthread_mutex_unlock(&lock);
    return found;
}

static void push(enum runtime_event_kind kind, const char *id, int code)
{
    if (event_count < EVENTS_MAX) {
        struct runtime_event *event = &events[event_count++];
        *event = (struct runtime_event){.kind = kind, .exit_code = code};
        str_copy(event->id, sizeof event->id, str_of(id));
    }
    pthread_cond_broadcast(&news);
}

void fake_connected(void)
{
    pthread_mutex_lock(&lock);
    push(RUNTIME_EVENT_CONNECTED, "", 0);
    pthread_mutex_unlock(&lock);
}

static struct runtime_container *find(const char *id)
{
    for (size_t i = 0; i < fake->container_count; i++) {
        if (strcmp(fake->containers[i].id, id) == 0) {
            return &fake->containers[i];
        }
    }
    return NULL;
}

struct runtime_container *fake_find(const char *deployment, const char *service)
{
    struct runtime_container *found = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < fake->container_count; i++) {
        struct runtime_container *c = &fake->containers[i];
        if (strcmp(c->deployment, deployment) == 0 && strcmp(c->service, service) == 0 &&
            (found == NULL || c->state == RUNTIME_RUNNING)) {
            found = c;
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void end(struct runtime_container *c, int code)
{
    c->state = RUNTIME_EXITED;
    c->exit_code = code;
    c->exited_at_ms = clock_wall_ms();
    push(RUNTIME_EVENT_EXITED, c->id, code);
}

void fake_exit(const char *id, int code)
{
    pthread_mutex_lock(&lock);
    end(find(id), code);
    pthread_mutex_unlock(&lock);
}

void fake_reboot(void)
{
    for (size_t i = 0; i < fake->container_count; i++) {
        fake->containers[i].state = RUNTIME_CREATED;
        fake->containers[i].exit_code = 0;
    }
}

/* --- the runtime --------------------------------------------------------------------------------- */

static int enter(const struct op *op, struct err *err)
{
    int call = atomic_fetch_add(&fake->calls, 1) + 1;
    if (fake->kill_at != 0 && !fake->kill_after && call == fake->kill_at) {
        _exit(42);
    }
    if (op_check(op, err) != 0) {
        return -1;
    }
    if (atomic_load(&fake->is_down)) {
        return err_set(err, ERR_RUNTIME_UNAVAILABLE, "containerd does not answer");
    }
    pthread_mutex_lock(&lock);
    return 0;
}

static int leave(int result)
{
    pthread_mutex_unlock(&lock);
    if (fake->kill_at != 0 && fake->kill_after && atomic_load(&fake->calls) >= fake->kill_at) {
        _exit(42);
    }
    return result;
}

static int version(struct runtime *rt, const struct op *op, char out[64], struct err *err)
{
    (void)rt;
    if (enter(op, err) != 0) {
        return -1;
    }
    str_copy(out, 64, STR("fake 1.0"));
    return leave(0);
}

static int list(struct runtime *rt, const struct op *op, struct runtime_container **out,
                size_t *out_count, struct err *err)
{
    (void)rt;
    if (enter(op, err) != 0) {
        return -1;
    }
    struct runtime_container *copy = calloc(fake->container_count + 1, sizeof *copy);
    memcpy(copy, fake->containers, fake->container_count * sizeof *copy);
    *out = copy;
    *out_count = fake->container_count;
    leave(0);
    struct err ignored = ERR_INIT;
    bool is_slow = atomic_exchange(&fake->is_list_slow, false);
    while (is_slow && !atomic_load(&fake->gate) && op_sleep(op, 1, &ignored) == 0) {
    }
    return 0;
}

static bool has_image(const char *name)
{
    for (size_t i = 0; i < fake->image_count; i++) {
        if (strcmp(fake->images[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static void image_name(const struct imageref *ref, const struct digest *digest, char *out)
{
    char repository[IMAGEREF_TEXT_SIZE];
    snprintf(out, RELEASE_IMAGE_SIZE, "%s@%s", imageref_repository(ref, repository), digest->text);
}

static int image_ensure(struct runtime *rt, const struct runtime_image *image, const struct op *op,
                        runtime_progress_fn *progress, void *user, struct err *err)
{
    (void)rt;
    char name[RELEASE_IMAGE_SIZE];
    image_name(image->ref, &image->resolved->digest, name);
    while (strstr(name, "slow") != NULL && !atomic_load(&fake->gate)) {
        if (op_sleep(op, 5, err) != 0) {
            return -1;
        }
    }
    if (image->manifest.len == 0) {
        return err_set(err, ERR_INTERNAL, "no manifest");
    }
    if (enter(op, err) != 0) {
        return -1;
    }
    progress(10, 10, user);
    if (!has_image(name)) {
        str_copy(fake->images[fake->image_count++], RELEASE_IMAGE_SIZE, str_of(name));
        trace("fetch", name);
    }
    return leave(0);
}

static int image_present(struct runtime *rt, const struct imageref *ref,
                         const struct digest *digest, const struct op *op, struct err *err)
{
    (void)rt;
    char name[RELEASE_IMAGE_SIZE];
    image_name(ref, digest, name);
    if (enter(op, err) != 0) {
        return -1;
    }
    return leave(has_image(name) ? 1 : 0);
}

static int create(struct runtime *rt, const struct runtime_create *request, const struct op *op,
                  struct err *err)
{
    (void)rt;
    char name[RELEASE_IMAGE_SIZE];
    image_name(request->image, &request->image_digest, name);
    if (enter(op, err) != 0) {
        return -1;
    }
    if (find(request->id) != NULL) {
        return leave(0);
    }
    if (!has_image(name)) {
        return leave(err_set(err, ERR_RUNTIME_FAILED, "image %s is not here", name));
    }
    struct runtime_container *c = &fake->containers[fake->container_count++];
    *c = (struct runtime_container){.state = RUNTIME_CREATED,
                                    .restart = request->service->restart,
                                    .restart_max = request->service->restart_max,
                                    .created_at_ms = clock_wall_ms()};
    str_copy(c->id, sizeof c->id, str_of(request->id));
    str_copy(c->deployment, sizeof c->deployment, str_of(request->deployment));
    str_copy(c->component, sizeof c->component, str_of(request->component));
    str_copy(c->service, sizeof c->service, str_of(request->service->name));
    str_copy(c->revision, sizeof c->revision, str_of(request->revision));
    str_copy(c->image, sizeof c->image, str_of(name));
    trace("create", c->id);
    return leave(0);
}

static int start(struct runtime *rt, const char *id, const struct op *op, struct err *err)
{
    (void)rt;
    if (op_sleep(op, fake->start_ms, err) != 0 || enter(op, err) != 0) {
        return -1;
    }
    struct runtime_container *c = find(id);
    if (c == NULL) {
        return leave(err_set(err, ERR_RUNTIME_FAILED, "no container %s", id));
    }
    if (strstr(c->image, "nostart") != NULL) {
        return leave(err_set(err, ERR_CONTAINER_START, "no such file"));
    }
    if (c->state != RUNTIME_RUNNING) {
        trace("start", id);
        c->state = RUNTIME_RUNNING;
        push(RUNTIME_EVENT_STARTED, id, 0);
        if (strstr(c->image, "crash") != NULL) {
            end(c, 3);
        } else if (strstr(c->image, "job") != NULL) {
            end(c, 0);
        } else if (strstr(c->image, "ghost") != NULL) {
            push(RUNTIME_EVENT_EXITED, id, 255);
        }
    }
    return leave(0);
}

static int stop(struct runtime *rt, const char *id, int signal, int64_t grace_ms,
                const struct op *op, struct err *err)
{
    (void)rt;
    (void)signal;
    (void)grace_ms;
    int together = atomic_fetch_add(&fake->stops_now, 1) + 1;
    if (together > atomic_load(&fake->stops_together)) {
        atomic_store(&fake->stops_together, together);
    }
    int slept = op_sleep(op, fake->stop_ms, err);
    atomic_fetch_sub(&fake->stops_now, 1);
    if (slept != 0 || enter(op, err) != 0) {
        return -1;
    }
    struct runtime_container *c = find(id);
    if (c != NULL && c->state == RUNTIME_RUNNING) {
        trace("stop", id);
        end(c, 0);
    }
    return leave(0);
}

static int remove_container(struct runtime *rt, const char *id, const struct op *op,
                            struct err *err)
{
    (void)rt;
    if (enter(op, err) != 0) {
        return -1;
    }
    struct runtime_container *c = find(id);
    if (c != NULL && c->state == RUNTIME_RUNNING) {
        return leave(err_set(err, ERR_RUNTIME_FAILED, "container %s runs", id));
    }
    if (c != NULL) {
        trace("remove", id);
        *c = fake->containers[--fake->container_count];
    }
    return leave(0);
}

static int collect(struct runtime *rt, const char *const keep[], const struct op *op,
                   struct err *err)
{
    (void)rt;
    if (enter(op, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < fake->image_count;) {
        bool is_kept = false;
        for (size_t k = 0; keep[k] != NULL; k++) {
            is_kept |= strcmp(keep[k], fake->images[i]) == 0;
        }
        if (is_kept) {
            i++;
            continue;
        }
        trace("collect", fake->images[i]);
        memcpy(fake->images[i], fake->images[--fake->image_count], RELEASE_IMAGE_SIZE);
    }
    return leave(0);
}

static int watch(struct runtime *rt, const struct op *op, runtime_event_fn *each, void *user,
                 struct err *err)
{
    (void)rt;
    while (op_check(op, err) == 0) {
        struct runtime_event event = {0};
        pthread_mutex_lock(&lock);
        if (event_count == 0) {
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_nsec += 10000000;
            until.tv_sec += until.tv_nsec / 1000000000;
            until.tv_nsec %= 1000000000;
            pthread_cond_timedwait(&news, &lock, &until);
        }
        bool has_event = event_count > 0;
        if (has_event) {
            event = events[0];
            memmove(events, events + 1, --event_count * sizeof *events);
        }
        pthread_mutex_unlock(&lock);
        if (has_event) {
            each(&event, user);
        }
    }
    return -1;
}

static void wake(struct runtime *rt)
{
    (void)rt;
    pthread_cond_broadcast(&news);
}

static void release(struct runtime *rt)
{
    free(rt);
}

static const struct runtime_ops ops = {
    .version = version,
    .list = list,
    .image_ensure = image_ensure,
    .image_present = image_present,
    .create = create,
    .start = start,
    .stop = stop,
    .remove = remove_container,
    .collect = collect,
    .watch = watch,
    .wake = wake,
    .free = release,
};

int fake_runtime_new(const struct runtime_options *options, struct runtime **out_runtime,
                     struct err *err)
{
    (void)options;
    struct runtime *rt = calloc(1, sizeof *rt);
    if (rt == NULL) {
        return err_no_memory(err);
    }
    rt->ops = &ops;
    *out_runtime = rt;
    return 0;
}

/* --- the registry and the policy ----------------------------------------------------------------- */

static int ask(struct err *err)
{
    atomic_fetch_add(&fake->asked, 1);
    if (atomic_load(&fake->is_offline)) {
        return err_set(err, ERR_UNREACHABLE, "registry: connection refused");
    }
    return 0;
}

static int resolve(const struct artifact_source *source, const struct imageref *ref,
                   struct buf *body, struct descriptor *out, struct err *err)
{
    char text[IMAGEREF_TEXT_SIZE];
    if (op_check(source->op, err) != 0 || ask(err) != 0 ||
        buf_printf(body, err, "manifest of %s %d", imageref_format(ref, text),
                   atomic_load(&fake->tag_generation)) != 0) {
        return -1;
    }
    out->size_bytes = (int64_t)body->len;
    str_copy(out->media_type, sizeof out->media_type,
             STR("application/vnd.oci.image.manifest.v1+json"));
    return digest_of(buf_str(body), &out->digest, err);
}

static int manifest(const struct artifact_source *source, const struct imageref *repository,
                    const struct descriptor *want, struct buf *body, struct err *err)
{
    (void)source;
    (void)repository;
    if (ask(err) != 0) {
        return -1;
    }
    return buf_printf(body, err, "manifest %s", want->digest.text);
}

static int blob(const struct artifact_source *source, const struct imageref *repository,
                const struct descriptor *want, struct buf *body, struct err *err)
{
    return manifest(source, repository, want, body, err);
}

static int judge(const struct artifact_source *source, const struct trust_subject *subject,
                 struct verdict *out, struct err *err)
{
    if (ask(err) != 0) {
        return -1;
    }
    *out = (struct verdict){.accepted = true,
                            .digest = subject->resolved->digest,
                            .policy_serial =
                                source->policy != NULL ? policy_serial(source->policy) : 0};
    str_copy(out->rule, sizeof out->rule, STR("r.example"));
    str_copy(out->signer, sizeof out->signer, STR("release"));
    str_copy(out->scheme, sizeof out->scheme, STR("cosign-simple"));
    if (strstr(subject->ref->name, "unsigned") != NULL || atomic_load(&fake->is_refused)) {
        out->accepted = false;
        out->code = ERR_NO_RULE;
        str_copy(out->reason, sizeof out->reason, STR("no rule covers it"));
    }
    if (strstr(subject->ref->name, "nosig") != NULL && !atomic_load(&fake->gate)) {
        out->accepted = false;
        out->code = ERR_NO_SIGNATURE;
        str_copy(out->reason, sizeof out->reason, STR("it carries no signature"));
    }
    return 0;
}

const struct artifact_ops fake_artifacts = {
    .resolve = resolve, .manifest = manifest, .blob = blob, .judge = judge};
