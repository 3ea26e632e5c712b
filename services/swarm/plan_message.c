#include "services/swarm/plan_message.h"

lb_err plan_message_read(struct bytes payload, struct plan_message *ret_message)
{
    if (payload.size == 0 || payload.size > PLAN_MESSAGE_SIZE_MAX || payload.size % 4 != 1)
        return LB_INVALID;
    const uint32_t count = (uint32_t)(payload.size / 4);
    switch (payload.data[0]) {
    case PLAN_MESSAGE_FREE:
    case PLAN_MESSAGE_PLANS:
        if (count != 0)
            return LB_INVALID;
        break;
    case PLAN_MESSAGE_GIVE:
    case PLAN_MESSAGE_TAKING:
    case PLAN_MESSAGE_HAVE:
        break;
    default:
        return LB_UNSUPPORTED;
    }
    *ret_message = (struct plan_message){
        .kind = (enum plan_message_kind)payload.data[0],
        .count = count,
    };
    for (uint32_t i = 0; i < count; i++)
        ret_message->pieces[i] = load_u32(payload.data + 1 + 4 * (size_t)i);
    return LB_OK;
}

void plan_message_put(struct writer *to, const struct plan_message *message)
{
    writer_u8(to, (uint8_t)message->kind);
    for (uint32_t i = 0; i < message->count; i++)
        writer_u32(to, message->pieces[i]);
}
