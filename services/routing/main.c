#include "services/routing/service.h"

int main(int argc, char **argv)
{
    return actor_main(&routing_service, argc, argv);
}
