/* lb-signer: holds the key of this coordinator's intermediate and signs what the register has
 * decided. */
#include "services/signer/service.h"

int main(int argc, char **argv)
{
    return actor_main(&signer_service, argc, argv);
}
