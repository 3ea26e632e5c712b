#include "services/transport/denials.h"

#include "libcommon/actor.h"
#include "libcommon/memory.h"
#include "libcommon/pki/deny_list.h"
#include "libcommon/routing_page.h"
#include "proto/routing.pb-c.h"

#include <stdlib.h>

static bool is_seen(const struct denials *self, const struct routing_page *page,
                    const struct deny_list *denied)
{
    return self->number == deny_list_number(denied) && self->generation == page->generation &&
           self->version == routing_page_version(page);
}

size_t denials_find(struct denials *self, const struct routing_page *page,
                    const struct deny_list *denied, struct node_id ret_ids[DENIALS_MAX])
{
    struct contact *contacts;
    uint64_t version;
    uint32_t count;
    bool is_whole = true;
    size_t found = 0;

    if (!page || !denied || deny_list_count(denied) == 0 || is_seen(self, page, denied))
        return 0;
    version = routing_page_version(page);
    contacts = xcalloc(ROUTING_PAGE_CONTACTS_MAX, sizeof(*contacts));
    for (unsigned f = 0; f < ROUTING_FAMILIES; f++) {
        if (!routing_page_contacts(page, (enum routing_family)f, contacts, &count)) {
            is_whole = false;
            continue;
        }
        for (uint32_t i = 0; i < count && found < DENIALS_MAX; i++) {
            if (deny_list_has(denied, &contacts[i].id))
                ret_ids[found++] = contacts[i].id;
        }
    }
    free(contacts);
    if (is_whole && found < DENIALS_MAX)
        *self = (struct denials){ .number = deny_list_number(denied),
                                  .generation = page->generation,
                                  .version = version };
    return found;
}

void denials_care(struct denials *self, const struct routing_page *page,
                  const struct deny_list *denied, struct link *routing)
{
    struct node_id ids[DENIALS_MAX];
    ProtobufCBinaryData list[DENIALS_MAX];
    Lb__Routing__Forget forget = LB__ROUTING__FORGET__INIT;
    Lb__Routing__Request request = LB__ROUTING__REQUEST__INIT;

    if (!link_is_up(routing))
        return; /* it would be dropped */
    forget.n_node_ids = denials_find(self, page, denied, ids);
    if (forget.n_node_ids == 0)
        return;
    for (size_t i = 0; i < forget.n_node_ids; i++)
        list[i] = (ProtobufCBinaryData){ NODE_ID_SIZE, ids[i].bytes };
    forget.node_ids = list;
    request.body_case = LB__ROUTING__REQUEST__BODY_FORGET;
    request.forget = &forget;
    link_tell(routing, &request.base);
}
