/* The commands of both programs, one function each; they return the exit code. */
#pragma once

struct args;

/* littlebird */
int command_up(const struct args *args);
int command_down(const struct args *args);
int command_share(const struct args *args);
int command_fetch(const struct args *args);
int command_put(const struct args *args);
int command_get(const struct args *args);
int command_list(const struct args *args);
int command_remove(const struct args *args);
int command_limit(const struct args *args);
int command_check(const struct args *args);
int command_join(const struct args *args);
int command_send(const struct args *args);
int command_inbox(const struct args *args);

/* lb-admin */
int command_status(const struct args *args);
int command_wait(const struct args *args);
int command_restart(const struct args *args);
int command_scale(const struct args *args);
int command_peers(const struct args *args);
int command_table(const struct args *args);
int command_lookup(const struct args *args);
int command_limit_node(const struct args *args);
int command_audit_keys(const struct args *args);
int command_health(const struct args *args);
int command_log(const struct args *args);
int command_reload(const struct args *args);
int command_network_create(const struct args *args);
int command_network_invitations(const struct args *args);
int command_network_withdraw(const struct args *args);
int command_invite(const struct args *args);
int command_members(const struct args *args);
int command_members_pending(const struct args *args);
int command_members_approve(const struct args *args);
int command_members_reject(const struct args *args);
int command_revoke(const struct args *args);
int command_renew(const struct args *args);
int command_coordinator_status(const struct args *args);
int command_coordinator_add(const struct args *args);
int command_coordinator_renew(const struct args *args);
int command_coordinator_remove(const struct args *args);
int command_config_check(const struct args *args);
int command_config_show(const struct args *args);
