/* Vectors: FIPS 180-4's examples (SHA-1, SHA-256), RFC 8032 section 7.1 (Ed25519). */
#include "libcommon/crypto.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

#define LONG_TEXT "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"

static const struct hash_row {
    const char *what, *text, *sha1, *sha256;
} hash_rows[] = {
    { "nothing", "", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { "one block", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d",
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    { "two blocks", LONG_TEXT, "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
};

static void assert_hex(const uint8_t *digest, size_t size, const char *expected)
{
    char text[2 * 64 + 1];

    hex_encode(digest, size, text);
    assert_string_equal(text, expected);
}

static void hashes_at_once_and_in_parts(void **state)
{
    const struct hash_row *row = *state;
    struct hasher *hashers[2] = { hasher_new_sha1(), hasher_new_sha256() };
    uint8_t digest[SHA256_SIZE];

    sha1(bytes_of_text(row->text), digest);
    assert_hex(digest, SHA1_SIZE, row->sha1);
    sha256(bytes_of_text(row->text), digest);
    assert_hex(digest, SHA256_SIZE, row->sha256);
    for (int h = 0; h < 2; h++) {
        for (int round = 0; round < 2; round++) {
            for (size_t i = 0; i < strlen(row->text); i++)
                hasher_add(hashers[h], bytes_of(row->text + i, 1));
            hasher_finish(hashers[h], digest);
            assert_hex(digest, h ? SHA256_SIZE : SHA1_SIZE, h ? row->sha256 : row->sha1);
            hasher_reset(hashers[h]);
        }
        hasher_free(&hashers[h]);
        assert_null(hashers[h]);
        hasher_free(&hashers[h]);
    }
}

static const struct sign_row {
    const char *what, *seed, *key, *message, *signature;
} sign_rows[] = {
    { "RFC 8032 test 1", "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
      "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9"
      "b4"
      "6bd25bf5f0595bbe24655141438e7a100b" },
    { "RFC 8032 test 2", "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
      "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f1"
      "1d"
      "8c387b2eaeb4302aeeb00d291612bb0c00" },
    { "RFC 8032 test 3", "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
      "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984d"
      "c6"
      "594a7c15e9716ed28dc027beceea1ec40a" },
};

static void signs_as_the_rfc(void **state)
{
    const struct sign_row *row = *state;
    size_t size = strlen(row->message) / 2;
    uint8_t seed[32], key[32], message[8], signature[64], other[64];

    assert_int_equal(hex_decode(row->seed, seed, sizeof(seed)), LB_OK);
    assert_int_equal(hex_decode(row->message, message, size), LB_OK);
    ed25519_public_key(seed, key);
    assert_hex(key, sizeof(key), row->key);
    ed25519_sign(seed, bytes_of(message, size), signature);
    assert_hex(signature, sizeof(signature), row->signature);
    assert_true(ed25519_verify(key, bytes_of(message, size), signature));

    for (size_t i = 0; i < sizeof(signature); i++) {
        memcpy(other, signature, sizeof(other));
        other[i] ^= 1;
        assert_false(ed25519_verify(key, bytes_of(message, size), other));
    }
    assert_false(ed25519_verify(key, bytes_of("another", 7), signature));
    key[0] ^= 1;
    assert_false(ed25519_verify(key, bytes_of(message, size), signature));
}

/* Points that are none: refused, nothing worse. */
static void nonsense_keys_verify_nothing(void **state)
{
    uint8_t key[32], signature[64];

    (void)state;
    for (int value = 0; value < 256; value++) {
        memset(key, value, sizeof(key));
        memset(signature, value ^ 0x5a, sizeof(signature));
        assert_false(ed25519_verify(key, bytes_of("x", 1), signature));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nonsense_keys_verify_nothing),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    failed += RUN_ROWS(hash_rows, hashes_at_once_and_in_parts);
    return failed + RUN_ROWS(sign_rows, signs_as_the_rfc);
}
