/* lb-coordinator: the network's certificate authority and register of members, on coordinators. */
#include "services/coordinator/service.h"

int main(int argc, char **argv)
{
    return actor_main(&coordinator_service, argc, argv);
}
