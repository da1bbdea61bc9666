// firewall verify.
#include <sysexits.h>

#include "proxy/admin/command_firewall.h"

namespace admin {

int verify_command(const Arguments&) { return EX_SOFTWARE; }

}  // namespace admin
