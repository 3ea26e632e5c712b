/* lb-signer: holds the key of this coordinator's intermediate and signs what the register has
 * decided. */
#include "services/signer/confine.h"
#include "services/signer/service.h"

#include <stdio.h>
#include <sysexits.h>

int main(int argc, char **argv)
{
    if (confine_enter() != LB_OK) {
        fprintf(stderr, "lb-signer: cannot cut itself off from the network by seccomp(2), and does "
                        "not hold a key without that\n");
        return EX_NOPERM;
    }
    return actor_main(&signer_service, argc, argv);
}
