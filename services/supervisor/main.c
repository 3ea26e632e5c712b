#include "services/supervisor/service.h"

int main(int argc, char **argv)
{
    return actor_main(&supervisor_definition, argc, argv);
}
