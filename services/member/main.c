/* lb-member: this node as a member of its private network. */
#include "services/member/service.h"

int main(int argc, char **argv)
{
    return actor_main(&member_service, argc, argv);
}
