/* lb-swarm: shares and fetches files with the peers of the network. */
#include "services/swarm/service.h"

int main(int argc, char **argv)
{
    return actor_main(&swarm_service, argc, argv);
}
