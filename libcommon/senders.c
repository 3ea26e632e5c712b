#include "libcommon/senders.h"

#include "libcommon/memory.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATABASE_SIZE 65536 /* bytes of one entry of the user or group database */
#define GROUPS_MAX    1024  /* of one user; what is beyond is not looked at */

/* ---- the system's user database ---- */

static bool find_user(const char *name, uint32_t *ret_uid)
{
    char *memory = xmalloc(DATABASE_SIZE);
    struct passwd entry, *found = NULL;

    if (getpwnam_r(name, &entry, memory, DATABASE_SIZE, &found) == 0 && found != NULL)
        *ret_uid = found->pw_uid;
    free(memory);
    return found != NULL;
}

static bool find_group(const char *name, gid_t *ret_gid)
{
    char *memory = xmalloc(DATABASE_SIZE);
    struct group entry, *found = NULL;

    if (getgrnam_r(name, &entry, memory, DATABASE_SIZE, &found) == 0 && found != NULL)
        *ret_gid = found->gr_gid;
    free(memory);
    return found != NULL;
}

/* The group it connected with counts as well: newgrp(1) makes one a member for a while. */
static int groups_of(uint32_t uid, uint32_t gid, gid_t ret_groups[GROUPS_MAX])
{
    char *memory = xmalloc(DATABASE_SIZE);
    struct passwd entry, *found = NULL;
    int count = GROUPS_MAX - 1;

    if (getpwuid_r(uid, &entry, memory, DATABASE_SIZE, &found) != 0 || found == NULL)
        count = 0;
    else if (getgrouplist(found->pw_name, found->pw_gid, ret_groups, &count) < 0)
        count = GROUPS_MAX - 1;
    free(memory);
    ret_groups[count++] = gid;
    return count;
}

static unsigned look_up_groups(uint32_t uid, uint32_t gid)
{
    static const struct {
        const char *name;
        unsigned flag;
    } ours[] = { { ACCESS_GROUP_USER, ACCESS_IN_USERS }, { ACCESS_GROUP_ADMIN, ACCESS_IN_ADMINS } };
    gid_t groups[GROUPS_MAX];
    int count = groups_of(uid, gid, groups);
    unsigned flags = 0;

    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        gid_t wanted = 0;

        if (!find_group(ours[i].name, &wanted))
            continue;
        for (int k = 0; k < count; k++)
            flags |= groups[k] == wanted ? ours[i].flag : 0;
    }
    return flags;
}

/* ---- the users of the node ---- */

/* They are apart when all of them exist and we run as the one of our service. */
static bool find_users(struct access_users *users, enum service service)
{
    for (int i = 0; i < SERVICES_COUNT; i++) {
        if (!find_user(access_user_name((enum service)i), &users->service[i]))
            return false;
    }
    return users->service[service] == users->own;
}

void senders_init(struct senders *self, const struct paths *paths, enum service service,
                  const struct page *status)
{
    memset(self, 0, sizeof *self);
    self->status = status;
    self->users.own = geteuid();
    self->users.apart = paths_is_system(paths) && find_users(&self->users, service);
}

/* ---- services ---- */

static enum service find_service(const struct senders *self, uint32_t pid,
                                 const struct status_slot **ret_slot)
{
    if (self->status == NULL || pid == 0)
        return ACCESS_NO_SERVICE;
    for (int service = 0; service < SERVICES_COUNT; service++) {
        for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++) {
            const struct status_slot *slot =
                status_page_slot(self->status, (enum service)service, i);

            if (slot != NULL && atomic_load(&slot->pid) == pid) {
                *ret_slot = slot;
                return (enum service)service;
            }
        }
    }
    return ACCESS_NO_SERVICE;
}

/* By the address alone. */
static struct known_service *find_known(struct senders *self, const char *address)
{
    for (unsigned i = 0; i < SENDERS_KNOWN_MAX; i++) {
        unsigned at = (self->services_last + i) % SENDERS_KNOWN_MAX;

        if (self->services[at].slot != NULL && strcmp(self->services[at].address, address) == 0) {
            self->services_last = at;
            return &self->services[at];
        }
    }
    return NULL;
}

/* Is it in the page still, or was until a moment ago? */
static bool confirm(const struct senders *self, struct known_service *known, uint64_t now_ms)
{
    uint32_t pid = known->sender.peer.pid;
    const struct status_slot *slot;

    if (atomic_load_explicit(&known->slot->pid, memory_order_relaxed) == pid)
        known->seen_ms = now_ms;
    else if (now_ms - known->seen_ms > SENDERS_GONE_MS ||
             find_service(self, pid, &slot) != ACCESS_NO_SERVICE)
        known->slot = NULL;
    return known->slot != NULL;
}

static void keep_service(struct senders *self, const char *address, const struct sender *sender,
                         const struct status_slot *slot, uint64_t now_ms)
{
    struct known_service *known = &self->services[self->services_next];

    if (strlen(address) >= sizeof known->address)
        return;
    strcpy(known->address, address);
    known->sender = *sender;
    known->slot = slot;
    known->seen_ms = now_ms;
    self->services_last = self->services_next;
    self->services_next = (self->services_next + 1) % SENDERS_KNOWN_MAX;
}

/* ---- persons ---- */

static unsigned groups_known(struct senders *self, const struct access_peer *peer, uint64_t now_ms)
{
    struct known_person *fresh = &self->persons[self->persons_next];

    if (!access_needs_groups(&self->users, peer->uid))
        return 0;
    for (unsigned i = 0; i < SENDERS_KNOWN_MAX; i++) {
        const struct known_person *known = &self->persons[i];

        if (known->uid == peer->uid && known->gid == peer->gid && now_ms < known->until_ms)
            return known->groups;
    }
    *fresh = (struct known_person){ .uid = peer->uid,
                                    .gid = peer->gid,
                                    .groups = look_up_groups(peer->uid, peer->gid),
                                    .until_ms = now_ms + SENDERS_GROUPS_MS };
    self->persons_next = (self->persons_next + 1) % SENDERS_KNOWN_MAX;
    return fresh->groups;
}

/* ---- both ---- */

struct sender senders_identify(struct senders *self, const char *address, uint64_t now_ms)
{
    struct sender sender = { .peer = { UINT32_MAX, UINT32_MAX, 0 }, .role = ACCESS_STRANGER };
    const struct status_slot *slot = NULL;
    struct known_service *known;

    if (address == NULL)
        return sender;
    known = find_known(self, address);
    if (known != NULL && confirm(self, known, now_ms))
        return known->sender;
    if (!access_parse_peer(address, &sender.peer))
        return sender;
    sender.role = access_service_role(&self->users, sender.peer.uid,
                                      find_service(self, sender.peer.pid, &slot));
    if (sender.role != ACCESS_STRANGER)
        keep_service(self, address, &sender, slot, now_ms);
    else
        sender.role = access_person_role(&self->users, sender.peer.uid,
                                         groups_known(self, &sender.peer, now_ms));
    return sender;
}

bool senders_say_denied(struct senders *self, const struct sender *sender, uint64_t now_ms,
                        uint32_t *ret_unsaid)
{
    struct known_denial *place = NULL;

    for (unsigned i = 0; i < SENDERS_DENIALS_MAX; i++) {
        struct known_denial *known = &self->denials[i];

        if (known->uid == sender->peer.uid && known->role == sender->role && known->until_ms > 0) {
            place = known;
            break;
        }
        if (now_ms >= known->until_ms)
            place = known;
    }
    if (place == NULL)
        return false;
    if (now_ms < place->until_ms) {
        place->count++;
        return false;
    }
    *ret_unsaid = place->uid == sender->peer.uid && place->role == sender->role ? place->count : 0;
    *place = (struct known_denial){ .uid = sender->peer.uid,
                                    .role = sender->role,
                                    .until_ms = now_ms + SENDERS_DENIALS_MS };
    return true;
}
