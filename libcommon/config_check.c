/* config_check_addresses(): what config_load() takes for any texts. */
#include "libcommon/address.h"
#include "libcommon/config.h"
#include "libcommon/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST_SIZE_MAX 253 /* RFC 1035 */

static lb_err wrong_value(const struct config *config, enum config_key key, const char *value,
                          const char *expected, struct config_problem *ret_problem)
{
    snprintf(ret_problem->text, sizeof ret_problem->text,
             "%s: '%.60s' does not fit '%s' in [%s]: %s", config_origin(config, key), value,
             config_key_name(key), config_section_name(key), expected);
    return LB_INVALID;
}

static bool is_port(const char *text)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);

    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && port > 0 && port <= 65535;
}

/* HOST:PORT; the host is looked up later. */
static bool is_host_and_port(const char *text)
{
    const char *colon = strrchr(text, ':');
    struct address address;

    if (text[0] == '[')
        return address_parse(text, &address) == LB_OK;
    return colon != NULL && colon != text && colon - text <= HOST_SIZE_MAX &&
           memchr(text, ':', (size_t)(colon - text)) == NULL && is_port(colon + 1);
}

static lb_err check_listen(const struct config *config, enum config_key key, const char *expected,
                           struct config_problem *ret_problem)
{
    unsigned v4_count = 0, v6_count = 0;

    for (size_t i = 0; i < config_list_count(config, key); i++) {
        const char *text = config_list_item(config, key, i);
        struct address address;

        if (address_parse(text, &address) != LB_OK)
            return wrong_value(config, key, text, expected, ret_problem);
        *(address_is_v4(&address) ? &v4_count : &v6_count) += 1;
        if (v4_count > 1 || v6_count > 1)
            return wrong_value(config, key, text, "at most one IPv4 and one IPv6 address",
                               ret_problem);
    }
    return LB_OK;
}

static lb_err check_bootstrap(const struct config *config, struct config_problem *ret_problem)
{
    for (size_t i = 0; i < config_list_count(config, CONFIG_BOOTSTRAP); i++) {
        const char *text = config_list_item(config, CONFIG_BOOTSTRAP, i);

        if (!is_host_and_port(text))
            return wrong_value(config, CONFIG_BOOTSTRAP, text, "expected HOST:PORT", ret_problem);
    }
    return LB_OK;
}

static lb_err check_metrics(const struct config *config, struct config_problem *ret_problem)
{
    const char *text = config_text(config, CONFIG_METRICS_LISTEN);
    struct address address;

    if (text[0] != '\0' && address_parse(text, &address) != LB_OK)
        return wrong_value(config, CONFIG_METRICS_LISTEN, text,
                           "expected ADDR:PORT, as 127.0.0.1:9881 or [::1]:9881", ret_problem);
    return LB_OK;
}

lb_err config_check_addresses(const struct config *config, struct config_problem *ret_problem)
{
    lb_err err = check_listen(config, CONFIG_LISTEN,
                              "expected ADDR:PORT, as 0.0.0.0:6881 or [::]:6881", ret_problem);

    if (err == LB_OK)
        err = check_listen(config, CONFIG_COORDINATOR_LISTEN,
                           "expected ADDR:PORT, as 0.0.0.0:6891 or [::]:6891", ret_problem);
    if (err == LB_OK)
        err = check_bootstrap(config, ret_problem);
    return err == LB_OK ? check_metrics(config, ret_problem) : err;
}

bool config_check_handed(const struct config *config, enum config_key key,
                         const struct address *bound)
{
    char text[ADDRESS_TEXT_SIZE];

    for (size_t i = 0; i < config_list_count(config, key); i++) {
        struct address address;

        if (address_parse(config_list_item(config, key, i), &address) != LB_OK)
            continue;
        if (address.port == 0)
            address.port = bound->port;
        if (address_equal(&address, bound))
            return true;
    }
    address_format(bound, text);
    log_warn(
        "the socket that was handed over listens on %s, %s.%s says %s: change the socket unit, or "
        "the configuration",
        text, config_section_name(key), config_key_name(key), config_text(config, key));
    return false;
}
