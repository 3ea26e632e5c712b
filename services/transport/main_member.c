#include "services/transport/service.h"

int main(int argc, char **argv)
{
    return actor_main(&transport_service, argc, argv);
}
