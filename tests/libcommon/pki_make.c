/*
 * pki-make FOLDER NAME COUNT: a private network for tests whose nodes are processes, without a
 * coordinator: for each member i FOLDER/i with what a node has below its state folder:
 * FOLDER/i/identity and FOLDER/i/member/ (libcommon/pki/membership.h). A last one, i = COUNT, is of
 * another network of the same name. FOLDER/denied is a deny list with the last member, COUNT - 1.
 */
#include "tests/libcommon/pki_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

static void make_folder(const char *path)
{
    if (mkdir(path, 0700) != 0) {
        perror(path);
        exit(1);
    }
}

static void write_member(struct pki_network *network, const char *folder, unsigned number)
{
    struct pki_member member;
    char path[4096];
    pki_member_make(network, number, CERTIFICATE_MEMBER, PKI_SOUND, &member);
    snprintf(path, sizeof path, "%s/%u", folder, number);
    make_folder(path);
    snprintf(path, sizeof path, "%s/%u/member", folder, number);
    make_folder(path);
    pki_write_folder(network, &member, path);
    snprintf(path, sizeof path, "%s/%u/identity", folder, number);
    pki_write_identity(&member, path);
    pki_member_done(&member);
}

/* A node takes it up as soon as it stands in its folder. */
static void write_denied(const struct pki_network *network, const char *folder, unsigned number)
{
    const struct node_id node = pki_node(number);
    size_t size = 0;
    uint8_t *denied = pki_deny_list(network, 1, &node, 1, &size);
    if (membership_put_file(folder, "denied", bytes_of(denied, size), 0644) != LB_OK) {
        fprintf(stderr, "%s/denied cannot be written\n", folder);
        exit(1);
    }
    free(denied);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: pki-make FOLDER NAME COUNT\n");
        return 2;
    }
    const unsigned count = (unsigned)strtoul(argv[3], NULL, 10);
    struct pki_network network;
    struct pki_network other;
    pki_network_make(&network, argv[2], (uint64_t)time(NULL));
    pki_network_make(&other, argv[2], (uint64_t)time(NULL));
    make_folder(argv[1]);
    for (unsigned i = 0; i < count; i++)
        write_member(&network, argv[1], i);
    write_member(&other, argv[1], count);
    write_denied(&network, argv[1], count - 1);
    pki_network_done(&network);
    pki_network_done(&other);
    return 0;
}
