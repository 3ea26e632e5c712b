/*
 * bench-secure: what TLS adds to a peer's stream (services/swarm/secure.h), in one process and so
 * whatever else the machine does: blocks with their headers go over loopback TCP, written and read
 * in turn, plain and inside TLS 1.3; beside them OpenSSL's own SSL_write and SSL_read in memory,
 * and AES-128-GCM of records alone, which nothing can be cheaper than. CPU-s/GB of both ends, and
 * handshakes.
 */
#include "libcommon/clock.h"
#include "libcommon/memory.h"
#include "tests/libcommon/pki_fixture.h"

#include "services/swarm/secure.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEADER      13u
#define BLOCK       16384u
#define BLOCKS      16u /* of one write */
#define READ_BLOCKS 32u
#define REST        (256u * 1024)
#define CONTENT     (256u * 1024 * 1024) /* does not fit a cache */
#define GB          1000000000.0
#define HANDSHAKES  300u

#define must(done) must_at(done, #done, __LINE__)

static void must_at(bool done, const char *what, int line)
{
    if (done)
        return;
    fprintf(stderr, "bench-secure: line %d: %s failed\n", line, what);
    exit(1);
}

static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct pair {
    struct pki_network network;
    struct pki_member members[2];
    struct membership *memberships[2];
    struct secure *secures[2];
    struct stream streams[2]; /* 0 writes */
};

static bool knows(void *ctx, const uint8_t infohash[20])
{
    (void)ctx;
    (void)infohash;
    return true;
}

static void make_members(struct pair *self)
{
    pki_network_make(&self->network, "bench", clock_wall_s());
    for (unsigned i = 0; i < 2; i++) {
        pki_member_make(&self->network, i, CERTIFICATE_MEMBER, PKI_SOUND, &self->members[i]);
        self->memberships[i] = pki_membership(&self->network, &self->members[i]);
        must(secure_new(self->memberships[i], knows, NULL, &self->secures[i]) == LB_OK);
    }
}

static void make_sockets(int ret_fds[2])
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    const int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0 &&
         getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    ret_fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    must(connect(ret_fds[0], (struct sockaddr *)&address, size) == 0);
    ret_fds[1] = accept(listener, NULL, NULL);
    for (unsigned i = 0; i < 2; i++)
        must(setsockopt(ret_fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
             fcntl(ret_fds[i], F_SETFL, O_NONBLOCK) == 0);
    close(listener);
}

static void open_pair(struct pair *self, bool tls)
{
    static const uint8_t infohash[20];
    int fds[2];
    enum stream_opening openings[2] = { STREAM_OPENING, STREAM_OPENING };
    make_sockets(fds);
    for (unsigned i = 0; i < 2; i++) {
        stream_plain(&self->streams[i], fds[i]);
        if (tls)
            secure_wrap(self->secures[i], &self->streams[i], i == 0 ? infohash : NULL);
    }
    while (tls && (openings[0] == STREAM_OPENING || openings[1] == STREAM_OPENING))
        for (unsigned i = 0; i < 2; i++)
            if (openings[i] == STREAM_OPENING)
                openings[i] = self->streams[i].kind->open(&self->streams[i]);
    must(!tls || (openings[0] == STREAM_OPEN && openings[1] == STREAM_OPEN));
    if (tls)
        secure_set_burst(&self->streams[0], SECURE_BURST_MAX);
}

static void close_pair(struct pair *self)
{
    for (unsigned i = 0; i < 2; i++)
        self->streams[i].kind->close(&self->streams[i]);
}

/* Headers and blocks in turn, from `at` on. */
static int lay(struct iovec *parts, uint8_t *content, size_t at, uint32_t blocks)
{
    static uint8_t headers[READ_BLOCKS][HEADER];
    int count = 0;
    for (uint32_t i = 0; i < blocks; i++) {
        parts[count++] = (struct iovec){ .iov_base = headers[i], .iov_len = HEADER };
        parts[count++] =
            (struct iovec){ .iov_base = content + at + (size_t)i * BLOCK, .iov_len = BLOCK };
    }
    return count;
}

static void go_on(size_t *at, ssize_t moved)
{
    if (moved > 0)
        *at = (*at + (size_t)moved / BLOCK * BLOCK) % (CONTENT - READ_BLOCKS * BLOCK);
    *at -= *at % BLOCK;
}

static void measure_stream(struct pair *pair, const char *name, bool tls, double goal)
{
    static uint8_t rest[REST];
    struct iovec parts[2 * READ_BLOCKS + 1];
    uint8_t *from = xmalloc(CONTENT);
    uint8_t *to = xmalloc(CONTENT);
    size_t from_at = 0;
    size_t to_at = 0;
    double got = 0;
    double write_s = 0;
    double read_s = 0;
    memset(from, 1, CONTENT);
    memset(to, 2, CONTENT); /* both are there before it begins */
    open_pair(pair, tls);
    struct stream *writer = &pair->streams[0];
    struct stream *reader = &pair->streams[1];
    while (got < goal) {
        int count = lay(parts, from, from_at, BLOCKS);
        const double before = cpu_s();
        go_on(&from_at, writer->kind->write(writer, parts, count));
        write_s += cpu_s() - before;
        ssize_t moved;
        do {
            count = lay(parts, to, to_at, READ_BLOCKS);
            parts[count++] = (struct iovec){ .iov_base = rest, .iov_len = sizeof rest };
            const double begun = cpu_s();
            moved = reader->kind->read(reader, parts, count);
            read_s += cpu_s() - begun;
            go_on(&to_at, moved);
            got += moved > 0 ? (double)moved : 0;
        } while (moved > 0);
    }
    printf("%-32s%10.3f%10.3f%10.3f\n", name, write_s / got * GB, read_s / got * GB,
           (write_s + read_s) / got * GB);
    close_pair(pair);
    free(from);
    free(to);
}

/* What OpenSSL needs with no stream around it. */
static void measure_openssl(const struct pair *pair, double goal)
{
    SSL_CTX *context = pki_rogue_context(&pair->members[0], TLS_method());
    SSL *ends[2] = { SSL_new(context), SSL_new(context) };
    BIO *bios[2];
    static uint8_t content[BLOCK];
    double got = 0;
    double write_s = 0;
    double read_s = 0;
    must(SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") == 1 &&
         BIO_new_bio_pair(&bios[0], 1u << 20, &bios[1], 1u << 20) == 1);
    for (unsigned i = 0; i < 2; i++)
        SSL_set_bio(ends[i], bios[i], bios[i]);
    SSL_set_connect_state(ends[0]);
    SSL_set_accept_state(ends[1]);
    for (int i = 0; i < 10; i++)
        for (unsigned end = 0; end < 2; end++)
            (void)SSL_do_handshake(ends[end]);
    while (got < goal) {
        double before = cpu_s();
        for (uint32_t i = 0; i < BLOCKS; i++)
            must(SSL_write(ends[0], content, sizeof content) == (int)sizeof content);
        write_s += cpu_s() - before;
        before = cpu_s();
        int size;
        while ((size = SSL_read(ends[1], content, sizeof content)) > 0)
            got += size;
        read_s += cpu_s() - before;
    }
    printf("%-32s%10.3f%10.3f%10.3f\n", "SSL_write, SSL_read in memory", write_s / got * GB,
           read_s / got * GB, (write_s + read_s) / got * GB);
    SSL_free(ends[0]);
    SSL_free(ends[1]);
    SSL_CTX_free(context);
}

static double measure_direction(bool encrypts, double goal)
{
    static uint8_t content[BLOCK];
    static uint8_t made[BLOCK];
    uint8_t key[16] = { 1 };
    uint8_t nonce[12] = { 0 };
    uint8_t tag[16] = { 0 };
    uint8_t head[5] = { 0 };
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    const double before = cpu_s();
    int size = 0;
    must(EVP_CipherInit_ex(cipher, EVP_aes_128_gcm(), NULL, key, nonce, encrypts) == 1);
    for (double done = 0; done < goal; done += BLOCK) {
        nonce[0]++;
        must(EVP_CipherInit_ex(cipher, NULL, NULL, NULL, nonce, encrypts) == 1 &&
             EVP_CipherUpdate(cipher, NULL, &size, head, sizeof head) == 1 &&
             EVP_CipherUpdate(cipher, made, &size, content, BLOCK) == 1);
        if (!encrypts)
            must(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, 16, tag) == 1);
        (void)EVP_CipherFinal_ex(cipher, made, &size); /* false tags cost the same */
    }
    EVP_CIPHER_CTX_free(cipher);
    return (cpu_s() - before) / goal * GB;
}

static void measure_cipher(double goal)
{
    const double encrypt = measure_direction(true, goal);
    const double decrypt = measure_direction(false, goal);
    printf("%-32s%10.3f%10.3f%10.3f\n", "AES-128-GCM, 16 KiB", encrypt, decrypt, encrypt + decrypt);
}

static void measure_handshakes(struct pair *pair)
{
    const double before = cpu_s();
    for (unsigned i = 0; i < HANDSHAKES; i++) {
        open_pair(pair, true);
        close_pair(pair);
    }
    const double each_ms = (cpu_s() - before) / HANDSHAKES * 1000;
    printf("\na handshake, both ends: %.2f ms of CPU, so %.0f/s a core for who is called\n",
           each_ms, 2000 / each_ms);
}

int main(int argc, char **argv)
{
    const double goal = argc > 1 ? atof(argv[1]) * GB : 4 * GB;
    struct pair pair = { .network = { .serial = 0 } };
    if (argc > 2 || goal <= 0) {
        fprintf(stderr, "usage: bench-secure [GB]    (default 4)\n");
        return 2;
    }
    make_members(&pair);
    printf("%-32s%10s%10s%10s   CPU-s/GB\n", "", "write", "read", "both");
    measure_stream(&pair, "a stream, plain TCP", false, goal);
    measure_stream(&pair, "the same inside TLS 1.3", true, goal);
    measure_openssl(&pair, goal);
    measure_cipher(goal);
    measure_handshakes(&pair);
    for (unsigned i = 0; i < 2; i++) {
        secure_free(&pair.secures[i]);
        membership_free(&pair.memberships[i]);
        pki_member_done(&pair.members[i]);
    }
    pki_network_done(&pair.network);
    return 0;
}
