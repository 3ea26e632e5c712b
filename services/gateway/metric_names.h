/*
 * The counters of the status page under the names that Prometheus sees: one row each, in the order
 * in which they are printed. Names, base units and suffixes as
 * https://prometheus.io/docs/practices/naming/ has them; rows of one family stand side by side.
 */
#pragma once

/*
 * X(service, counter, family, type, label, unit, help): service is one of LB_SERVICES or ANY; label
 * tells rows of one family apart, "" for one alone; unit is NUMBER, or MICROSECONDS for what is
 * printed in seconds; help "" repeats a family.
 */
#define LB_METRICS(X)                                                                              \
    X(ANY, "requests", "requests_total", COUNTER, "", NUMBER,                                      \
      "Requests of other services that were taken in.")                                            \
    X(ANY, "requests_refused", "requests_refused_total", COUNTER, "", NUMBER,                      \
      "Requests that were malformed, unknown or too many.")                                        \
    X(ANY, "requests_denied", "requests_denied_total", COUNTER, "", NUMBER,                        \
      "Requests of those who may not make them.")                                                  \
    X(ANY, "replies_lost", "replies_lost_total", COUNTER, "", NUMBER,                              \
      "Replies whose receiver was gone or did not read.")                                          \
    X(TRANSPORT, "packets_in", "udp_packets_received_total", COUNTER, "", NUMBER,                  \
      "UDP datagrams received.")                                                                   \
    X(TRANSPORT, "bytes_in", "udp_received_bytes_total", COUNTER, "", NUMBER,                      \
      "Bytes of UDP datagrams received.")                                                          \
    X(TRANSPORT, "packets_out", "udp_packets_sent_total", COUNTER, "", NUMBER,                     \
      "UDP datagrams sent.")                                                                       \
    X(TRANSPORT, "bytes_out", "udp_sent_bytes_total", COUNTER, "", NUMBER,                         \
      "Bytes of UDP datagrams sent.")                                                              \
    X(TRANSPORT, "send_failed", "udp_send_failures_total", COUNTER, "", NUMBER,                    \
      "UDP datagrams the kernel did not take.")                                                    \
    X(TRANSPORT, "malformed", "dht_packets_malformed_total", COUNTER, "", NUMBER,                  \
      "Datagrams that are no KRPC message.")                                                       \
    X(TRANSPORT, "queries_ping", "dht_queries_received_total", COUNTER, "method=\"ping\"", NUMBER, \
      "Queries of other nodes, by KRPC method.")                                                   \
    X(TRANSPORT, "queries_find_node", "dht_queries_received_total", COUNTER,                       \
      "method=\"find_node\"", NUMBER, "")                                                          \
    X(TRANSPORT, "queries_get_peers", "dht_queries_received_total", COUNTER,                       \
      "method=\"get_peers\"", NUMBER, "")                                                          \
    X(TRANSPORT, "queries_announce_peer", "dht_queries_received_total", COUNTER,                   \
      "method=\"announce_peer\"", NUMBER, "")                                                      \
    X(TRANSPORT, "queries_get", "dht_queries_received_total", COUNTER, "method=\"get\"", NUMBER,   \
      "")                                                                                          \
    X(TRANSPORT, "queries_put", "dht_queries_received_total", COUNTER, "method=\"put\"", NUMBER,   \
      "")                                                                                          \
    X(TRANSPORT, "queries_samples", "dht_queries_received_total", COUNTER,                         \
      "method=\"sample_infohashes\"", NUMBER, "")                                                  \
    X(TRANSPORT, "queries_lb_offer", "dht_queries_received_total", COUNTER, "method=\"lb_offer\"", \
      NUMBER, "")                                                                                  \
    X(TRANSPORT, "queries_lb_call", "dht_queries_received_total", COUNTER, "method=\"lb_call\"",   \
      NUMBER, "")                                                                                  \
    X(TRANSPORT, "queries_unknown", "dht_queries_received_total", COUNTER, "method=\"unknown\"",   \
      NUMBER, "")                                                                                  \
    X(TRANSPORT, "answered", "dht_queries_answered_total", COUNTER, "", NUMBER,                    \
      "Replies and errors given to queries.")                                                      \
    X(TRANSPORT, "refused", "dht_queries_refused_total", COUNTER, "", NUMBER,                      \
      "Queries answered with an error.")                                                           \
    X(TRANSPORT, "over_budget", "dht_queries_dropped_total", COUNTER, "reason=\"over_budget\"",    \
      NUMBER, "Queries that got no answer, by reason.")                                            \
    X(TRANSPORT, "no_table", "dht_queries_dropped_total", COUNTER, "reason=\"no_table\"", NUMBER,  \
      "")                                                                                          \
    X(TRANSPORT, "questions", "dht_storage_questions_total", COUNTER, "", NUMBER,                  \
      "Queries that transport handed to storage.")                                                 \
    X(TRANSPORT, "forwarded", "udp_packets_forwarded_total", COUNTER, "", NUMBER,                  \
      "UDP datagrams handed to the worker they are for.")                                          \
    X(TRANSPORT, "tls_sessions", "dtls_sessions", GAUGE, "", NUMBER,                               \
      "Open DTLS sessions with members of the private network.")                                   \
    X(TRANSPORT, "tls_under_way", "dtls_handshakes_under_way", GAUGE, "", NUMBER,                  \
      "DTLS handshakes that are under way.")                                                       \
    X(TRANSPORT, "tls_handshakes", "dtls_handshakes_total", COUNTER, "", NUMBER,                   \
      "DTLS handshakes that came to an open session.")                                             \
    X(TRANSPORT, "tls_resumed", "dtls_handshakes_resumed_total", COUNTER, "", NUMBER,              \
      "Of these, those that resumed an earlier session.")                                          \
    X(TRANSPORT, "tls_timed_out", "dtls_handshakes_timed_out_total", COUNTER, "", NUMBER,          \
      "DTLS handshakes that were given up.")                                                       \
    X(TRANSPORT, "tls_challenged", "dtls_cookies_sent_total", COUNTER, "", NUMBER,                 \
      "Hellos that were answered with a cookie.")                                                  \
    X(TRANSPORT, "tls_evicted", "dtls_sessions_evicted_total", COUNTER, "", NUMBER,                \
      "Sessions that gave way to others.")                                                         \
    X(TRANSPORT, "tls_unsent", "dtls_payloads_unsent_total", COUNTER, "", NUMBER,                  \
      "Payloads for whom there was no session.")                                                   \
    X(TRANSPORT, "tls_plain", "dtls_packets_refused_total", COUNTER, "reason=\"plain\"", NUMBER,   \
      "Datagrams refused on a private network, by reason.")                                        \
    X(TRANSPORT, "tls_malformed", "dtls_packets_refused_total", COUNTER, "reason=\"malformed\"",   \
      NUMBER, "")                                                                                  \
    X(TRANSPORT, "tls_stray", "dtls_packets_refused_total", COUNTER, "reason=\"stray\"", NUMBER,   \
      "")                                                                                          \
    X(TRANSPORT, "tls_forged", "dtls_packets_refused_total", COUNTER, "reason=\"forged\"", NUMBER, \
      "")                                                                                          \
    X(TRANSPORT, "tls_other_id", "dtls_packets_refused_total", COUNTER, "reason=\"other_id\"",     \
      NUMBER, "")                                                                                  \
    X(TRANSPORT, "tls_no_certificate", "dtls_refused_total", COUNTER, "reason=\"no_certificate\"", \
      NUMBER, "Handshakes and sessions refused on a private network, by reason.")                  \
    X(TRANSPORT, "tls_self_signed", "dtls_refused_total", COUNTER, "reason=\"self_signed\"",       \
      NUMBER, "")                                                                                  \
    X(TRANSPORT, "tls_other_ca", "dtls_refused_total", COUNTER, "reason=\"other_ca\"", NUMBER, "") \
    X(TRANSPORT, "tls_expired", "dtls_refused_total", COUNTER, "reason=\"expired\"", NUMBER, "")   \
    X(TRANSPORT, "tls_not_yet_valid", "dtls_refused_total", COUNTER, "reason=\"not_yet_valid\"",   \
      NUMBER, "")                                                                                  \
    X(TRANSPORT, "tls_revoked", "dtls_refused_total", COUNTER, "reason=\"revoked\"", NUMBER, "")   \
    X(TRANSPORT, "tls_wrong_usage", "dtls_refused_total", COUNTER, "reason=\"wrong_usage\"",       \
      NUMBER, "")                                                                                  \
    X(TRANSPORT, "tls_wrong_id", "dtls_refused_total", COUNTER, "reason=\"wrong_id\"", NUMBER, "") \
    X(TRANSPORT, "tls_ca_as_leaf", "dtls_refused_total", COUNTER, "reason=\"ca_as_leaf\"", NUMBER, \
      "")                                                                                          \
    X(TRANSPORT, "tls_weak", "dtls_refused_total", COUNTER, "reason=\"weak\"", NUMBER, "")         \
    X(TRANSPORT, "tls_old_protocol", "dtls_refused_total", COUNTER, "reason=\"old_protocol\"",     \
      NUMBER, "")                                                                                  \
    X(TRANSPORT, "tls_resumed_revoked", "dtls_refused_total", COUNTER,                             \
      "reason=\"resumed_revoked\"", NUMBER, "")                                                    \
    X(TRANSPORT, "tls_renegotiated", "dtls_refused_total", COUNTER, "reason=\"renegotiated\"",     \
      NUMBER, "")                                                                                  \
    X(TRANSPORT, "tls_no_news", "dtls_refused_total", COUNTER, "reason=\"no_news\"", NUMBER, "")   \
    X(TRANSPORT, "tls_other_failure", "dtls_refused_total", COUNTER, "reason=\"other_failure\"",   \
      NUMBER, "")                                                                                  \
    X(TRANSPORT, "tls_many_now", "dtls_refused_total", COUNTER, "reason=\"many_now\"", NUMBER, "") \
    X(TRANSPORT, "tls_many_ip", "dtls_refused_total", COUNTER, "reason=\"many_ip\"", NUMBER, "")   \
    X(TRANSPORT, "tls_many_second", "dtls_refused_total", COUNTER, "reason=\"many_second\"",       \
      NUMBER, "")                                                                                  \
    X(TRANSPORT, "sent_queries", "dht_queries_sent_total", COUNTER, "", NUMBER,                    \
      "Queries of our own.")                                                                       \
    X(TRANSPORT, "resent", "dht_queries_resent_total", COUNTER, "", NUMBER,                        \
      "Queries of our own that were sent a second time.")                                          \
    X(TRANSPORT, "replies", "dht_replies_received_total", COUNTER, "", NUMBER,                     \
      "Replies to queries of our own.")                                                            \
    X(TRANSPORT, "errors", "dht_errors_received_total", COUNTER, "", NUMBER,                       \
      "KRPC errors in answer to queries of our own.")                                              \
    X(TRANSPORT, "timeouts", "dht_queries_timed_out_total", COUNTER, "", NUMBER,                   \
      "Queries of our own without an answer in time.")                                             \
    X(TRANSPORT, "late", "dht_replies_late_total", COUNTER, "", NUMBER,                            \
      "Replies that came after the time-out.")                                                     \
    X(TRANSPORT, "strange", "dht_replies_strange_total", COUNTER, "", NUMBER,                      \
      "Replies to nothing that was asked, or from elsewhere.")                                     \
    X(TRANSPORT, "lan_found", "lan_nodes_found_total", COUNTER, "", NUMBER,                        \
      "Nodes found on the local net by multicast.")                                                \
    X(ROUTING, "contacts", "routing_contacts", GAUGE, "", NUMBER,                                  \
      "Contacts in the routing table.")                                                            \
    X(ROUTING, "good_contacts", "routing_good_contacts", GAUGE, "", NUMBER,                        \
      "Contacts that are good by BEP 5.")                                                          \
    X(ROUTING, "contacts_added", "routing_contacts_added_total", COUNTER, "", NUMBER,              \
      "Contacts taken into the routing table.")                                                    \
    X(ROUTING, "contacts_forgotten", "routing_contacts_forgotten_total", COUNTER, "", NUMBER,      \
      "Contacts forgotten since their node was put out of the private network.")                   \
    X(ROUTING, "id_conflicts", "routing_id_conflicts_total", COUNTER, "", NUMBER,                  \
      "Contacts refused since their id or address is another's.")                                  \
    X(ROUTING, "lookups", "routing_lookups_total", COUNTER, "", NUMBER, "Lookups begun.")          \
    X(ROUTING, "lookups_running", "routing_lookups_running", GAUGE, "", NUMBER,                    \
      "Lookups under way.")                                                                        \
    X(ROUTING, "refreshes", "routing_refreshes_total", COUNTER, "", NUMBER,                        \
      "Lookups made to keep the routing table fresh.")                                             \
    X(ROUTING, "probes", "routing_probes_total", COUNTER, "", NUMBER,                              \
      "Contacts asked whether they are still there.")                                              \
    X(ROUTING, "queries", "routing_queries_total", COUNTER, "", NUMBER,                            \
      "Queries that routing gave to transport.")                                                   \
    X(ROUTING, "answers", "routing_answers_total", COUNTER, "", NUMBER,                            \
      "Of these, those that were answered.")                                                       \
    X(ROUTING, "silent", "routing_queries_silent_total", COUNTER, "", NUMBER,                      \
      "Of these, those that were not.")                                                            \
    X(ROUTING, "unsent", "routing_queries_unsent_total", COUNTER, "", NUMBER,                      \
      "Of these, those that transport could not send.")                                            \
    X(ROUTING, "rtt_us", "routing_round_trip_seconds", GAUGE, "", MICROSECONDS,                    \
      "Smoothed round-trip time of queries.")                                                      \
    X(STORAGE, "items", "storage_items", GAUGE, "", NUMBER, "DHT items held.")                     \
    X(STORAGE, "item_bytes", "storage_item_bytes", GAUGE, "", NUMBER, "Bytes of these items.")     \
    X(STORAGE, "announcements", "storage_announcements", GAUGE, "", NUMBER,                        \
      "Peer announcements held.")                                                                  \
    X(STORAGE, "published", "storage_published_items", GAUGE, "", NUMBER,                          \
      "Items of our own that are put again from time to time.")                                    \
    X(STORAGE, "disk_bytes", "storage_disk_bytes", GAUGE, "", NUMBER, "Disk space of the store.")  \
    X(STORAGE, "questions", "storage_questions_total", COUNTER, "", NUMBER,                        \
      "Questions of transport about items and peers.")                                             \
    X(STORAGE, "stored", "storage_stores_total", COUNTER, "", NUMBER,                              \
      "Items that were put here by the network and taken.")                                        \
    X(STORAGE, "stores_refused", "storage_stores_refused_total", COUNTER, "", NUMBER,              \
      "Items that were put here by the network and refused.")                                      \
    X(STORAGE, "puts", "storage_puts_total", COUNTER, "", NUMBER, "Values put by programs here.")  \
    X(STORAGE, "gets", "storage_gets_total", COUNTER, "", NUMBER,                                  \
      "Values asked for by programs here.")                                                        \
    X(STORAGE, "republished", "storage_republished_total", COUNTER, "", NUMBER,                    \
      "Items of our own put again.")                                                               \
    X(STORAGE, "repaired", "storage_replicas_repaired_total", COUNTER, "", NUMBER,                 \
      "Copies given to nodes that lacked them.")                                                   \
    X(STORAGE, "expired", "storage_expired_total", COUNTER, "", NUMBER,                            \
      "Items and announcements whose time was over.")                                              \
    X(STORAGE, "commits", "storage_commits_total", COUNTER, "", NUMBER,                            \
      "Transactions written to disk.")                                                             \
    X(STORAGE, "commit_us", "storage_last_commit_seconds", GAUGE, "", MICROSECONDS,                \
      "How long the last of these took.")                                                          \
    X(STORAGE, "checks", "storage_checks_total", COUNTER, "", NUMBER,                              \
      "Counts of the replicas of a value over the network.")                                       \
    X(STORAGE, "checks_failed", "storage_checks_failed_total", COUNTER, "", NUMBER,                \
      "Of these, those that came to no end.")                                                      \
    X(STORAGE, "replicas_min", "storage_replicas_min", GAUGE, "", NUMBER,                          \
      "Fewest replicas of any value, as counted last.")                                            \
    X(STORAGE, "replicas_median", "storage_replicas_median", GAUGE, "", NUMBER,                    \
      "Median of the replicas of the values, as counted last.")                                    \
    X(STORAGE, "checks_overdue", "storage_checks_overdue", GAUGE, "", NUMBER,                      \
      "Values whose count is late.")                                                               \
    X(STORAGE, "keys_offered", "storage_keys_offered_total", COUNTER, "", NUMBER,                  \
      "Keys offered to nodes that are closer to them.")                                            \
    X(STORAGE, "keys_handed_over", "storage_keys_handed_over_total", COUNTER, "", NUMBER,          \
      "Of these, those that were taken.")                                                          \
    X(STORAGE, "box_mails", "storage_box_mails", GAUGE, "", NUMBER,                                \
      "Mails kept for other members of the private network.")                                      \
    X(STORAGE, "box_bytes", "storage_box_bytes", GAUGE, "", NUMBER, "The bytes they take.")        \
    X(STORAGE, "box_certificates", "storage_box_certificates", GAUGE, "", NUMBER,                  \
      "Certificates kept for other members.")                                                      \
    X(STORAGE, "box_mails_kept", "storage_box_mails_kept_total", COUNTER, "", NUMBER,              \
      "Mails taken for other members.")                                                            \
    X(STORAGE, "box_refused", "storage_box_refused_total", COUNTER, "", NUMBER,                    \
      "Requests of other members that were refused.")                                              \
    X(STORAGE, "box_checks", "storage_box_checks_total", COUNTER, "", NUMBER,                      \
      "Boxes whose replicas were counted.")                                                        \
    X(STORAGE, "boxes_dropped", "storage_boxes_dropped_total", COUNTER, "", NUMBER,                \
      "Boxes that others keep and we need not any more.")                                          \
    X(STORAGE, "box_parts_sent", "storage_box_parts_sent_total", COUNTER, "", NUMBER,              \
      "Parts of mail brought to other holders.")                                                   \
    X(STORAGE, "keys_dropped", "storage_keys_dropped_total", COUNTER, "", NUMBER,                  \
      "Keys given up since enough closer nodes hold them.")                                        \
    X(SWARM, "received_bytes", "swarm_received_bytes_total", COUNTER, "", NUMBER,                  \
      "Bytes of content received from peers.")                                                     \
    X(SWARM, "sent_bytes", "swarm_sent_bytes_total", COUNTER, "", NUMBER,                          \
      "Bytes of content sent to peers.")                                                           \
    X(SWARM, "peers", "swarm_peers", GAUGE, "", NUMBER, "Peers connected, of all torrents.")       \
    X(SWARM, "transfers", "swarm_transfers", GAUGE, "", NUMBER, "Torrents shared and fetched.")    \
    X(SWARM, "bad_pieces", "swarm_bad_pieces_total", COUNTER, "", NUMBER,                          \
      "Pieces received that failed their hash.")                                                   \
    X(SWARM, "tcp_port", "swarm_tcp_port", GAUGE, "", NUMBER,                                      \
      "The TCP port that peers reach it at.")                                                      \
    X(SWARM, "hashed_bytes", "swarm_hashed_bytes_total", COUNTER, "", NUMBER,                      \
      "Bytes of content hashed.")                                                                  \
    X(SWARM, "tls_no_certificate", "swarm_tls_refused_total", COUNTER,                             \
      "reason=\"no_certificate\"", NUMBER,                                                         \
      "Connections that TLS refused on a private network, by reason.")                             \
    X(SWARM, "tls_self_signed", "swarm_tls_refused_total", COUNTER, "reason=\"self_signed\"",      \
      NUMBER, "")                                                                                  \
    X(SWARM, "tls_other_ca", "swarm_tls_refused_total", COUNTER, "reason=\"other_ca\"", NUMBER,    \
      "")                                                                                          \
    X(SWARM, "tls_expired", "swarm_tls_refused_total", COUNTER, "reason=\"expired\"", NUMBER, "")  \
    X(SWARM, "tls_not_yet_valid", "swarm_tls_refused_total", COUNTER, "reason=\"not_yet_valid\"",  \
      NUMBER, "")                                                                                  \
    X(SWARM, "tls_revoked", "swarm_tls_refused_total", COUNTER, "reason=\"revoked\"", NUMBER, "")  \
    X(SWARM, "tls_wrong_usage", "swarm_tls_refused_total", COUNTER, "reason=\"wrong_usage\"",      \
      NUMBER, "")                                                                                  \
    X(SWARM, "tls_wrong_id", "swarm_tls_refused_total", COUNTER, "reason=\"wrong_id\"", NUMBER,    \
      "")                                                                                          \
    X(SWARM, "tls_ca_as_leaf", "swarm_tls_refused_total", COUNTER, "reason=\"ca_as_leaf\"",        \
      NUMBER, "")                                                                                  \
    X(SWARM, "tls_weak", "swarm_tls_refused_total", COUNTER, "reason=\"weak\"", NUMBER, "")        \
    X(SWARM, "tls_old_protocol", "swarm_tls_refused_total", COUNTER, "reason=\"old_protocol\"",    \
      NUMBER, "")                                                                                  \
    X(SWARM, "tls_resumed_revoked", "swarm_tls_refused_total", COUNTER,                            \
      "reason=\"resumed_revoked\"", NUMBER, "")                                                    \
    X(SWARM, "tls_renegotiated", "swarm_tls_refused_total", COUNTER, "reason=\"renegotiated\"",    \
      NUMBER, "")                                                                                  \
    X(SWARM, "tls_no_news", "swarm_tls_refused_total", COUNTER, "reason=\"no_news\"", NUMBER, "")  \
    X(SWARM, "tls_other_failure", "swarm_tls_refused_total", COUNTER, "reason=\"other_failure\"",  \
      NUMBER, "")                                                                                  \
    X(SWARM, "tls_plain", "swarm_tls_refused_total", COUNTER, "reason=\"plain\"", NUMBER, "")      \
    X(SWARM, "tls_unknown_torrent", "swarm_tls_refused_total", COUNTER,                            \
      "reason=\"unknown_torrent\"", NUMBER, "")                                                    \
    X(SWARM, "tls_late", "swarm_tls_refused_total", COUNTER, "reason=\"late\"", NUMBER, "")        \
    X(SWARM, "tls_too_many", "swarm_tls_refused_total", COUNTER, "reason=\"too_many\"", NUMBER,    \
      "")                                                                                          \
    X(SWARM, "tls_refused_us", "swarm_tls_refused_total", COUNTER, "reason=\"refused_us\"",        \
      NUMBER, "")                                                                                  \
    X(COORDINATOR, "certificates", "certificates_issued_total", COUNTER, "", NUMBER,               \
      "Certificates signed for members, renewals included.")                                       \
    X(COORDINATOR, "joins_asked", "joins_asked_total", COUNTER, "", NUMBER,                        \
      "Requests to join, asked again included.")                                                   \
    X(COORDINATOR, "refused", "coordinator_refusals_total", COUNTER, "", NUMBER,                   \
      "Joins, renewals and other requests that were refused.")                                     \
    X(COORDINATOR, "tls_requests", "coordinator_tls_requests_total", COUNTER, "", NUMBER,          \
      "Requests taken in by TLS.")                                                                 \
    X(COORDINATOR, "connections", "coordinator_connections", GAUGE, "", NUMBER,                    \
      "Connections at coordinator.listen.")                                                        \
    X(COORDINATOR, "turned_away", "coordinator_turned_away_total", COUNTER, "", NUMBER,            \
      "Connections without a TLS handshake, or too many.")                                         \
    X(COORDINATOR, "forwarded", "coordinator_forwarded_total", COUNTER, "", NUMBER,                \
      "Commands that another coordinator, which leads, was asked to decide.")                      \
    X(COORDINATOR, "raft_messages", "raft_messages_total", COUNTER, "", NUMBER,                    \
      "Messages of Raft sent to other coordinators.")                                              \
    X(COORDINATOR, "raft_appends", "raft_appends_total", COUNTER, "", NUMBER,                      \
      "Messages of Raft that carried entries.")                                                    \
    X(COORDINATOR, "raft_refused", "raft_connections_refused_total", COUNTER, "", NUMBER,          \
      "Connections of Raft with who is no coordinator.")                                           \
    X(COORDINATOR, "members", "network_members", GAUGE, "", NUMBER, "Members in the register.")    \
    X(SIGNER, "leaves_signed", "signer_leaves_total", COUNTER, "", NUMBER,                         \
      "Certificates signed by lb-signer.")                                                         \
    X(SIGNER, "deny_lists_signed", "signer_deny_lists_total", COUNTER, "", NUMBER,                 \
      "Deny lists signed by lb-signer.")                                                           \
    X(SIGNER, "signing_refused", "signer_refusals_total", COUNTER, "", NUMBER,                     \
      "What lb-signer would not sign.")                                                            \
    X(MEMBER, "messages_received", "member_messages_received_total", COUNTER, "", NUMBER,          \
      "Private messages taken into the inbox.")                                                    \
    X(MEMBER, "messages_refused", "member_messages_refused_total", COUNTER, "", NUMBER,            \
      "Private messages that were forged, altered, for somebody else or without room.")            \
    X(MEMBER, "messages_delivered", "member_messages_sent_total", COUNTER,                         \
      "outcome=\"delivered\"", NUMBER, "Private messages sent from here, by outcome.")             \
    X(MEMBER, "messages_kept", "member_messages_sent_total", COUNTER, "outcome=\"kept\"", NUMBER,  \
      "")                                                                                          \
    X(MEMBER, "messages_not_sent", "member_messages_sent_total", COUNTER, "outcome=\"failed\"",    \
      NUMBER, "")                                                                                  \
    X(MEMBER, "inbox_messages", "member_inbox_messages", GAUGE, "", NUMBER,                        \
      "Private messages in the inbox.")                                                            \
    X(MEMBER, "inbox_bytes", "member_inbox_bytes", GAUGE, "", NUMBER,                              \
      "Bytes of the private messages in the inbox.")                                               \
    X(MEMBER, "renewals", "member_renewals_total", COUNTER, "outcome=\"renewed\"", NUMBER,         \
      "Renewals of the certificate, by outcome.")                                                  \
    X(MEMBER, "renewals_failed", "member_renewals_total", COUNTER, "outcome=\"failed\"", NUMBER,   \
      "")                                                                                          \
    X(MEMBER, "certificate_s", "member_certificate_seconds", GAUGE, "", NUMBER,                    \
      "Seconds for which the certificate still counts; 0: it has ended.")                          \
    X(MEMBER, "deny_number", "member_deny_list_number", GAUGE, "", NUMBER,                         \
      "Number of the deny list that this node goes by.")                                           \
    X(MEMBER, "denied_nodes", "member_denied_nodes", GAUGE, "", NUMBER, "Nodes on that list.")     \
    X(MEMBER, "deny_lists_refused", "member_deny_lists_refused_total", COUNTER, "", NUMBER,        \
      "Deny lists that were forged or altered.")                                                   \
    X(GATEWAY, "calls", "api_calls_total", COUNTER, "", NUMBER, "Calls of the public API.")        \
    X(GATEWAY, "calls_refused", "api_calls_refused_total", COUNTER, "", NUMBER,                    \
      "Of these, those answered with an error.")                                                   \
    X(GATEWAY, "calls_denied", "api_calls_denied_total", COUNTER, "", NUMBER,                      \
      "Of these, those of people who may not make them.")                                          \
    X(GATEWAY, "messages_malformed", "api_messages_malformed_total", COUNTER, "", NUMBER,          \
      "Messages that are no call.")                                                                \
    X(GATEWAY, "answers_lost", "api_answers_lost_total", COUNTER, "", NUMBER,                      \
      "Answers whose client was gone or did not read.")                                            \
    X(GATEWAY, "calls_repeated", "api_calls_repeated_total", COUNTER, "", NUMBER,                  \
      "Calls handed to a service again, since it went away under them.")                           \
    X(GATEWAY, "events_published", "api_events_published_total", COUNTER, "", NUMBER,              \
      "Events sent to subscribers.")                                                               \
    X(GATEWAY, "http_requests", "http_requests_total", COUNTER, "", NUMBER,                        \
      "HTTP requests for metrics and health.")
