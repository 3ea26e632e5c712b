/*
 * The methods of SwarmService, as rows of methods.c: littlebird.v1 on one side, the messages of
 * lb-swarm on the other.
 */
#pragma once

#include "services/gateway/methods.h"

#define API_SELECT_MAX    1024u /* names, patterns or indices of files in one fetch */
#define API_PEERS_MAX     64u   /* addresses to try at once */
#define API_WEB_SEEDS_MAX 64u
#define API_PRIORITY_MAX  3u

ask_fn swarm_ask_share, swarm_ask_fetch, swarm_ask_list, swarm_ask_remove, swarm_ask_metainfo,
    swarm_ask_peers, swarm_ask_files, swarm_ask_limits, swarm_ask_check;

/*
 * Which worker is asked: the owner of the torrent. Shares of one path go to one worker, whoever
 * owns what they will be; who is to fetch is found by the worker that is asked. Limits of the node
 * are worker 0's to share out.
 */
place_fn swarm_place, swarm_place_share;

/* What a request is about: its field "infohash"; NULL: it has none. */
const ProtobufCBinaryData *swarm_infohash(const void *request);

translate_fn swarm_translate_share, swarm_translate_fetch, swarm_translate_list,
    swarm_translate_remove, swarm_translate_metainfo, swarm_translate_peers, swarm_translate_files,
    swarm_translate_limits, swarm_translate_check;
