#include "services/transport/krpc.h"

#include "libcommon/bencode.h"
#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID                       "2:id20:abcdefghij0123456789"
#define TARGET                   "6:target20:mnopqrstuvwxyz123456"
#define HASH                     "9:info_hash20:mnopqrstuvwxyz123456"
#define TOKEN                    "5:token8:aoeusnth"
#define KEY                      "1:k32:0123456789abcdef0123456789abcdef"
#define SIG                      "3:sig64:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define QUERY(arguments, method) "d1:ad" ID arguments "e1:q" method "1:t2:aa1:y1:qe"
#define PUT(arguments)           "d1:ad" arguments "e1:q3:put1:t2:aa1:y1:qe"
#define REPLY(results)           "d1:rd" ID results "e1:t2:aa1:y1:re"

/*
 * What a datagram is taken for: "malformed", "reply", "error CODE", the method of a query, or the
 * error it is answered with.
 */
static const struct decode_row {
    const char *what, *datagram, *taken_for;
} decode_rows[] = {
    /* The examples of BEP 5. */
    { "a ping", QUERY("", "4:ping"), "ping" },
    { "a find_node", QUERY(TARGET, "9:find_node"), "find_node" },
    { "a get_peers", QUERY(HASH, "9:get_peers"), "get_peers" },
    { "an announce_peer",
      "d1:ad" ID "12:implied_porti1e" HASH "4:porti6881e" TOKEN
      "e1:q13:announce_peer1:t2:aa1:y1:qe",
      "announce_peer" },
    { "a reply to ping", REPLY(""), "reply" },
    { "a reply with nodes", REPLY("5:nodes26:01234567890123456789\1\2\3\4\5\6"), "reply" },
    { "a reply with peers", REPLY(TOKEN "6:valuesl6:axje.u6:idhtnme"), "reply" },
    { "an error", "d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee", "error 201" },

    /* As implementations send them. */
    { "a ping of libtorrent, with its version",
      "d1:ad" ID "e1:q4:ping1:t2:aa1:v4:LT\1\2"
      "1:y1:qe",
      "ping" },
    { "a find_node that wants both families", QUERY(TARGET "4:wantl2:n42:n6e", "9:find_node"),
      "find_node" },
    { "a query of a read-only node", "d1:ad" ID "e1:q4:ping2:roi1e1:t2:aa1:y1:qe", "ping" },
    { "a reply that says how it sees us",
      "d2:ip6:\1\2\3\4\5\6"
      "1:rd" ID "e1:t2:aa1:y1:re",
      "reply" },
    { "keys in another order", "d1:y1:q1:t2:aa1:q4:ping1:ad" ID "ee", "ping" },
    { "a transaction id of one byte", "d1:ad" ID "e1:q4:ping1:t1:a1:y1:qe", "ping" },
    { "a transaction id of 32 bytes",
      "d1:ad" ID "e1:q4:ping1:t32:0123456789abcdef0123456789abcdef1:y1:qe", "ping" },
    { "keys nobody knows", "d1:ad" ID "3:newd1:ali1e2:xxeee1:q4:ping1:t2:aa1:xle1:y1:qe", "ping" },
    { "a version that is a number", "d1:ad" ID "e1:q4:ping1:t2:aa1:vi7e1:y1:qe", "ping" },
    { "an error without a text", "d1:eli203ee1:t2:aa1:y1:ee", "error 203" },
    { "an error without a code", "d1:el3:huhe1:t2:aa1:y1:ee", "error 201" },
    { "an error with more to say", "d1:eli203e3:huhli1eee1:t2:aa1:y1:ee", "error 203" },
    { "an error with a code out of all bounds", "d1:eli99999999999e3:huhe1:t2:aa1:y1:ee",
      "error 201" },
    { "an error with code 0", "d1:eli0e3:huhe1:t2:aa1:y1:ee", "error 201" },
    { "an error with the code that is too great by one", "d1:eli2147483647e3:huhe1:t2:aa1:y1:ee",
      "error 201" },
    { "an error with a text of 129 bytes",
      "d1:eli202e129:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefx"
      "e1:t2:aa1:y1:ee",
      "error 202" },
    { "a query of a node that is read-only in words",
      "d1:ad" ID "e1:q4:ping2:ro3:yes1:t2:aa1:y1:qe", "ping" },
    { "a key of two letters nobody knows", "d1:ad" ID "e1:q4:ping2:rp1:x1:t2:aa1:y1:qe", "ping" },
    { "an announce_peer of a port", QUERY(HASH "4:porti6881e" TOKEN, "13:announce_peer"),
      "announce_peer" },
    { "a reply without what was asked for", REPLY("5:nodes0:"), "reply" },
    { "a reply with nodes cut short", REPLY("5:nodes25:0123456789012345678901234"), "reply" },

    /* BEP 44. */
    { "a get", QUERY(TARGET, "3:get"), "get" },
    { "a get of what is newer", QUERY("3:seqi4e" TARGET, "3:get"), "get" },
    { "a put of an immutable item", PUT(ID TOKEN "1:v12:Hello World!"), "put" },
    { "a put of a mutable item", PUT(ID KEY "3:seqi1e" SIG TOKEN "1:v12:Hello World!"), "put" },
    { "a put of a list", PUT(ID TOKEN "1:vli1e2:abd1:ai1eee"), "put" },
    { "a put with salt and cas", PUT("3:casi1e" ID KEY "4:salt6:foobar3:seqi2e" SIG TOKEN "1:v1:x"),
      "put" },
    { "a put of unsorted keys", PUT(ID TOKEN "1:vd1:bi1e1:ai1ee"),
      "203 v is not strictly bencoded" },
    { "a put without a value", PUT(ID TOKEN), "203 an argument is missing" },
    { "a put without a token", PUT(ID "1:v1:x"), "203 an argument is missing" },
    { "a put with a token of 129 bytes",
      PUT(ID "5:token129:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
             "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefx1:v1:x"),
      "203 token is too long" },
    { "a put with a short key", PUT(ID "1:k4:abcd3:seqi1e" SIG TOKEN "1:v1:x"),
      "203 k must have 32 bytes" },
    { "a put with a short signature", PUT(ID KEY "3:seqi1e3:sig2:ab" TOKEN "1:v1:x"),
      "203 sig must have 64 bytes" },
    { "a put without its number", PUT(ID KEY SIG TOKEN "1:v1:x"),
      "203 seq must be a number from 0" },
    { "a put compared with a number below zero",
      PUT("3:casi-1e" ID KEY "3:seqi1e" SIG TOKEN "1:v1:x"), "203 seq must be a number from 0" },
    { "a put with a number below zero", PUT(ID KEY "3:seqi-1e" SIG TOKEN "1:v1:x"),
      "203 seq must be a number from 0" },
    { "a put compared to a number below zero",
      PUT("3:casi-1e" ID KEY "3:seqi2e" SIG TOKEN "1:v1:x"), "203 seq must be a number from 0" },
    { "a put with a token of 129 bytes",
      PUT(ID "5:token129:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
             "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefx1:v1:x"),
      "203 token is too long" },
    { "a put with salt of 65 bytes",
      PUT(ID KEY "4:salt65:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefx"
                 "3:seqi2e" SIG TOKEN "1:v1:x"),
      "207 salt is too big" },

    /* Ours. */
    { "a put that says how long the item lives",
      PUT(ID KEY "3:seqi1e" SIG TOKEN "3:ttli86400e1:v1:x"), "put" },
    { "a put of the longest life", PUT(ID TOKEN "3:ttli2147483647e1:v1:x"), "put" },
    { "a put of a longer one", PUT(ID TOKEN "3:ttli2147483648e1:v1:x"),
      "203 ttl must be 1 to 2147483647" },
    { "a put of no life", PUT(ID TOKEN "3:ttli0e1:v1:x"), "203 ttl must be 1 to 2147483647" },
    { "a put whose life is text", PUT(ID TOKEN "3:ttl2:601:v1:x"),
      "203 an argument has the wrong type" },
    { "a get of who sees to the replicas", QUERY("3:chki600e3:seqi4e" TARGET, "3:get"), "get" },
    { "a get that is checked again at once", QUERY("3:chki0e" TARGET, "3:get"),
      "203 chk must be 1 to 2147483647" },
    { "a get that was checked before", QUERY("3:chki-1e" TARGET, "3:get"),
      "203 chk must be 1 to 2147483647" },
    { "a get checked in a lifetime", QUERY("3:chki2147483648e" TARGET, "3:get"),
      "203 chk must be 1 to 2147483647" },
    { "an offer", QUERY("5:offer28:mnopqrstuvwxyz123456\1\1\1\1\1\1\1\1", "8:lb_offer"),
      "lb_offer" },
    { "an offer of nothing", QUERY("5:offer0:", "8:lb_offer"),
      "203 offer must be 1 to 40 digests of 28 bytes" },
    { "an offer cut short", QUERY("5:offer27:mnopqrstuvwxyz123456\1\1\1\1\1\1\1", "8:lb_offer"),
      "203 offer must be 1 to 40 digests of 28 bytes" },
    { "an offer of a number above 2^63 - 1",
      QUERY("5:offer28:mnopqrstuvwxyz123456\x80\1\1\1\1\1\1\1", "8:lb_offer"),
      "203 offer must be 1 to 40 digests of 28 bytes" },
    { "an offer without digests", QUERY("", "8:lb_offer"), "203 an argument is missing" },
    { "an offer that is a list", QUERY("5:offerle", "8:lb_offer"),
      "203 an argument has the wrong type" },
    { "what is needed", REPLY("4:need3:012" TOKEN), "reply" },

    /* Between members of a private network. */
    { "a call to another's lb-member", "d1:ad1:b3:abc" ID "2:to6:membere1:q7:lb_call1:t2:aa1:y1:qe",
      "lb_call" },
    { "one to its lb-storage that says nothing",
      "d1:ad1:b0:" ID "2:to7:storagee1:q7:lb_call1:t2:aa1:y1:qe", "lb_call" },
    { "one to a service that takes none",
      "d1:ad1:b3:abc" ID "2:to7:gatewaye1:q7:lb_call1:t2:aa1:y1:qe",
      "203 to must be member or storage" },
    { "one to nobody", QUERY("1:b3:abc", "7:lb_call"), "203 an argument is missing" },
    { "one without a body", QUERY("2:to6:member", "7:lb_call"), "203 an argument is missing" },
    { "one whose body is a list", QUERY("1:ble2:to6:member", "7:lb_call"),
      "203 an argument has the wrong type" },
    { "what a call is answered", REPLY("1:b3:abc"), "reply" },
    { "stored, not sent", REPLY("3:seqi4e"), "reply" },

    /* BEP 51; and what is newer than us finds its way past us, as libtorrent does it. */
    { "a sample_infohashes", QUERY(TARGET, "17:sample_infohashes"), "sample_infohashes" },
    { "a sample_infohashes without a target", QUERY("", "17:sample_infohashes"),
      "203 an argument is missing" },
    { "a sample_infohashes with a short target", QUERY("6:target3:abc", "17:sample_infohashes"),
      "203 target or info_hash must have 20 bytes" },
    { "a method nobody knows with a target", QUERY(TARGET, "4:vote"), "unknown" },
    { "a method nobody knows with an infohash", QUERY(HASH, "4:vote"), "unknown" },
    { "a method nobody knows with an infohash and a short target",
      QUERY(HASH "6:target3:abc", "4:vote"), "unknown" },
    { "a method nobody knows that gives our keys another meaning",
      QUERY("3:seq5:first" TARGET "3:ttlle", "4:vote"), "unknown" },
    { "arguments that a method does not read may be anything",
      QUERY("5:offeri7e" TARGET "3:ttlle", "9:find_node"), "find_node" },
    { "results that may be left out may be anything", REPLY("4:needi7e3:numle3:ttl2:60"), "reply" },

    /* Queries whose sender can be told what is wrong. */
    { "a method nobody knows", QUERY("", "4:vote"), "204 method unknown" },
    { "the empty method", QUERY("", "0:"), "204 method unknown" },
    { "a method nobody knows with a short target", QUERY("6:target3:abc", "4:vote"),
      "204 method unknown" },
    { "a method nobody knows with a target that is a number", QUERY("6:targeti1e", "4:vote"),
      "204 method unknown" },
    { "a method nobody knows with a target, from nobody", "d1:ad" TARGET "e1:q4:vote1:t2:aa1:y1:qe",
      "204 method unknown" },
    { "a query without arguments", "d1:q4:ping1:t2:aa1:y1:qe", "203 an argument is missing" },
    { "a query without an id", "d1:ade1:q4:ping1:t2:aa1:y1:qe", "203 an argument is missing" },
    { "an id of 19 bytes", "d1:ad2:id19:abcdefghij012345678e1:q4:ping1:t2:aa1:y1:qe",
      "203 id must have 20 bytes" },
    { "an id that is a number", "d1:ad2:idi7ee1:q4:ping1:t2:aa1:y1:qe",
      "203 an argument has the wrong type" },
    { "a find_node without a target", QUERY("", "9:find_node"), "203 an argument is missing" },
    { "a find_node with an infohash instead", QUERY(HASH, "9:find_node"),
      "203 an argument is missing" },
    { "a target of 3 bytes", QUERY("6:target3:abc", "9:find_node"),
      "203 target or info_hash must have 20 bytes" },
    { "an announce_peer without a token", QUERY(HASH "4:porti1e", "13:announce_peer"),
      "203 an argument is missing" },
    { "an announce_peer without a port", QUERY(HASH TOKEN, "13:announce_peer"),
      "203 port must be 1 to 65535" },
    { "an announce_peer of port 0", QUERY(HASH "4:porti0e" TOKEN, "13:announce_peer"),
      "203 port must be 1 to 65535" },
    { "an announce_peer of port 65536", QUERY(HASH "4:porti65536e" TOKEN, "13:announce_peer"),
      "203 port must be 1 to 65535" },
    { "an announce_peer of a port that is text",
      QUERY(HASH "4:port4:6881" TOKEN, "13:announce_peer"), "203 an argument has the wrong type" },
    { "an announce_peer of the source port",
      QUERY("12:implied_porti1e" HASH "4:porti0e" TOKEN, "13:announce_peer"), "announce_peer" },

    /* What nobody is answered. */
    { "nothing", "", "malformed" },
    { "something else", "hello", "malformed" },
    { "a list", "le", "malformed" },
    { "the empty dictionary", "de", "malformed" },
    { "a dictionary cut short", "d1:ad2:id20:abcdef", "malformed" },
    { "bytes after the end", QUERY("", "4:ping") "x", "malformed" },
    { "no transaction id", "d1:ad" ID "e1:q4:ping1:y1:qe", "malformed" },
    { "an empty transaction id", "d1:ad" ID "e1:q4:ping1:t0:1:y1:qe", "malformed" },
    { "a transaction id of 33 bytes",
      "d1:ad" ID "e1:q4:ping1:t33:0123456789abcdef0123456789abcdefx1:y1:qe", "malformed" },
    { "a transaction id that is a number", "d1:ad" ID "e1:q4:ping1:ti7e1:y1:qe", "malformed" },
    { "no type", "d1:ad" ID "e1:q4:ping1:t2:aae", "malformed" },
    { "a type nobody knows", "d1:ad" ID "e1:q4:ping1:t2:aa1:y1:xe", "malformed" },
    { "a type of two letters", "d1:ad" ID "e1:q4:ping1:t2:aa1:y2:qqe", "malformed" },
    { "a query without a method", "d1:ad" ID "e1:t2:aa1:y1:qe", "malformed" },
    { "a query with results", "d1:q4:ping1:rd" ID "e1:t2:aa1:y1:qe", "malformed" },
    { "arguments and results", "d1:ad" ID "e1:q4:ping1:rd" ID "e1:t2:aa1:y1:qe", "malformed" },
    { "arguments that are a list", "d1:al" ID "e1:q4:ping1:t2:aa1:y1:qe", "malformed" },
    { "a reply without results", "d1:t2:aa1:y1:re", "malformed" },
    { "a reply without an id", "d1:rde1:t2:aa1:y1:re", "malformed" },
    { "a reply with a short id", "d1:rd2:id3:abce1:t2:aa1:y1:re", "malformed" },
    { "a reply whose nodes are a list", REPLY("5:nodesle"), "malformed" },
    { "an error without a reason", "d1:t2:aa1:y1:ee", "malformed" },
    { "an error cut short", "d1:el", "malformed" },
    { "an error whose code is none", "d1:eli2x1e3:huhe1:t2:aa1:y1:ee", "malformed" },
    { "an error whose text is cut short", "d1:eli201e99:huhe1:t2:aa1:y1:ee", "malformed" },
    { "an error with rubbish behind its text", "d1:eli201e3:huhxe1:t2:aa1:y1:ee", "malformed" },
    { "an error with rubbish for a text", "d1:eli201e-e1:t2:aa1:y1:ee", "malformed" },
    { "an error twice", "d1:eli201ee1:eli201ee1:t2:aa1:y1:ee", "malformed" },
    { "results twice", "d1:rd" ID "e1:rd" ID "e1:t2:aa1:y1:re", "malformed" },
    { "an error that is text", "d1:e3:huh1:t2:aa1:y1:ee", "malformed" },
    { "a key twice", "d1:ad" ID ID "e1:q4:ping1:t2:aa1:y1:qe", "malformed" },
    { "a key twice, once with something else", "d1:ad2:idi7e" ID "e1:q4:ping1:t2:aa1:y1:qe",
      "malformed" },
    { "a transaction id twice", "d1:ad" ID "e1:q4:ping1:t2:aa1:t2:bb1:y1:qe", "malformed" },
    { "arguments twice", "d1:ad" ID "e1:ad" ID "e1:q4:ping1:t2:aa1:y1:qe", "malformed" },
    { "a length with a leading zero", "d1:ad" ID "e1:q04:ping1:t2:aa1:y1:qe", "malformed" },
    { "a length past the end", "d1:ad" ID "e1:q4:ping1:t9999:aa1:y1:qe", "malformed" },
    { "a length that would wrap", "d1:ad" ID "e1:q4:ping1:t18446744073709551618:aa1:y1:qe",
      "malformed" },
    { "a number that would wrap", "d1:ad" ID "e1:q4:ping2:roi18446744073709551617e1:t2:aa1:y1:qe",
      "malformed" },
    { "a number with a letter in it", "d1:ad" ID "e1:q4:ping2:roi1a1e1:t2:aa1:y1:qe", "malformed" },
    { "a number with a leading zero", "d1:ad" ID "e1:q4:ping2:roi01e1:t2:aa1:y1:qe", "malformed" },
    { "a number with a letter in it, deeper", "d1:ad" ID "e1:q4:ping1:t2:aa1:xli1a1ee1:y1:qe",
      "malformed" },
    { "a number as key, deeper", "d1:ad" ID "e1:q4:ping1:t2:aa1:xdi1e1:ae1:y1:qe", "malformed" },
    { "minus zero", "d1:ad" ID "e1:q4:ping2:roi-0e1:t2:aa1:y1:qe", "malformed" },
    { "a key that is a number", "d1:ad" ID "e1:q4:ping1:t2:aai1e1:y1:qe", "malformed" },
    { "a key without a value", "d1:ad" ID "3:newe1:q4:ping1:t2:aa1:y1:qe", "malformed" },
    { "a key without a value, deeper", "d1:ad" ID "e1:q4:ping1:t2:aa1:xd1:ae1:y1:qe", "malformed" },
    { "a list as key, deeper", "d1:ad" ID "e1:q4:ping1:t2:aa1:xdle1:ae1:y1:qe", "malformed" },
};

static void describe(struct bytes datagram, char *ret_text, size_t size)
{
    struct krpc_message message;

    if (krpc_decode(datagram, &message) != LB_OK)
        snprintf(ret_text, size, "malformed");
    else if (message.type == KRPC_REPLY)
        snprintf(ret_text, size, "reply");
    else if (message.type == KRPC_ERROR)
        snprintf(ret_text, size, "error %d", (int)message.error_code);
    else if (message.fault)
        snprintf(ret_text, size, "%d %s", (int)message.fault, message.fault_text);
    else
        snprintf(ret_text, size, "%s", krpc_method_text(message.method));
}

static void is_taken_for(void **state)
{
    const struct decode_row *row = *state;
    char text[128];

    describe(bytes_of_text(row->datagram), text, sizeof(text));
    assert_string_equal(text, row->taken_for);
}

/* In memory of exactly its size, so that the sanitizer sees a byte read past the end. */
static void cut_anywhere_is_malformed(void **state)
{
    const char *whole = "d2:ip6:\1\2\3\4\5\6"
                        "1:rd" ID "3:newl1:xi7edee" TOKEN "6:valuesl6:axje.uee1:t2:aa1:y1:re";
    char text[128];

    (void)state;
    describe(bytes_of_text(whole), text, sizeof(text));
    assert_string_equal(text, "reply");
    for (size_t size = 0; size < strlen(whole); size++) {
        void *cut = malloc(size > 0 ? size : 1);

        memcpy(cut, whole, size);
        describe(bytes_of(cut, size), text, sizeof(text));
        assert_string_equal(text, "malformed");
        free(cut);
    }
}

static void describe_nested(size_t levels, char *ret_text, size_t size)
{
    uint8_t buffer[KRPC_RECEIVE_MAX];
    struct writer to;

    writer_init(&to, buffer, sizeof(buffer));
    writer_put(&to, "d1:ad", 5);
    writer_put(&to, ID, strlen(ID));
    writer_put(&to, "e1:q4:ping1:t2:aa1:x", 20);
    for (size_t i = 0; i < levels; i++)
        writer_u8(&to, 'l');
    for (size_t i = 0; i < levels; i++)
        writer_u8(&to, 'e');
    writer_put(&to, "1:y1:qe", 7);
    describe(bytes_of(buffer, to.size), ret_text, size);
}

static void depth_is_bounded(void **state)
{
    char text[128];

    (void)state;
    describe_nested(KRPC_DEPTH_MAX - 1, text, sizeof(text));
    assert_string_equal(text, "ping");
    describe_nested(KRPC_DEPTH_MAX, text, sizeof(text));
    assert_string_equal(text, "malformed");
}

static void a_datagram_that_is_too_long_is_malformed(void **state)
{
    static uint8_t buffer[KRPC_RECEIVE_MAX + 1];
    char text[128];

    (void)state;
    memset(buffer, 'x', sizeof(buffer));
    memcpy(buffer, "d1:ad" ID "1:x1950:", strlen("d1:ad" ID "1:x1950:"));
    describe(bytes_of(buffer, sizeof(buffer)), text, sizeof(text));
    assert_string_equal(text, "malformed");
}

static void values_of_1000_bytes_are_taken(void **state)
{
    struct krpc_query query = { .method = KRPC_PUT };
    uint8_t value[1004], datagram[KRPC_SEND_MAX];
    struct node_id id = { { 1 } };
    char text[128];
    size_t size;

    (void)state;
    memset(value, 'x', sizeof(value));
    memcpy(value, "996:", 4);
    query.id = &id;
    query.token = bytes_of_text("aoeusnth");
    query.item.value = bytes_of(value, 1000);
    size = krpc_encode_query(&query, (const uint8_t *)"abcd", datagram, sizeof(datagram));
    describe(bytes_of(datagram, size), text, sizeof(text));
    assert_string_equal(text, "put");

    memcpy(value, "997:", 4);
    query.item.value = bytes_of(value, 1001);
    size = krpc_encode_query(&query, (const uint8_t *)"abcd", datagram, sizeof(datagram));
    describe(bytes_of(datagram, size), text, sizeof(text));
    assert_string_equal(text, "205 v is too big");
}

static struct krpc_message decode(const char *datagram)
{
    struct krpc_message message;

    assert_int_equal(krpc_decode(bytes_of_text(datagram), &message), LB_OK);
    return message;
}

static void a_query_is_read_whole(void **state)
{
    struct krpc_message message = decode(
        "d1:ad" ID "12:implied_porti1e" HASH "6:noseedi1e4:porti6881e6:scrapei1e4:seedi1e" TOKEN
        "4:wantl2:n4i7e2:n62:xx3:n66ee1:q13:announce_peer2:roi1e1:t4:\1\2\3\4"
        "1:v4:LT\1\2"
        "1:y1:qe");

    (void)state;
    assert_int_equal(message.method, KRPC_ANNOUNCE_PEER);
    assert_true(bytes_equal_text(message.id, "abcdefghij0123456789"));
    assert_true(bytes_equal_text(message.info_hash, "mnopqrstuvwxyz123456"));
    assert_true(bytes_equal_text(message.target, "mnopqrstuvwxyz123456"));
    assert_true(bytes_equal_text(message.token, "aoeusnth"));
    assert_true(bytes_equal_text(message.transaction, "\1\2\3\4"));
    assert_true(bytes_equal_text(message.version, "LT\1\2"));
    assert_int_equal(message.port, 6881);
    assert_int_equal(message.implied_port, 1);
    assert_int_equal(message.seed, 1);
    assert_int_equal(message.no_seed, 1);
    assert_int_equal(message.scrape, 1);
    assert_true(message.read_only);
    assert_true(message.want_v4);
    assert_true(message.want_v6);
}

static void the_infohash_is_the_target_of_get_peers(void **state)
{
    struct krpc_message message =
        decode(QUERY(HASH "6:target20:abcdefghij0123456789", "9:get_peers"));

    (void)state;
    assert_true(bytes_equal_text(message.target, "mnopqrstuvwxyz123456"));
    assert_int_equal(message.present & KRPC_HAS_TARGET, 0);
}

static void nodes_that_cannot_be_sent_to_are_passed_over(void **state)
{
    /* 10.0.0.1:6881, then port 1 of 224.0.0.1, then 10.0.0.2:6881; and one over IPv6. */
    struct krpc_message message = decode(REPLY("5:nodes78:abcdefghij0123456789\n\1\1\1\x1a\xe1"
                                               "abcdefghij0123456789\xe0\1\1\1\1\1"
                                               "abcdefghij0123456788\n\1\1\2\x1a\xe1"
                                               "6:nodes638:klmnopqrst0123456789 123456789abcdef"
                                               "\x1a\xe1"));
    struct contact contact;
    size_t offset = 0;

    (void)state;
    assert_true(krpc_next_node(&message, 4, &offset, &contact));
    assert_memory_equal(contact.id.bytes, "abcdefghij0123456789", 20);
    assert_true(address_equal(&contact.address, &(struct address){ 0 }) == false);
    assert_int_equal(contact.address.port, 6881);
    assert_true(krpc_next_node(&message, 4, &offset, &contact));
    assert_memory_equal(contact.id.bytes, "abcdefghij0123456788", 20);
    assert_false(krpc_next_node(&message, 4, &offset, &contact));
    offset = 0;
    assert_true(krpc_next_node(&message, 6, &offset, &contact));
    assert_false(address_is_v4(&contact.address));
    assert_false(krpc_next_node(&message, 6, &offset, &contact));
}

static void peers_are_read_through_rubbish(void **state)
{
    struct krpc_message message = decode(REPLY("6:valuesl6:\n\1\1\1\x1a\xe1"
                                               "i7e3:abcle6:\xe0\1\1\1\1\1"
                                               "6:\n\1\1\2\1\1"
                                               "18: 123456789abcdef\x1a\xe1"
                                               "6:\n\1\1\3\1\1e"));
    struct address address;
    size_t offset = 0, count = 0;

    (void)state;
    while (krpc_next_peer(&message, &offset, &address))
        count++;
    assert_int_equal(count, 4);
    assert_int_equal(address.ip[15], 3);
}

static void a_reply_without_lists_has_none(void **state)
{
    struct krpc_message message = decode(REPLY(""));
    struct contact contact;
    struct address address;
    size_t offset = 0;

    (void)state;
    assert_false(krpc_next_node(&message, 4, &offset, &contact));
    assert_false(krpc_next_peer(&message, &offset, &address));
}

/* ---- writing ---- */

static struct node_id example_id(const char *text)
{
    return node_id_from((const uint8_t *)text);
}

/* BEP 5 writes its examples without a version; ours stands between t and y. */
#define OURS(before, type)                                                                         \
    before "1:t4:abcd1:v4:LB\1\1"                                                                  \
           "1:y1:" type "e"

static void assert_written(const uint8_t *data, size_t size, const char *expected)
{
    char copy[KRPC_SEND_MAX];

    /* The version holds a NUL; the expectation writes it as \1. */
    assert_int_equal(size, strlen(expected));
    memcpy(copy, data, size);
    for (size_t i = 0; i + 1 < size; i++) {
        if (copy[i] == '\0' && i > 1 && copy[i - 1] == 'B' && copy[i - 2] == 'L')
            copy[i] = '\1';
    }
    assert_memory_equal(copy, expected, size);
}

static void queries_are_written_as_specified(void **state)
{
    const struct node_id id = example_id("abcdefghij0123456789");
    struct krpc_query query = { .id = &id, .target = example_id("mnopqrstuvwxyz123456") };
    uint8_t data[KRPC_SEND_MAX];
    size_t size;

    (void)state;
    query.method = KRPC_PING;
    size = krpc_encode_query(&query, (const uint8_t *)"abcd", data, sizeof(data));
    assert_written(data, size, OURS("d1:ad" ID "e1:q4:ping", "q"));
    query.method = KRPC_FIND_NODE;
    query.want_v4 = query.want_v6 = true;
    size = krpc_encode_query(&query, (const uint8_t *)"abcd", data, sizeof(data));
    assert_written(data, size, OURS("d1:ad" ID TARGET "4:wantl2:n42:n6ee1:q9:find_node", "q"));
    query.method = KRPC_GET_PEERS;
    query.want_v4 = query.want_v6 = false;
    size = krpc_encode_query(&query, (const uint8_t *)"abcd", data, sizeof(data));
    assert_written(data, size, OURS("d1:ad" ID HASH "e1:q9:get_peers", "q"));
    query.method = KRPC_SAMPLE_INFOHASHES;
    query.read_only = true;
    size = krpc_encode_query(&query, (const uint8_t *)"abcd", data, sizeof(data));
    assert_written(data, size, OURS("d1:ad" ID TARGET "e1:q17:sample_infohashes2:roi1e", "q"));
    query.read_only = false;
    query.method = KRPC_GET;
    query.want_v4 = true;
    size = krpc_encode_query(&query, (const uint8_t *)"abcd", data, sizeof(data));
    assert_written(data, size, OURS("d1:ad" ID TARGET "4:wantl2:n4ee1:q3:get", "q"));
    query.method = KRPC_ANNOUNCE_PEER;
    query.token = bytes_of_text("aoeusnth");
    query.port = 6881;
    query.seed = true;
    size = krpc_encode_query(&query, (const uint8_t *)"abcd", data, sizeof(data));
    assert_written(data, size,
                   OURS("d1:ad" ID HASH "4:porti6881e4:seedi1e" TOKEN "e1:q13:announce_peer", "q"));
    query.seed = false;
    size = krpc_encode_query(&query, (const uint8_t *)"abcd", data, sizeof(data));
    assert_written(data, size,
                   OURS("d1:ad" ID HASH "4:porti6881e" TOKEN "e1:q13:announce_peer", "q"));
}

static void a_check_is_written_in_order(void **state)
{
    const struct node_id id = example_id("abcdefghij0123456789");
    struct krpc_query query = { .method = KRPC_GET,
                                .id = &id,
                                .target = example_id("mnopqrstuvwxyz123456"),
                                .want_v6 = true,
                                .check_s = 600 };
    uint8_t data[KRPC_SEND_MAX];
    size_t size = krpc_encode_query(&query, (const uint8_t *)"abcd", data, sizeof(data));
    struct krpc_message message;

    (void)state;
    assert_written(data, size, OURS("d1:ad3:chki600e" ID TARGET "4:wantl2:n6ee1:q3:get", "q"));
    query.has_seq = true;
    query.seq = INT64_MAX;
    query.check_s = INT32_MAX;
    query.want_v6 = false;
    size = krpc_encode_query(&query, (const uint8_t *)"abcd", data, sizeof(data));
    assert_written(
        data, size,
        OURS("d1:ad3:chki2147483647e" ID "3:seqi9223372036854775807e" TARGET "e1:q3:get", "q"));
    assert_int_equal(krpc_decode(bytes_of(data, size), &message), LB_OK);
    assert_int_equal(message.fault, 0);
    assert_int_equal(message.seq, INT64_MAX);
    assert_int_equal(message.check, INT32_MAX);
    assert_true(message.littlebird);
}

/* As many digests as there may be fit into a datagram; more are no offer. */
static void an_offer_is_read_back(void **state)
{
    static uint8_t digests[(KRPC_DIGESTS_MAX + 1) * KRPC_DIGEST_SIZE];
    const struct node_id id = example_id("abcdefghij0123456789");
    struct krpc_query query = { .method = KRPC_OFFER,
                                .id = &id,
                                .offer = { digests, KRPC_DIGESTS_MAX * KRPC_DIGEST_SIZE } };
    uint8_t data[KRPC_SEND_MAX];
    size_t size = krpc_encode_query(&query, (const uint8_t *)"abcd", data, sizeof(data));
    struct krpc_message message;

    (void)state;
    assert_int_not_equal(size, 0);
    assert_int_equal(krpc_decode(bytes_of(data, size), &message), LB_OK);
    assert_int_equal(message.method, KRPC_OFFER);
    assert_int_equal(message.fault, 0);
    assert_true(bytes_equal(message.offer, query.offer));
    digests[sizeof(digests) - 8] = 0x80;
    assert_true(krpc_offer_is_valid(query.offer));
    assert_false(krpc_offer_is_valid(bytes_of(digests, sizeof(digests))));
    digests[sizeof(digests) - 8] = 0;
    assert_false(krpc_offer_is_valid(bytes_of(digests, sizeof(digests))));
}

static void an_item_is_written_in_order(void **state)
{
    const struct node_id id = example_id("abcdefghij0123456789");
    struct krpc_query query = {
        .method = KRPC_PUT,
        .id = &id,
        .token = bytes_of_text("aoeusnth"),
        .item = { .value = bytes_of_text("12:Hello World!"),
                  .key = bytes_of_text("0123456789abcdef0123456789abcdef"),
                  .salt = bytes_of_text("foobar"),
                  .signature = bytes_of_text(
                      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
                  .seq = INT64_MAX,
                  .ttl_s = 7200 },
        .has_cas = true,
        .cas = 3,
    };
    uint8_t data[KRPC_SEND_MAX];
    size_t size = krpc_encode_query(&query, (const uint8_t *)"abcd", data, sizeof(data));
    struct bencode_token tokens[64];
    struct bencode parsed;
    struct krpc_message message;

    (void)state;
    assert_written(data, size,
                   OURS("d1:ad3:casi3e" ID KEY "4:salt6:foobar3:seqi9223372036854775807e" SIG TOKEN
                        "3:ttli7200e1:v12:Hello World!e1:q3:put",
                        "q"));
    assert_int_equal(bencode_parse(&parsed, bytes_of(data, size), tokens, 64,
                                   (struct bencode_limits){ 8, .strict_order = true }, NULL),
                     LB_OK);
    assert_int_equal(krpc_decode(bytes_of(data, size), &message), LB_OK);
    assert_int_equal(message.fault, 0);
    assert_int_equal(message.seq, INT64_MAX);
    assert_int_equal(message.ttl, 7200);
}

/* Everything a reply can hold, in strict order, and the same when read back. */
static void a_reply_is_read_back(void **state)
{
    static const uint8_t filter[KRPC_FILTER_SIZE] = { 7 };
    const struct node_id id = example_id("abcdefghij0123456789");
    const struct address to = address_v4(10, 1, 2, 3, 4567);
    struct contact nodes[2], node6 = { .address = { .ip = { 0x20, 1 }, .port = 9 } }, contact;
    const struct bytes peers[] = { bytes_of_text("axje.u"), bytes_of_text("idhtnm") };
    const struct krpc_item item = { .value = bytes_of_text("4:spam"),
                                    .key = bytes_of_text("0123456789abcdef0123456789abcdef"),
                                    .signature = bytes_of(filter, KRPC_SIGNATURE_SIZE),
                                    .seq = 5,
                                    .ttl_s = INT32_MAX };
    const struct krpc_samples samples = { .infohashes = bytes_of_text("mnopqrstuvwxyz123456"),
                                          .total = INT64_MAX,
                                          .interval_s = 21600 };
    struct krpc_reply reply = { .transaction = bytes_of_text("0123456789ab"),
                                .to = &to,
                                .id = &id,
                                .nodes = nodes,
                                .nodes_count = 2,
                                .with_nodes = true,
                                .nodes6 = &node6,
                                .nodes6_count = 1,
                                .with_nodes6 = true,
                                .token = bytes_of_text("aoeusnth"),
                                .values = peers,
                                .values_count = 2,
                                .seeds_filter = bytes_of(filter, sizeof(filter)),
                                .peers_filter = bytes_of(filter, sizeof(filter)),
                                .item = &item,
                                .need = bytes_of_text("012"),
                                .samples = &samples };
    uint8_t data[KRPC_SEND_MAX];
    struct bencode_token tokens[64];
    struct bencode parsed;
    struct krpc_message message;
    struct address address;
    size_t size, offset = 0;

    (void)state;
    for (uint8_t i = 0; i < 2; i++)
        nodes[i] = (struct contact){ { { i } }, address_v4(10, 0, 0, (uint8_t)(i + 1), 6881) };
    size = krpc_encode_reply(&reply, data, sizeof(data));
    assert_int_not_equal(size, 0);
    assert_int_equal(bencode_parse(&parsed, bytes_of(data, size), tokens, 64,
                                   (struct bencode_limits){ 8, .strict_order = true }, NULL),
                     LB_OK);
    assert_int_equal(krpc_decode(bytes_of(data, size), &message), LB_OK);
    assert_int_equal(message.type, KRPC_REPLY);
    assert_true(bytes_equal_text(message.transaction, "0123456789ab"));
    assert_int_equal(address_from_compact(message.ip, &address), LB_OK);
    assert_true(address_equal(&address, &to));
    assert_true(krpc_next_node(&message, 4, &offset, &contact));
    assert_true(krpc_next_node(&message, 4, &offset, &contact));
    assert_true(address_equal(&contact.address, &nodes[1].address));
    assert_true(node_id_equal(&contact.id, &nodes[1].id));
    offset = 0;
    assert_true(krpc_next_node(&message, 6, &offset, &contact));
    assert_true(address_equal(&contact.address, &node6.address));
    assert_true(bytes_equal_text(message.token, "aoeusnth"));
    assert_true(bytes_equal_text(message.value, "4:spam"));
    assert_true(bytes_equal(message.key, item.key));
    assert_true(bytes_equal(message.signature, item.signature));
    assert_int_equal(message.seq, 5);
    assert_int_equal(message.ttl, INT32_MAX);
    assert_true(bytes_equal_text(message.need, "012"));
    assert_true(bytes_equal_text(message.samples, "mnopqrstuvwxyz123456"));
    assert_int_equal(message.total, INT64_MAX);
    assert_int_equal(message.interval, 21600);
    assert_true(message.littlebird);
    assert_true(bytes_equal(message.seeds_filter, reply.seeds_filter));
    assert_true(bytes_equal(message.peers_filter, reply.peers_filter));

    /* Into anything smaller it does not fit, and nothing past the end is touched. */
    for (size_t capacity = 0; capacity < size; capacity++) {
        uint8_t *small = malloc(capacity > 0 ? capacity : 1);

        assert_int_equal(krpc_encode_reply(&reply, small, capacity), 0);
        free(small);
    }
}

static void an_item_that_is_not_newer_is_told_by_its_number(void **state)
{
    const struct node_id id = example_id("abcdefghij0123456789");
    struct krpc_item item = { .key = bytes_of_text("0123456789abcdef0123456789abcdef"), .seq = 5 };
    struct krpc_reply reply = { .transaction = bytes_of_text("abcd"), .id = &id, .item = &item };
    uint8_t data[KRPC_SEND_MAX];
    size_t size = krpc_encode_reply(&reply, data, sizeof(data));

    (void)state;
    assert_written(data, size, OURS("d1:rd" ID "3:seqi5ee", "r"));
    item = (struct krpc_item){ .ttl_s = 60 }; /* an immutable one */
    size = krpc_encode_reply(&reply, data, sizeof(data));
    assert_written(data, size, OURS("d1:rd" ID "3:seqi0e3:ttli60ee", "r"));
}

static void an_immutable_item_is_sent_without_a_number(void **state)
{
    const struct node_id id = example_id("abcdefghij0123456789");
    const struct krpc_item item = { .value = bytes_of_text("1:x"), .ttl_s = 60 };
    struct krpc_reply reply = { .transaction = bytes_of_text("abcd"), .id = &id, .item = &item };
    uint8_t data[KRPC_SEND_MAX];
    size_t size = krpc_encode_reply(&reply, data, sizeof(data));

    (void)state;
    assert_written(data, size, OURS("d1:rd" ID "3:ttli60e1:v1:xe", "r"));
}

/* To an IPv6 address, and to nobody in particular; its text is cut. */
static void an_error_is_read_back(void **state)
{
    static const char text[KRPC_ERROR_TEXT_MAX + 1] = "huh";
    const struct address to = { .ip = { 0x20, 1 }, .port = 9 };
    const struct node_id id = example_id("abcdefghij0123456789");
    struct krpc_reply reply = { .transaction = bytes_of_text("abcd"), .to = &to, .id = &id };
    struct krpc_message message;
    struct address address;
    uint8_t data[KRPC_SEND_MAX];
    size_t size = krpc_encode_error(bytes_of_text("aa"), &to, 301, bytes_of(text, sizeof(text)),
                                    data, sizeof(data));

    (void)state;
    assert_int_equal(krpc_decode(bytes_of(data, size), &message), LB_OK);
    assert_int_equal(message.type, KRPC_ERROR);
    assert_int_equal(message.error_code, 301);
    assert_int_equal(message.error_text.size, KRPC_ERROR_TEXT_MAX);
    assert_int_equal(address_from_compact(message.ip, &address), LB_OK);
    assert_true(address_equal(&address, &to));
    size =
        krpc_encode_error(bytes_of_text("aa"), NULL, 301, bytes_of_text("huh"), data, sizeof(data));
    assert_int_equal(krpc_decode(bytes_of(data, size), &message), LB_OK);
    assert_int_equal(message.ip.size, 0);
    size = krpc_encode_reply(&reply, data, sizeof(data));
    assert_int_equal(krpc_decode(bytes_of(data, size), &message), LB_OK);
    assert_int_equal(address_from_compact(message.ip, &address), LB_OK);
    assert_true(address_equal(&address, &to));
}

static void samples_are_there_even_if_there_is_none(void **state)
{
    const struct node_id id = example_id("abcdefghij0123456789");
    const struct krpc_samples samples = { .interval_s = 60 };
    struct krpc_reply reply = {
        .transaction = bytes_of_text("abcd"), .id = &id, .with_nodes = true, .samples = &samples
    };
    uint8_t data[KRPC_SEND_MAX];
    size_t size = krpc_encode_reply(&reply, data, sizeof(data));

    (void)state;
    assert_written(data, size, OURS("d1:rd" ID "8:intervali60e5:nodes0:3:numi0e7:samples0:e", "r"));
}

/* One result that cannot be right is left out; the others are kept. */
static const struct left_out_row {
    const char *what, *results;
    uint32_t present; /* besides the id */
} left_out_rows[] = {
    { "nodes cut short", "5:nodes25:0123456789012345678901234" TOKEN, KRPC_HAS_TOKEN },
    { "IPv6 nodes cut short", "6:nodes63:abc" TOKEN, KRPC_HAS_TOKEN },
    { "a token of 129 bytes",
      "4:need1:15:token129:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefx",
      KRPC_HAS_NEED },
    { "a short key", "1:k4:abcd3:seqi4e1:v1:x", KRPC_HAS_SEQ | KRPC_HAS_VALUE },
    { "a short signature", "3:seqi4e3:sig2:ab1:v1:x", KRPC_HAS_SEQ | KRPC_HAS_VALUE },
    { "short filters", "4:BFpe1:a4:BFsd1:b" TOKEN, KRPC_HAS_TOKEN },
    { "a need nobody knows", "4:need3:013" TOKEN, KRPC_HAS_TOKEN },
    { "a need below all", "4:need1:/" TOKEN, KRPC_HAS_TOKEN },
    { "an empty need", "4:need0:" TOKEN, KRPC_HAS_TOKEN },
    { "a need of 41", "4:need41:00000000000000000000000000000000000000000" TOKEN, KRPC_HAS_TOKEN },
    { "samples cut short", "3:numi4e7:samples3:abc", KRPC_HAS_TOTAL },
    { "fewer than none stored",
      "8:intervali60e3:numi-1e7:samples0:", KRPC_HAS_INTERVAL | KRPC_HAS_SAMPLES },
    { "again before now", "8:intervali-1e3:numi0e7:samples0:", KRPC_HAS_TOTAL | KRPC_HAS_SAMPLES },
    { "no life left", "3:seqi4e3:ttli0e", KRPC_HAS_SEQ },
    { "too long a life", "3:seqi4e3:ttli2147483648e", KRPC_HAS_SEQ },
};

static void is_left_out(void **state)
{
    const struct left_out_row *row = *state;
    char datagram[512];
    struct krpc_message message;

    snprintf(datagram, sizeof(datagram), "d1:rd" ID "%se1:t2:aa1:y1:re", row->results);
    message = decode(datagram);
    assert_int_equal(message.present, KRPC_HAS_ID | row->present);
    assert_true(message.ttl == 0 && message.need.size <= 1 && message.total >= 0);
}

/* "v" beside the body: who is of our kind. */
static const struct kind_row {
    const char *what, *datagram;
    bool littlebird;
} kind_rows[] = {
    { "ours",
      "d1:rd" ID "e1:t2:aa1:v4:LB\1\1"
      "1:y1:re",
      true },
    { "ours, of a later day", "d1:rd" ID "e1:t2:aa1:v7:LB-next1:y1:re", true },
    { "libtorrent",
      "d1:rd" ID "e1:t2:aa1:v4:LT\1\1"
      "1:y1:re",
      false },
    { "a version cut short", "d1:rd" ID "e1:t2:aa1:v1:L1:y1:re", false },
    { "no version", REPLY(""), false },
    { "ours, which asks",
      "d1:ad" ID "e1:q4:ping1:t2:aa1:v4:LB\1\1"
      "1:y1:qe",
      true },
    { "ours, which refuses",
      "d1:eli202e3:huhe1:t2:aa1:v4:LB\1\1"
      "1:y1:ee",
      true },
};

static void is_of_our_kind(void **state)
{
    const struct kind_row *row = *state;

    assert_int_equal(decode(row->datagram).littlebird, row->littlebird);
}

static void an_error_is_written_as_specified(void **state)
{
    const struct address to = address_v4(1, 2, 3, 4, 0x0506);
    uint8_t data[KRPC_SEND_MAX];
    size_t size = krpc_encode_error(bytes_of_text("abcd"), &to, 203, bytes_of_text("bad token"),
                                    data, sizeof(data));

    (void)state;
    assert_written(data, size, OURS("d1:eli203e9:bad tokene2:ip6:\1\2\3\4\5\6", "e"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_anywhere_is_malformed),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(a_datagram_that_is_too_long_is_malformed),
        cmocka_unit_test(values_of_1000_bytes_are_taken),
        cmocka_unit_test(a_query_is_read_whole),
        cmocka_unit_test(the_infohash_is_the_target_of_get_peers),
        cmocka_unit_test(nodes_that_cannot_be_sent_to_are_passed_over),
        cmocka_unit_test(peers_are_read_through_rubbish),
        cmocka_unit_test(a_reply_without_lists_has_none),
        cmocka_unit_test(queries_are_written_as_specified),
        cmocka_unit_test(a_check_is_written_in_order),
        cmocka_unit_test(an_offer_is_read_back),
        cmocka_unit_test(an_item_is_written_in_order),
        cmocka_unit_test(a_reply_is_read_back),
        cmocka_unit_test(an_item_that_is_not_newer_is_told_by_its_number),
        cmocka_unit_test(an_immutable_item_is_sent_without_a_number),
        cmocka_unit_test(an_error_is_read_back),
        cmocka_unit_test(samples_are_there_even_if_there_is_none),
        cmocka_unit_test(an_error_is_written_as_specified),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    failed += RUN_ROWS(decode_rows, is_taken_for);
    failed += RUN_ROWS(left_out_rows, is_left_out);
    return failed + RUN_ROWS(kind_rows, is_of_our_kind);
}
