/*
 * deny lists: what a stranger sends is refused; what an intermediate of ours has signed, whatever
 * it is, is refused or read whole. The first byte chooses: 's', then head and rows that are
 * completed and signed; anything else, then a list as it stands.
 */
#include "libcommon/memory.h"
#include "libcommon/pki/deny_list.h"

#include "tests/libcommon/pki_fixture.h"

#include <assert.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#define NOW_S    1800000000u
#define AT_ROWS  60
#define ROW_SIZE 28

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pki_network network;

static void check(const struct deny_list *list, struct bytes data)
{
    assert(deny_list_number(list) > 0 && deny_list_count(list) <= DENY_LIST_ROWS_MAX);
    for (size_t i = 0; i < deny_list_count(list); i++) {
        struct node_id node = node_id_from(data.data + AT_ROWS + i * ROW_SIZE);

        assert(deny_list_has(list, &node));
    }
}

static void read_list(struct bytes data, bool may_hold)
{
    struct deny_list *list = NULL;

    if (deny_list_parse(data, network.root, NOW_S, &list) == LB_OK) {
        assert(may_hold);
        check(list, data);
    }
    deny_list_free(&list);
    assert(ERR_peek_error() == 0);
}

static void read_signed(struct bytes head)
{
    uint8_t der[CERTIFICATE_DER_MAX], *list;
    size_t der_size, size;

    assert(certificate_to_der(network.intermediate, der, &der_size) == LB_OK);
    size = head.size + 2 + der_size;
    list = xmalloc(size);
    if (head.size > 0) {
        memcpy(list, head.data, head.size);
    }
    if (head.size >= AT_ROWS) {
        memcpy(list + 8, network.id, NETWORK_ID_SIZE);
    }
    store_u16(list + head.size, (uint16_t)der_size);
    memcpy(list + head.size + 2, der, der_size);
    deny_list_sign(&list, &size, network.intermediate_key);
    read_list(bytes_of(list, size), true);
    free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!network.root) {
        pki_network_make(&network, "lab", NOW_S);
    }
    if (size > 0 && data[0] == 's') {
        read_signed(bytes_of(data + 1, size - 1));
    } else if (size > 0) {
        read_list(bytes_of(data + 1, size - 1), false);
    }
    return 0;
}
