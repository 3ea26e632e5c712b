#include "services/transport/gate.h"

#include <linux/filter.h>
#include <string.h>
#include <sys/socket.h>

#define V4_SOURCE 12u /* bytes into the IP header */
#define V6_SOURCE 8u
#define RULE_SIZE 12u /* instructions: four words to load and compare, and four for the verdict */
#define CODE_MAX  (OVERLOAD_RULES_MAX * RULE_SIZE + 1)

_Static_assert(CODE_MAX <= BPF_MAXINSNS, "the kernel takes no longer program");

struct code {
    struct sock_filter list[CODE_MAX];
    unsigned short count;
};

static void put(struct code *self, uint16_t operation, uint32_t k, uint8_t if_true,
                uint8_t if_false)
{
    self->list[self->count++] =
        (struct sock_filter){ .code = operation, .k = k, .jt = if_true, .jf = if_false };
}

/* Compare the source word by word; who differs goes on behind the verdict. */
static void put_rule(struct code *self, bool v4, const struct overload_rule *rule)
{
    const uint8_t *ip = rule->source.ip + (v4 ? 12 : 0);
    unsigned words = v4 ? 1 : rule->size / 4u;
    uint32_t offset = (uint32_t)SKF_NET_OFF + (v4 ? V4_SOURCE : V6_SOURCE);

    for (unsigned i = 0; i < words; i++) {
        uint8_t left = (uint8_t)(2 * (words - 1 - i) + 4); /* instructions to the next rule */

        put(self, BPF_LD | BPF_W | BPF_ABS, offset + 4 * i, 0, 0);
        put(self, BPF_JMP | BPF_JEQ | BPF_K, load_u32(ip + 4 * i), 0, left);
    }
    put(self, BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM), 0, 0);
    put(self, BPF_JMP | BPF_JGT | BPF_K, rule->keep, 0, 1);
    put(self, BPF_RET | BPF_K, 0, 0, 0);
    put(self, BPF_RET | BPF_K, UINT32_MAX, 0, 0);
}

void gate_open(int fd)
{
    int unused = 0;

    (void)setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused));
}

static bool attach(int fd, bool v4, const struct overload_rule *rules, unsigned count)
{
    struct code code = { .count = 0 };
    struct sock_fprog program = { .filter = code.list };

    for (unsigned i = 0; i < count; i++) {
        if (address_is_v4(&rules[i].source) == v4)
            put_rule(&code, v4, &rules[i]);
    }
    if (code.count == 0) {
        gate_open(fd);
        return true;
    }
    put(&code, BPF_RET | BPF_K, UINT32_MAX, 0, 0);
    program.len = code.count;
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0;
}

lb_err gate_set(int fd, bool v4, const struct overload_rule *rules, unsigned count)
{
    if (attach(fd, v4, rules, count))
        return LB_OK;
    /* net.core.optmem_max: up to Linux 6.8 there is not room for two of this size. */
    gate_open(fd);
    for (; count > 0; count /= 2) {
        if (attach(fd, v4, rules, count))
            return LB_OK;
    }
    return LB_DENIED;
}
