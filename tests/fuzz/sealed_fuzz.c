/*
 * sealed messages: nothing opens that was not made with a key of the network. The first byte
 * chooses: 'l', then a letter, signed by a member and sealed for us (its recipient is put in); 'i',
 * then what stands inside, which is encrypted for us; anything else, then a message as it stands.
 */
#include "libcommon/memory.h"
#include "libcommon/pki/sealed.h"

#include "tests/libcommon/pki_fixture.h"

#include <assert.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#define NOW_S 1800000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pki_network network;
static struct pki_member member;

static void open_it(struct bytes sealed, bool may_open)
{
    struct opened opened;
    lb_err err = sealed_open(sealed, member.leaf, member.key, network.root, NULL, NOW_S, &opened);

    assert(err != LB_OK || may_open);
    if (err == LB_OK) {
        assert(opened.text_size <= SEALED_TEXT_MAX);
        free(opened.text);
    }
    assert(ERR_peek_error() == 0);
}

static void open_inside(struct bytes inside, bool may_open)
{
    BIO *in = BIO_new_mem_buf(inside.data, (int)inside.size), *out = BIO_new(BIO_s_mem());
    CMS_ContentInfo *cms = CMS_encrypt(NULL, NULL, EVP_aes_256_gcm(), CMS_BINARY | CMS_PARTIAL);
    char *data;
    long size;

    assert(in && out && cms && CMS_add1_recipient_cert(cms, member.leaf, CMS_BINARY));
    assert(CMS_final(cms, in, NULL, CMS_BINARY) == 1 && i2d_CMS_bio(out, cms) == 1);
    CMS_ContentInfo_free(cms);
    size = BIO_get_mem_data(out, &data);
    open_it(bytes_of(data, (size_t)size), may_open);
    BIO_free(in);
    BIO_free(out);
}

static void open_letter(struct bytes letter)
{
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    CMS_ContentInfo *cms;
    uint8_t *copy;
    char *data;
    long size;

    copy = xmemdup(letter.data, letter.size);
    if (letter.size >= 8 + NODE_ID_SIZE) {
        memcpy(copy + 8, member.identity.node.bytes, NODE_ID_SIZE);
    }
    assert(in && out && BIO_write(in, copy, (int)letter.size) == (int)letter.size);
    cms = CMS_sign(member.leaf, member.key, NULL, in, CMS_BINARY | CMS_NOSMIMECAP);
    assert(cms && CMS_add1_cert(cms, member.intermediate) == 1 && i2d_CMS_bio(out, cms) == 1);
    CMS_ContentInfo_free(cms);
    size = BIO_get_mem_data(out, &data);
    open_inside(bytes_of(data, (size_t)size), true);
    BIO_free(in);
    BIO_free(out);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!network.root) {
        pki_network_make(&network, "lab", NOW_S);
        pki_member_make(&network, 1, CERTIFICATE_MEMBER, PKI_SOUND, &member);
    }
    if (size > 1 && data[0] == 'l') {
        open_letter(bytes_of(data + 1, size - 1));
    } else if (size > 1 && data[0] == 'i') {
        open_inside(bytes_of(data + 1, size - 1), false);
    } else if (size > 0) {
        open_it(bytes_of(data + 1, size - 1), false);
    }
    return 0;
}
