#include "services/storage/service.h"

int main(int argc, char **argv)
{
    return actor_main(&storage_definition, argc, argv);
}
