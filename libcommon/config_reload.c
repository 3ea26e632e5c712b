#include "libcommon/config_reload.h"

#include <stdio.h>
#include <string.h>

static const struct {
    enum config_effect effect;
    unsigned services;
} effects[CONFIG_KEYS_COUNT] = {
#define LB_EFFECT(key, effect, services) [CONFIG_##key] = { CONFIG_##effect, services },
    LB_CONFIG_EFFECTS(LB_EFFECT)
#undef LB_EFFECT
};

enum config_effect config_effect(enum config_key key)
{
    return effects[key].effect;
}

unsigned config_services(enum config_key key)
{
    return effects[key].services;
}

void config_compare(const struct config *before, const struct config *now,
                    struct config_changes *ret_changes)
{
    ret_changes->count = 0;
    for (int i = 0; i < CONFIG_KEYS_COUNT; i++) {
        if (!config_is_same(before, now, (enum config_key)i))
            ret_changes->keys[ret_changes->count++] = (enum config_key)i;
    }
}

static const char *shown(const struct config *config, enum config_key key)
{
    const char *text = config_text(config, key);

    return text[0] != '\0' ? text : "nothing";
}

/* ": lb-admin restart storage, lb-admin restart transport" */
static void append_restarts(char line[CONFIG_CHANGE_SIZE], unsigned services)
{
    const char *before = ": ";

    for (int i = 0; i < SERVICES_COUNT; i++) {
        size_t used = strlen(line);

        if ((services & (1u << i)) == 0)
            continue;
        snprintf(line + used, CONFIG_CHANGE_SIZE - used, "%slb-admin restart %s", before,
                 service_text((enum service)i));
        before = ", ";
    }
}

/* What a reload does not do. */
static void append_advice(char line[CONFIG_CHANGE_SIZE], const struct config *now,
                          enum config_key key, unsigned services)
{
    size_t used = strlen(line);

    switch (config_effect(key)) {
    case CONFIG_ANEW:
        append_restarts(line, services);
        break;
    case CONFIG_SCALED:
        snprintf(line + used, CONFIG_CHANGE_SIZE - used, ": lb-admin scale %s=%u",
                 config_section_name(key), config_workers(now, key));
        break;
    case CONFIG_NODE:
        snprintf(line + used, CONFIG_CHANGE_SIZE - used, ": stop the node and start it");
        break;
    case CONFIG_LIVE:
    case CONFIG_EFFECT_UNKNOWN:
        break;
    }
}

const char *config_change_text(const struct config *before, const struct config *now,
                               enum config_key key, unsigned services,
                               char ret_line[CONFIG_CHANGE_SIZE])
{
    snprintf(ret_line, CONFIG_CHANGE_SIZE, "%s.%s = %.100s (was %.100s; %.150s)",
             config_section_name(key), config_key_name(key), shown(now, key), shown(before, key),
             config_origin(now, key));
    append_advice(ret_line, now, key, services);
    return ret_line;
}

void config_adopt(struct config *running, struct config *now)
{
    for (int i = 0; i < CONFIG_KEYS_COUNT; i++) {
        if (config_effect((enum config_key)i) == CONFIG_LIVE)
            config_take(running, now, (enum config_key)i);
    }
}

/* FNV-1a, 64 bits: against a file that is being edited, not against an adversary. */
#define DIGEST_START UINT64_C(0xcbf29ce484222325)

uint64_t config_digest(const struct config *self)
{
    uint64_t digest = DIGEST_START;

    for (int i = 0; i < CONFIG_KEYS_COUNT; i++)
        digest = config_digest_value(self, (enum config_key)i, digest);
    return digest;
}

uint64_t config_digest_of(const struct config *self, enum service service)
{
    uint64_t digest = DIGEST_START;

    for (int i = 0; i < CONFIG_KEYS_COUNT; i++) {
        enum config_key key = (enum config_key)i;

        if (config_effect(key) == CONFIG_ANEW && (config_services(key) & (1u << service)) != 0)
            digest = config_digest_value(self, key, digest);
    }
    return digest;
}
