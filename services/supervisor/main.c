#include "services/supervisor/overseer.h"
#include "services/supervisor/service.h"

int main(int argc, char **argv)
{
    return actor_main(overseer_is_wanted() ? &overseer_definition : &supervisor_definition, argc,
                      argv);
}
