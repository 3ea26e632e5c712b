/* What the log says of a request. */
#include "services/gateway/describe.h"

#include "proto/littlebird/v1/node.pb-c.h"
#include "proto/littlebird/v1/storage.pb-c.h"
#include "proto/littlebird/v1/swarm.pb-c.h"
#include "tests/libcommon/cmocka_row.h"

#include <string.h>

static void says(const void *request, const char *expected)
{
    char text[DESCRIBE_SIZE];

    assert_string_equal(describe_request(request, text), expected);
}

static void a_change_is_told_with_what_it_names(void **state)
{
    Littlebird__V1__RestartServiceRequest restart = LITTLEBIRD__V1__RESTART_SERVICE_REQUEST__INIT;
    Littlebird__V1__ScaleServiceRequest scale = LITTLEBIRD__V1__SCALE_SERVICE_REQUEST__INIT;
    Littlebird__V1__StopRequest stop = LITTLEBIRD__V1__STOP_REQUEST__INIT;
    char swarm[] = "swarm";

    (void)state;
    says(&stop, "");
    restart.service = scale.service = swarm;
    says(&restart, " service=swarm");
    restart.which_case = LITTLEBIRD__V1__RESTART_SERVICE_REQUEST__WHICH_INSTANCE;
    says(&restart, " service=swarm instance=0");
    scale.instances = 3;
    says(&scale, " service=swarm instances=3");
}

static void what_is_sent_is_not_printed_raw(void **state)
{
    Littlebird__V1__ScaleServiceRequest scale = LITTLEBIRD__V1__SCALE_SERVICE_REQUEST__INIT;
    char service[] = "two words\n\033[2J\377=";

    (void)state;
    scale.service = service;
    says(&scale, " service=two?words??[2J?=");
}

static void it_is_cut_to_a_line(void **state)
{
    Littlebird__V1__PutRequest put = LITTLEBIRD__V1__PUT_REQUEST__INIT;
    uint8_t value[100];
    char key[200], text[DESCRIBE_SIZE];

    (void)state;
    memset(value, 0xab, sizeof(value));
    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    put.key = key;
    put.value.data = value;
    put.value.len = sizeof(value);
    put.own = 1;
    describe_request(&put.base, text);
    assert_int_equal(strspn(strchr(text, 'k') + strlen("key="), "k"), 64);
    assert_int_equal(strspn(strstr(text, "value=") + strlen("value="), "ab"), 64);
    assert_non_null(strstr(text, " own=1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_is_told_with_what_it_names),
        cmocka_unit_test(what_is_sent_is_not_printed_raw),
        cmocka_unit_test(it_is_cut_to_a_line),
    };

    return cmocka_run_group_tests_name("describe", tests, NULL, NULL);
}
